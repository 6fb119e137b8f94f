"""Open a pool as a source of rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .partitions import DaskSource, arrow_source, dataset_at
from .sources import ArraySource, MemmapSource, Source


def lazy_source(X: Any, columns: Sequence[str] | None, name: str = "X_pool") -> Source | None:
    """Return a source of the rows of a pool that is not in memory, or None.

    The pool is a path of an ``.npy`` file, of a Parquet file or of a folder of Parquet files; a
    memory-mapped array, a ``pyarrow.dataset.Dataset``, a Dask array or DataFrame, a zarr array or
    anything else with a shape and slices of rows. The result is None if X is in memory, or not a
    pool.

    ``columns`` are those that the estimator was fitted with; None means that it was fitted with an
    array. ``name`` is that of the argument, for error messages. Raise ValueError if a path does not
    exist, or a table lacks a column.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.pools.opening import lazy_source
    >>> lazy_source(np.ones((3, 2)), None) is None
    True
    """
    if isinstance(X, str | os.PathLike):
        path = os.fspath(X)
        if not os.path.exists(path):
            raise ValueError(
                f"{name} is the path {path!r}, which does not exist. Pass the path of an .npy "
                "file, a Parquet file or a folder of Parquet files, or the rows themselves."
            )
        if path.endswith(".npy"):
            return MemmapSource.of(np.lib.format.open_memmap(path, mode="r"))
        return arrow_source(dataset_at(path), columns)
    if isinstance(X, np.memmap):
        return MemmapSource.of(X)
    library = type(X).__module__.partition(".")[0]
    if library == "pyarrow" and hasattr(X, "get_fragments"):
        return arrow_source(X, columns)
    if library in ("dask", "dask_expr") and hasattr(X, "to_delayed"):
        return DaskSource(X, columns)
    in_memory = isinstance(X, np.ndarray | Mapping) or any(
        hasattr(X, name) for name in ("iloc", "tocsr", "detach", "__array_interface__")
    )
    if not in_memory and all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__")):
        return ArraySource(X)
    return None
