"""Memory limits of a query, and caches of predictions: in memory, in a file, or none.

S: hypotheses    n: points of a block    C: classes
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import joblib
import torch
from torch import Tensor

from .._utils.arguments import kind_of

POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
# Share of the free memory that a query uses by default.
DEFAULT_SHARE = 0.5


def memory_bytes(memory_limit: int | str | None) -> int:
    """Return a memory limit in bytes; None means half of the free memory.

    A limit is a number of bytes, or a string with a unit: "4GB", "500 MB", "1.5GiB". Raise
    TypeError if it is neither an integer nor a string, and ValueError if it is less than one byte
    or not a valid size.

    Examples
    --------
    >>> from modal_balance.pools.caching import memory_bytes
    >>> memory_bytes("1.5GB"), memory_bytes("2KiB")
    (1500000000, 2048)
    """
    if memory_limit is None:
        return int(free_memory() * DEFAULT_SHARE)
    if isinstance(memory_limit, bool) or not isinstance(memory_limit, Integral | str):
        raise TypeError(
            'memory_limit must be a number of bytes or a string such as "4GB", got '
            f"{kind_of(memory_limit)}."
        )
    size = r"\s*(\d+\.?\d*|\.\d+)\s*([kmgt]?)(i?)b?\s*"
    match = re.fullmatch(size, str(memory_limit).lower())
    n_bytes = 0
    if match:
        n_bytes = int(float(match[1]) * (1024 if match[3] else 1000) ** POWERS[match[2]])
    if n_bytes == 0:
        raise ValueError(
            f'memory_limit={memory_limit!r} is not a valid size. Pass bytes or, e.g., "4GB".'
        )
    return n_bytes


def free_memory() -> int:
    """Return the bytes of memory that are available without swapping.

    As reported by psutil, if installed, and at most what the limit of a container leaves.
    """
    return min(_free_on_machine(), left_in_container())


def _free_on_machine() -> int:
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except ImportError:
        pass
    try:
        with open("/proc/meminfo") as lines:
            found = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
        return int(found[0]) * 1024
    except (OSError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return 4 * 2**30  # unknown: assume a small laptop


def left_in_container(root: str = "/sys/fs/cgroup", groups: str = "/proc/self/cgroup") -> int:
    """Return the bytes of memory that the control groups of this process leave.

    File pages that have not been used recently count as free, because the kernel drops them first.
    ``root`` is the mount point of the control groups, and ``groups`` the file that lists those of
    the process. Without a limit, and on systems without control groups, the result is
    ``sys.maxsize``.
    """
    left = [sys.maxsize]
    for folder, (limit_file, usage_file, reclaimable) in _control_groups(Path(root), Path(groups)):
        try:
            limit = int((folder / limit_file).read_text())
            usage = int((folder / usage_file).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            left.append(limit - usage + int(stat.get(reclaimable, 0)))
        except (OSError, ValueError):  # missing, or "max"
            continue
    return max(0, min(left))


def _control_groups(root: Path, groups: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yield the folders of this process's memory groups, with the names of their files."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":  # version 2
            base, files = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for inside in (group, *group.parents):  # a limit applies to all groups below
            yield base / inside, files


CachePolicy = Literal["memory", "file", "nothing"]
Block = tuple[Tensor, ...]


class Cache(Protocol):
    """A cache of blocks, by the index of their first point."""

    def get(self, start: int) -> Block | None:
        """Return a block, or None if it is not cached."""
        ...

    def put(self, start: int, block: Block) -> None:
        """Cache a block, if this cache stores anything."""
        ...


class NoCache:
    """Cache nothing: blocks are predicted whenever they are needed."""

    def get(self, start: int) -> Block | None:
        """Return None."""
        return None

    def put(self, start: int, block: Block) -> None:
        """Do nothing."""


class MemoryCache:
    """Cache blocks in memory. Pickling drops them, since they can be predicted again."""

    def __init__(self) -> None:
        self.blocks: dict[int, Block] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without blocks."""
        return {"blocks": {}}

    def get(self, start: int) -> Block | None:
        """Return a block, or None if it is not cached."""
        return self.blocks.get(start)

    def put(self, start: int, block: Block) -> None:
        """Cache a block."""
        self.blocks[start] = block

    def __sizeof__(self) -> int:
        """Return the bytes of all blocks, for Dask's accounting."""
        return sum(tensor.nbytes for block in self.blocks.values() for tensor in block)


class FileCache:
    """Cache blocks in scratch files, one for each block.

    If ``folder`` is given, processes share it, and the caller removes it. If it is None, the cache
    creates a folder, which pickling drops, and which is removed with the cache.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self.shared = folder is not None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without the folder unless it is shared."""
        return self.__dict__ if self.shared else self.__dict__ | {"folder": None}

    def get(self, start: int) -> Block | None:
        """Return a memory-mapped block, or None if it is not cached."""
        path = os.path.join(self.folder or "", str(start))
        if self.folder is None or not os.path.exists(path):
            return None
        # "c" (copy on write), because torch requires writable arrays.
        return tuple(torch.from_numpy(array) for array in joblib.load(path, mmap_mode="c"))

    def put(self, start: int, block: Block) -> None:
        """Write a block."""
        if self.folder is None:
            self.folder = tempfile.mkdtemp(prefix="modal_balance-")
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        path = os.path.join(self.folder, str(start))
        unfinished = f"{path}.part"
        try:
            joblib.dump([tensor.numpy(force=True) for tensor in block], unfinished)
            os.replace(unfinished, path)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The scratch files in {self.folder} cannot be written: {error.strerror}. Set "
                "TMPDIR to a folder on a larger disk",
            ) from error


def choose_cache_policy(
    kept_bytes: int, working_bytes: int, memory_limit: int, free_disk: int, *, in_memory: bool
) -> CachePolicy:
    """Return where to cache predictions so that memory use stays within a limit.

    All sizes are in bytes. The predictions to cache take ``kept_bytes``, and ``working_bytes`` are
    needed besides the cache; ``free_disk`` bytes are free in the folder of scratch files.
    ``in_memory`` says whether caching in memory is possible.

    Examples
    --------
    >>> from modal_balance.pools.caching import choose_cache_policy
    >>> choose_cache_policy(10**9, 10**8, 10**9, 10**12, in_memory=True)
    'file'
    """
    if in_memory and kept_bytes + working_bytes <= memory_limit:
        return "memory"
    return "file" if kept_bytes <= 0.9 * free_disk else "nothing"
