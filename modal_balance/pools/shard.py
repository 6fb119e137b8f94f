"""A shard: a range of the rows of a pool, and what the hypotheses predict there.

Functions go to the processes that hold shards as bytes, or through a file that each reads once.

S: hypotheses    n: points of a block    C: classes
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from torch import Tensor

from .._utils.torch_state import threads
from ..acquisition.predictions import Prepare
from .caching import Block, Cache
from .sources import Source, failed_rows

__all__ = [
    "BLOCK_ROWS",
    "FunctionInFile",
    "Shard",
    "SerializedFunction",
    "block_rows_for",
    "serialized",
    "deserialized",
]


def serialized(thing: Any) -> bytes:
    """Return an object as bytes, also one whose class is defined in a script or a notebook.

    Parameters
    ----------
    thing : object
        Anything.

    Returns
    -------
    bytes

    Examples
    --------
    >>> from modal_balance.pools.shard import serialized, deserialized
    >>> deserialized(serialized(lambda x: x + 1))(2)
    3
    """
    return pickle.dumps(joblib.wrap_non_picklable_objects(thing, keep_wrapper=False))


def deserialized(packet: bytes) -> Any:
    """Return the object that was :func:`serialized`."""
    return pickle.loads(packet)


class SerializedFunction:
    """A function that goes to other processes as bytes, and is read when it is first called.

    Packed, it can be sent on while it is in use: a network in use cannot be pickled.

    Parameters
    ----------
    packet : bytes
        The serialized function.

    Examples
    --------
    >>> from modal_balance.pools.shard import SerializedFunction, serialized
    >>> SerializedFunction(serialized(abs))(-2)
    2
    """

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self._function: Callable[[Any], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: the serialized function alone."""
        return {"packet": self.packet, "_function": None}

    def __call__(self, X: Any) -> Any:
        """Return what the function returns for X."""
        if self._function is None:
            self._function = deserialized(self.packet)
        return self._function(X)


class FunctionInFile:
    """A function in a file, which each process reads once.

    joblib sends this anew with every task, so the function stays with the process: until it reads
    another one, or joblib ends it.

    Parameters
    ----------
    function : callable
        The function.
    path : str
        Where to write it.

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
                function = deserialized(file.read())
            self._last.clear()
            self._last[self.name] = function
        return function(X)


# The grid of blocks: rows of the largest, and values of the predictions on one.
BLOCK_ROWS = 10_240
BLOCK_VALUES = 2**23
# Blocks are multiples of the chunks in which gains are computed.
CHUNK_ROWS = 512


def block_rows_for(template: Tensor) -> int:
    """Return how many rows a block has: 10,240, or fewer where a row has many predictions.

    It depends on nothing else. The last bits of a matrix product depend on its shape, so that the
    same rows must always be predicted, and scored, together.

    Parameters
    ----------
    template : Tensor of shape (S, n, C)
        Predictions on some points.

    Returns
    -------
    int

    Examples
    --------
    >>> import torch
    >>> from modal_balance.pools.shard import block_rows_for
    >>> block_rows_for(torch.ones(100, 1, 5)), block_rows_for(torch.ones(100, 1, 1000))
    (10240, 512)
    """
    n_rows = BLOCK_VALUES // (template.shape[0] * template.shape[2])
    return min(BLOCK_ROWS, max(CHUNK_ROWS, n_rows // CHUNK_ROWS * CHUNK_ROWS))


@dataclass
class Shard:
    """A range of whole blocks of a pool.

    Parameters
    ----------
    source : Source
        The rows.
    predict : callable
        Maps rows to predictions (S, n, C), the same ones in every process.
    prepare : callable
        Makes of predictions all that is cached.
    first, last : int
        The range of rows.
    block_rows : int
        Rows of a block.
    cache : Cache
        Where blocks are cached.
    n_threads : int
        Threads of torch, on which the last bits of a matrix product depend, too.
    on_cpu : bool
        Whether predictions go to the CPU.
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
        """Return what is cached of a block, predicted now if it is not.

        Parameters
        ----------
        start : int
            Its first row.

        Returns
        -------
        tuple of Tensor
            The predictions (S, n, C), and what ``prepare`` put beside them.
        """
        stop = min(start + self.block_rows, self.last)
        block = self.cache.get(start, stop - start)
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
        if proba.shape[1] != stop - start:
            raise ValueError(
                f"{proba.shape[1]} rows were predicted of {stop - start}: a step of the pipeline "
                "drops or adds rows."
            )
        return self.prepare(proba.cpu() if self.on_cpu else proba)

    def fill(self) -> range:
        """Predict all that is to be cached, and return the blocks that now are.

        Returns
        -------
        range
            Their first rows.
        """
        with threads(self.n_threads):
            for start in self.starts:
                self.block(start)
        return self.starts

    def map(self, function: Callable[..., Any]) -> list[Any]:
        """Return ``function(first row, predictions, ...)`` of each block.

        Parameters
        ----------
        function : callable
            What to compute.

        Returns
        -------
        list
        """
        with threads(self.n_threads):
            return [function(start, *self.block(start)) for start in self.starts]

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on single points.

        Parameters
        ----------
        points : sequence of int
            Their numbers in the pool.

        Returns
        -------
        Tensor of shape (S, len(points), C)
        """
        blocks: dict[int, list[int]] = {}
        for place, point in enumerate(points):
            start = point - (point - self.first) % self.block_rows
            blocks.setdefault(start, []).append(place)
        pieces, places = [], []
        with threads(self.n_threads):
            for start, here in sorted(blocks.items()):
                pieces.append(self.block(start)[0][:, [points[place] - start for place in here]])
                places += here
        back = torch.empty(len(points), dtype=torch.int64)
        back[torch.tensor(places)] = torch.arange(len(points))
        return torch.cat(pieces, dim=1)[:, back]

    def __sizeof__(self) -> int:
        """Return the bytes of what is cached in memory."""
        return object.__sizeof__(self) + self.cache.__sizeof__()
