"""The objective Delta of BALanCe and Batch-BALanCe (Eq. 3, Eq. 4); ``balance.py`` derives it.

``BalanceObjective`` holds W, the edge weight that the points chosen so far have left uncut. A scan
needs only W and one block of the pool, so the blocks of a large pool can be anywhere.

S: hypotheses    N: points of the pool    n: points of a block    C: classes    E: edges
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import check_integer
from .arguments import check_edges, check_weights
from .greedy import TieOrder
from .predictions import (
    HeldPredictions,
    PoolPredictions,
    check_same_hypotheses,
    likelihood_deficit,
    working_precision,
)

# Number of edges in a block, small enough for the intermediate products to stay in cache.
EDGE_BLOCK = 128


@dataclass(frozen=True)
class EdgeDiscrimination:
    """Discrimination 1 - lambda_k lambda_l of each edge {k, l}, stored in the least memory.

    ``first`` and ``second``, int64 (E,), are the two hypotheses k and l of each edge. If
    ``per_edge`` is True, 1 - lambda_k lambda_l of each edge is kept. Otherwise 1 - lambda of each
    hypothesis is kept, and every scan combines them, which takes less memory if there are more
    edges than hypotheses.
    """

    first: Tensor
    second: Tensor
    per_edge: bool

    @classmethod
    def of(cls, edges: Tensor, n_hypotheses: int) -> EdgeDiscrimination:
        """Return the discrimination of edges (E, 2) among ``n_hypotheses`` hypotheses."""
        first, second = edges.unbind(1)
        return cls(first, second, len(edges) <= n_hypotheses)

    def __call__(self, proba: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions (S, n, C) and what is kept of them: (E, n, C) or (S, n, C)."""
        if not self.per_edge:
            return proba, likelihood_deficit(proba)
        kept = proba.new_empty(len(self.first), *proba.shape[1:])  # (E, n, C)
        for start in range(0, proba.shape[1], 512):
            points = slice(start, start + 512)
            kept[:, points] = self.cut(likelihood_deficit(proba[:, points]))
        return proba, kept

    def cut(self, deficit: Tensor, edges: slice = slice(None)) -> Tensor:
        """Return 1 - lambda_k lambda_l of some edges, (E, ...), from deficits (S, ...)."""
        one = torch.ones((), dtype=deficit.dtype, device=deficit.device)
        first = self.first[edges].to(deficit.device)
        second = self.second[edges].to(deficit.device)
        # = d_k + d_l (1 - d_k), without cancellation
        return deficit[first].lerp_(one, deficit[second])


@dataclass(frozen=True)
class GainScan:
    """Compute the gains of all points of a block, given W.

    ``weight`` is W / ``scale`` in the precision of the predictions: (S, E), or (1, E) where W is
    the same for every hypothesis. ``scale`` is a common factor of all gains, and ``chunk_size``
    points are computed at once.
    """

    discrimination: EdgeDiscrimination
    weight: Tensor
    scale: float
    chunk_size: int

    def __call__(self, start: int, proba: Tensor, kept: Tensor) -> Tensor:
        """Return the gains in Delta (Eq. 3, Eq. 4), (n,) float64, on the CPU.

        The block begins at the point with index ``start`` and has the predictions ``proba``
        (S, n, C). ``kept``, (E, n, C) or (S, n, C), is the tensor that :class:`EdgeDiscrimination`
        keeps of them.
        """
        n_points = proba.shape[1]
        gains = torch.empty(n_points, dtype=torch.float64, device=proba.device)
        weight = self.weight.to(proba.device)
        for first in range(0, n_points, self.chunk_size):
            points = slice(first, first + self.chunk_size)
            gains[points] = self._chunk(proba[:, points], kept[:, points], weight)
        return gains.mul_(self.scale).cpu()

    def _chunk(self, proba: Tensor, kept: Tensor, weight: Tensor) -> Tensor:
        n_classes = proba.shape[2]
        proba, kept = proba.flatten(1), kept.flatten(1)  # (S, n*C), (E, n*C) or (S, n*C)
        fresh = len(weight) == 1
        total = proba.new_zeros(proba.shape[1])  # (n*C,)
        for start in range(0, len(self.discrimination.first), EDGE_BLOCK):
            edges = slice(start, start + EDGE_BLOCK)
            if self.discrimination.per_edge:
                cut = kept[edges]  # (E, n*C)
            else:
                cut = self.discrimination.cut(kept, edges)
            if fresh:  # W[j, e] is the same for every j: no product with p is needed yet
                total += weight[0, edges] @ cut
            else:
                total += (weight[:, edges].T @ proba).mul_(cut).sum(0)
        if fresh:
            total *= proba.sum(0)
        return total.view(-1, n_classes).sum(1)  # (n,)


