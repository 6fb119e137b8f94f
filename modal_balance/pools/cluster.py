"""Shards on the workers of a Dask cluster.

Needs the extra ``dask``. Dask does the scheduling: a shard is a task, and so is each computation on
it. If a worker is lost, Dask recomputes its shards.

S: hypotheses    N: rows of the pool    C: classes
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from .._utils.pickling import serialized
from ..acquisition.predictions import Prepare
from .caching import (
    DEFAULT_SHARE,
    Cache,
    CachePolicy,
    FileCache,
    MemoryCache,
    NoCache,
    choose_cache_policy,
    free_memory,
)
from .local import WORKING_BLOCKS, even_bounds
from .partitions import PartitionedSource
from .shard import SerializedFunction, Shard, block_rows_for, grouped
from .sources import ShiftedSource, Source, part_of

SHARDS_PER_THREAD = 2


def client_at_hand() -> Any:
    """Return the ``dask.distributed.Client`` of this process, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


@contextmanager
def cluster_shards(
    client: Any,
    source: Source,
    predict: Callable[[Any], Tensor],
    prepare: Prepare,
    template: Tensor,
    *,
    memory_limit: int | None,
    cache_policy: CachePolicy | None = None,
    block_rows: int | None = None,
    verbose: int = 0,
) -> Iterator[ClusterShards]:
    """Yield a pool as shards on the workers of a cluster; release them on exit.

    ``client`` is the ``dask.distributed.Client`` of the cluster. ``memory_limit`` is the number of
    bytes for predictions on each worker; None means half of the free memory there. The other
    arguments are those of :func:`~modal_balance.pools.local.local_shards`. Raise ValueError if the
    cluster has no workers.
    """
    template = template.cpu()
    block_rows = block_rows or block_rows_for(template)
    row_bytes = sum(tensor.nbytes for tensor in prepare(template[:, :1]))
    n_threads = sum(client.nthreads().values())
    if n_threads == 0:
        raise ValueError("The Dask cluster has no workers. Start some, or close the client.")
    if cache_policy is None:
        cache_policy = _cache_policy(client, source.n_rows, block_rows, row_bytes, memory_limit)
    bounds = _bounds(source, block_rows, SHARDS_PER_THREAD * n_threads)
    futures: list[Any] = []
    try:
        # As a separate task, so that Dask can recompute it and sends it to each worker once.
        serialized_predict = SerializedFunction(serialized(predict))
        tools = client.submit(_pair, serialized_predict, prepare, pure=False)
        delayed = getattr(source, "partitions", None)
        partitions = None if delayed is None else client.compute(delayed)
        futures = [tools, *(partitions or [])]
        shards = []
        for first, last in zip(bounds, bounds[1:], strict=False):
            here, wanted = _share_of(source, partitions, first, last)
            shards.append(
                client.submit(
                    _make_shard,
                    tools,
                    here,
                    wanted,
                    (first, last, block_rows),
                    cache_policy,
                    torch.get_num_threads(),
                    pure=False,
                )
            )
        futures += shards
        pool = ClusterShards(client, shards, bounds, template, cache_policy != "nothing", verbose)
        yield pool
    finally:
        client.cancel(futures, force=True)


