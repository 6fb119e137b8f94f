"""The inputs of a pool as coordinates: what the learner's classifier sees, on one scale.

N: points of the pool    n: rows    D: columns
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from skorch.dataset import get_len, unpack_data
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from .inputs import SMALL_POOL
from .pool import gathered
from .query import Query

__all__ = ["InputFeatures", "pool_input_features"]

BOUND = 3.0  # standard deviations
MAX_DENSE = 2**27  # numbers of a sparse matrix that is made dense: 1 GiB
MAX_NAMES = 5  # columns that an error message names


@dataclass(frozen=True)
class InputFeatures:
    """From rows of a pool to coordinates, as a function that can go to another process.

    Columns are standardised and squashed, as in :class:`~modal_balance.MCDropoutClassifier`: a
    value becomes ``3 tanh(z / 3)``, where z is its distance from the mean in standard deviations.
    So no outlier is far from everything. A missing value counts as the mean.

    Parameters
    ----------
    transforms : tuple of callable
        The steps of the learner's pipeline before its classifier.
    mean, factor : ndarray of shape (D,)
        ``z = (x - mean) * factor``.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.strategies.input_features import InputFeatures
    >>> features = InputFeatures((), np.array([1.0]), np.array([2.0]))
    >>> features(np.array([[1.0], [1e9]])).tolist()
    [[0.0], [3.0]]
    """

    transforms: tuple[Callable[[Any], Any], ...]
    mean: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def of(cls, transforms: tuple[Callable[[Any], Any], ...], X: Any) -> InputFeatures:
        """Learn from rows how to scale the columns.

        Steps of a pipeline that have not been fitted are fitted on the rows, in a copy.

        Parameters
        ----------
        transforms : tuple of callable
            The steps of the learner's pipeline before its classifier.
        X : array-like with n rows
            The pool, or a random part of it.

        Returns
        -------
        InputFeatures

        Raises
        ------
        TypeError, ValueError
            If a step needs labels, or what comes out of them is no table of numbers.
        """
        fitted = []
        for transform in transforms:
            fitted.append(_fitted(transform, X))
            X = fitted[-1](X)
        values = _numbers(X)  # (n, D)
        known = np.isfinite(values)
        n_known = np.maximum(known.sum(0), 1)
        values = np.where(known, values, 0.0)
        mean = values.sum(0) / n_known
        deviation = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(0) / n_known)
        # Rounding of equal numbers is no variation.
        varies = deviation > 8 * np.finfo(np.float32).eps * np.abs(mean)
        return cls(tuple(fitted), mean, varies / np.where(varies, deviation, 1.0))

    def __call__(self, X: Any) -> Tensor:
        """Return the coordinates of n rows, (n, D) float32."""
        for transform in self.transforms:
            X = transform(X)
        values = _numbers(X)
        z = np.nan_to_num((values - self.mean) * self.factor, nan=0.0)
        return torch.from_numpy((BOUND * np.tanh(z / BOUND)).astype(np.float32))


@dataclass(frozen=True)
class AsBlock:
    """Coordinates in the form of predictions, as shards of a pool hold them.

    Parameters
    ----------
    features : InputFeatures
        From rows to coordinates.
    """

    features: InputFeatures

    def __call__(self, X: Any) -> Tensor:
        """Return the coordinates of n rows, (1, n, D)."""
        return self.features(X)[None]


def pool_input_features(query: Query) -> tuple[Tensor, InputFeatures]:
    """Return the coordinates of the pool of a query, and the way to those of other rows.

    Columns are scaled by the rows of the pool; of more than 10,000, by a random 10,000.

    Parameters
    ----------
    query : Query
        The query. Its learner need not be fitted.

    Returns
    -------
    features : Tensor of shape (N, D), float32
    of_rows : InputFeatures

    Raises
    ------
    TypeError, ValueError
        If the rows are no numbers, or the coordinates do not fit into the memory that they may
        take.
    """
    transforms = query.resolved.voters[0].transforms
    if query.source is None:
        of_rows = InputFeatures.of(transforms, query.X_pool)
        return of_rows(query.X_pool), of_rows
    of_rows = InputFeatures.of(transforms, query.some_rows(SMALL_POOL)[1])
    return gathered(query, AsBlock(of_rows), "This strategy", "inputs", "")[0], of_rows


def _fitted(transform: Callable[[Any], Any], X: Any) -> Callable[[Any], Any]:
    """Return a step of a pipeline as it is, or fitted on rows without labels."""
    step = getattr(transform, "__self__", None)
    if step is None:
        return transform
    try:
        check_is_fitted(step)
    except NotFittedError:
        name = type(step).__name__
        try:
            fitted: Callable[[Any], Any] = clone(step).fit(X).transform
        except Exception as error:
            raise ValueError(
                f"The learner has not been fitted, and its {name} cannot be fitted on the pool "
                f"without labels: {error} Fit the learner, or pass encoded columns."
            ) from error
        return fitted
    return transform


def _numbers(X: Any) -> NDArray[np.float64]:
    """Return rows as numbers, (n, D): several axes in one, several inputs side by side."""
    if isinstance(X, Dataset):
        return _numbers(unpack_data(default_collate([X[row] for row in range(get_len(X))]))[0])
    if isinstance(X, Mapping):
        return np.hstack([_numbers(X[name]) for name in sorted(X)])
    if sparse.issparse(X):
        if math.prod(X.shape) > MAX_DENSE:
            raise ValueError(
                f"X_pool is sparse, {X.shape[0]} x {X.shape[1]}, and distances need it dense. Put "
                "TruncatedSVD into the learner's Pipeline, or pass fewer columns."
            )
        X = X.toarray()
    elif hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"X_pool has values that are no numbers{_wordy(X)}. Pass a learner whose Pipeline "
            "encodes them, or encoded columns."
        ) from error
    if values.ndim < 2:
        raise ValueError(
            f"X_pool has the shape {values.shape}. Pass an array of shape (rows, columns)."
        )
    return values.reshape(len(values), -1)


def _wordy(X: Any) -> str:
    """Return the names of the columns that hold no numbers, as a part of a message."""
    if not hasattr(X, "select_dtypes"):
        return ""
    names = list(X.select_dtypes(exclude=["number", "bool"]).columns)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f", in {names[:MAX_NAMES]}{more}"
