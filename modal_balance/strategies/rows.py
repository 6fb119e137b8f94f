"""Check the rows that a strategy is called with, and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite
from skorch import NeuralNet
from torch.utils.data import Dataset

from .._utils.arguments import n_rows, nan_for_na
from .._utils.sklearn_compat import get_tags
from ..hypotheses.unwrap import UnwrappedLearner, unwrap_inputs
from ..pools.opening import lazy_source
from ..pools.sources import RowsInMemory, Source, failed_rows

# Pools up to this size are held in memory, and are their own reference pool.
SMALL_POOL = 10_000
MAX_NAMES = 5  # columns named in an error message


def check_rows(X: Any, name: str, unwrapped: UnwrappedLearner) -> Any:
    """Return X (a list as an array), or raise if the estimator cannot predict its rows.

    All members of a committee must accept the rows. The input of a pipeline is left to its steps to
    check, also if the pipeline is inside a search or a committee. ``name`` is the name of X in
    error messages. Raises TypeError if the estimator does not accept data of this form, and
    ValueError if X is empty, has another number of features, or holds NaN or infinity that the
    estimator does not accept. If there is no estimator, NaN is accepted.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies.rows import check_rows
    >>> from modal_balance.hypotheses.unwrap import unwrap_learner
    >>> unwrapped = unwrap_learner(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    >>> check_rows([[3.0], [4.0]], "X_pool", unwrapped).shape
    (2, 1)
    """
    if isinstance(X, tuple):
        raise TypeError(
            f"{name} is a tuple. Pass rows as an array or a list, and several inputs of a net as a "
            "dict from the names of the module's arguments to arrays."
        )
    if isinstance(X, list):
        X = _as_array(X, name)
    if sparse.issparse(X) and X.format == "dok":
        X = X.tocsr()  # it counts as a dict, too
    if isinstance(X, Dataset):
        return _checked_data_set(X, name, unwrapped)
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
        X = X.float()  # NumPy, and so scikit-learn, does not support bfloat16
    for voter in unwrapped.voters:
        classifier = voter.classifier
        if voter.steps or hasattr(classifier, "predict_proba_samples"):
            continue
        expected = getattr(classifier, "n_features_in_", None)
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if expected is not None and len(shape) != 2 and not hasattr(X, "iloc"):
            if shape and (len(shape) == 1 or not _takes_more_axes(classifier)):
                raise ValueError(
                    f"{name} has the shape {shape} but {type(classifier).__name__} takes rows of "
                    f"{expected} features. Pass an array of shape (rows, {expected})."
                )
        if expected is not None and len(shape) > 1 and shape[1] != expected:
            raise ValueError(
                f"{name} has {shape[1]} features but {type(classifier).__name__} was fitted with "
                f"{expected}. Pass the same columns as in fit."
            )
        is_absent = classifier is None  # distances take a gap for the mean
        if is_absent or not _takes_missing_values(voter):
            for part in X.values() if isinstance(X, Mapping) else [X]:
                _check_finite(part, name, allow_nan=is_absent)
    return X


def _checked_data_set(X: Any, name: str, unwrapped: UnwrappedLearner) -> Any:
    """Return a data set of torch or skorch; a net checks its values when it reads them."""
    for voter in unwrapped.voters:
        is_net = isinstance(voter.classifier, NeuralNet)
        if voter.steps or not (is_net or hasattr(voter.classifier, "predict_proba_samples")):
            raise TypeError(
                f"{name} is a {type(X).__name__}, which a skorch net can read but "
                f"{voter.name} cannot. Pass its rows as an array or a DataFrame."
            )
    if not hasattr(X, "__len__"):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which has no length. Pass a data set "
            "with __len__ and __getitem__."
        )
    if len(X) == 0:
        raise ValueError(f"{name} is empty. Pass at least one row.")
    return X


def open_pool(X: Any, unwrapped: UnwrappedLearner) -> tuple[Any, Source | None]:
    """Return the rows of a small pool and None, or the first row of a large pool and its source.

    A pool is large if it has more than 10,000 rows. Raises TypeError or ValueError if the
    estimator cannot predict the rows. If a large pool is not in memory, only its first row is
    checked.
    """
    source = lazy_source(X, _feature_names(unwrapped))
    if source is None:
        X = check_rows(X, "X_pool", unwrapped)
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
    return check_rows(X, "X_pool", unwrapped), None if stop == source.n_rows else source


def in_memory(X: Any, name: str, unwrapped: UnwrappedLearner) -> Any:
    """Return rows other than the pool's, read into memory."""
    source = lazy_source(X, _feature_names(unwrapped), name)
    return X if source is None or source.n_rows == 0 else source.read(0, source.n_rows)


def _feature_names(unwrapped: UnwrappedLearner) -> Sequence[str] | None:
    voter = unwrapped.voters[0]
    # A pipeline that starts with "passthrough" has no names, but its first step has.
    known = (voter.estimator, [*voter.steps, voter.classifier][0])
    names = (getattr(part, "feature_names_in_", None) for part in known)
    return next((found for found in names if found is not None), None)


def _as_array(X: list[Any], name: str) -> np.ndarray:
    """Return a list as an array; numbers next to strings stay numbers."""
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"{name} is a list of rows of different lengths. Pass rows of one length."
        ) from error
    return np.asarray(X, dtype=object) if array.dtype.kind in "US" else array


