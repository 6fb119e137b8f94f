"""Pools that come in parts of known lengths: row groups of Parquet files, partitions of Dask.

N: rows of the pool    P: parts
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sources import failure

__all__ = ["PartsSource", "joined", "table_rows"]


class PartsSource:
    """A pool in parts that are read as a whole. The last one read stays at hand.

    Parameters
    ----------
    lengths : sequence of int
        Number of rows of each of the P parts.
    read_part : callable
        ``read_part(number)`` returns all rows of a part: an array or a DataFrame.
    names : callable
        ``names(number)`` returns what an error message calls a part.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.pools.parts import PartsSource
    >>> parts = [np.arange(3), np.arange(3, 5)]
    >>> PartsSource([3, 2], parts.__getitem__, "part {}".format).read(2, 5)
    array([2, 3, 4])
    """

    is_in_memory = False

    def __init__(
        self,
        lengths: Sequence[int],
        read_part: Callable[[int], Any],
        names: Callable[[int], str],
    ) -> None:
        self.ends = np.cumsum(np.asarray(lengths, dtype=np.int64))  # (P,)
        self.n_rows = int(self.ends[-1]) if len(self.ends) else 0
        self.read_part = read_part
        self.names = names
        self._last: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: without the part at hand."""
        return self.__dict__ | {"_last": None}

    def _part(self, number: int) -> Any:
        if self._last is None or self._last[0] != number:
            self._last = None  # no two parts in memory
            try:
                self._last = (number, self.read_part(number))
            except Exception as error:
                raise failure(self.names(number), error) from error
        return self._last[1]

    def _begin(self, number: int) -> int:
        return int(self.ends[number - 1]) if number else 0

    def numbers_of(self, start: int, stop: int) -> range:
        """Return the numbers of the parts that a range of rows lies in."""
        first = int(np.searchsorted(self.ends, start, side="right"))
        return range(first, int(np.searchsorted(self.ends, stop - 1, side="right")) + 1)

    def read(self, start: int, stop: int) -> Any:
        """Return a range of rows.

        Parameters
        ----------
        start, stop : int
            The range, not empty.

        Returns
        -------
        ndarray or DataFrame
        """
        pieces = []
        for number in self.numbers_of(start, stop):
            begin, end = self._begin(number), int(self.ends[number])
            rows = slice(max(start, begin) - begin, min(stop, end) - begin)
            if rows.start < rows.stop:
                pieces.append(_copied(self._part(number), rows))
        return joined(pieces)

    def rows(self, numbers: NDArray[np.int64]) -> Any:
        """Return single rows.

        Parameters
        ----------
        numbers : ndarray of shape (n,), int64
            Their numbers, rising.

        Returns
        -------
        ndarray or DataFrame
        """
        part_of = np.searchsorted(self.ends, numbers, side="right")
        pieces = []
        for number in np.unique(part_of).tolist():
            here = numbers[part_of == number] - self._begin(number)
            pieces.append(_copied(self._part(number), here))
        return joined(pieces)

    def where(self, start: int, stop: int) -> str:
        """Return what an error message calls the place of a range of rows."""
        parts = [self.names(number) for number in self.numbers_of(start, stop)]
        some = ", ".join(parts[:3]) + (", ..." if len(parts) > 3 else "")
        return f"X_pool ({some})"

    def bounds(self) -> Sequence[int]:
        """Return where the parts begin, and N."""
        return [0, *self.ends.tolist()]


def _copied(part: Any, rows: Any) -> Any:
    return part.iloc[rows] if hasattr(part, "iloc") else part[rows]


def joined(pieces: Sequence[Any]) -> Any:
    """Return pieces of a pool, one after the other: arrays or DataFrames."""
    if len(pieces) == 1:
        return pieces[0]
    if hasattr(pieces[0], "iloc"):
        import pandas as pd

        return pd.concat(pieces)
    return np.concatenate(pieces)


def table_rows(frame: Any, columns: Sequence[str] | None) -> Any:
    """Return a DataFrame as the estimator takes it.

    Parameters
    ----------
    frame : DataFrame
        Rows of a table.
    columns : sequence of str or None
        The columns that the estimator was fitted with. None: it was fitted with an array.

    Returns
    -------
    DataFrame or ndarray

    Raises
    ------
    ValueError
        If a column is missing, or does not hold numbers where an array is wanted.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.pools.parts import table_rows
    >>> table_rows(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.0]}), None)
    array([[1. , 0.5],
           [2. , 1. ]])
    """
    if columns is not None:
        check_columns(columns, frame.columns)
        return frame[list(columns)]
    words = [name for name, kind in frame.dtypes.items() if kind.kind not in "biuf"]
    if words:
        raise ValueError(
            f"Column {words[0]!r} holds {frame.dtypes[words[0]]}, and the estimator was fitted "
            "with an array of numbers. Leave the column out, or fit the estimator with a DataFrame."
        )
    return frame.to_numpy()


def check_columns(wanted: Sequence[str], present: Sequence[str], where: str = "X_pool") -> None:
    """Raise a ValueError unless a table, or a file of it, has all columns that are wanted."""
    missing = [name for name in wanted if name not in set(present)]
    if missing:
        raise ValueError(
            f"{where} has no column {missing[0]!r}, which the estimator needs "
            f"({len(missing)} of {len(wanted)} columns are missing)."
        )