class Candidates(NamedTuple):
    """Points of a block that may be the best of the pool, with their gains and ranks."""

    points: Tensor  # (m,), int64
    gains: Tensor  # (m,), float64
    ranks: Tensor  # (m,), int64, breaks ties


@dataclass(frozen=True)
class BestScan:
    """Find the few points of a block that may be the best point of the pool.

    The best point of the pool has the largest gain, up to a relative tolerance, and the lowest rank
    among such points. A block does not know the largest gain of the pool. But a point cannot be the
    best if another point of its block has at least the same gain and a lower rank. The candidates
    are the points without such a rival, about log n of them.

    ``scan`` computes the gains, ``order`` gives the ranks, and ``chosen``, int64 (b,), are the
    points that have already been chosen. Two gains count as equal if their relative difference is
    at most ``tolerance``.
    """

    scan: GainScan
    chosen: Tensor
    order: TieOrder
    tolerance: float

    def __call__(self, start: int, proba: Tensor, kept: Tensor) -> Candidates:
        """Return the candidates of a block; the arguments are those of :class:`GainScan`."""
        gains = self.scan(start, proba, kept)  # (n,)
        here = self.chosen - start
        gains[here[(here >= 0) & (here < len(gains))]] = -1
        return candidates(gains, start, self.order, self.tolerance)


def candidates(gains: Tensor, start: int, order: TieOrder, tolerance: float) -> Candidates:
    """Return the points that may be the best of a pool, given the gains of a range of it.

    ``gains``, float64 (n,), begin with that of the point with index ``start``, and are -1 for
    points that cannot be chosen. Two gains count as equal if their relative difference is at most
    ``tolerance``, and ``order`` gives the ranks.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.objective import candidates
    >>> from modal_balance.acquisition.greedy import TieOrder
    >>> gains = torch.tensor([0.1, 0.999, 0.998, 1.0], dtype=torch.float64)
    >>> candidates(gains, 100, TieOrder(104, "first"), tolerance=0.01).points
    tensor([103, 101])
    """
    near = (gains >= gains.max() * (1 - tolerance)).nonzero().flatten()
    near = near[gains[near] >= 0]
    ranks = order.of(near + start)
    falling = torch.from_numpy(np.lexsort((ranks.numpy(), -gains[near].numpy())))
    near, ranks = near[falling], ranks[falling]
    if len(near):
        lowest = ranks.cummin(0).values
        lead = torch.ones(len(near), dtype=torch.bool)
        lead[1:] = ranks[1:] < lowest[:-1]
        near, ranks = near[lead], ranks[lead]
    return Candidates(near + start, gains[near], ranks)


