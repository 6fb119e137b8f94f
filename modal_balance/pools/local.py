"""Shards on one machine, in this process or in joblib's processes.

S: hypotheses    N: rows of the pool    C: classes
"""

from __future__ import annotations

import os
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import joblib
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..acquisition.predictions import Prepare
from .caching import (
    Cache,
    CachePolicy,
    FileCache,
    MemoryCache,
    NoCache,
    choose_cache_policy,
)
from .shard import FunctionInFile, Shard, block_rows_for, grouped
from .sources import Source, part_of

# Shards for each process, enough for processes to finish at about the same time.
SHARDS_PER_JOB = 4
# Memory of a block being predicted and scanned, in blocks: rows, predictions, intermediates.
WORKING_BLOCKS = 4


@contextmanager
def local_shards(
    source: Source,
    predict: Callable[[Any], Tensor],
    prepare: Prepare,
    template: Tensor,
    *,
    memory_limit: int,
    cache_policy: CachePolicy | None = None,
    n_shards: int | None = None,
    block_rows: int | None = None,
    verbose: int = 0,
) -> Iterator[LocalShards]:
    """Yield a pool as shards; clean up on exit.

    Parameters
    ----------
    source : Source
        The pool, N rows.
    predict : callable
        Maps rows to predictions (S, n, C).
    prepare : callable
        Turns predictions into the tensors to cache.
    template : Tensor of shape (S, n, C)
        Predictions on a few rows.
    memory_limit : int
        Bytes of memory for predictions.
    cache_policy : {"memory", "file", "nothing"} or None, default=None
        Where predictions are cached. None: as memory allows.
    n_shards : int or None, default=None
        Number of shards. None: chosen by the number of processes.
    block_rows : int or None, default=None
        Rows of a block. None: chosen by the shape of the template.
    verbose : int, default=0
        1 or more: progress bars.

    Yields
    ------
    LocalShards
    """
    n_jobs = joblib.effective_n_jobs(None)
    block_rows = block_rows or block_rows_for(template)
    row_bytes = sum(tensor.nbytes for tensor in prepare(template[:, :1].cpu()))
    with ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="modal_balance-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if cache_policy is None:
            cache_policy = choose_cache_policy(
                source.n_rows * row_bytes,
                WORKING_BLOCKS * n_jobs * block_rows * row_bytes,
                memory_limit,
                shutil.disk_usage(folder).free,
                in_memory=n_jobs == 1,
            )
        cache: Cache = NoCache() if cache_policy == "nothing" else MemoryCache()
        if cache_policy == "file" or (cache_policy == "memory" and n_jobs > 1):
            cache = FileCache(folder)
        parallel = None
        if n_jobs > 1:
            backend = joblib.parallel.get_active_backend()[0]
            if not backend.supports_return_generator:
                raise ValueError(
                    f"joblib's {type(backend).__name__} cannot return results one by one, as a "
                    'query needs. Use backend="loky" or backend="threading".'
                )
            parallel = stack.enter_context(joblib.Parallel(return_as="generator"))
            predict = FunctionInFile(predict, os.path.join(folder, "hypotheses"))
        on_cpu = n_jobs > 1 or cache_policy != "memory"
        if n_shards is None:
            n_shards = source.n_rows if parallel is None else SHARDS_PER_JOB * n_jobs
        bounds = even_bounds(source.n_rows, block_rows, n_shards)
        shards = [
            Shard(
                source if parallel is None else part_of(source, first, last),
                predict,
                prepare,
                first,
                last,
                block_rows,
                cache,
                torch.get_num_threads(),
                on_cpu,
            )
            for first, last in zip(bounds, bounds[1:], strict=False)
        ]
        yield LocalShards(shards, cache, template.cpu() if on_cpu else template, parallel, verbose)


def even_bounds(n_rows: int, block_rows: int, n_shards: int) -> list[int]:
    """Return the bounds of shards of about the same size, each made of whole blocks.

    They are the first row of each shard, and ``n_rows``. There are ``n_shards`` shards, but at most
    as many as blocks.

    Examples
    --------
    >>> from modal_balance.pools.local import even_bounds
    >>> even_bounds(95, 10, 3)
    [0, 30, 60, 95]
    """
    n_blocks = -(-n_rows // block_rows)
    n_shards = min(n_shards, n_blocks)
    return [min(n_rows, n_blocks * i // n_shards * block_rows) for i in range(n_shards + 1)]


class LocalShards:
    """Predictions on a pool in shards on this machine; created by :func:`local_shards`.

    The shards are in order, and share the cache. ``template`` (S, n, C) holds the predictions on a
    few rows. ``parallel`` runs the shards in joblib's processes; with None, they run in this
    process. With ``verbose`` of 1 or more, progress bars are shown.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        cache: Cache,
        template: Tensor,
        parallel: joblib.Parallel | None,
        verbose: int,
    ) -> None:
        self.shards = list(shards)
        self.cache = cache
        self.template = template
        self.n_points = self.shards[-1].last
        self._parallel = parallel
        self._verbose = verbose

    def fill(self) -> None:
        """Predict all rows, if predictions are cached."""
        if isinstance(self.cache, NoCache):
            return
        for _ in self._each(Shard.fill, self.shards, title="Hypotheses"):
            pass

    def map(self, function: Callable[..., Any], title: str | None = None) -> list[Any]:
        """Return ``function(first row, predictions, ...)`` for each block in order.

        ``title`` is that of the progress bar; with None, there is no bar.
        """
        found = self._each(Shard.map, self.shards, function, title=title)
        return [result for results in found for result in results]

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on the points with these indices, (S, len(points), C)."""
        firsts = [shard.first for shard in self.shards]
        asked, back = grouped(points, lambda point: bisect_right(firsts, point) - 1)
        pieces = self._each(_rows_of, [(self.shards[i], here) for i, here in asked.items()])
        return torch.cat(list(pieces), dim=1)[:, back]

    def _each(
        self,
        function: Callable[..., Any],
        items: Sequence[Any],
        *args: Any,
        title: str | None = None,
    ) -> Iterator[Any]:
        """Yield ``function(item, *args)`` for each item, in order."""
        if self._parallel is None or len(items) == 1:
            results = (function(item, *args) for item in items)
        else:
            results = self._parallel(joblib.delayed(function)(item, *args) for item in items)
        show = self._verbose >= 1 and title is not None
        with tqdm(total=self.n_points, desc=title, unit="row", disable=not show) as bar:
            for item, result in zip(items, results, strict=True):
                if isinstance(item, Shard):
                    bar.update(item.last - item.first)
                yield result


def _rows_of(asked: tuple[Shard, Sequence[int]]) -> Tensor:
    shard, points = asked
    return shard.rows(points)
