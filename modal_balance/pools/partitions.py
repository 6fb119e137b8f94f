"""Pools in partitions: row groups of Parquet files, and partitions of Dask collections.

Parquet and other formats that pyarrow reads need the extra ``arrow``; ``dask.array`` and
``dask.dataframe`` need the extra ``dask``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.arguments import nan_for_na
from .sources import failure, taken


class PartitionedSource:
    """A pool in partitions that are read as a whole; the one read last stays in memory.

    ``lengths`` are the numbers of rows of the P partitions. ``read_partition(number)`` returns all
    rows of a partition, as an array or a DataFrame, and ``names(number)`` its name, for error
    messages. ``bounds``, int64 (P + 1,), are the first row of each partition, and N.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.pools.partitions import PartitionedSource
    >>> partitions = [np.arange(3), np.arange(3, 5)]
    >>> PartitionedSource([3, 2], partitions.__getitem__, "partition {}".format).read(2, 5)
    array([2, 3, 4])
    """

    is_in_memory = False

    def __init__(
        self,
        lengths: Sequence[int],
        read_partition: Callable[[int], Any],
        names: Callable[[int], str],
    ) -> None:
        self.bounds = np.cumsum([0, *lengths], dtype=np.int64)
        self.n_rows = int(self.bounds[-1])
        self.read_partition = read_partition
        self.names = names
        self._last: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without the partition in memory."""
        return self.__dict__ | {"_last": None}

    def _partition(self, number: int) -> Any:
        if self._last is None or self._last[0] != number:
            self._last = None  # never two partitions in memory
            try:
                self._last = (number, self.read_partition(number))
            except Exception as error:
                raise failure(self.names(number), error) from error
        return self._last[1]

    def numbers_of(self, start: int, stop: int) -> range:
        """Return the numbers of the partitions that contain a range of rows."""
        first, last = np.searchsorted(self.bounds, [start, stop - 1], side="right").tolist()
        return range(first - 1, last)

    def read(self, start: int, stop: int) -> Any:
        """Return a range of rows, which is not empty, as an ndarray or DataFrame."""
        pieces = []
        for number in self.numbers_of(start, stop):
            begin, end = self.bounds[number : number + 2].tolist()
            rows = slice(max(start, begin) - begin, min(stop, end) - begin)
            if rows.start < rows.stop:  # without empty partitions, which may have other types
                pieces.append(taken(self._partition(number), rows))
        return concatenated(pieces)

    def rows(self, numbers: NDArray[np.int64]) -> Any:
        """Return the rows with these ascending indices (n,), as an ndarray or DataFrame."""
        part_of = np.searchsorted(self.bounds, numbers, side="right") - 1
        pieces = []
        for number in np.unique(part_of).tolist():
            here = numbers[part_of == number] - self.bounds[number]
            pieces.append(taken(self._partition(number), here))
        return concatenated(pieces)

    def where(self, start: int, stop: int) -> str:
        """Return the name of a range of rows, for error messages."""
        partitions = [self.names(number) for number in self.numbers_of(start, stop)]
        some = ", ".join(partitions[:3]) + (", ..." if len(partitions) > 3 else "")
        return f"X_pool ({some})"


def concatenated(pieces: Sequence[Any]) -> Any:
    """Return the concatenation of arrays or DataFrames."""
    if len(pieces) == 1:
        return pieces[0]
    if hasattr(pieces[0], "iloc"):
        import pandas as pd

        return pd.concat(pieces)
    return np.concatenate(pieces)


def table_as_array(frame: Any) -> NDArray[Any]:
    """Return a DataFrame as an array, or raise a ValueError if a column does not hold numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.pools.partitions import table_as_array
    >>> table_as_array(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.0]}))
    array([[1. , 0.5],
           [2. , 1. ]])
    """
    words = [name for name, kind in frame.dtypes.items() if kind.kind not in "biuf"]
    if words:
        raise ValueError(
            f"Column {words[0]!r} holds {frame.dtypes[words[0]]}, and the estimator was fitted "
            "with an array of numbers. Leave the column out, or fit the estimator with a DataFrame."
        )
    rows: NDArray[Any] = nan_for_na(frame).to_numpy()
    return rows


def check_columns(wanted: Sequence[str], present: Sequence[str], where: str = "X_pool") -> None:
    """Raise a ValueError unless a table has all wanted columns."""
    missing = [name for name in wanted if name not in set(present)]
    if missing:
        raise ValueError(
            f"{where} has no column {missing[0]!r}, which the estimator needs "
            f"({len(missing)} of {len(wanted)} columns are missing)."
        )


def dataset_at(path: str) -> Any:
    """Return the ``pyarrow.dataset.Dataset`` in a file or a folder.

    The path is that of a Parquet file or a folder of them, or of a file in another format, known by
    its extension. Raise ImportError if pyarrow is not installed.
    """
    try:
        from pyarrow import dataset
    except ImportError as error:
        raise ImportError(
            'Reading Parquet needs pyarrow: pip install "modal-balance[arrow]".'
        ) from error
    suffix = os.path.splitext(path)[1].lower().lstrip(".")
    kind = suffix if suffix in ("feather", "arrow", "ipc", "orc", "csv", "json") else "parquet"
    return dataset.dataset(path, format="feather" if kind == "arrow" else kind)


