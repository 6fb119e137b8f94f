"""The order among points that score the same, which any part of a pool can compute for itself.

N: points of the pool
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..arguments import RandomState, as_random_state, draw_seed
from .arguments import Ties, tie_rank

__all__ = ["TieOrder"]

# A permutation up to this size; beyond it a hash of the row number, which needs no memory.
LARGEST_PERMUTATION = 10_000


class TieOrder:
    """An order of all points of a pool, as a function of their numbers.

    It does not depend on how the pool is cut into parts, so that neither does the choice among
    points that score the same.

    Parameters
    ----------
    n_points : int
        N.
    ties : {"random", "first"}, default="random"
        A random order, or that of the indices.
    random_state : int, RandomState, Generator or None, default=None
        Draws the random order.

    Raises
    ------
    ValueError
        If ``ties`` is unknown.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.tie_order import TieOrder
    >>> order = TieOrder(10_000_000, random_state=0)
    >>> order.of(torch.tensor([3, 9_999_999])).tolist() == [
    ...     order.of(torch.tensor([point])).item() for point in (3, 9_999_999)
    ... ]
    True
    """

    def __init__(
        self, n_points: int, ties: Ties = "random", random_state: RandomState = None
    ) -> None:
        self.rank: Tensor | None = None
        self.seed: int | None = None
        if ties == "random" and n_points > LARGEST_PERMUTATION:
            self.seed = draw_seed(as_random_state(random_state))
        else:
            rank = tie_rank(n_points, ties, random_state)
            self.rank = None if ties == "first" else rank

    def of(self, points: Tensor) -> Tensor:
        """Return the rank of points: different numbers, of which the lowest comes first.

        Parameters
        ----------
        points : Tensor of shape (n,), int64
            Numbers of points, 0 to N - 1.

        Returns
        -------
        Tensor of shape (n,), int64
        """
        if self.seed is not None:
            return torch.from_numpy(_scrambled(points.numpy(), self.seed))
        return points if self.rank is None else self.rank[points]


def _scrambled(points: np.ndarray, seed: int) -> np.ndarray:
    """Return a hash of each number: the output step of SplitMix64, which maps no two alike."""
    # Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014
    state = points.astype(np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15 >> 32)
    state *= np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))).view(np.int64)
