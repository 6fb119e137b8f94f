"""A diverse batch for a table that has no labels to learn from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..acquisition.diversity import badge_batch
from ..arguments import RandomState, as_random_state

__all__ = ["diverse_batch"]


def diverse_batch(
    features: NDArray[np.float32],
    n: int,
    *,
    known: NDArray[np.float32] | None = None,
    random_state: RandomState = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Choose rows that differ from each other and from those that are known: k-means++ seeding.

    Each row is drawn with a probability proportional to its squared distance from the nearest row
    chosen before it or known.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Features of the pool.
    n : int
        Size of the batch, 1 to N.
    known : ndarray of shape (M, D) or None, default=None
        Features of rows that have labels, or are out for annotation.
    random_state : int, RandomState, Generator or None, default=None
        Decides the draws.

    Returns
    -------
    indices : ndarray of shape (n,)
        Positions in the pool, all different, in the order of choice.
    distances : ndarray of shape (n,)
        Distance of each from the nearest row chosen before it or known; infinite for the first
        where none is known.

    References
    ----------
    Arthur & Vassilvitskii, *k-means++: The Advantages of Careful Seeding*, SODA 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.table.first_batch import diverse_batch
    >>> features = np.array([[0.0], [0.1], [9.0]], dtype=np.float32)
    >>> indices, distances = diverse_batch(features, 2, random_state=0)
    >>> 2 in indices
    True
    """
    rng = as_random_state(random_state)
    if known is None or len(known) == 0:
        first = int(rng.randint(len(features)))
        if n == 1:
            return np.array([first]), np.array([np.inf])
        rest = np.delete(np.arange(len(features)), first)
        indices, distances = diverse_batch(
            features[rest], n - 1, known=features[[first]], random_state=rng
        )
        return np.r_[first, rest[indices]], np.r_[np.inf, distances]
    # BADGE draws by k-means++ in the space of p - onehot(argmax p), times the features. With two
    # equal probabilities that is (-h/2, h/2), whose distances are those of h times sqrt(1/2).
    picks, apart = badge_batch(
        torch.from_numpy(features),
        torch.full((len(features), 2), 0.5),
        n,
        pending_features=torch.from_numpy(known),
        pending_proba=torch.full((len(known), 2), 0.5),
        random_state=rng,
    )
    return picks.numpy().astype(np.intp), apart.numpy() * np.sqrt(2)
