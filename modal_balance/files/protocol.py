"""What every kind of table file can do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["TableFile", "with_columns_as_written"]


class TableFile(Protocol):
    """A table as it stands in a file."""

    @property
    def path(self) -> Path:
        """Where it was read."""

    @property
    def header(self) -> list[str]:
        """Names of the columns."""

    def column(self, name: str) -> list[Any]:
        """Return the cells of a column as they stand in the file, None where they are empty."""

    def frame(self, as_text: Sequence[str] = ()) -> Any:
        """Return the table as a DataFrame.

        Parameters
        ----------
        as_text : sequence of str, default=()
            Columns whose cells stay as they stand in the file. Those of the others get the type
            that suits the column.

        Returns
        -------
        DataFrame
        """

    def with_cells(self, column: str, cells: dict[int, Any]) -> bytes:
        """Return the file with some cells of a column replaced, and nothing else changed.

        Parameters
        ----------
        column : str
            A name of the header.
        cells : dict
            Position -> new value of the cell.

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            If the file cannot hold such a value, or could not be written again as it is.
        """


def with_columns_as_written(table: TableFile, frame: Any, names: Sequence[str]) -> Any:
    """Return a frame with the header of a table, and some columns as they stand in the file.

    Parameters
    ----------
    table : TableFile
        The table.
    frame : DataFrame
        Its columns.
    names : sequence of str
        Columns to replace; those that are not there are passed over.

    Returns
    -------
    DataFrame
    """
    import pandas as pd

    for name in {name for name in names if table.header.count(name) == 1}:
        values = pd.Series(table.column(name), index=frame.index, dtype=object)
        frame.isetitem(table.header.index(name), values)
    return frame.set_axis(table.header, axis=1)
