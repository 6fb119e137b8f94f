"""Herding: batches that cover the pool (MaxHerding, uncertainty herding).

N: points of the pool    M: reference points    D: features    L: labelled and pending points
b: points of a batch

A point covers another to the degree of their similarity, given by a kernel k. The coverage of a
set S averages over the reference points, each covered by the point of S most similar to it:

    k(x, s) = exp(-|x - s|^2 / radius^2)
    C(S)    = (1/M) sum_m u_m max_{s in S} k(x_m, s)                      u_m = 1 unless weighted

C is monotone and submodular. Given c_m = max over S of k(x_m, s), the gain of adding x is

    gain(x) = (1/M) sum_m u_m max(0, k(x_m, x) - c_m)

Gains never increase as points are added, so an earlier gain is an upper bound. Only points whose
bound reaches the best gain found are recomputed (lazy greedy). The picks equal those of a full
scan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._utils.arguments import RandomState, check_positive, kind_of
from .arguments import check_features, check_n_instances
from .greedy import TieOrder, as_tensors, greedy

# Largest number of kernel values held in memory: 256 MiB in float64. A larger kernel is computed
# in blocks.
HELD_VALUES = 2**25
# Number of values in a block: 32 MiB.
BLOCK_VALUES = 2**22
# Gains are means of numbers in [0, 1] and exact up to rounding.
TIE_TOLERANCE = 1e-12


def herding_batch(
    features: Tensor,
    n_instances: int,
    *,
    radius: float,
    reference: Tensor | None = None,
    weights: Tensor | None = None,
    covered_by: Tensor | None = None,
    random_state: RandomState = None,
) -> tuple[Tensor, Tensor]:
    """Choose the batch that greedily maximises the coverage of the pool.

    The greedy batch adds at least 1 - 1/e of the coverage that the best batch would add. Everything
    is computed in float64, with at most 512 MB besides the features.

    Parameters
    ----------
    features : Tensor of shape (N, D)
        Coordinates of the points of the pool.
    n_instances : int
        Size of the batch b, 1 to N.
    radius : float
        Width of the kernel, above 0: at this distance the kernel is 1/e.
    reference : Tensor of shape (M, D) or None, default=None
        Points to cover, for instance a random subset of a large pool. None: the pool.
    weights : Tensor of shape (M,) or None, default=None
        Weight of each reference point, at least 0: in uncertainty herding, the uncertainty of its
        label. None: 1 each.
    covered_by : Tensor of shape (L, D) or None, default=None
        Labelled and pending points, which cover others from the start.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties.

    Returns
    -------
    indices : Tensor of shape (b,), int64
        The chosen points, all different, in the order in which they were chosen.
    gains : Tensor of shape (b,), float64
        Coverage that each point adds; never increases.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Bae, Noh, Sutherland, *Generalized Coverage for More Robust Low-Budget Active Learning*,
    ECCV 2024 (MaxHerding). Bae, Oliveira, Sutherland, *Uncertainty Herding: One Active Learning
    Method for All Label Budgets*, ICLR 2025 (the weights). Minoux, *Accelerated greedy algorithms
    for maximizing submodular set functions*, 1978 (the lazy evaluation).

    Examples
    --------
    First the middle of the larger group, then a point of the smaller group:

    >>> import torch
    >>> from modal_balance.acquisition.herding import herding_batch
    >>> features = torch.tensor([[0.0], [1.0], [2.0], [8.0], [9.0]])
    >>> indices, gains = herding_batch(features, 2, radius=2.0, random_state=0)
    >>> indices[0].item(), indices[1].item() in (3, 4)
    (1, True)
    """
    check_features(features, "features")
    n_instances = check_n_instances(n_instances, len(features), name="features")
    objective = _Coverage(features, radius, features if reference is None else reference, weights)
    if covered_by is not None and len(covered_by):
        objective.cover_by(covered_by)
    return as_tensors(greedy(objective, n_instances, random_state=random_state))


class _Coverage:
    """Coverage of the reference points, as an objective for the greedy loop."""

    def __init__(
        self, features: Tensor, radius: float, reference: Tensor, weights: Tensor | None
    ) -> None:
        self.features = features.detach().cpu()
        self.n_points = len(features)
        self.radius = check_positive(radius, "radius")
        _check_like(reference, features, "reference")
        self.reference = reference.detach().cpu().double()  # (M, D)
        self.squares = (self.reference**2).sum(1)  # (M,)
        self.weights = _check_weights(weights, len(reference))
        self.covered = torch.zeros(len(reference), dtype=torch.float64)  # (M,), c_m
        self.bounds = torch.full((self.n_points,), torch.inf, dtype=torch.float64)  # (N,)
        self.n_block = max(1, BLOCK_VALUES // len(reference))
        self.held: Tensor | None = None  # (N, M)
        if self.n_points * len(reference) <= HELD_VALUES:
            self.held = torch.cat([self._kernel(rows) for rows in self._blocks(self.features)])

    def best(self, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
        """Return the point not yet chosen that would gain most, and the gain."""
        self.bounds[list(chosen)] = -torch.inf
        fresh = torch.zeros(self.n_points, dtype=torch.bool)
        best = -torch.inf
        while True:
            stale = ((self.bounds >= best - TIE_TOLERANCE) & ~fresh).nonzero().flatten()
            stale = stale[~self.bounds[stale].isneginf()]
            if len(stale) == 0:
                break
            if len(stale) > self.n_block:
                stale = stale[self.bounds[stale].topk(self.n_block).indices]
            self.bounds[stale] = self._gains(stale)
            fresh[stale] = True
            best = max(best, self.bounds[stale].max().item())
        tied = ((self.bounds >= best - TIE_TOLERANCE) & fresh).nonzero().flatten()
        index = int(tied[order.of(tied).argmin()])
        return index, self.bounds[index].item()

    def add(self, point: int) -> None:
        """Add a point of the pool to the set."""
        kernel = self._kernel_of_points(torch.tensor([point]))[0]  # (M,)
        self.covered = torch.maximum(self.covered, kernel)

    def cover_by(self, points: Tensor) -> None:
        """Add other points (L, D) to the set."""
        _check_like(points, self.features, "covered_by")
        for rows in self._blocks(points.detach().cpu()):
            self.covered = torch.maximum(self.covered, self._kernel(rows).amax(0))

    def _gains(self, points: Tensor) -> Tensor:
        """Return the gain of adding each of n points, (n,)."""
        more = (self._kernel_of_points(points) - self.covered).clamp_(min=0)  # (n, M)
        return more @ self.weights / len(self.reference)

    def _kernel_of_points(self, points: Tensor) -> Tensor:
        """Return the kernel of n points of the pool, (n, M)."""
        if self.held is not None:
            return self.held[points]
        return self._kernel(self.features[points])

    def _kernel(self, rows: Tensor) -> Tensor:
        """Return the kernel of n rows (n, D) and the reference points, (n, M)."""
        rows = rows.double()
        squares = (rows**2).sum(1)  # (n,)
        distances = torch.addmm(self.squares, rows, self.reference.T, alpha=-2)
        distances = distances.add_(squares[:, None]).clamp_(min=0)  # (n, M), squared
        return distances.mul_(-1 / self.radius**2).exp_()

    def _blocks(self, rows: Tensor) -> Sequence[Tensor]:
        return torch.split(rows, self.n_block)


def _check_like(points: Tensor, features: Tensor, name: str) -> None:
    check_features(points, name)
    if points.shape[1] != features.shape[1]:
        raise ValueError(
            f"{name} has {points.shape[1]} columns but features has {features.shape[1]}. Pass "
            "the same columns in both."
        )
    if len(points) == 0:
        raise ValueError(f"{name} has no points. Pass at least one.")


def _check_weights(weights: Tensor | None, n_points: int) -> Tensor:
    if weights is None:
        return torch.ones(n_points, dtype=torch.float64)
    if not isinstance(weights, Tensor):
        raise TypeError(f"weights must be a torch tensor, got {kind_of(weights)}.")
    if weights.shape != (n_points,):
        raise ValueError(
            f"weights must have the shape ({n_points},), one for each reference point, got "
            f"{tuple(weights.shape)}."
        )
    weights = weights.detach().cpu().double()
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("weights must be finite numbers of at least 0.")
    return weights
