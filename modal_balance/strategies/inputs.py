"""Checks of what a user hands to a query strategy, before any expensive work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.utils import assert_all_finite
from skorch import NeuralNet
from torch.utils.data import Dataset

from ..arguments import n_rows
from ..hypotheses.resolved import Resolved
from ..pools.opening import lazy_source
from ..pools.sources import RowsInMemory, Source, failed_rows
from ..sklearn_compat import get_tags

# Pools of so many rows are held in memory, and are their own reference pool.
SMALL_POOL = 10_000


def check_has_classes(resolved: Resolved) -> None:
    """Raise unless a learner knows at least two classes, as far as it says which it knows.

    Parameters
    ----------
    resolved : Resolved
        The estimator, or the committee, of which the classes of all members count.

    Raises
    ------
    ValueError
        If it knows a single class.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.hypotheses.resolved import resolve
    >>> from modal_balance.strategies.inputs import check_has_classes
    >>> check_has_classes(resolve(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))
    """
    known: list[Any] = []
    for voter in resolved.voters:
        # The classes_ of a skorch net are the labels it was last shown, not its columns.
        is_net = isinstance(voter.classifier, NeuralNet)
        classes = None if is_net else getattr(voter.classifier, "classes_", None)
        if classes is None:
            return
        known += [label for label in classes if label not in known]
    if len(known) < 2:
        raise ValueError(
            f"This {resolved.name} knows a single class, {known[0]!r}: there is nothing to tell "
            "apart. Label points of another class first, or declare the classes."
        )


def check_rows(X: Any, name: str, resolved: Resolved) -> Any:
    """Return X, lists as an array, or raise unless the estimator can take its rows.

    Parameters
    ----------
    X : array-like, tensor, dict of arrays, DataFrame, CSR matrix or Dataset
        Rows for the estimator.
    name : str
        What error messages call X.
    resolved : Resolved
        What is to take the rows. All members of a committee must.

    Returns
    -------
    X : same type, a list as ndarray

    Raises
    ------
    TypeError
        If X is a tuple, or no data at all, or a data set for an estimator other than a net.
    ValueError
        If there are no rows, the number of features is not the estimator's, or floating-point
        data hold NaN or infinity and the estimator takes none. What a pipeline does with its
        input is left to the pipeline, wherever it is inside a search or a committee.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies.inputs import check_rows
    >>> from modal_balance.hypotheses.resolved import resolve
    >>> resolved = resolve(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    >>> check_rows([[3.0], [4.0]], "X_pool", resolved).shape
    (2, 1)
    """
    if isinstance(X, tuple):
        raise TypeError(
            f"{name} is a tuple. Pass rows as an array or a list, and several inputs of a net as a "
            "dict from the names of the module's arguments to arrays."
        )
    if isinstance(X, list):
        X = _as_array(X, name)
    if isinstance(X, Dataset):
        return _checked_data_set(X, name, resolved)
    if X is None:
        raise ValueError(f"{name} is empty. Pass at least one row.")
    if not (hasattr(X, "shape") or hasattr(X, "__len__")) or isinstance(X, str):
        raise TypeError(
            f"{name} must be an array, tensor, DataFrame, sparse matrix, list, dict of arrays or "
            f"data set, got {X!r}."
        )
    if len(getattr(X, "shape", (1,))) == 0:
        raise ValueError(f"{name} is a single number. Pass at least one row.")
    if n_rows(X) == 0:
        raise ValueError(f"{name} is empty. Pass at least one row.")
    if isinstance(X, torch.Tensor) and X.dtype == torch.bfloat16:
        X = X.float()  # NumPy, and with it scikit-learn, does not know bfloat16
    for voter in resolved.voters:
        classifier = voter.classifier
        if voter.transforms or hasattr(classifier, "predict_proba_samples"):
            continue
        expected = getattr(classifier, "n_features_in_", None)
        shape: tuple[int, ...] = getattr(X, "shape", ())
        takes_more_axes = getattr(classifier, "module", None) is not None
        if expected is not None and len(shape) != 2 and not hasattr(X, "iloc"):
            if shape and (len(shape) == 1 or not takes_more_axes):
                raise ValueError(
                    f"{name} has the shape {shape} but {type(classifier).__name__} takes rows of "
                    f"{expected} features. Pass an array of shape (rows, {expected})."
                )
        if expected is not None and len(shape) > 1 and shape[1] != expected:
            raise ValueError(
                f"{name} has {shape[1]} features but {type(classifier).__name__} was fitted with "
                f"{expected}. Pass the same columns as in fit."
            )
        if not _takes_missing_values(voter):
            for part in X.values() if isinstance(X, Mapping) else [X]:
                _check_finite(part, name)
    return X


def _checked_data_set(X: Any, name: str, resolved: Resolved) -> Any:
    """Return a data set of torch or skorch, of which a net checks the values as it reads them."""
    for voter in resolved.voters:
        is_net = isinstance(voter.classifier, NeuralNet)
        if voter.transforms or not (is_net or hasattr(voter.classifier, "predict_proba_samples")):
            raise TypeError(
                f"{name} is a {type(X).__name__}, which a skorch net can read but "
                f"{voter.name} cannot. Pass its rows as an array or a DataFrame."
            )
    if not hasattr(X, "__len__"):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which does not know its length. Pass a data set "
            "with __len__ and __getitem__."
        )
    if len(X) == 0:
        raise ValueError(f"{name} is empty. Pass at least one row.")
    return X


def open_pool(X: Any, resolved: Resolved) -> tuple[Any, Source | None]:
    """Return the rows of a pool, or where they are if they are many.

    Parameters
    ----------
    X : array-like, or what stands for one
        The pool.
    resolved : Resolved
        What is to take the rows.

    Returns
    -------
    X : array-like
        The pool in memory, checked; of a large one, its first row.
    source : Source or None
        Where the rows of a pool of more than 10,000 rows are.

    Raises
    ------
    TypeError, ValueError
        If the estimator cannot take the rows. Of those that are not in memory, one is tried.
    """
    source = lazy_source(X, _feature_names(resolved))
    if source is None:
        X = check_rows(X, "X_pool", resolved)
        if n_rows(X) <= SMALL_POOL or not RowsInMemory.can_slice(X):
            return X, None
        source = RowsInMemory(X)
        return source.read(0, 1), source
    if source.n_rows == 0:
        raise ValueError("X_pool is empty. Pass at least one row.")
    stop = source.n_rows if source.n_rows <= SMALL_POOL else 1
    try:
        X = source.read(0, stop)
    except Exception as error:
        raise failed_rows(source, 0, stop, error) from error
    return check_rows(X, "X_pool", resolved), None if stop == source.n_rows else source


def in_memory(X: Any, name: str, resolved: Resolved) -> Any:
    """Return other rows than the pool's in memory, wherever they are.

    Parameters
    ----------
    X : array-like, or what stands for one
        The rows.
    name : str
        What error messages call them.
    resolved : Resolved
        What is to take the rows.

    Returns
    -------
    array-like
    """
    source = lazy_source(X, _feature_names(resolved), name)
    return X if source is None or source.n_rows == 0 else source.read(0, source.n_rows)


def _feature_names(resolved: Resolved) -> Sequence[str] | None:
    names: Sequence[str] | None = getattr(resolved.voters[0].estimator, "feature_names_in_", None)
    return names


def _as_array(X: list[Any], name: str) -> np.ndarray:
    """Return a list as an array in which numbers beside words stay numbers."""
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"{name} is a list of rows of different lengths. Pass rows of one length."
        ) from error
    return np.asarray(X, dtype=object) if array.dtype.kind in "US" else array


def _takes_missing_values(resolved: Resolved) -> bool:
    classifier = resolved.classifier
    if resolved.transforms:
        return True
    if isinstance(classifier, (VotingClassifier, BaggingClassifier)):
        return all(_takes_missing_values(member.resolved) for member in resolved.members or ())
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
    if isinstance(X, Dataset):
        row = X[0]  # with its label, as a rule
        row = row[0] if isinstance(row, tuple) else row
        if isinstance(row, Mapping):
            return ", ".join(f"{key}: shape {np.shape(row[key])}" for key in sorted(row))
        return f"shape {np.shape(row)}"
    shape = tuple(X.shape[1:]) if hasattr(X, "shape") else np.asarray(X[0]).shape
    return f"shape {shape}"


def _check_finite(X: Any, name: str) -> None:
    if hasattr(X, "iloc"):
        X = X.select_dtypes("number").to_numpy() if X.ndim == 2 else X.to_numpy()
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    assert_all_finite(X, input_name=name)
