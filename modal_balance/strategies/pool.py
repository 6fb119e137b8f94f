"""Predictions on the pool of a query, in memory or in shards.

A pool of at most 10,000 rows is predicted at once and held in memory. A larger pool is split into
shards, which are predicted in this process, in joblib's processes, or on a Dask cluster.

S: hypotheses    N: points of the pool    n: points of a block    C: classes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..acquisition.predictions import (
    HeldPredictions,
    PoolPredictions,
    Prepare,
    alone,
    working_precision,
)
from ..hypotheses.last_layer import output_layer
from ..hypotheses.protocol import Hypotheses
from ..pools.caching import CachePolicy, memory_bytes
from ..pools.cluster import ClusterShards, client_at_hand, cluster_shards
from ..pools.local import LocalShards, local_shards
from .query import Query


@dataclass(frozen=True)
class SamplePredictions:
    """The predictions of hypotheses, as a picklable function of rows."""

    hypotheses: Hypotheses

    def __call__(self, X: Any) -> Tensor:
        """Return the predictions on n rows, (S, n, C)."""
        return working_precision(self.hypotheses.predict_proba_samples(X))


@contextmanager
def held_or_sharded(
    query: Query,
    hypotheses: Hypotheses,
    prepare: Prepare,
    proba: Tensor,
    *,
    cache_policy: CachePolicy | None = None,
) -> Iterator[PoolPredictions]:
    """Yield the predictions on the pool of a query; clean up on exit.

    ``proba`` are the predictions on ``query.X_pool``: (S, N, C), or (S, 1, C) of the first row of a
    large pool, from which the size of all predictions follows. ``prepare`` computes from
    predictions the tensors to cache, and ``cache_policy`` says where to cache them; None: wherever
    memory allows.
    """
    proba = working_precision(proba)
    if query.source is None:
        yield HeldPredictions(proba.contiguous(), prepare)
        return
    with shards_of(query, SamplePredictions(hypotheses), prepare, proba, cache_policy) as pool:
        started = perf_counter()
        pool.fill()
        query.inference_seconds += perf_counter() - started
        yield pool


def shards_of(
    query: Query,
    predict: Callable[[Any], Tensor],
    prepare: Prepare,
    template: Tensor,
    cache_policy: CachePolicy | None = None,
) -> AbstractContextManager[LocalShards | ClusterShards]:
    """Return the shards of a large pool: on the active Dask cluster, or else on this machine."""
    assert query.source is not None
    client = client_at_hand()
    arguments = (query.source, predict, prepare, template)
    if client is not None:
        return cluster_shards(
            client,
            *arguments,
            memory_limit=query.memory_limit,
            cache_policy=cache_policy,
            verbose=query.verbose,
        )
    return local_shards(
        *arguments,
        memory_limit=query.memory_limit or memory_bytes(None),
        cache_policy=cache_policy,
        verbose=query.verbose,
    )


def pool_scores(query: Query, hypotheses: Hypotheses, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the scores (N,) of all points, without caching their predictions.

    ``score`` maps predictions (S, n, C) to scores (n,) and treats each point independently.
    """
    if query.source is None:
        return score(query.predict(hypotheses, query.X_pool))
    started = perf_counter()
    predict = SamplePredictions(hypotheses)
    template = predict(query.X_pool)  # of one row of the pool
    with shards_of(query, predict, alone, template, cache_policy="nothing") as pool:
        blocks = pool.map(lambda start, proba: score(proba).cpu(), title="Hypotheses")
    query.inference_seconds += perf_counter() - started
    return torch.cat(blocks)


def held_predictions(
    query: Query, hypotheses: Hypotheses, max_pool: int | None
) -> tuple[Tensor, Tensor | None]:
    """Return predictions (S, n, C) in memory, and the sorted positions (n,) of the points.

    The points are a random subset of at most ``max_pool`` points, but at least ``n_instances``.
    For the whole pool, positions are None. Raises ValueError if the predictions do not fit into
    the memory limit.
    """
    n_wanted = query.n_points if max_pool is None else max(max_pool, query.n_instances)
    if n_wanted < query.n_points:
        numbers, X = query.some_rows(n_wanted)
        return query.predict(hypotheses, X), torch.from_numpy(numbers)
    if query.source is None:
        return query.predict(hypotheses, query.X_pool), None
    predict = SamplePredictions(hypotheses)
    return gathered(query, predict, "batchbald_query", "predictions", "max_pool="), None


def pool_features(query: Query) -> tuple[Tensor, Tensor]:
    """Return the last-layer features (N, D) and the network's own prediction (N, C).

    Raises ValueError if they do not fit into the memory limit.
    """
    if query.source is None:
        return query.features(query.X_pool)
    n_features = query.features(query.X_pool)[0].shape[1]
    unwrapped = query.unwrapped

    def side_by_side(X: Any) -> Tensor:
        _, features, proba = output_layer(unwrapped.classifier, unwrapped.transform(X))
        return torch.cat([features, proba], dim=1)[None]  # (1, n, D + C)

    both = gathered(query, side_by_side, "This strategy", "features", "")[0]
    return both[:, :n_features], both[:, n_features:]


class ExceedsMemory(ValueError):
    """Predictions or coordinates of a whole pool do not fit into the memory limit."""


def gathered(
    query: Query, predict: Callable[[Any], Tensor], who: str, what: str, instead: str
) -> Tensor:
    """Return the predictions on a whole pool; raise ExceedsMemory if they do not fit."""
    started = perf_counter()
    template = predict(query.X_pool)  # of one row
    # The blocks, their concatenation, and half as much again for computing.
    needed = int(2.5 * query.n_points * template[:, :1].nbytes)
    limit = query.memory_limit or memory_bytes(None)
    if needed > limit:
        most = limit * query.n_points // needed
        advice = f"Pass {instead}{most}, raise" if instead else "Pass a part of the pool, raise"
        raise ExceedsMemory(
            f"{who} holds the {what} of all points in memory: about {needed / 1e9:.2g} GB for the "
            f"{query.n_points} rows of X_pool, and the limit is {limit / 1e9:.2g} GB, which is "
            f"enough for {most} rows. {advice} memory_limit, or use margin_query or balance_query, "
            "which predict the pool in blocks."
        )
    with shards_of(query, predict, alone, template, cache_policy="nothing") as pool:
        blocks = pool.map(lambda start, proba: proba, title="Hypotheses")
    query.inference_seconds += perf_counter() - started
    return torch.cat(blocks, dim=1)
