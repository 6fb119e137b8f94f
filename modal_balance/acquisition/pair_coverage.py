"""The objective of Batch-BALanCe, point by point; ``balance.py`` has its mathematics.

S: hypotheses    N: points of the pool    C: classes    E: edges
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import check_integer
from .arguments import check_cover_tolerance, check_edges, check_weights
from .pair_scan import BestScan, GainScan, PairCuts
from .predictions import HeldPredictions, PoolPredictions
from .probabilities import check_same_hypotheses, working_precision
from .tie_order import TieOrder

__all__ = ["PairCoverage"]


class PairCoverage:
    """The objective Delta with the points chosen so far, ready for the next.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C), or PoolPredictions
        Predictions of S hypotheses on N points. Those that are no tensor keep what
        ``PairCuts.of(edges, S)`` makes of them.
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses.
    weights : Tensor of shape (E,) or None, default=None
        Weight of each edge. None: 1 / E each.
    cover_tolerance : float, default=0.0
        See :func:`balance_batch`.
    chunk_size : int, default=512
        Number of points treated at once.

    Attributes
    ----------
    pool : PoolPredictions
        The predictions, wherever they are.
    n_points : int
        N.
    tie_tolerance : float
        Relative difference under which two gains are equal up to rounding.
    n_covers : int
        Covers begun so far.
    """

    def __init__(
        self,
        proba: Tensor | PoolPredictions,
        edges: Tensor,
        weights: Tensor | None = None,
        *,
        cover_tolerance: float = 0.0,
        chunk_size: int = 512,
    ) -> None:
        if not isinstance(proba, PoolPredictions):
            proba = working_precision(proba).contiguous()
        self.example = proba if isinstance(proba, Tensor) else proba.example
        self.n_hypotheses: int = self.example.shape[0]
        edges = check_edges(edges, self.n_hypotheses).to(self.example.device)
        self.cuts = PairCuts.of(edges, self.n_hypotheses)
        self.pool = HeldPredictions(proba, self.cuts) if isinstance(proba, Tensor) else proba
        self.n_points = self.pool.n_points
        self.weights = check_weights(weights, len(edges)).to(edges.device).double()  # (E,)
        self.cover_tolerance = check_cover_tolerance(cover_tolerance)
        self.chunk_size = check_integer(chunk_size, "chunk_size")
        self.tie_tolerance = 1e-5 if self.example.dtype == torch.float32 else 1e-12
        self._rows: dict[int, Tensor] = {}
        self.n_covers = 0
        self._begin_cover()

    def _begin_cover(self) -> None:
        # W = scale * remaining, the largest value of remaining is 1: however little is left, it is
        # told apart. W is small, so it stays in float64 where the predictions are float32.
        largest = self.weights.max().item() if len(self.weights) else 0.0
        self.scale = largest / self.n_hypotheses
        self.remaining = (self.weights / (largest or 1.0)).repeat(self.n_hypotheses, 1)  # (S, E)
        self.fresh = True
        self.n_covers += 1
        self.full_weight = self.weight_left()

    def weight_left(self) -> float:
        """Return what is left of the edge weight after the points chosen so far."""
        return self.scale * float(self.remaining.sum())

    def _scan(self) -> GainScan:
        remaining = self.remaining[:1] if self.fresh else self.remaining
        weight = remaining.to(self.example.dtype)  # (S, E), or a row that stands for all
        return GainScan(self.cuts, weight, self.scale, self.chunk_size)

    def gains(self) -> Tensor:
        """Return what each point of the pool would add to the objective.

        Returns
        -------
        Tensor of shape (N,), float64, on the CPU
        """
        return torch.cat(self.pool.map(self._scan()))

    def best(self, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
        """Return the point that would add most to the objective, and how much.

        Parameters
        ----------
        order : TieOrder
            Decides among points whose gains are equal, up to ``tie_tolerance``.
        chosen : sequence of int
            Points that are out of question.

        Returns
        -------
        index : int
        gain : float
        """
        taken = torch.tensor(chosen, dtype=torch.int64)
        found = self.pool.map(BestScan(self._scan(), taken, order, self.tie_tolerance))
        points, gains, ranks = map(torch.cat, zip(*found, strict=True))
        near = (gains >= gains.max() * (1 - self.tie_tolerance)).nonzero().flatten()
        best = near[ranks[near].argmin()]
        return int(points[best]), gains[best].item()

    def gain(self, point: int) -> float:
        """Return what one point of the pool would add to the objective."""
        return float(self._scan()(point, *self.cuts(self._row(point)[:, None])))

    def fetch(self, points: Sequence[int]) -> None:
        """Get the predictions on points that are going to be added, all at once."""
        if len(points):
            self._rows = dict(zip(points, self.pool.rows(points).unbind(1), strict=True))

    def _row(self, point: int) -> Tensor:
        """Return the predictions on a point, (S, C)."""
        return self._rows[point] if point in self._rows else self.pool.rows([point])[:, 0]

    def add(self, point: int) -> None:
        """Choose a point of the pool.

        Parameters
        ----------
        point : int
            Its index.
        """
        self._multiply(self._row(point))

    def add_pending(self, pending: Tensor | None) -> None:
        """Choose points that are not in the pool.

        Parameters
        ----------
        pending : Tensor of shape (S, M, C) or None
            Predictions of the same hypotheses on them.
        """
        if pending is None:
            return
        pending = working_precision(pending, name="pending")
        check_same_hypotheses(pending, self.example)
        for proba in pending.to(self.example.device).unbind(1):
            self._multiply(proba)

    def _multiply(self, proba: Tensor) -> None:
        """Multiply W by the G of a point, given as (S, C); begin a new cover if little is left."""
        if len(self.weights) == 0:
            return
        proba = proba.to(self.remaining)
        ratio = proba / proba.amax(-1, keepdim=True)  # (S, C)
        ends = ratio[self.cuts.first] * ratio[self.cuts.second]  # (E, C)
        agreement = proba @ ends.T  # (S, E), G of the point
        self.remaining *= agreement.clamp_(max=1)
        self.fresh = False
        largest = self.remaining.max().item()
        scale = self.scale * largest
        if scale < 1e-290 or self.weight_left() <= self.cover_tolerance * self.full_weight:
            self._begin_cover()
        else:
            self.remaining /= largest
            self.scale = scale
