"""A batch that covers the edges once, and takes points of small margins for the rest.

A few points spend most of the objective: where classes are many, one or two informative points
leave less than 0.3 of the edge weight, and after ten there are only label configurations that
hardly ever occur. More covers of the same edges ask about the same pairs of hypotheses again, whose
differences are noise in part. The margin of the mean prediction, which averages over all
hypotheses, is the better guide from there on. But the smallest margins are often much alike: of
five times as many as are wanted, those are taken whose answers differ most, see
``answer_clusters.py``. At least one of a batch is: a point that is asked for alone is worth more
for its small margin than for the edges it cuts. What this gains and when was measured in
``docs/studies/batch_rules``.

S: hypotheses    N: points of the pool    M: points out for annotation    C: classes    E: edges
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import numpy as np
from torch import Tensor

from ..arguments import RandomState, as_random_state
from .arguments import Ties, check_cover_tolerance, check_n_instances
from .pair_coverage import PairCoverage
from .predictions import PoolPredictions
from .small_margins import least_certain, unlike_points
from .tie_order import TieOrder

__all__ = ["MarginRest", "iter_cover_then_rest"]

MarginRest = Literal["clusters", "margin"]


def iter_cover_then_rest(
    proba: Tensor | PoolPredictions,
    edges: Tensor,
    weights: Tensor | None = None,
    n_instances: int = 1,
    *,
    pending: Tensor | None = None,
    cover_tolerance: float = 0.3,
    rest: MarginRest = "clusters",
    ties: Ties = "random",
    random_state: RandomState = None,
    chunk_size: int = 512,
) -> Iterator[tuple[int, float]]:
    """Yield a batch pick by pick: greedily by the objective, then small margins.

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
    pending : Tensor of shape (S, M, C) or None, default=None
        Predictions on points out for annotation, which count as chosen before the batch begins.
    cover_tolerance : float in [0, 1), default=0.3
        Share of the edge weight under which the edges count as covered.
    rest : {"clusters", "margin"}, default="clusters"
        Which points of small margins follow. "clusters": the least certain of each of as many
        clusters of similar answers, and at least one. "margin": the smallest margins.
    ties : {"random", "first"}, default="random"
        Which of several points with the same gain or margin is chosen.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties, and decides where the clusters begin.
    chunk_size : int, default=512
        Number of points treated at once; does not change the result.

    Yields
    ------
    index : int
        The point.
    gain : float
        What it adds to the objective, given those before it; next to nothing for the points that
        follow the cover.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, at the call.

    Examples
    --------
    Point 1 tells the two hypotheses apart; of the others, point 2 is the least certain:

    >>> import torch
    >>> from modal_balance.acquisition.cover_then_rest import iter_cover_then_rest
    >>> one = [[1.0, 0.0], [1.0, 0.0], [0.6, 0.4]]
    >>> two = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.4]]
    >>> list(iter_cover_then_rest(torch.tensor([one, two]), torch.tensor([[0, 1]]), None, 2))
    [(1, 1.0), (2, 0.0)]
    """
    # The objective follows what is left to the end; when to stop is decided here.
    objective = PairCoverage(proba, edges, weights, chunk_size=chunk_size)
    n_instances = check_n_instances(n_instances, objective.n_points)
    check_cover_tolerance(cover_tolerance)
    full = objective.weight_left()
    objective.add_pending(pending)
    rng = as_random_state(random_state)
    order = TieOrder(objective.n_points, ties, rng)
    pending = None if pending is None else pending.to(objective.example)
    follow: Callable[..., list[int]] = least_certain
    n_covering = n_instances
    if rest == "clusters":
        follow = partial(unlike_points, pending=pending, random_state=rng)
        n_covering -= 1
    enough = full * cover_tolerance
    return _picks(objective, enough, n_covering, n_instances, ties, rng, order, follow)


def _picks(
    objective: PairCoverage,
    enough: float,
    n_covering: int,
    n_instances: int,
    ties: Ties,
    rng: np.random.RandomState,
    order: TieOrder,
    follow: Callable[..., list[int]],
) -> Iterator[tuple[int, float]]:
    chosen: list[int] = []
    if len(objective.weights) and n_covering:
        cover_order = TieOrder(objective.n_points, ties, rng)
        # A look at the whole pool for every point: none is taken to find that no more are needed.
        while (
            len(chosen) < n_covering
            and objective.n_covers == 1
            and objective.weight_left() > enough
        ):
            index, gain = objective.best(cover_order, chosen)
            if gain <= 0:
                break
            chosen.append(index)
            yield index, gain
            objective.add(index)
    if len(chosen) == n_instances:
        return
    rest = follow(objective.pool, n_instances - len(chosen), chosen, order)
    objective.fetch(rest)
    for index in rest:
        # In a cover begun anew nothing is left to gain: its predecessor spent everything.
        gain = objective.gain(index) if objective.n_covers == 1 else 0.0
        yield index, gain
        objective.add(index)