def _takes_missing_values(unwrapped: UnwrappedLearner) -> bool:
    classifier = unwrapped.classifier
    if unwrapped.steps:
        return True
    if inner := wrapped_estimators(classifier):
        return all(_takes_missing_values(unwrap_inputs(estimator)) for estimator in inner)
    has_tags = isinstance(classifier, BaseEstimator) or hasattr(classifier, "__sklearn_tags__")
    return has_tags and bool(get_tags(classifier).input_tags.allow_nan)


def _takes_more_axes(classifier: Any) -> bool:
    """Return whether rows may be images, for a network of the user, also inside an ensemble."""
    return getattr(classifier, "module", None) is not None or any(
        _takes_more_axes(unwrap_inputs(estimator).classifier)
        for estimator in wrapped_estimators(classifier)
    )


def wrapped_estimators(classifier: Any) -> list[Any]:
    """Return the estimators to which a classifier passes its input, such as those of a vote.

    They need not be fitted: their kind says which input they accept.
    """
    if not hasattr(classifier, "get_params"):
        return []
    parameters = classifier.get_params(deep=False)
    inner = [parameters.get("estimator")]
    several = parameters.get("estimators")  # pairs of a name and an estimator, in scikit-learn
    if isinstance(several, (list, tuple)):
        inner += [entry[-1] if isinstance(entry, tuple) else entry for entry in several]
    return [estimator for estimator in inner if hasattr(estimator, "fit")]


def check_same_width(X: Any, name: str, X_pool: Any, pool_name: str = "X_pool") -> None:
    """Raise a ValueError unless the rows of X have the shape of the pool's rows.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.strategies.rows import check_same_width
    >>> check_same_width(np.ones((2, 5)), "X_pending", np.ones((9, 5)))
    """
    width, expected = _width(X), _width(X_pool)
    if width != expected:
        raise ValueError(f"{name} has rows of {width} but {pool_name} has rows of {expected}.")


def _width(X: Any) -> str:
    if isinstance(X, Mapping):
        return ", ".join(f"{key}: {_width(part)}" for key, part in sorted(X.items()))
    if isinstance(X, Dataset):
        row = X[0]  # usually with its label
        row = row[0] if isinstance(row, tuple) else row
        if isinstance(row, Mapping):
            return ", ".join(f"{key}: shape {tuple(np.shape(row[key]))}" for key in sorted(row))
        return f"shape {tuple(np.shape(row))}"
    shape = tuple(X.shape[1:]) if hasattr(X, "shape") else np.asarray(X[0]).shape
    return f"shape {shape}"


def with_columns_of(X_pool: Any, X: Any, name: str) -> Any:
    """Return a table with its columns in the order of the pool's, and anything else unchanged.

    Raises a ValueError if the columns have other names.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.strategies.rows import with_columns_of
    >>> with_columns_of(np.ones((9, 2)), np.ones((3, 2)), "X_labelled").shape
    (3, 2)
    """
    names, expected = _column_names(X), _column_names(X_pool)
    if names is None or expected is None or names == expected:
        return X
    if len(set(names)) < len(names) or set(names) != set(expected):
        differ = [pair for pair in zip(names, expected, strict=True) if pair[0] != pair[1]]
        given, wanted = (list(some) for some in zip(*differ[:MAX_NAMES], strict=True))
        raise ValueError(
            f"{name} has the columns {given} where X_pool has {wanted}. Pass the same columns."
        )
    return X[expected] if hasattr(X, "iloc") else X.select(expected)


def _column_names(X: Any) -> list[Any] | None:
    """Return the names of the columns of a table of pandas, polars or pyarrow."""
    is_table = hasattr(X, "iloc") or hasattr(X, "__arrow_c_stream__")
    names = getattr(X, "column_names", getattr(X, "columns", None)) if is_table else None
    # As in scikit-learn, names count only if all of them are strings.
    return list(names) if names is not None and all(isinstance(n, str) for n in names) else None


def _check_finite(X: Any, name: str, allow_nan: bool) -> None:
    if hasattr(X, "iloc"):
        frame = X.to_frame() if X.ndim == 1 else X
        X = nan_for_na(frame).select_dtypes("number").to_numpy()
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    assert_all_finite(X, allow_nan=allow_nan, input_name=name)
