"""Checks of what a user hands to a query strategy, before any expensive work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet

from ..arguments import n_rows
from ..hypotheses.ensembles import committee_members
from ..hypotheses.unwrapping import unwrap
from ..sklearn_compat import get_tags


def check_estimator_is_ready(estimator: Any) -> None:
    """Raise unless ``estimator`` is a fitted classifier of at least two classes.

    Parameters
    ----------
    estimator : estimator or committee
        Any estimator. Of a committee, each member is checked, and the classes of all count.

    Raises
    ------
    TypeError
        If it is a regressor, or no estimator at all.
    NotFittedError
        If it has not been fitted; also a ValueError.
    ValueError
        If it knows a single class, or a committee is empty.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies.inputs import check_estimator_is_ready
    >>> check_estimator_is_ready(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    """
    members = committee_members(estimator)
    if members is not None and not members:
        raise ValueError(f"{type(estimator).__name__} is empty. Pass fitted classifiers in it.")
    known: list[Any] = []
    for member in [estimator] if members is None else [m.estimator for m in members]:
        _check_is_fitted_classifier(member)
        classes = _known_classes(member)
        if classes is None:
            return
        known += [label for label in classes if label not in known]
    if len(known) < 2:
        raise ValueError(
            f"This {type(estimator).__name__} knows a single class, {known[0]!r}: there is nothing "
            "to tell apart. Label points of another class first, or declare the classes."
        )


def _check_is_fitted_classifier(estimator: Any) -> None:
    name = type(estimator).__name__
    classifier = unwrap(estimator).estimator
    is_given = hasattr(classifier, "predict_proba_samples")
    if is_given and not hasattr(classifier, "__sklearn_is_fitted__"):
        return  # used as it is, whatever else it can do
    if not hasattr(estimator, "fit"):
        raise TypeError(f"learner must be a modAL learner or a fitted estimator, got a {name}.")
    if is_regressor(estimator):
        raise TypeError(f"{name} is a regressor. BALanCe compares class votes: pass a classifier.")
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise NotFittedError(
            f"This {name} has not been fitted, so it has no posterior to query with. Fit it on "
            "the labels at hand, or give the learner X_training and y_training."
        ) from error


def _known_classes(estimator: Any) -> Any:
    """Return the labels of a classifier, None where they are not known."""
    classifier = unwrap(estimator).estimator
    # The classes_ of a skorch net are the labels it was last shown, not the columns it predicts.
    return None if isinstance(classifier, NeuralNet) else getattr(classifier, "classes_", None)


def check_rows(X: Any, name: str, estimator: Any) -> Any:
    """Return X, lists as an array, or raise unless the estimator can take its rows.

    Parameters
    ----------
    X : array-like, tensor, dict of arrays, DataFrame or CSR matrix
        Rows for the estimator.
    name : str
        What error messages call X.
    estimator : estimator or committee
        Fitted. All members of a committee must take the rows.

    Returns
    -------
    X : same type, a list as ndarray

    Raises
    ------
    TypeError
        If X is a tuple.
    ValueError
        If there are no rows, the number of features is not the estimator's, or floating-point
        data hold NaN or infinity and the estimator takes none. What a pipeline does with its
        input is left to the pipeline, wherever it is inside a search or a committee.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies.inputs import check_rows
    >>> clf = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    >>> check_rows([[3.0], [4.0]], "X_pool", clf).shape
    (2, 1)
    """
    if isinstance(X, tuple):
        raise TypeError(
            f"{name} is a tuple. Pass rows as an array or a list, and several inputs of a net as a "
            "dict from the names of the module's arguments to arrays."
        )
    if isinstance(X, list):
        X = _as_array(X)
    if X is None or n_rows(X) == 0:
        raise ValueError(f"{name} is empty. Pass at least one row.")
    members = committee_members(estimator)
    for member in [estimator] if members is None else [m.estimator for m in members]:
        classifier, transforms = unwrap(member)
        if transforms or hasattr(classifier, "predict_proba_samples"):
            continue
        expected = getattr(classifier, "n_features_in_", None)
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if expected is not None and len(shape) > 1 and shape[1] != expected:
            raise ValueError(
                f"{name} has {shape[1]} features but {type(classifier).__name__} was fitted with "
                f"{expected}. Pass the same columns as in fit."
            )
        if not _takes_missing_values(classifier):
            for part in X.values() if isinstance(X, Mapping) else [X]:
                _check_finite(part, name)
    return X


def _as_array(X: list[Any]) -> np.ndarray:
    """Return a list as an array in which numbers beside words stay numbers."""
    array = np.asarray(X)
    return np.asarray(X, dtype=object) if array.dtype.kind in "US" else array


def _takes_missing_values(estimator: Any) -> bool:
    classifier, transforms = unwrap(estimator)
    if transforms:
        return True
    if isinstance(classifier, (VotingClassifier, BaggingClassifier)):
        return all(_takes_missing_values(member) for member in classifier.estimators_)
    return isinstance(classifier, BaseEstimator) and bool(get_tags(classifier).input_tags.allow_nan)


def check_same_width(X: Any, name: str, X_pool: Any) -> None:
    """Raise unless the rows of X have the form of the pool's rows.

    Parameters
    ----------
    X : array-like
        Other rows.
    name : str
        What the error message calls X.
    X_pool : array-like
        The pool.

    Raises
    ------
    ValueError
        If the widths differ.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.strategies.inputs import check_same_width
    >>> check_same_width(np.ones((2, 5)), "X_pending", np.ones((9, 5)))
    """
    width, expected = _width(X), _width(X_pool)
    if width != expected:
        raise ValueError(f"{name} has rows of {width} but X_pool has rows of {expected}.")


def _width(X: Any) -> str:
    if isinstance(X, Mapping):
        return ", ".join(f"{key}: {_width(part)}" for key, part in sorted(X.items()))
    shape = tuple(X.shape[1:]) if hasattr(X, "shape") else np.asarray(X[0]).shape
    return f"shape {shape}"


def _check_finite(X: Any, name: str) -> None:
    if hasattr(X, "iloc"):
        X = X.select_dtypes("number").to_numpy() if X.ndim == 2 else X.to_numpy()
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    assert_all_finite(X, input_name=name)