def _cache_policy(
    client: Any, n_rows: int, block_rows: int, row_bytes: int, memory_limit: int | None
) -> CachePolicy:
    """Return the cache policy for workers that share the pool, some of them on one machine."""
    workers = client.run(_resources)  # worker -> (machine, free memory, free disk)
    machines = [machine for machine, _, _ in workers.values()]
    share = [1 / machines.count(machine) for machine in machines]
    free = min(f * s for (_, f, _), s in zip(workers.values(), share, strict=True))
    disk = min(f * s for (_, _, f), s in zip(workers.values(), share, strict=True))
    threads = max(client.nthreads().values())
    limit = int(free * DEFAULT_SHARE) if memory_limit is None else memory_limit
    cached = -(-n_rows // len(workers)) * row_bytes
    working = WORKING_BLOCKS * threads * block_rows * row_bytes
    return choose_cache_policy(cached, working, limit, int(disk), in_memory=True)


def _resources(dask_worker: Any) -> tuple[str, int, int]:
    """Return the machine, free memory and free disk of a worker. Runs on the worker."""
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    free = free_memory()
    limit = dask_worker.memory_manager.memory_limit
    if limit:  # a worker that uses more is killed
        free = min(free, max(0, limit - dask_worker.monitor.get_process_memory()))
    return name, free, shutil.disk_usage(tempfile.gettempdir()).free


def _bounds(source: Source, block_rows: int, least: int) -> list[int]:
    """Return the bounds of shards: those of partitions, if any, rounded to the grid of blocks."""
    if isinstance(source, PartitionedSource):
        natural = source.bounds[:-1]
        starts = np.unique((natural + block_rows // 2) // block_rows * block_rows)
        starts = starts[starts < source.n_rows]
        if min(least, -(-source.n_rows // block_rows)) <= len(starts) <= 16 * least:
            return [*starts.tolist(), source.n_rows]
    return even_bounds(source.n_rows, block_rows, least)


def _share_of(source: Source, partitions: Any, first: int, last: int) -> tuple[Any, Any]:
    """Return the source of a shard, or the partitions that it needs and their lengths."""
    if partitions is None or not isinstance(source, PartitionedSource):
        return part_of(source, first, last), None
    numbers = source.numbers_of(first, last)
    bounds = source.bounds[numbers.start : numbers.stop + 1]
    names = [source.names(n) for n in numbers]
    return None, ([partitions[n] for n in numbers], np.diff(bounds).tolist(), names, int(bounds[0]))


def _pair(predict: SerializedFunction, prepare: Prepare) -> tuple[SerializedFunction, Prepare]:
    return predict, prepare


def _make_shard(
    tools: Any,
    source: Source | None,
    wanted: Any,
    grid: tuple[int, int, int],
    cache_policy: CachePolicy,
    n_threads: int,
) -> Shard:
    """Return a shard. Runs on a worker."""
    predict, prepare = tools
    if source is None:
        partitions, lengths, names, begin = wanted
        source = ShiftedSource(
            PartitionedSource(lengths, partitions.__getitem__, names.__getitem__), begin
        )
    first, last, block_rows = grid
    cache: Cache = NoCache()
    if cache_policy != "nothing":
        cache = MemoryCache() if cache_policy == "memory" else FileCache()
    shard = Shard(source, predict, prepare, first, last, block_rows, cache, n_threads)
    if cache_policy != "nothing":
        shard.fill()
    return shard


class ClusterShards:
    """Predictions on a pool, on the workers of a cluster; created by :func:`cluster_shards`.

    ``client`` is the ``dask.distributed.Client`` of the cluster. ``shards`` are the futures of the
    shards, in order, and ``bounds`` the first row of each shard, and N. ``template`` (S, n, C)
    holds the predictions on a few rows. ``is_kept`` says whether predictions are cached, and with
    ``verbose`` of 1 or more, progress bars are shown.
    """

    def __init__(
        self,
        client: Any,
        shards: Sequence[Any],
        bounds: Sequence[int],
        template: Tensor,
        is_kept: bool,
        verbose: int,
    ) -> None:
        self.client = client
        self.shards = list(shards)
        self.bounds = list(bounds)
        self.n_points = self.bounds[-1]
        self.template = template
        self.is_kept = is_kept
        self._verbose = verbose

    def fill(self) -> None:
        """Predict all rows, if predictions are cached, and wait for the result."""
        if self.is_kept:
            self._results(self.shards, "Hypotheses", fetch=False)

    def map(self, function: Callable[..., Any], title: str | None = None) -> list[Any]:
        """Return ``function(first row, predictions, ...)`` for each block in order.

        ``title`` is that of the progress bar; with None, there is no bar.
        """
        blob = serialized(function)
        asked = [self.client.submit(_map, shard, blob, pure=False) for shard in self.shards]
        return [result for results in self._results(asked, title) for result in results]

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on the points with these indices, (S, len(points), C)."""
        asked, back = grouped(points, lambda point: bisect_right(self.bounds, point) - 1)
        futures = [
            self.client.submit(Shard.rows, self.shards[shard], here, pure=False)
            for shard, here in asked.items()
        ]
        return torch.cat(self.client.gather(futures), dim=1)[:, back]

    def _results(self, futures: list[Any], title: str | None, *, fetch: bool = True) -> list[Any]:
        """Wait for tasks, one for each shard, and return their results in order."""
        from distributed import as_completed

        if self._verbose >= 1 and title is not None:
            sizes = dict(zip(futures, np.diff(self.bounds).tolist(), strict=True))
            with tqdm(total=self.n_points, desc=title, unit="row") as bar:
                for future in as_completed(futures):
                    bar.update(sizes[future])
        if fetch:
            return list(self.client.gather(futures))
        for future in as_completed(futures):
            if future.status == "error":
                future.result()  # raises
        return []


def _map(shard: Shard, blob: bytes) -> list[Any]:
    return shard.map(pickle.loads(blob))
