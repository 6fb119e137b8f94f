"""What a shard keeps of its predictions between two picks: in memory, in a file, or nothing.

S: hypotheses    n: points of a block    C: classes
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Keep",
    "KeepInFile",
    "KeepInMemory",
    "KeepNothing",
    "Keeping",
    "Layout",
    "choose_keeping",
]

Keeping = Literal["memory", "file", "nothing"]
Block = tuple[Tensor, ...]
ALIGNMENT = 4096  # of blocks and tensors in the file: a page


class Keep(Protocol):
    """Where blocks are kept, by the number of their first point."""

    def get(self, start: int, n_points: int) -> Block | None:
        """Return a block, or None if it is not kept."""
        ...

    def put(self, start: int, block: Block) -> None:
        """Keep a block, if anything is kept."""
        ...


class KeepNothing:
    """Blocks are predicted again whenever they are needed."""

    def get(self, start: int, n_points: int) -> Block | None:
        """Return None."""
        return None

    def put(self, start: int, block: Block) -> None:
        """Forget the block."""


class KeepInMemory:
    """Blocks in memory. They stay behind when it is pickled: they can be predicted again."""

    def __init__(self) -> None:
        self.blocks: dict[int, Block] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: no blocks."""
        return {"blocks": {}}

    def get(self, start: int, n_points: int) -> Block | None:
        """Return a block, or None if it is not kept."""
        return self.blocks.get(start)

    def put(self, start: int, block: Block) -> None:
        """Keep a block."""
        self.blocks[start] = block

    def __sizeof__(self) -> int:
        """Return the bytes of all blocks: Dask asks."""
        return sum(tensor.nbytes for block in self.blocks.values() for tensor in block)


class Layout:
    """Where the tensors of a block are in a file.

    Parameters
    ----------
    example : tuple of Tensor
        A block of one point, whose tensors have the shapes (., 1, .).
    block_rows : int
        Largest number of points of a block.

    Attributes
    ----------
    row_bytes : int
        Bytes of one point.
    block_bytes : int
        Bytes of a block in the file.
    """

    def __init__(self, example: Block, block_rows: int) -> None:
        self.types = [tensor.numpy().dtype for tensor in example]
        self.outer = [(tensor.shape[0], tensor.shape[2]) for tensor in example]
        self.block_rows = block_rows
        self.row_bytes = sum(tensor.nbytes for tensor in example)
        self.block_bytes = self._places(block_rows)[-1]

    def _places(self, n_points: int) -> list[int]:
        """Return where in a block each tensor begins, and where the next block does."""
        sizes = [
            first * n_points * last * kind.itemsize
            for (first, last), kind in zip(self.outer, self.types, strict=True)
        ]
        padded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
        return [0, *np.cumsum(padded).tolist()]

    def write(self, path: str, number: int, block: Block) -> None:
        """Write a block into a file, and no byte of another block."""
        places = self._places(block[0].shape[1])
        with open(path, "r+b") as file:
            for tensor, place, next_place in zip(block, places[:-1], places[1:], strict=True):
                file.seek(number * self.block_bytes + place)
                file.write(tensor.cpu().contiguous().numpy().data.cast("B"))
                file.write(bytes(next_place - place - tensor.nbytes))  # pages are mapped whole

    def read(self, path: str, number: int, n_points: int) -> Block:
        """Return a block: mapped, so that it takes memory only while it is used."""
        places = self._places(n_points)
        # "c": changes would stay in memory; torch wants arrays it could write to.
        mapped = np.memmap(
            path, np.uint8, "c", offset=number * self.block_bytes, shape=(places[-1],)
        )
        block = []
        for (first, last), kind, place in zip(self.outer, self.types, places[:-1], strict=True):
            shape = (first, n_points, last)
            size = first * n_points * last * kind.itemsize
            block.append(torch.from_numpy(mapped[place : place + size].view(kind).reshape(shape)))
        return tuple(block)


class KeepInFile:
    """Blocks in a scratch file, which is there as long as this object is.

    Parameters
    ----------
    layout : Layout
        How a block is written.
    first : int, default=0
        Number of the first point that the file is for.
    path : str or None, default=None
        A file that several processes share, and that somebody else removes. None: a file of its
        own, which is left behind when the object is pickled.
    """

    def __init__(self, layout: Layout, first: int = 0, path: str | None = None) -> None:
        self.layout, self.first = layout, first
        self.shared = path is not None
        self.path = path
        self.filled: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: without the file, unless it is shared."""
        if self.shared:
            return self.__dict__
        return self.__dict__ | {"path": None, "filled": set()}

    def _number(self, start: int) -> int:
        return (start - self.first) // self.layout.block_rows

    def get(self, start: int, n_points: int) -> Block | None:
        """Return a block, or None if it is not kept."""
        if start not in self.filled or self.path is None:
            return None
        return self.layout.read(self.path, self._number(start), n_points)

    def put(self, start: int, block: Block) -> None:
        """Write a block."""
        if self.path is None:
            handle, self.path = tempfile.mkstemp(prefix="modal_balance-")
            os.close(handle)
            weakref.finalize(self, _remove, self.path)
        try:
            self.layout.write(self.path, self._number(start), block)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The scratch file in {os.path.dirname(self.path)} cannot be written: "
                f"{error.strerror}. Set TMPDIR to a folder on a larger disk",
            ) from error
        self.filled.add(start)


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)


def choose_keeping(
    kept_bytes: int, working_bytes: int, memory_limit: int, free_disk: int, *, in_memory: bool
) -> Keeping:
    """Return what to keep of the predictions, so that memory stays under a bound.

    Parameters
    ----------
    kept_bytes : int
        Bytes of all that would be kept.
    working_bytes : int
        Bytes needed besides, at any time.
    memory_limit : int
        The bound.
    free_disk : int
        Bytes free where scratch files go.
    in_memory : bool
        Whether keeping them in memory is possible at all.

    Returns
    -------
    {"memory", "file", "nothing"}

    Examples
    --------
    >>> from modal_balance.pools.keeping import choose_keeping
    >>> choose_keeping(10**9, 10**8, 10**9, 10**12, in_memory=True)
    'file'
    """
    if in_memory and kept_bytes + working_bytes <= memory_limit:
        return "memory"
    return "file" if kept_bytes <= 0.9 * free_disk else "nothing"
