"""A shard: a range of the rows of a pool, and the predictions of the hypotheses on it.

Functions are sent to other processes as bytes, or through a file that each process reads once.

S: hypotheses    n: points of a block    C: classes
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from .._utils.pickling import serialized
from .._utils.torch_state import threads
from ..acquisition.predictions import Prepare, check_one_for_each_row
from .caching import Block, Cache
from .sources import Source, failed_rows


class SerializedFunction:
    """A serialized function, which is deserialized at its first call.

    It can be pickled again even while it is in use, which a network cannot. ``packet`` is the
    result of :func:`~modal_balance._utils.pickling.serialized` for the function.

    Examples
    --------
    >>> from modal_balance._utils.pickling import serialized
    >>> from modal_balance.pools.shard import SerializedFunction
    >>> SerializedFunction(serialized(abs))(-2)
    2
    """

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self._function: Callable[[Any], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: only the serialized function."""
        return {"packet": self.packet, "_function": None}

    def __call__(self, X: Any) -> Any:
        """Return what the function returns for X."""
        if self._function is None:
            self._function = pickle.loads(self.packet)
        return self._function(X)


class FunctionInFile:
    """A function in the file ``path``, which each process reads once.

    Creating this object writes the file. joblib sends the object with every task. So a process
    keeps the function that it read until it reads another one.

    Examples
    --------
    >>> import os, tempfile
    >>> from modal_balance.pools.shard import FunctionInFile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     FunctionInFile(abs, os.path.join(folder, "abs"))(-2)
    2
    """

    _last: dict[str, Callable[[Any], Any]] = {}  # in each process

    def __init__(self, function: Callable[[Any], Any], path: str) -> None:
        self.path, self.name = path, uuid.uuid4().hex
        with open(path, "wb") as file:
            file.write(serialized(function))

    def __call__(self, X: Any) -> Any:
        """Return what the function returns for X."""
        function = self._last.get(self.name)
        if function is None:
            with open(self.path, "rb") as file:
                function = pickle.load(file)
            self._last.clear()
            self._last[self.name] = function
        return function(X)


# The grid of blocks: largest number of rows, and of prediction values, in a block.
BLOCK_ROWS = 10_240
BLOCK_VALUES = 2**23
# Blocks are multiples of the chunks in which gains are computed.
CHUNK_ROWS = 512


def block_rows_for(template: Tensor) -> int:
    """Return the number of rows of a block: 10,240, or fewer if a row has many predictions.

    It depends only on the shape of the predictions. The last bits of a matrix product depend on its
    shape, so the same rows must always be predicted and scored together. ``template`` (S, n, C)
    holds the predictions on a few points.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.pools.shard import block_rows_for
    >>> block_rows_for(torch.ones(100, 1, 5)), block_rows_for(torch.ones(100, 1, 1000))
    (10240, 512)
    """
    n_rows = BLOCK_VALUES // (template.shape[0] * template.shape[2])
    return min(BLOCK_ROWS, max(CHUNK_ROWS, n_rows // CHUNK_ROWS * CHUNK_ROWS))


def grouped(
    points: Sequence[int], group_of: Callable[[int], int]
) -> tuple[dict[int, list[int]], list[int]]:
    """Return points by group, ascending, and the place of each in the concatenated groups.

    ``group_of`` must not decrease from one point to a later one.

    Examples
    --------
    >>> from modal_balance.pools.shard import grouped
    >>> grouped([12, 3, 1], lambda point: point // 10)
    ({0: [1, 3], 1: [12]}, [2, 1, 0])
    """
    ordered = sorted(points)
    place = {point: i for i, point in enumerate(ordered)}
    groups = {group: list(here) for group, here in groupby(ordered, group_of)}
    return groups, [place[point] for point in points]


@dataclass
class Shard:
    """A range of whole blocks of a pool.

    It has the rows ``first`` to ``last - 1`` of ``source``, in blocks of ``block_rows`` rows that
    are cached in ``cache``. ``predict`` maps rows to predictions (S, n, C), which are identical in
    every process, and ``prepare`` turns these into the tensors to cache. ``n_threads`` is the
    number of threads of torch; the last bits of a matrix product depend on it as well. ``on_cpu``
    says whether to move predictions to the CPU.
    """

    source: Source
    predict: Callable[[Any], Tensor]
    prepare: Prepare
    first: int
    last: int
    block_rows: int
    cache: Cache
    n_threads: int
    on_cpu: bool = True

    @property
    def starts(self) -> range:
        """The first row of each block."""
        return range(self.first, self.last, self.block_rows)

    def block(self, start: int) -> Block:
        """Return the tensors of a block, from the cache or by predicting it.

        ``start`` is its first row. The tensors are the predictions (S, n, C), and the further
        tensors of ``prepare``.
        """
        stop = min(start + self.block_rows, self.last)
        block = self.cache.get(start)
        if block is not None:
            return block
        try:
            block = self._predicted(start, stop)
            self.cache.put(start, block)
        except Exception as error:
            if self.source.is_in_memory and not isinstance(error, OSError):
                raise
            raise failed_rows(self.source, start, stop, error) from error
        return block

    def _predicted(self, start: int, stop: int) -> Block:
        proba = self.predict(self.source.read(start, stop))
        check_one_for_each_row(proba.shape[1], stop - start)
        return self.prepare(proba.cpu() if self.on_cpu else proba)

    def fill(self) -> None:
        """Predict and cache all blocks."""
        with threads(self.n_threads):
            for start in self.starts:
                self.block(start)

    def map(self, function: Callable[..., Any]) -> list[Any]:
        """Return ``function(first row, predictions, ...)`` for each block."""
        with threads(self.n_threads):
            return [function(start, *self.block(start)) for start in self.starts]

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on the points with these pool indices, (S, len(points), C)."""
        blocks, back = grouped(points, lambda p: p - (p - self.first) % self.block_rows)
        with threads(self.n_threads):
            pieces = [
                self.block(start)[0][:, [point - start for point in here]]
                for start, here in blocks.items()
            ]
        return torch.cat(pieces, dim=1)[:, back]

    def __sizeof__(self) -> int:
        """Return the bytes that are cached in memory."""
        return object.__sizeof__(self) + self.cache.__sizeof__()
