"""Scale the inputs of a network: standardise, squash outliers, encode numeric columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PiecewiseLinearEncoding", "SquashedScaling", "evenly"]

BOUND = 3.0  # standard deviations
ROWS_AT_ONCE = 65_536
MOST_ENCODED_COLUMNS = 256
ENOUGH_ROWS = 1000  # for quantiles
ROWS_A_BIN = 5
WEIGHT = 0.5  # of the encoding relative to the scaled columns


def evenly(n_rows: int, most: int) -> NDArray[np.intp]:
    """Return the indices of at most `most` rows, evenly spaced.

    Examples
    --------
    >>> from modal_balance.estimators.scaling import evenly
    >>> evenly(7, 3).tolist(), evenly(2, 3).tolist()
    ([0, 3, 6], [0, 1])
    """
    return np.linspace(0, n_rows - 1, min(n_rows, most)).round().astype(np.intp)


class SquashedScaling:
    """Standardise columns by given rows, and squash outliers.

    A value becomes ``3 tanh(z / 3)``, where z is its distance from the mean in standard deviations:
    about z near the mean, and never beyond 3. The mean and deviation of ten rows are poor
    estimates, so without squashing, outliers in other rows would dominate the predictions. A
    constant column becomes 0.

    Parameters
    ----------
    X : array of shape (n, n_features, ...)
        Rows that determine the scaling. ``X[:, j]`` has one mean and one deviation, including any
        further axes such as the height and width of images.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.scaling import SquashedScaling
    >>> X = np.array([[1.0, 500.0, 7.0], [3.0, 300.0, 7.0]])
    >>> scaling = SquashedScaling(X)
    >>> scaling(X).round(2)
    array([[-0.96,  0.96,  0.  ],
           [ 0.96, -0.96,  0.  ]], dtype=float32)
    >>> scaling(np.array([[1e9, -1e9, 8.0]])).tolist()
    [[3.0, -3.0, 0.0]]
    """

    def __init__(self, X: NDArray[np.floating[Any]]) -> None:
        axes = (0, *range(2, X.ndim))
        mean = X.mean(axis=axes, keepdims=True, dtype=np.float64)
        deviation = X.std(axis=axes, keepdims=True, dtype=np.float64)
        # Rounding errors of equal numbers do not count as variation.
        varies = deviation > 8 * np.finfo(X.dtype).eps * np.abs(X).max(axis=axes, keepdims=True)
        self.mean: NDArray[np.float64] = mean[0]
        self.factor: NDArray[np.float64] = (varies / np.where(varies, deviation, 1.0))[0]

    def __call__(self, X: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return scaled inputs.

        Parameters
        ----------
        X : array of shape (n, n_features, ...)
            Rows.

        Returns
        -------
        ndarray of float32, shaped as X
        """
        scaled = np.empty(X.shape, dtype=np.float32)
        for start in range(0, len(X), ROWS_AT_ONCE):
            part = X[start : start + ROWS_AT_ONCE].astype(np.float64)
            part -= self.mean
            part *= self.factor / BOUND
            np.tanh(part, out=part)
            part *= BOUND
            scaled[start : start + ROWS_AT_ONCE] = part
        return scaled


class PiecewiseLinearEncoding:
    """Scale the columns, and append a piecewise-linear encoding of the numeric ones.

    Each bin of a column becomes a column: 0 below the bin, 1 above it, and linear within it. With
    this encoding, the first layer of a network can be nonlinear in a column, which takes many
    training steps with the scaled column alone. The encoding is halved so that it does not outweigh
    the scaled columns, which matter most if many of them are redundant.

    The edges of the bins are quantiles. A column with few values has fewer bins; one with two
    values, such as a one-hot column, has none. There are at most 256 bins in total, and one for
    every five rows, so with many columns or few rows each column has fewer bins.

    Existing implementations do not fit: the quantiles of ``rtdl_num_embeddings`` fail for constant
    columns, and scikit-learn's ``KBinsDiscretizer`` warns about every column with ties.

    `X` (n, n_features) are the rows that determine the scaling and the bins, with or without
    labels. `n_bins`, at least 0, is the largest number of bins of a column. The encoding is that of
    Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning",
    NeurIPS 2022, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.scaling import PiecewiseLinearEncoding
    >>> X = np.array([[0.0, 0], [1, 1], [2, 1], [6, 0], [8, 1]] * 2)
    >>> PiecewiseLinearEncoding(X, n_bins=2)(np.array([[1.0, 1], [5, 0]]))[:, 2:]
    array([[0.25, 0.  ],
           [0.5 , 0.25]], dtype=float32)
    """

    def __init__(self, X: NDArray[np.floating[Any]], n_bins: int) -> None:
        self.scaling = SquashedScaling(X)
        ordered = np.sort(X[evenly(len(X), ENOUGH_ROWS)].astype(np.float64), axis=0)
        # Rounding errors of equal numbers do not count as variation.
        tolerance = 8 * np.finfo(X.dtype).eps * np.abs(ordered).max(axis=0)
        n_values = 1 + (np.diff(ordered, axis=0) > tolerance).sum(axis=0)
        numeric = np.flatnonzero(n_values > 2)
        most = MOST_ENCODED_COLUMNS // max(1, len(numeric))
        n_bins = min(n_bins, most, len(X) // ROWS_A_BIN)
        shares = np.linspace(0, 1, n_bins + 1)
        columns, left, width = [], [], []
        for column in numeric if n_bins > 1 else ():
            edges = np.quantile(ordered[:, column], shares, method="nearest")
            edges = edges[np.append(True, np.diff(edges) > tolerance[column])]
            if len(edges) > 2:  # a single bin adds nothing to the scaled column
                columns += [column] * (len(edges) - 1)
                left += edges[:-1].tolist()
                width += np.diff(edges).tolist()
        self._columns = np.array(columns, dtype=np.intp)  # of X, one for each bin
        self._left, self._width = np.array(left), np.array(width)

    def __call__(self, X: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the scaled columns, then the encoding: float32 (n, n_features + n_encoded)."""
        n_features = X.shape[1]
        inputs = np.empty((len(X), n_features + len(self._columns)), dtype=np.float32)
        inputs[:, :n_features] = self.scaling(X)
        for start in range(0, len(X), ROWS_AT_ONCE // 8):
            rows = slice(start, start + ROWS_AT_ONCE // 8)
            place = (X[rows].astype(np.float64)[:, self._columns] - self._left) / self._width
            inputs[rows, n_features:] = WEIGHT * place.clip(0, 1)
        return inputs
