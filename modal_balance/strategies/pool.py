"""Predictions on the pool of a query, wherever its rows are.

A pool of at most 10,000 rows is predicted at once and held in memory. A larger one is cut into
shards: in this process, in those of joblib, or on a Dask cluster.

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
from ..hypotheses.last_layer import network_features
from ..hypotheses.protocol import Hypotheses
from ..hypotheses.unwrap import UnwrappedLearner
from ..pools.caching import CachePolicy, memory_bytes
from ..pools.cluster import ClusterShards, client_at_hand, cluster_shards
from ..pools.local import LocalShards, local_shards
from .query import Query

__all__ = ["held_or_sharded", "held_predictions", "pool_features", "pool_scores"]


@dataclass(frozen=True)
class SamplePredictions:
    """What frozen hypotheses predict, as a function that can go to another process.

    Parameters
    ----------
    hypotheses : Hypotheses
        The hypotheses.
    """

    hypotheses: Hypotheses

    def __call__(self, X: Any) -> Tensor:
        """Return the predictions on n rows, (S, n, C)."""
        return working_precision(self.hypotheses.predict_proba_samples(X))


@dataclass(frozen=True)
class Scored:
    """A function of predictions, as a function of blocks.

    Parameters
    ----------
    score : callable
        Maps predictions (S, n, C) to scores (n,).
    """

    score: Callable[[Tensor], Tensor]

    def __call__(self, start: int, proba: Tensor, *kept: Tensor) -> Tensor:
        """Return the scores of a block, on the CPU."""
        return self.score(proba).cpu()


@contextmanager
def held_or_sharded(
    query: Query,
    hypotheses: Hypotheses,
    prepare: Prepare,
    *,
    held: Tensor | None,
    template: Tensor,
    cache_policy: CachePolicy | None = None,
) -> Iterator[PoolPredictions]:
    """Give the predictions on the pool of a query, and clear up after them.

    Parameters
    ----------
    query : Query
        The query.
    hypotheses : Hypotheses
        The hypotheses.
    prepare : callable
        Makes of predictions all that is cached.
    held : Tensor of shape (S, N, C) or None
        The predictions, where they are in memory already.
    template : Tensor of shape (S, n, C)
        Predictions on some points.
    cache_policy : {"memory", "file", "nothing"} or None, default=None
        Where predictions on a large pool are cached. None: what the memory allows.

    Yields
    ------
    PoolPredictions
    """
    if held is not None:
        yield HeldPredictions(working_precision(held).contiguous(), prepare)
        return
    predict = SamplePredictions(hypotheses)
    with shards_of(query, predict, prepare, working_precision(template), cache_policy) as pool:
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
    """Return the shards of a large pool: on the Dask cluster at hand, or else on this machine."""
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
    """Return the scores of all points, of which no predictions are cached.

    Parameters
    ----------
    query : Query
        The query.
    hypotheses : Hypotheses
        The hypotheses.
    score : callable
        Maps predictions (S, n, C) to scores (n,), each row for itself.

    Returns
    -------
    Tensor of shape (N,)
    """
    if query.source is None:
        return score(query.predict(hypotheses, query.X_pool))
    started = perf_counter()
    predict = SamplePredictions(hypotheses)
    template = predict(query.X_pool)  # a row of the pool
    with shards_of(query, predict, alone, template, cache_policy="nothing") as pool:
        scores = torch.cat(pool.map(Scored(score), title="Hypotheses"))  # (N,)
    query.inference_seconds += perf_counter() - started
    return scores


def held_predictions(
    query: Query, hypotheses: Hypotheses, max_pool: int | None
) -> tuple[Tensor, Tensor | None]:
    """Return the predictions on all points, or on a random subset, in memory.

    Parameters
    ----------
    query : Query
        The query.
    hypotheses : Hypotheses
        The hypotheses.
    max_pool : int or None
        Largest number of points, but no fewer than are asked for. None: all.

    Returns
    -------
    proba : Tensor of shape (S, n, C)
    numbers : Tensor of shape (n,), int64, or None
        The points, rising. None: all.

    Raises
    ------
    ValueError
        If the predictions do not fit into the memory that they may take.
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
    """Return the last-layer features (N, D) of the pool, and the network's own prediction (N, C).

    Parameters
    ----------
    query : Query
        The query.

    Returns
    -------
    features : Tensor of shape (N, D)
    proba : Tensor of shape (N, C)

    Raises
    ------
    ValueError
        If they do not fit into the memory that they may take.
    """
    if query.source is None:
        return query.features(query.X_pool)
    n_features = query.features(query.X_pool)[0].shape[1]
    both = gathered(query, BothFeatures(query.unwrapped), "This strategy", "features", "")[0]
    return both[:, :n_features], both[:, n_features:]


@dataclass(frozen=True)
class BothFeatures:
    """Features and prediction of a network side by side, as a function of rows.

    Parameters
    ----------
    unwrapped : UnwrappedLearner
        The classifier.
    """

    unwrapped: UnwrappedLearner

    def __call__(self, X: Any) -> Tensor:
        """Return features and prediction of n rows, (1, n, D + C)."""
        classifier, inputs = self.unwrapped.classifier, self.unwrapped.transform(X)
        return torch.cat(network_features(classifier, inputs), dim=1)[None]


def gathered(
    query: Query, predict: Callable[[Any], Tensor], who: str, what: str, instead: str
) -> Tensor:
    """Return the predictions on a whole pool, or raise if they would take too much memory."""
    started = perf_counter()
    template = predict(query.X_pool)  # of the first row
    # Block by block, then in one piece, and half as much again to compute with.
    needed = int(2.5 * query.n_points * template[:, :1].nbytes)
    limit = memory_bytes(None) if query.memory_limit is None else query.memory_limit
    if needed > limit:
        most = limit * query.n_points // needed
        advice = f"Pass {instead}{most}, raise" if instead else "Pass a part of the pool, raise"
        raise ValueError(
            f"{who} holds the {what} of all points in memory: about {needed / 1e9:.2g} GB for the "
            f"{query.n_points} rows of X_pool, and the limit is {limit / 1e9:.2g} GB, which is "
            f"enough for {most} rows. {advice} memory_limit, or use balance_query, which streams."
        )
    with shards_of(query, predict, alone, template, cache_policy="nothing") as pool:
        gathered = torch.cat(pool.map(itself, title="Hypotheses"), dim=1)
    query.inference_seconds += perf_counter() - started
    return gathered


def itself(start: int, proba: Tensor) -> Tensor:
    """Return the predictions on a block."""
    return proba
