"""The greedy loop, shared by all objectives of batches.

N: points of the pool
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..arguments import RandomState
from .arguments import Ties
from .tie_order import TieOrder


class Objective(Protocol):
    """A set function of points of a pool, as the greedy loop sees it."""

    n_points: int
    tie_tolerance: float

    def gains(self) -> Tensor:
        """Return what adding each point of the pool would gain, (N,) float64 on the CPU."""
        ...

    def add(self, point: int) -> None:
        """Add a point to the set."""
        ...


@runtime_checkable
class SearchedObjective(Protocol):
    """A set function that finds its best point itself, such as where the pool is in parts."""

    n_points: int

    def best(self, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
        """Return the point not yet chosen that would gain most, and the gain."""
        ...

    def add(self, point: int) -> None:
        """Add a point to the set."""
        ...


def greedy(
    objective: Objective | SearchedObjective,
    n_instances: int,
    *,
    ties: Ties = "random",
    random_state: RandomState = None,
) -> Iterator[tuple[int, float]]:
    """Yield ``n_instances`` different points, each with the largest gain given those before it.

    Parameters
    ----------
    objective : Objective or SearchedObjective
        What to maximise.
    n_instances : int
        How many points to pick, at most ``objective.n_points``.
    ties : {"random", "first"}, default="random"
        Which of the points whose gains are equal, up to the objective's relative
        ``tie_tolerance``, is picked: a random one, or the one with the lowest index.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties.

    Yields
    ------
    index : int
        Index of the point.
    gain : float
        What it adds to the objective.

    References
    ----------
    Nemhauser, Wolsey, Fisher, *An analysis of approximations for maximizing submodular set
    functions*, 1978.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.greedy import greedy
    >>> class Sum:
    ...     n_points, tie_tolerance = 3, 1e-12
    ...     def gains(self):
    ...         return torch.tensor([2.0, 5.0, 3.0], dtype=torch.float64)
    ...     def add(self, point):
    ...         pass
    >>> list(greedy(Sum(), 2))
    [(1, 5.0), (2, 3.0)]
    """
    return _picks(objective, n_instances, TieOrder(objective.n_points, ties, random_state))


def _picks(
    objective: Objective | SearchedObjective, n_instances: int, order: TieOrder
) -> Iterator[tuple[int, float]]:
    """Yield the picks of :func:`greedy`."""
    chosen: list[int] = []
    for _ in range(n_instances):
        if chosen:
            objective.add(chosen[-1])
        if isinstance(objective, SearchedObjective):
            index, gain = objective.best(order, chosen)
        else:
            index, gain = _best(objective, order, chosen)
        chosen.append(index)
        yield index, gain


def _best(objective: Objective, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
    """Return the point of the largest gain; among ties, the one of the lowest rank."""
    gains = objective.gains().index_fill_(0, torch.tensor(chosen, dtype=torch.int64), -1)
    best = gains.max().item()
    tied = (gains >= best * (1 - objective.tie_tolerance)).nonzero().flatten()
    index = int(tied[order.of(tied).argmin()])
    return index, gains[index].item()


def as_tensors(picks: Iterable[tuple[int, float]]) -> tuple[Tensor, Tensor]:
    """Return picks as a tensor of indices and a tensor of gains.

    Parameters
    ----------
    picks : iterable of (int, float)
        What :func:`greedy` yields.

    Returns
    -------
    indices : Tensor of shape (n_instances,), int64
    gains : Tensor of shape (n_instances,), float64

    Examples
    --------
    >>> from modal_balance.acquisition.greedy import as_tensors
    >>> as_tensors([(1, 5.0), (2, 3.0)])
    (tensor([1, 2]), tensor([5., 3.], dtype=torch.float64))
    """
    indices, gains = zip(*picks, strict=True)
    return torch.tensor(indices, dtype=torch.int64), torch.tensor(gains, dtype=torch.float64)
