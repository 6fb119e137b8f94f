"""The part of the objective of Batch-BALanCe that looks at the pool, a block at a time.

Nothing here changes between two blocks or remembers one: what a block needs to know of the batch so
far is W. Blocks can therefore be anywhere. ``pair_coverage.py`` has W; ``balance.py`` has the
mathematics.

S: hypotheses    n: points of a block    C: classes    E: edges
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .probabilities import likelihood_deficit
from .tie_order import TieOrder

# Edges are taken in blocks of this size, so that the intermediate products stay in cache.
EDGE_BLOCK = 128


@dataclass(frozen=True)
class PairCuts:
    """How well the labels of points cut edges: what a scan needs beside the predictions.

    Parameters
    ----------
    first, second : Tensor of shape (E,), int64
        The two ends k and l of each edge.
    keeps_cut : bool
        Whether 1 - lambda_k lambda_l of each edge is kept, and not 1 - lambda of each hypothesis:
        where it takes no more memory.
    """

    first: Tensor
    second: Tensor
    keeps_cut: bool

    @classmethod
    def of(cls, edges: Tensor, n_hypotheses: int) -> PairCuts:
        """Return the cuts of edges (E, 2) between ``n_hypotheses`` hypotheses."""
        first, second = edges.unbind(1)
        return cls(first, second, len(edges) <= n_hypotheses)

    def __call__(self, proba: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions (S, n, C) with what is kept beside them: (E, n, C) or (S, n, C)."""
        if not self.keeps_cut:
            return proba, likelihood_deficit(proba)
        kept = proba.new_empty(len(self.first), *proba.shape[1:])  # (E, n, C)
        for start in range(0, proba.shape[1], 512):
            points = slice(start, start + 512)
            kept[:, points] = self.cut(likelihood_deficit(proba[:, points]))
        return proba, kept

    def cut(self, deficit: Tensor, edges: slice = slice(None)) -> Tensor:
        """Return 1 - lambda_k lambda_l of some edges, (E, ...), from the deficits (S, ...)."""
        one = torch.ones((), dtype=deficit.dtype, device=deficit.device)
        first = self.first[edges].to(deficit.device)
        second = self.second[edges].to(deficit.device)
        # = d_k + d_l (1 - d_k), free of cancellation
        return deficit[first].lerp_(one, deficit[second])


@dataclass(frozen=True)
class GainScan:
    """The gains of all points of a block, given W.

    Parameters
    ----------
    cuts : PairCuts
        The edges.
    weight : Tensor of shape (S, E), or (1, E) where W is the same for every hypothesis
        W over ``scale``, in the precision of the predictions.
    scale : float
        Factor of all gains.
    chunk_size : int
        Number of points treated at once.
    """

    cuts: PairCuts
    weight: Tensor
    scale: float
    chunk_size: int

    def __call__(self, start: int, proba: Tensor, kept: Tensor) -> Tensor:
        """Return the gains in Delta (Eq. 3, Eq. 4), (n,) float64, on the CPU.

        Parameters
        ----------
        start : int
            Number of the first point.
        proba : Tensor of shape (S, n, C)
            Predictions.
        kept : Tensor of shape (E, n, C) or (S, n, C)
            What :class:`PairCuts` keeps.
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
        for start in range(0, len(self.cuts.first), EDGE_BLOCK):
            edges = slice(start, start + EDGE_BLOCK)
            cut = kept[edges] if self.cuts.keeps_cut else self.cuts.cut(kept, edges)  # (E, n*C)
            if fresh:  # W[j, e] is the same for every j: no product with p is needed yet
                total += weight[0, edges] @ cut
            else:
                total += (weight[:, edges].T @ proba).mul_(cut).sum(0)
        if fresh:
            total *= proba.sum(0)
        return total.view(-1, n_classes).sum(1)  # (n,)


class Candidates(NamedTuple):
    """Points of a block that may be the best of the pool, and why."""

    points: Tensor  # (m,), int64
    gains: Tensor  # (m,), float64
    ranks: Tensor  # (m,), int64, decides among equal gains


@dataclass(frozen=True)
class BestScan:
    """The few points of a block among which the best of the pool is, if it is there at all.

    The best of the pool is the point of the lowest rank among those whose gain is the largest of
    all, up to a relative tolerance. The largest gain of all is not known to a block. Whatever it
    is, no point can be the best if another of the same block has no smaller gain and a lower rank:
    those that have no such rival are the candidates. There are about log n.

    Parameters
    ----------
    scan : GainScan
        Computes the gains.
    chosen : Tensor of shape (b,), int64
        Points that are chosen already.
    order : TieOrder
        The ranks.
    tolerance : float
        Relative difference under which two gains are equal up to rounding.
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
    """Return the points that may be the best of a pool, given the gains of a part of it.

    Parameters
    ----------
    gains : Tensor of shape (n,), float64
        Gains of a range of points, -1 of those that cannot be chosen.
    start : int
        Number of the first point.
    order : TieOrder
        The ranks.
    tolerance : float
        Relative difference under which two gains are equal up to rounding.

    Returns
    -------
    Candidates

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.pair_scan import candidates
    >>> from modal_balance.acquisition.tie_order import TieOrder
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
