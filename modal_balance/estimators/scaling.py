"""Inputs of a network: columns of one scale, without outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SquashedScaling"]

BOUND = 3.0  # standard deviations
ROWS_AT_ONCE = 65_536


class SquashedScaling:
    """Standardise columns by given rows, and squash what is far from their mean.

    A value becomes ``3 tanh(z / 3)``, where z is its distance from the mean in standard deviations:
    about z near the mean, and never beyond 3. A mean and a deviation of ten rows say little of the
    rows to come, whose outliers would decide the predictions. A column without variation becomes 0.

    Parameters
    ----------
    X : array of shape (n, n_features, ...)
        The rows that decide. Further axes, such as the height and width of images, have one mean
        and one deviation for each ``X[:, j]``.

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
        # Rounding of equal numbers is no variation.
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