def arrow_source(dataset: Any, columns: Sequence[str] | None) -> PartitionedSource:
    """Return a source of the rows of a data set, with its row groups as partitions.

    The data set is a ``pyarrow.dataset.Dataset``. ``columns`` are those that the estimator was
    fitted with; None means all, as an array. Raise ValueError if a file lacks a column.
    """
    from pyarrow.dataset import get_partition_keys

    wanted = dataset.schema.names if columns is None else list(columns)
    check_columns(wanted, dataset.schema.names)
    partitions: list[Any] = []
    lengths: list[int] = []
    names: list[str] = []
    schemas: list[Any] = []
    for fragment in dataset.get_fragments():
        path = getattr(fragment, "path", "a partition in memory")
        is_parquet = hasattr(fragment, "split_by_row_group")
        groups = fragment.split_by_row_group() if is_parquet else [fragment]
        n_before = len(partitions)
        for number, group in enumerate(groups):
            n_rows = group.row_groups[0].num_rows if is_parquet else group.count_rows()
            if n_rows:
                partitions.append(group)
                lengths.append(n_rows)
                names.append(f"row group {number} of {path}" if is_parquet else path)
        if len(partitions) > n_before:
            # pyarrow would fill a column that is missing in this file with nulls.
            from_path = get_partition_keys(fragment.partition_expression)
            check_columns(wanted, [*fragment.physical_schema.names, *from_path], path)
            schemas.append(fragment.physical_schema)
    reader = _Reader(partitions, _unified(dataset.schema, schemas, wanted), columns is not None)
    return PartitionedSource(lengths, reader, names.__getitem__)


def _unified(declared: Any, schemas: Sequence[Any], names: Sequence[str]) -> Any:
    """Return the schema of a data set with types that can hold the values of all files.

    pyarrow uses the types of the first file, where a column may be empty or hold only integers.
    """
    import pyarrow

    fields = []
    for name in names:
        here = [pyarrow.schema([declared.field(name)])]
        here += [pyarrow.schema([s.field(name)]) for s in schemas if name in s.names]
        try:
            fields.append(pyarrow.unify_schemas(here, promote_options="permissive").field(0))
        except pyarrow.ArrowException:  # numbers and strings: reading reports where
            fields.append(declared.field(name))
    return pyarrow.schema(fields)


class _Reader:
    """Read one partition of a data set."""

    def __init__(self, partitions: list[Any], schema: Any, as_frame: bool) -> None:
        self.partitions, self.schema, self.as_frame = partitions, schema, as_frame

    def __call__(self, number: int) -> Any:
        from pyarrow import types

        table = self.partitions[number].to_table(schema=self.schema, use_threads=False)
        if self.as_frame:
            return table.to_pandas()
        for field in table.schema:
            if not (types.is_integer(field.type) or types.is_floating(field.type)):
                raise ValueError(
                    f"Column {field.name!r} holds {field.type}, and the estimator was fitted with "
                    "an array of numbers. Leave the column out, or fit it with a DataFrame."
                )
        return np.column_stack([column.to_numpy() for column in table.columns])


class DaskSource(PartitionedSource):
    """A Dask collection, read partition by partition.

    The collection is a ``dask.array.Array`` or a ``dask.dataframe.DataFrame``. ``columns`` are
    those that the estimator was fitted with; None means all, as an array. ``partitions`` are the
    lazy rows (``Delayed``) of each partition, in the form that the estimator was fitted with.
    """

    def __init__(self, collection: Any, columns: Sequence[str] | None) -> None:
        import dask

        is_table = hasattr(collection, "map_partitions") and hasattr(collection, "columns")
        if is_table and columns is not None:
            check_columns(columns, collection.columns)
            collection = collection[list(columns)]
        if not is_table:
            collection = collection.rechunk(dict.fromkeys(range(1, collection.ndim), -1))
        delayed: list[Any] = list(np.ravel(collection.to_delayed()))
        lengths: Sequence[Any] = () if is_table else collection.chunks[0]
        if is_table or any(length != length for length in lengths):
            lengths = dask.compute(*[dask.delayed(len)(partition) for partition in delayed])
        if is_table and columns is None:
            delayed = [dask.delayed(table_as_array, pure=True)(partition) for partition in delayed]
        self.numbers = [number for number, length in enumerate(lengths) if length]
        self.partitions = [delayed[number] for number in self.numbers]
        super().__init__([lengths[number] for number in self.numbers], self._compute, self._name)

    def _compute(self, number: int) -> Any:
        return self.partitions[number].compute()

    def _name(self, number: int) -> str:
        return f"partition {self.numbers[number]}"
