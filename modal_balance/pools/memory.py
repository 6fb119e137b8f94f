"""How much memory a query may use."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..arguments import kind_of

__all__ = ["memory_bytes"]

POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
# Share of the free memory that a query takes unless told otherwise.
DEFAULT_SHARE = 0.5


def memory_bytes(memory_limit: int | str | None) -> int:
    """Return a memory limit in bytes, by default half of what is free.

    Parameters
    ----------
    memory_limit : int, str or None
        Bytes, or a number with a unit: "4GB", "500 MB", "1.5GiB". None: half of what is free.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If it is no amount of memory.

    Examples
    --------
    >>> from modal_balance.pools.memory import memory_bytes
    >>> memory_bytes("1.5GB"), memory_bytes("2KiB")
    (1500000000, 2048)
    """
    if memory_limit is None:
        return int(free_memory() * DEFAULT_SHARE)
    if isinstance(memory_limit, bool) or not isinstance(memory_limit, int | str):
        raise TypeError(
            'memory_limit must be a number of bytes or a text such as "4GB", got '
            f"{kind_of(memory_limit)}."
        )
    match = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?)(i?)b?\s*", str(memory_limit).lower())
    try:
        number = float(match[1]) if match else 0.0
    except ValueError:
        number = 0.0
    if not match or number <= 0:
        raise ValueError(
            f'memory_limit={memory_limit!r} is no amount of memory. Pass bytes, or such as "4GB".'
        )
    return int(number * (1024 if match[3] else 1000) ** POWERS[match[2]])


def free_memory() -> int:
    """Return how many bytes of memory can be had without swapping.

    By psutil where it is installed, and no more than the limit of a container leaves.
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
        return 4 * 2**30  # nothing known: a small laptop


def left_in_container(root: str = "/sys/fs/cgroup", groups: str = "/proc/self/cgroup") -> int:
    """Return how many bytes the limits of the control groups of this process leave.

    Pages of files that have not been used lately count as free: the kernel drops them first.

    Parameters
    ----------
    root : str, default="/sys/fs/cgroup"
        Where control groups are mounted.
    groups : str, default="/proc/self/cgroup"
        The file that names the control groups of the process.

    Returns
    -------
    int
        ``sys.maxsize`` where there is no limit, and on systems without control groups.
    """
    left = [sys.maxsize]
    for folder, (limit_file, usage_file, reclaimable) in _control_groups(Path(root), Path(groups)):
        try:
            limit = int((folder / limit_file).read_text())
            usage = int((folder / usage_file).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            left.append(limit - usage + int(stat.get(reclaimable, 0)))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return max(0, min(left))


def _control_groups(root: Path, groups: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yield the folders of the memory groups of this process, with the names of their files."""
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
        for inside in (group, *group.parents):  # a limit holds for all groups below
            yield base / inside, files
