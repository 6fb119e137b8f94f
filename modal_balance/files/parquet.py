"""Tables in Parquet files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .protocol import with_columns_as_written

__all__ = ["ParquetTable", "as_parquet"]


@dataclass(frozen=True)
class ParquetTable:
    """A table in a Parquet file.

    Parameters
    ----------
    path : Path
        Where it was read.
    table : pyarrow.Table
        The table.
    header : list of str
        Names of its columns.
    compression : str
        Of its first column.
    n_group : int
        Rows of its first group of rows.
    """

    path: Path
    table: Any
    header: list[str]
    compression: str
    n_group: int

    @classmethod
    def read(cls, path: Path) -> ParquetTable:
        """Read a file.

        Parameters
        ----------
        path : Path
            The file.

        Returns
        -------
        ParquetTable

        Raises
        ------
        ValueError
            If it is no such table.
        """
        pyarrow, parquet = _pyarrow()
        try:
            file = parquet.ParquetFile(io.BytesIO(path.read_bytes()))
            table = file.read()
        except (pyarrow.ArrowException, ValueError, OSError) as error:
            raise ValueError(
                f"{path} cannot be read as a Parquet file: {' '.join(str(error).split())}"
            ) from None
        if not table.num_columns:
            raise ValueError(f"{path} is empty.")
        compression, n_group = "snappy", max(1, table.num_rows)
        if file.metadata.num_row_groups:
            group = file.metadata.row_group(0)
            compression, n_group = group.column(0).compression, max(1, group.num_rows)
        return cls(path, table, list(table.column_names), compression, n_group)

    def column(self, name: str) -> list[Any]:
        """Return the cells of a column, None where they are missing."""
        cells: list[Any] = self.table.column(name).to_pylist()
        return cells

    def frame(self, as_text: Sequence[str] = ()) -> Any:
        """Return the table as a DataFrame."""
        frame = self.table.to_pandas(ignore_metadata=True)
        return with_columns_as_written(self, frame, as_text)

    def with_cells(self, column: str, cells: dict[int, Any]) -> bytes:
        """Return the file with some cells of a column replaced."""
        pyarrow, parquet = _pyarrow()
        at = self.header.index(column)
        old = self.table.column(at)
        kind = old.type.value_type if pyarrow.types.is_dictionary(old.type) else old.type
        if pyarrow.types.is_null(kind):
            kind = pyarrow.array(list(cells.values())).type if cells else kind
        values = old.to_pylist()
        for position, label in cells.items():
            values[position] = _converted(label, kind, column, pyarrow)
        new = pyarrow.array(values, type=kind)
        if pyarrow.types.is_dictionary(old.type):
            new = new.dictionary_encode().cast(old.type)
        changed = self.table.set_column(at, self.table.field(at).with_type(new.type), new)
        return _written(changed, parquet, self.compression, self.n_group)


def as_parquet(frame: Any) -> bytes:
    """Return a DataFrame as a Parquet file.

    Parameters
    ----------
    frame : DataFrame
        The table, without its index.

    Returns
    -------
    bytes
    """
    pyarrow, parquet = _pyarrow()
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    return _written(table, parquet, "snappy", max(1, len(frame)))


def _written(table: Any, parquet: Any, compression: str, n_group: int) -> bytes:
    written = io.BytesIO()
    name = "none" if compression == "UNCOMPRESSED" else compression
    parquet.write_table(table, written, compression=name, row_group_size=n_group)
    return written.getvalue()


def _converted(label: Any, kind: Any, column: str, pyarrow: Any) -> Any:
    try:
        return pyarrow.scalar(label, type=kind).as_py()
    except (pyarrow.ArrowException, TypeError, ValueError):
        pass
    try:
        return pyarrow.scalar(str(label)).cast(kind).as_py()
    except (pyarrow.ArrowException, TypeError, ValueError):
        raise ValueError(
            f"The label {label!r} cannot be written to the column {column!r}, which holds {kind}."
        ) from None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow: python -m pip install 'modal-balance[table]'"
        ) from error
    return pyarrow, pyarrow.parquet
