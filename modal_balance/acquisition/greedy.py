"""The greedy loop shared by all batch objectives, and the order among points of equal gain.

N: points of the pool
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, draw_seed
from .arguments import Ties

# Ties are ordered by a permutation up to this size, and beyond it by a hash of the row number,
# which needs no memory.
LARGEST_PERMUTATION = 10_000


def tie_rank(n_points: int, ties: Ties, random_state: RandomState) -> Tensor:
    """Return the rank of each point: among points of equal score the lowest rank wins.

    The ranks are int64 (N,). Their order is drawn by ``random_state``, or with ``ties="first"`` it
    is that of the indices. Raise ValueError if ``ties`` is unknown.

    Examples
    --------
    >>> from modal_balance.acquisition.greedy import tie_rank
    >>> tie_rank(3, "first", None)
    tensor([0, 1, 2])
    """
    if ties == "random":
        return torch.from_numpy(as_random_state(random_state).permutation(n_points))
    if ties == "first":
        return torch.arange(n_points)
    raise ValueError(f"ties={ties!r} is unknown. Choose 'random' or 'first'.")


class TieOrder:
    """Order of all points of a pool, used to break ties.

    A rank depends only on the index of its point, not on how the pool is partitioned. Hence neither
    does the choice among points of equal score.

    The order of the N points is drawn by ``random_state``, or with ``ties="first"`` it is that of
    the indices. Raise ValueError if ``ties`` is unknown.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.greedy import TieOrder
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
            self.seed = draw_seed(random_state)
        else:
            rank = tie_rank(n_points, ties, random_state)
            self.rank = None if ties == "first" else rank

    def of(self, points: Tensor) -> Tensor:
        """Return the ranks of points: distinct numbers, the lowest first in order.

        The ranks, like the indices ``points`` from 0 to N - 1, are int64 (n,).
        """
        if self.seed is not None:
            return torch.from_numpy(_scrambled(points.numpy(), self.seed))
        return points if self.rank is None else self.rank[points]


def _scrambled(points: np.ndarray, seed: int) -> np.ndarray:
    """Return a hash of each number: the output step of SplitMix64, which is a bijection."""
    # Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014
    state = points.astype(np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15 >> 32)
    state *= np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))).view(np.int64)


class Objective(Protocol):
    """A set function of points of a pool, as the greedy loop sees it."""

    n_points: int

    def best(self, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
        """Return the point not yet chosen that would gain most, and the gain."""
        ...

    def add(self, point: int) -> None:
        """Add a point to the set."""
        ...


def greedy(
    objective: Objective,
    n_instances: int,
    *,
    ties: Ties = "random",
    random_state: RandomState = None,
) -> Iterator[tuple[int, float]]:
    """Yield ``n_instances`` distinct points, each with the largest gain given those before it.

    A pick is the index of the point and the gain, which is what the point adds to the objective.
    The objective has at least ``n_instances`` points. Of the points whose gains are equal, up to
    the objective's tolerance, a random one is picked, drawn by ``random_state``, or with
    ``ties="first"`` the one with the lowest index.

    The greedy algorithm is analysed in Nemhauser, Wolsey, Fisher, *An analysis of approximations
    for maximizing submodular set functions*, 1978.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.greedy import best_of, greedy
    >>> class Sum:
    ...     n_points = 3
    ...     def best(self, order, chosen):
    ...         gains = torch.tensor([2.0, 5.0, 3.0], dtype=torch.float64)
    ...         return best_of(gains, order, chosen, tolerance=1e-12)
    ...     def add(self, point):
    ...         pass
    >>> list(greedy(Sum(), 2))
    [(1, 5.0), (2, 3.0)]
    """
    return _picks(objective, n_instances, TieOrder(objective.n_points, ties, random_state))


def _picks(objective: Objective, n_instances: int, order: TieOrder) -> Iterator[tuple[int, float]]:
    """Yield the picks of :func:`greedy`."""
    chosen: list[int] = []
    for _ in range(n_instances):
        if chosen:
            objective.add(chosen[-1])
        index, gain = objective.best(order, chosen)
        chosen.append(index)
        yield index, gain


def best_of(
    gains: Tensor, order: TieOrder, chosen: Sequence[int], tolerance: float
) -> tuple[int, float]:
    """Return the point with the largest gain, and the gain; among ties, the one of lowest rank.

    ``gains`` are those of all points, (N,) float64 on the CPU. Two gains whose relative difference
    is at most ``tolerance`` count as equal. Points already ``chosen`` are not returned.
    """
    gains = gains.index_fill(0, torch.tensor(chosen, dtype=torch.int64), -1)
    best = gains.max().item()
    tied = (gains >= best * (1 - tolerance)).nonzero().flatten()
    index = int(tied[order.of(tied).argmin()])
    return index, gains[index].item()


def as_tensors(picks: Iterable[tuple[int, float]]) -> tuple[Tensor, Tensor]:
    """Return picks as a tensor of indices and a tensor of gains.

    The picks are those of :func:`greedy`. The indices are int64 and the gains float64,
    (n_instances,) each.

    Examples
    --------
    >>> from modal_balance.acquisition.greedy import as_tensors
    >>> as_tensors([(1, 5.0), (2, 3.0)])
    (tensor([1, 2]), tensor([5., 3.], dtype=torch.float64))
    """
    indices, gains = zip(*picks, strict=True)
    return torch.tensor(indices, dtype=torch.int64), torch.tensor(gains, dtype=torch.float64)
