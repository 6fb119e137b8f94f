"""The first batch of a table that has no labels to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arguments import RandomState
from ..strategies.herding import herding_query

__all__ = ["diverse_batch"]


def diverse_batch(
    features: NDArray[np.float32],
    n: int,
    *,
    known: NDArray[np.float32] | None = None,
    random_state: RandomState = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Choose the rows that cover most of the pool, by :func:`~modal_balance.herding_query`.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Features of the pool.
    n : int
        Size of the batch, 1 to N.
    known : ndarray of shape (M, D) or None, default=None
        Features of rows that have labels, or whose labels are pending.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties.

    Returns
    -------
    indices : ndarray of shape (n,)
        Positions in the pool, all different, in the order of choice.
    gains : ndarray of shape (n,)
        Share of the pool that each covers beside those before it and those known.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.table.first_batch import diverse_batch
    >>> features = np.array([[0.0], [0.1], [9.0]], dtype=np.float32)
    >>> indices, gains = diverse_batch(features, 2, random_state=0)
    >>> 2 in indices
    True
    """
    indices, gains = herding_query(None, features, n, X_labelled=known, random_state=random_state)
    return indices.astype(np.intp), gains
