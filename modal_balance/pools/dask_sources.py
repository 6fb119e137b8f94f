"""Pools in Dask collections: ``dask.array`` and ``dask.dataframe``.

Needs Dask: the extra ``dask``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .parts import PartsSource, check_columns, table_rows

__all__ = ["DaskSource"]


class DaskSource(PartsSource):
    """A Dask collection, whose parts are its partitions.

    Parameters
    ----------
    collection : dask.array.Array or dask.dataframe.DataFrame
        The pool.
    columns : sequence of str or None
        The columns that the estimator was fitted with. None: all, as an array.

    Attributes
    ----------
    partitions : list of Delayed
        What becomes the rows of each partition, in the form that the estimator takes.
    """

    def __init__(self, collection: Any, columns: Sequence[str] | None) -> None:
        import dask

        is_table = hasattr(collection, "map_partitions") and hasattr(collection, "columns")
        if is_table and columns is not None:
            check_columns(columns, collection.columns)
            collection = collection[list(columns)]
        if not is_table:
            collection = collection.rechunk(dict.fromkeys(range(1, collection.ndim), -1))
        as_rows = dask.delayed(table_rows, pure=True)
        self.partitions: list[Any] = list(np.ravel(collection.to_delayed()))
        if is_table:
            self.partitions = [as_rows(part, columns) for part in self.partitions]
        lengths: Sequence[Any] = [float("nan")] if is_table else collection.chunks[0]
        if any(length != length for length in lengths):
            # pandas' own length of a partition: no column need be converted for it
            raw = np.ravel(collection.to_delayed())
            lengths = dask.compute(*[dask.delayed(len)(part) for part in raw])
        filled = [number for number, length in enumerate(lengths) if length]
        self.numbers = filled
        self.partitions = [self.partitions[number] for number in filled]
        super().__init__([lengths[number] for number in filled], self._compute, self._name)

    def _compute(self, number: int) -> Any:
        return self.partitions[number].compute()

    def _name(self, number: int) -> str:
        return f"partition {self.numbers[number]}"
