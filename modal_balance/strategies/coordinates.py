"""Coordinates of rows, between which herding measures distances.

N: points of the pool    n: rows    D: features
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.dataset import get_len, unpack_data
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from .._utils.arguments import n_rows, nan_for_na
from ..acquisition.predictions import check_one_for_each_row
from ..hypotheses.unwrap import UnwrappedLearner, unwrap_inputs
from .pool import gathered
from .query import Query
from .rows import MAX_NAMES, SMALL_POOL, check_rows, wrapped_estimators

BOUND = 3.0  # standard deviations
MAX_DENSE = 2**27  # cells of the largest sparse matrix that is made dense: 1 GiB


class NoDistances(ValueError):
    """Rows have no coordinates, so no distances between them."""


@dataclass(frozen=True)
class InputFeatures:
    """Coordinates of rows, as a picklable function.

    Columns are standardised and squashed, as in :class:`~modal_balance.MCDropoutClassifier`: a
    value becomes ``3 tanh(z / 3)``, where z is its distance from the mean in standard deviations,
    so an outlier is not far from everything else. A missing value counts as the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.strategies.coordinates import InputFeatures
    >>> features = InputFeatures((), np.array([1.0]), np.array([2.0]))
    >>> features(np.array([[1.0], [1e9]])).tolist()
    [[0.0], [3.0]]
    """

    steps: tuple[Any, ...]  # of the pipeline, before its classifier; fitted
    mean: NDArray[np.float64]  # (D,)
    factor: NDArray[np.float64]  # (D,): z = (x - mean) * factor

    @classmethod
    def of(cls, steps: tuple[Any, ...], X: Any) -> InputFeatures:
        """Return the coordinates, with columns scaled by rows of the pool.

        Unfitted steps of a pipeline are fitted on these rows, in a copy. Raises NoDistances if a
        step needs labels, or its output is not a table of numbers.
        """
        fitted = []
        for step in steps:
            step, X = _applied(step, X)
            fitted.append(step)
        values = _numbers(X)  # (n, D)
        known = np.isfinite(values)
        n_known = np.maximum(known.sum(0), 1)
        values = np.where(known, values, 0.0)
        mean = values.sum(0) / n_known
        deviation = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(0) / n_known)
        # Rounding errors are not variation: those of float32 values, or of a sum of n float64.
        with np.errstate(over="ignore"):
            is_float32 = (values == values.astype(np.float32)).all(0)
        eps = np.where(is_float32, np.finfo(np.float32).eps, len(values) * np.finfo(np.float64).eps)
        varies = deviation > 8 * eps * np.abs(mean)
        return cls(tuple(fitted), mean, varies / np.where(varies, deviation, 1.0))

    def __call__(self, X: Any) -> Tensor:
        """Return the coordinates of n rows, (n, D) float32."""
        n_given = n_rows(X)
        for step in self.steps:
            X = step.transform(X)
        values = _numbers(X)
        check_one_for_each_row(len(values), n_given)
        z = np.nan_to_num((values - self.mean) * self.factor, nan=0.0)
        return torch.from_numpy((BOUND * np.tanh(z / BOUND)).astype(np.float32))


def pool_input_features(query: Query) -> tuple[Tensor, InputFeatures]:
    """Return the coordinates (N, D) of the pool, and the function for those of other rows.

    Columns are scaled by the rows of the pool, or by 10,000 random rows of a larger pool. The
    learner need not be fitted. Rows of words may be encoded by pipelines within an ensemble: then
    the first of these counts. Raises NoDistances if the rows are not numbers, and ExceedsMemory if
    the coordinates exceed the memory limit.
    """
    unwrapped = query.unwrapped
    voter = unwrapped.voters[0]
    rows = query.X_pool if query.source is None else query.some_rows(SMALL_POOL)[1]
    try:
        of_rows = InputFeatures.of(voter.steps, rows)
    except NoDistances:
        if not (inner := _steps_inside(voter)):
            raise
        of_rows = InputFeatures.of(voter.steps + inner, rows)
    if query.source is None:
        return of_rows(rows), of_rows

    def block_features(X: Any) -> Tensor:
        return of_rows(check_rows(X, "X_pool", unwrapped))[None]  # only a row was checked so far

    blocks = gathered(query, block_features, "This strategy", "inputs", "")  # (1, N, D)
    return blocks[0], of_rows


def _steps_inside(unwrapped: UnwrappedLearner) -> tuple[Any, ...]:
    """Return the steps before the classifier of the first estimator in an ensemble."""
    classifier = unwrapped.classifier
    estimators = wrapped_estimators(classifier)
    if not estimators:
        return ()
    # Members are fitted, but those of a bagging ensemble may see only some of the columns.
    is_bagging = hasattr(classifier, "estimators_features_")
    members = [] if is_bagging else getattr(classifier, "estimators_", [])
    inner = unwrap_inputs([*members, *estimators][0])
    return inner.steps + _steps_inside(inner)


def _applied(step: Any, X: Any) -> tuple[Any, Any]:
    """Return a pipeline step, or a copy fitted on the rows if it is not fitted, and its output."""
    with suppress(NotFittedError, AttributeError):  # the second if it is not scikit-learn's
        return step, step.transform(X)
    try:
        fitted = clone(step, safe=False).fit(X)
    except Exception as error:
        raise NoDistances(
            f"The learner has not been fitted, and its {type(step).__name__} cannot be fitted on "
            f"the pool without labels: {error} Fit the learner, or pass encoded columns."
        ) from error
    return fitted, fitted.transform(X)


def _numbers(X: Any, part_of_row: bool = False) -> NDArray[np.float64]:
    """Return rows as numbers, (n, D): axes flattened, and several inputs side by side.

    A part of a row may be one number, such as the word of an embedding.
    """
    if isinstance(X, Dataset):
        try:
            batch = default_collate([X[row] for row in range(get_len(X))])
        except (RuntimeError, TypeError) as error:
            raise NoDistances(f"The rows of X_pool cannot be stacked: {error}") from error
        return _numbers(unpack_data(batch)[0])
    if isinstance(X, Mapping):
        return np.hstack([_numbers(X[name], part_of_row=True) for name in sorted(X)])
    if sparse.issparse(X):
        if math.prod(X.shape) > MAX_DENSE:
            raise NoDistances(
                f"X_pool is sparse, {X.shape[0]} x {X.shape[1]}, too large to be made dense. Put "
                "TruncatedSVD into the learner's Pipeline, or pass fewer columns."
            )
        X = X.toarray()
    elif hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    elif hasattr(X, "select_dtypes"):
        X = nan_for_na(X)
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NoDistances(
            f"X_pool has values that are not numbers{_wordy(X)}. Pass a learner whose Pipeline "
            "encodes them, or encoded columns."
        ) from error
    if values.ndim < 2 and not part_of_row:
        raise NoDistances(
            f"X_pool has the shape {values.shape}. Pass an array of shape (rows, columns)."
        )
    return values.reshape(len(values), -1)


def _wordy(X: Any) -> str:
    """Return the names of the non-numeric columns, as part of a message."""
    if not hasattr(X, "select_dtypes"):
        return ""
    names = list(X.select_dtypes(exclude=["number", "bool"]).columns)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f", in {names[:MAX_NAMES]}{more}"
