"""Low-margin points of a pool, which may be partitioned.

S: hypotheses    N: points of the pool    M: pending points    C: classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..arguments import RandomState
from .greedy import TieOrder
from .prediction_clusters import prediction_clusters_batch
from .predictions import PoolPredictions
from .uncertainty import margin_scores

__all__ = ["least_certain", "diverse_low_margin"]

# Low-margin points to cluster for each point that is wanted.
SHORTLIST = 5


def diverse_low_margin(
    pool: PoolPredictions,
    n_instances: int,
    chosen: Sequence[int],
    order: TieOrder,
    *,
    pending: Tensor | None = None,
    random_state: RandomState = None,
) -> list[int]:
    """Return low-margin points on which the hypotheses predict differently.

    Of five times as many points of the lowest margins, take the least certain of each cluster of
    predictions, leaving out the clusters of chosen and pending points: see
    :func:`~modal_balance.acquisition.prediction_clusters.prediction_clusters_batch`.

    Parameters
    ----------
    pool : PoolPredictions
        Predictions of S hypotheses on N points.
    n_instances : int
        How many to return.
    chosen : sequence of int
        Points of the pool that are chosen already.
    order : TieOrder
        Decides among points of the same margin.
    pending : Tensor of shape (S, M, C) or None, default=None
        Predictions of the same hypotheses on pending points.
    random_state : int, RandomState, Generator or None, default=None
        Initialises the clusters.

    Returns
    -------
    list of int
        The lowest margins first.

    Examples
    --------
    Points 0 and 1 are the same to every hypothesis; 3 is certain:

    >>> import torch
    >>> from modal_balance.acquisition.predictions import HeldPredictions
    >>> from modal_balance.acquisition.low_margin import diverse_low_margin
    >>> from modal_balance.acquisition.greedy import TieOrder
    >>> one = [[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [1.0, 0.0]]
    >>> two = [[0.2, 0.8], [0.2, 0.8], [0.8, 0.2], [1.0, 0.0]]
    >>> pool = HeldPredictions(torch.tensor([one, two]))
    >>> diverse_low_margin(pool, 2, [], TieOrder(4, "first"), random_state=0)
    [0, 2]
    """
    few = least_certain(pool, SHORTLIST * n_instances, chosen, order)
    proba = pool.rows([*chosen, *few])  # (S, m, C)
    if pending is not None:
        proba = torch.cat([pending, proba], dim=1)
    n_taken = proba.shape[1] - len(few)
    points = prediction_clusters_batch(
        proba, n_instances, n_taken=n_taken, random_state=random_state
    )
    return [few[point - n_taken] for point in points.tolist()]


def least_certain(
    pool: PoolPredictions, n_instances: int, chosen: Sequence[int], order: TieOrder
) -> list[int]:
    """Return the points of the lowest margins in the mean prediction, the lowest first.

    Parameters
    ----------
    pool : PoolPredictions
        Predictions of S hypotheses on N points.
    n_instances : int
        How many to return; all there are, where these are fewer.
    chosen : sequence of int
        Points that must not be returned.
    order : TieOrder
        Decides among points of the same margin.

    Returns
    -------
    list of int
    """
    taken = torch.tensor(chosen, dtype=torch.int64)
    found = pool.map(LeastCertain(n_instances, taken, order))
    points, certainty, ranks = map(np.concatenate, zip(*found, strict=True))
    first: list[int] = points[np.lexsort((ranks, certainty))[:n_instances]].tolist()
    return first


@dataclass(frozen=True)
class LeastCertain:
    """The points of the lowest margins in a block of the pool.

    Parameters
    ----------
    n_instances : int
        How many.
    chosen : Tensor of shape (b,), int64
        Points that must not be returned.
    order : TieOrder
        Decides among points of the same margin.
    """

    n_instances: int
    chosen: Tensor
    order: TieOrder

    def __call__(
        self, start: int, proba: Tensor, *kept: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the points, their certainty (1 minus the score) and their ranks, (m,) each."""
        points = torch.arange(start, start + proba.shape[1])
        free = ~torch.isin(points, self.chosen)
        points = points[free]
        certainty = (1 - margin_scores(proba).cpu().double())[free].numpy()
        ranks = self.order.of(points).numpy()
        first = np.lexsort((ranks, certainty))[: self.n_instances]
        return points.numpy()[first], certainty[first], ranks[first]
