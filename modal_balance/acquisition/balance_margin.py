"""BALanCe until most of the edge weight is cut, then diverse low-margin points.

A few points cut most of the edge weight: with many classes, one or two informative points leave
less than 0.3 of it. The remaining weight belongs to label configurations that hardly ever occur.
From there on the margin of the mean prediction, which averages over all hypotheses, is the better
guide. The points with the lowest margins are often near-copies of each other, so the batch is
filled with points from different clusters of predictions (``low_margin.py``). The measurements
are in ``docs/studies/batch_rules``.

S: hypotheses    N: points of the pool    M: pending points    C: classes    E: edges
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, check_number
from .arguments import Ties, check_n_instances
from .greedy import TieOrder
from .low_margin import diverse_low_margin
from .objective import BalanceObjective
from .predictions import PoolPredictions
from .uncertainty import margin_scores


class Pick(NamedTuple):
    """A chosen point, its score, and whether the objective chose it."""

    point: int
    score: float  # gain if chosen by the objective, otherwise 1 - margin
    from_objective: bool


def iter_balance_margin_batch(
    proba: Tensor | PoolPredictions,
    edges: Tensor,
    weights: Tensor | None = None,
    n_instances: int = 1,
    *,
    cut_share: float = 0.7,
    pending: Tensor | None = None,
    ties: Ties = "random",
    random_state: RandomState = None,
    chunk_size: int = 512,
) -> Iterator[Pick]:
    """Yield a batch pick by pick: first by the BALanCe objective, then diverse low-margin points.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C), float32 or float64, or PoolPredictions
        Predictions of S hypotheses on N points.
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses that lie in different equivalence classes.
    weights : Tensor of shape (E,) or None, default=None
        Non-negative weight of each edge. None: 1 / E each.
    n_instances : int, default=1
        Size of the batch, at most N.
    cut_share : float in [0, 1], default=0.7
        Share of the edge weight to cut before low-margin points fill the batch. A batch of several
        points has at least one low-margin point.
    pending : Tensor of shape (S, M, C) or None, default=None
        Predictions on points whose labels are pending. They count as chosen before the first
        pick.
    ties : {"random", "first"}, default="random"
        Which of several points with equal gain or margin is chosen.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties, and initialises the clusters.
    chunk_size : int, default=512
        Number of points computed at once; does not change the result.

    Yields
    ------
    Pick

    Raises
    ------
    TypeError, ValueError
        At the call, if an argument is not as described.

    Examples
    --------
    Point 1 distinguishes the two hypotheses; of the others, point 2 has the lowest margin:

    >>> import torch
    >>> from modal_balance.acquisition.balance_margin import iter_balance_margin_batch
    >>> one = [[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]]
    >>> two = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    >>> for pick in iter_balance_margin_batch(torch.tensor([one, two]), torch.tensor([[0, 1]]),
    ...                                       n_instances=2):
    ...     print(pick)
    Pick(point=1, score=1.0, from_objective=True)
    Pick(point=2, score=1.0, from_objective=False)
    """
    objective = BalanceObjective(proba, edges, weights, chunk_size=chunk_size)
    n_instances = check_n_instances(n_instances, objective.n_points)
    allowed = (1 - check_number(cut_share, "cut_share", 1)) * objective.weight_left()
    objective.add_pending(pending)
    if pending is not None:
        pending = pending.to(objective.template)
    return _picks(objective, n_instances, allowed, pending, ties, as_random_state(random_state))


def _picks(
    objective: BalanceObjective,
    n_instances: int,
    allowed: float,
    pending: Tensor | None,
    ties: Ties,
    random_state: RandomState,
) -> Iterator[Pick]:
    """Yield the picks of :func:`iter_balance_margin_batch`; ``allowed`` weight may stay uncut."""
    margin_order = TieOrder(objective.n_points, ties, random_state)
    chosen: list[int] = []
    if len(objective.weights) and n_instances > 1:
        gain_order = TieOrder(objective.n_points, ties, random_state)
        # Each pick scans the whole pool, so stop before a scan whose result is not needed.
        while (
            len(chosen) < n_instances - 1
            and objective.n_restarts == 0
            and objective.weight_left() > allowed
        ):
            index, gain = objective.best(gain_order, chosen)
            if gain <= 0:
                break
            chosen.append(index)
            yield Pick(index, gain, from_objective=True)
            objective.add(index)
    fill = diverse_low_margin(
        objective.pool,
        n_instances - len(chosen),
        chosen,
        margin_order,
        pending=pending,
        random_state=random_state,
    )
    for index, score in zip(fill, margin_scores(objective.pool.rows(fill)).tolist(), strict=True):
        yield Pick(index, score, from_objective=False)