class BalanceObjective:
    """The objective Delta (Eq. 4) given the points chosen so far.

    When every edge is completely cut, it restarts with the full weights; ``n_restarts`` is the
    number of restarts.

    ``proba`` holds the predictions (S, N, C) of S hypotheses on N points, or is a PoolPredictions
    prepared by ``EdgeDiscrimination.of(edges, S)``; ``pool`` is the predictions, in memory or
    elsewhere, and ``n_points`` is N. ``edges``, int64 (E, 2), are pairs of hypotheses, and
    ``weights`` (E,) their weights; None means 1 / E each. ``chunk_size`` points are computed at
    once. Two gains count as equal if their relative difference is at most ``tie_tolerance``.
    """

    def __init__(
        self,
        proba: Tensor | PoolPredictions,
        edges: Tensor,
        weights: Tensor | None = None,
        *,
        chunk_size: int = 512,
    ) -> None:
        if not isinstance(proba, PoolPredictions):
            proba = working_precision(proba).detach().contiguous()
        self.template = proba if isinstance(proba, Tensor) else proba.template
        self.n_hypotheses: int = self.template.shape[0]
        edges = check_edges(edges, self.n_hypotheses).to(self.template.device)
        self.discrimination = EdgeDiscrimination.of(edges, self.n_hypotheses)
        self.pool = (
            HeldPredictions(proba, self.discrimination) if isinstance(proba, Tensor) else proba
        )
        self.n_points = self.pool.n_points
        self.weights = check_weights(weights, len(edges)).to(edges.device).double()  # (E,)
        self.chunk_size = check_integer(chunk_size, "chunk_size")
        self.tie_tolerance = 1e-5 if self.template.dtype == torch.float32 else 1e-12
        self.n_restarts = -1
        self._restore_weights()

    def _restore_weights(self) -> None:
        # W = scale * remaining. The largest value of remaining is 1, so that gains stay distinct
        # however little is left. W is small enough to stay in float64 with float32 predictions.
        largest = self.weights.max().item() if len(self.weights) else 0.0
        self.scale = largest / self.n_hypotheses
        self.remaining = (self.weights / (largest or 1.0)).repeat(self.n_hypotheses, 1)  # (S, E)
        self.fresh = True
        self.n_restarts += 1

    def weight_left(self) -> float:
        """Return the edge weight that the points chosen so far have left uncut."""
        return self.scale * float(self.remaining.sum())

    def _scan(self) -> GainScan:
        remaining = self.remaining[:1] if self.fresh else self.remaining
        weight = remaining.to(self.template.dtype)  # (S, E), or one row for all
        return GainScan(self.discrimination, weight, self.scale, self.chunk_size)

    def gains(self) -> Tensor:
        """Return what each point would add to the objective, (N,) float64 on the CPU."""
        return torch.cat(self.pool.map(self._scan()))

    def best(self, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
        """Return the point that would add most to the objective, and how much.

        ``order`` breaks ties between points whose gains are equal up to ``tie_tolerance``. Points
        already ``chosen`` are not returned.
        """
        taken = torch.tensor(chosen, dtype=torch.int64)
        found = self.pool.map(BestScan(self._scan(), taken, order, self.tie_tolerance))
        points, gains, ranks = map(torch.cat, zip(*found, strict=True))
        near = (gains >= gains.max() * (1 - self.tie_tolerance)).nonzero().flatten()
        best = near[ranks[near].argmin()]
        return int(points[best]), gains[best].item()

    def add(self, point: int) -> None:
        """Choose the point of the pool with this index."""
        self._multiply(self.pool.rows([point])[:, 0])

    def add_pending(self, pending: Tensor | None) -> None:
        """Choose points that are not in the pool.

        ``pending`` holds the predictions (S, M, C) of the same hypotheses on them; None adds no
        points.
        """
        if pending is None:
            return
        pending = working_precision(pending, name="pending").detach()
        check_same_hypotheses(pending, self.template)
        for proba in pending.to(self.template.device).unbind(1):
            self._multiply(proba)

    def _multiply(self, proba: Tensor) -> None:
        """Multiply W by the G of a point with predictions (S, C); restart if nothing is left."""
        if len(self.weights) == 0:
            return
        proba = proba.to(self.remaining)
        ratio = proba / proba.amax(-1, keepdim=True)  # (S, C)
        ends = ratio[self.discrimination.first] * ratio[self.discrimination.second]  # (E, C)
        agreement = proba @ ends.T  # (S, E), G of the point
        self.remaining *= agreement.clamp_(max=1)
        self.fresh = False
        largest = self.remaining.max().item()
        scale = self.scale * largest
        if scale < 1e-290:  # hard 0/1 predictions cut every edge
            self._restore_weights()
        else:
            self.remaining /= largest
            self.scale = scale
