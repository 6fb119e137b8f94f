"""The objective of Batch-BALanCe, point by point; ``balance.py`` has its mathematics.

S: hypotheses    N: points of the pool    C: classes    E: edges
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..arguments import check_integer
from .arguments import check_cover_tolerance, check_edges, check_weights
from .probabilities import check_same_hypotheses, likelihood_deficit, working_precision

__all__ = ["PairCoverage"]

# Edges are taken in blocks of this size, so that the intermediate products stay in cache.
EDGE_BLOCK = 128


class PairCoverage:
    """The objective Delta with the points chosen so far, ready for the next.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
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
    n_points : int
        N.
    tie_tolerance : float
        Relative difference under which two gains are equal up to rounding.
    n_covers : int
        Covers begun so far.
    """

    def __init__(
        self,
        proba: Tensor,
        edges: Tensor,
        weights: Tensor | None = None,
        *,
        cover_tolerance: float = 0.0,
        chunk_size: int = 512,
    ) -> None:
        self.proba = working_precision(proba).contiguous()
        n_hypotheses, self.n_points, self.n_classes = proba.shape
        self.first, self.second = check_edges(edges, n_hypotheses).to(proba.device).unbind(1)
        self.weights = check_weights(weights, len(edges)).to(proba.device).double()  # (E,)
        self.cover_tolerance = check_cover_tolerance(cover_tolerance)
        self.chunk_size = check_integer(chunk_size, "chunk_size")
        self.tie_tolerance = 1e-5 if self.proba.dtype == torch.float32 else 1e-12
        # Every scan needs 1 - lambda_k lambda_l. It is kept where it takes no more memory than the
        # predictions; otherwise 1 - lambda is kept.
        self.keeps_cut = len(edges) <= n_hypotheses
        if self.keeps_cut:
            self.kept = self.proba.new_empty(len(edges), self.n_points, self.n_classes)  # (E, N, C)
            for points in self._chunks():
                self.kept[:, points] = self._cut(likelihood_deficit(self.proba[:, points]))
        else:
            self.kept = likelihood_deficit(self.proba)  # (S, N, C)
        self.n_covers = 0
        self._begin_cover()

    def _begin_cover(self) -> None:
        # W = scale * remaining, the largest value of remaining is 1: however little is left, it is
        # told apart. W is small, so it stays in float64 where the predictions are float32.
        n_hypotheses = self.proba.shape[0]
        largest = self.weights.max().item() if len(self.weights) else 0.0
        self.scale = largest / n_hypotheses
        self.remaining = (self.weights / (largest or 1.0)).repeat(n_hypotheses, 1)  # (S, E)
        self.fresh = True
        self.n_covers += 1
        self.full_weight = self.weight_left()

    def weight_left(self) -> float:
        """Return what is left of the edge weight after the points chosen so far."""
        return self.scale * float(self.remaining.sum())

    def _chunks(self) -> Iterator[slice]:
        for start in range(0, self.n_points, self.chunk_size):
            yield slice(start, start + self.chunk_size)

    def _cut(self, deficit: Tensor, edges: slice = slice(None)) -> Tensor:
        """Return 1 - lambda_k lambda_l of some edges, (E, ...), from the deficits (S, ...)."""
        one = torch.ones((), dtype=deficit.dtype, device=deficit.device)
        # = d_k + d_l (1 - d_k), free of cancellation
        return deficit[self.first[edges]].lerp_(one, deficit[self.second[edges]])

    def gains(self) -> Tensor:
        """Return what each point of the pool would add to the objective.

        Returns
        -------
        Tensor of shape (N,), float64, on the CPU
        """
        gains = torch.empty(self.n_points, dtype=torch.float64, device=self.proba.device)
        weight = self.remaining.to(self.proba.dtype)  # (S, E)
        for points in self._chunks():
            gains[points] = self._chunk_gains(points, weight)
        return gains.mul_(self.scale).cpu()

    def gain(self, point: int) -> float:
        """Return what one point of the pool would add to the objective."""
        weight = self.remaining.to(self.proba.dtype)
        return self.scale * float(self._chunk_gains(slice(point, point + 1), weight)[0])

    def _chunk_gains(self, points: slice, weight: Tensor) -> Tensor:
        """Return the gains in Delta (Eq. 3, Eq. 4) of n points, over ``scale``."""
        proba = self.proba[:, points].flatten(1)  # (S, n*C)
        kept = self.kept[:, points].flatten(1)  # (E, n*C) or (S, n*C)
        total = proba.new_zeros(proba.shape[1])  # (n*C,)
        for start in range(0, len(self.first), EDGE_BLOCK):
            edges = slice(start, start + EDGE_BLOCK)
            cut = kept[edges] if self.keeps_cut else self._cut(kept, edges)  # (E, n*C)
            if self.fresh:  # W[j, e] is the same for every j: no product with p is needed yet
                total += weight[0, edges] @ cut
            else:
                total += (weight[:, edges].T @ proba).mul_(cut).sum(0)
        if self.fresh:
            total *= proba.sum(0)
        return total.view(-1, self.n_classes).sum(1)  # (n,)

    def add(self, point: int) -> None:
        """Choose a point of the pool.

        Parameters
        ----------
        point : int
            Its index.
        """
        self._multiply(self.proba[:, point])

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
        check_same_hypotheses(pending, self.proba)
        for proba in pending.to(self.proba.device).unbind(1):
            self._multiply(proba)

    def _multiply(self, proba: Tensor) -> None:
        """Multiply W by the G of a point, given as (S, C); begin a new cover if little is left."""
        if len(self.first) == 0:
            return
        proba = proba.double()
        ratio = proba / proba.amax(-1, keepdim=True)  # (S, C)
        agreement = proba @ (ratio[self.first] * ratio[self.second]).T  # (S, E), G of the point
        self.remaining *= agreement.clamp_(max=1)
        self.fresh = False
        largest = self.remaining.max().item()
        scale = self.scale * largest
        if scale < 1e-290 or self.weight_left() <= self.cover_tolerance * self.full_weight:
            self._begin_cover()
        else:
            self.remaining /= largest
            self.scale = scale
