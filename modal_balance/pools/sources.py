"""Sources of the rows of a pool: data in memory, arrays on disk, lazy arrays.

N: rows of the pool    n: rows read
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.utils.data import Dataset, Subset

from .._utils.arguments import n_rows


class Source(Protocol):
    """The rows of a pool, in memory or elsewhere.

    ``n_rows`` is N. ``is_in_memory`` says whether the rows are in memory, so that reading only
    slices them.
    """

    n_rows: int
    is_in_memory: bool

    def read(self, start: int, stop: int) -> Any:
        """Return a range of rows, in the form that the estimator was fitted with."""
        ...

    def rows(self, numbers: NDArray[np.int64]) -> Any:
        """Return some rows, by indices in ascending order, in the same form."""
        ...

    def where(self, start: int, stop: int) -> str:
        """Return the name of a range of rows, for error messages."""
        ...


class RowsInMemory:
    """A pool in memory.

    ``X`` is an array, a tensor, a table, a sparse matrix, a dict of these, or a Dataset, with N
    rows. Rows of a torch or skorch data set are a ``torch.utils.data.Subset``, so data on disk are
    read only when they are predicted.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.pools.sources import RowsInMemory
    >>> RowsInMemory({"a": np.arange(5)}).read(1, 3)
    {'a': array([1, 2])}
    """

    is_in_memory = True

    def __init__(self, X: Any) -> None:
        self.X = X.tocsr() if sparse.issparse(X) else X
        self.n_rows = n_rows(X)

    @staticmethod
    def can_slice(X: Any) -> bool:
        """Return whether X can be sliced by rows."""
        if isinstance(X, Mapping):
            return all(RowsInMemory.can_slice(part) for part in X.values())
        known = isinstance(X, np.ndarray | Tensor | Dataset) or sparse.issparse(X)
        # Tables of pandas, or of another library such as polars or pyarrow.
        return known or hasattr(X, "iloc") or hasattr(X, "__arrow_c_stream__")

    def read(self, start: int, stop: int) -> Any:
        """Return a range of rows, of the same type as X."""
        if isinstance(self.X, Dataset):
            return Subset(self.X, range(start, stop))
        return taken(self.X, slice(start, stop))

    def rows(self, numbers: NDArray[np.int64]) -> Any:
        """Return the rows with these indices (n,), of the same type as X."""
        if isinstance(self.X, Dataset):
            return Subset(self.X, numbers.tolist())
        return taken(self.X, numbers)

    def where(self, start: int, stop: int) -> str:
        """Return the name of a range of rows, for error messages."""
        return "X_pool"


def taken(X: Any, rows: Any) -> Any:
    """Return some rows of data in memory, by indices or as a slice."""
    if isinstance(X, Mapping):
        return {key: taken(part, rows) for key, part in X.items()}
    if type(X).__module__.startswith("pyarrow"):
        return X.take(np.arange(len(X))[rows])
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


class ArraySource:
    """An array-like pool that is not in memory, such as a zarr array.

    ``X`` has a ``shape`` and slices of rows, which are converted to NumPy arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.pools.sources import ArraySource
    >>> ArraySource(np.arange(10).reshape(5, 2)).read(1, 2)
    array([[2, 3]])
    """

    is_in_memory = False

    def __init__(self, X: Any) -> None:
        self.X = X
        self.n_rows = int(X.shape[0])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a range of rows."""
        return np.array(self.X[start:stop])

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows with these indices (n,), which are in ascending order."""
        return np.array(self.X[numbers])

    def where(self, start: int, stop: int) -> str:
        """Return the name of a range of rows, for error messages."""
        return f"X_pool, a {type(self.X).__name__}"


class MemmapSource(ArraySource):
    """A pool in a binary file that ``numpy.memmap`` can read.

    Every range of rows is mapped and copied separately, so that rows do not stay in memory after
    use. Other processes get only the name of the file.

    ``dtype`` is the NumPy data type of the pool and ``shape`` its shape. Rows are contiguous, and
    ``offset`` is that of the first row in bytes.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from modal_balance.pools.sources import MemmapSource
    >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    ...     np.save(file.name, np.arange(6.0).reshape(3, 2))
    ...     MemmapSource.of(np.load(file.name, mmap_mode="r")[1:]).read(1, 2)
    array([[4., 5.]])
    """

    def __init__(self, filename: str, dtype: Any, offset: int, shape: tuple[int, ...]) -> None:
        self.filename, self.dtype, self.offset, self.shape = filename, dtype, offset, shape
        self.n_rows = shape[0]

    @classmethod
    def of(cls, X: np.memmap[Any, Any]) -> ArraySource:
        """Return the source of a memory-mapped array, or of a range of rows of one."""
        root = X.base if isinstance(X.base, np.memmap) else X
        is_plain = isinstance(root.base, mmap.mmap) and X.flags.c_contiguous and X.filename
        # In mode "c", values in memory may differ from those in the file.
        if not is_plain or root.mode == "c" or X.dtype.hasobject:
            return ArraySource(X)
        offset = root.offset + X.ctypes.data - root.ctypes.data
        return cls(str(X.filename), X.dtype, offset, X.shape)

    def _mapped(self, start: int, stop: int) -> np.memmap[Any, Any]:
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        offset = self.offset + start * row_bytes
        shape = (stop - start, *self.shape[1:])
        return np.memmap(self.filename, dtype=self.dtype, mode="r", offset=offset, shape=shape)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a copy of a range of rows, an ndarray."""
        return np.array(self._mapped(start, stop))

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return a copy of some rows, an ndarray."""
        return np.array(self._mapped(0, self.n_rows)[numbers])

    def where(self, start: int, stop: int) -> str:
        """Return the name of a range of rows, for error messages."""
        return f"X_pool, {self.filename}"


class ShiftedSource:
    """A range of a pool whose rows keep their indices in the pool.

    ``source`` holds the rows of the range, and ``first`` is the index of its first row in the pool.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.pools.sources import RowsInMemory, ShiftedSource
    >>> ShiftedSource(RowsInMemory(np.arange(5, 9)), 5).read(6, 8)
    array([6, 7])
    """

    def __init__(self, source: Source, first: int) -> None:
        self.source, self.first = source, first
        self.n_rows = source.n_rows
        self.is_in_memory = source.is_in_memory

    def read(self, start: int, stop: int) -> Any:
        """Return a range of rows."""
        return self.source.read(start - self.first, stop - self.first)

    def rows(self, numbers: NDArray[np.int64]) -> Any:
        """Return some rows."""
        return self.source.rows(numbers - self.first)

    def where(self, start: int, stop: int) -> str:
        """Return the name of a range of rows, for error messages."""
        return self.source.where(start - self.first, stop - self.first)


def part_of(source: Source, first: int, last: int) -> Source:
    """Return a source of a range of rows, for another process.

    It holds the rows themselves if they are in memory; otherwise it is the source of the whole
    pool.
    """
    if not source.is_in_memory:
        return source
    return ShiftedSource(RowsInMemory(source.read(first, last)), first)


def failed_rows(source: Source, start: int, stop: int, error: Exception) -> Exception:
    """Return an error that names the rows of a pool for which another error occurred.

    It is an OSError if the other error is one, otherwise a ValueError.
    """
    return failure(f"Rows {start} to {stop - 1} of {source.where(start, stop)}", error)


def failure(where: str, error: Exception) -> Exception:
    """Return an error that names the place in the pool, ``where``, at which another error occurred.

    It is an OSError if the other error is one, otherwise a ValueError.

    Examples
    --------
    >>> from modal_balance.pools.sources import failure
    >>> failure("Partition 713", TypeError("no number"))
    ValueError('Partition 713 failed: TypeError: no number')
    """
    message = f"{where} failed: {type(error).__name__}: {error}"
    return OSError(message) if isinstance(error, OSError) else ValueError(message)
