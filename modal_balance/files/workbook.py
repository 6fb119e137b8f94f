"""Tables on the first sheet of an Excel workbook."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .delimited import MISSING
from .protocol import with_columns_as_written

__all__ = ["WorkbookTable", "as_workbook"]

# Parts of a workbook that openpyxl does not write again.
LOST = {
    "xl/charts/": "charts",
    "xl/drawings/drawing": "drawings",
    "xl/media/": "pictures",
    "xl/pivotTables/": "pivot tables",
    "xl/slicers/": "slicers",
    "xl/threadedComments/": "threads of comments",
}


@dataclass(frozen=True)
class WorkbookTable:
    """A table on the first sheet of an Excel workbook, its header in the first row.

    Parameters
    ----------
    path : Path
        Where it was read.
    data : bytes
        The file.
    header : list of str
        Names of the columns.
    rows : list of list
        The cells below it.
    """

    path: Path
    data: bytes
    header: list[str]
    rows: list[list[Any]]

    @classmethod
    def read(cls, path: Path) -> WorkbookTable:
        """Read a file.

        Parameters
        ----------
        path : Path
            An .xlsx or .xlsm file.

        Returns
        -------
        WorkbookTable

        Raises
        ------
        ValueError
            If it is no such table.
        """
        data = path.read_bytes()
        sheet = _load(path, data, data_only=True).worksheets[0]
        rows = [list(row) for row in sheet.iter_rows(values_only=True)]
        while rows and all(_is_empty(cell) for cell in rows[-1]):
            rows.pop()
        if not rows:
            raise ValueError(f"{path} is empty: there is nothing on its first sheet.")
        header = ["" if cell is None else str(cell).strip() for cell in rows[0]]
        while header and not header[-1] and all(_is_empty(row[len(header) - 1]) for row in rows):
            header.pop()  # columns that are only formatted
        return cls(path, data, header, [row[: len(header)] for row in rows[1:]])

    def column(self, name: str) -> list[Any]:
        """Return the cells of a column, None where they are empty."""
        at = self.header.index(name)
        return [None if _is_empty(row[at]) else row[at] for row in self.rows]

    def frame(self, as_text: Sequence[str] = ()) -> Any:
        """Return the table as a DataFrame."""
        import pandas as pd

        frame = pd.DataFrame(self.rows, columns=range(len(self.header)))
        return with_columns_as_written(self, frame, as_text)

    def with_cells(self, column: str, cells: dict[int, Any]) -> bytes:
        """Return the file with some cells of a column replaced."""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            names = archive.namelist()
        lost = [what for start, what in LOST.items() if any(n.startswith(start) for n in names)]
        book = _load(self.path, self.data, keep_vba=self.path.suffix.lower() == ".xlsm")
        if any(cell.data_type == "f" for sheet in book.worksheets for row in sheet for cell in row):
            lost.append("the values of formulas")
        if lost:
            raise ValueError(
                f"Writing {self.path} would lose {' and '.join(lost)}. Save the table as a CSV "
                "file, or as a workbook of its own without them, and merge into that."
            )
        sheet, at = book.worksheets[0], self.header.index(column) + 1
        as_numbers = all(isinstance(v, int | float) for v in self.column(column) if v is not None)
        for position, value in cells.items():
            cell = sheet.cell(position + 2, at)
            cell.value = _number(value) if as_numbers else value
            if isinstance(cell.value, str):
                cell.data_type = "s"  # also where it starts with "="
        written = io.BytesIO()
        book.save(written)
        return written.getvalue()


def as_workbook(frame: Any) -> bytes:
    """Return a DataFrame as an Excel workbook.

    Parameters
    ----------
    frame : DataFrame
        The table, without its index.

    Returns
    -------
    bytes
    """
    import pandas as pd

    book = _openpyxl().Workbook()
    sheet = book.active
    sheet.append(list(frame.columns))
    for number, row in enumerate(frame.itertuples(index=False), 2):
        for at, value in enumerate(row, 1):
            if pd.api.types.is_scalar(value) and pd.isna(value):
                continue
            plain = value.item() if hasattr(value, "item") else value
            cell = sheet.cell(number, at)
            try:
                cell.value = plain
            except ValueError:
                cell.value = str(plain)
            if isinstance(plain, str):
                cell.data_type = "s"
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def _load(path: Path, data: bytes, **options: Any) -> Any:
    openpyxl = _openpyxl()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about parts that it does not know
            return openpyxl.load_workbook(io.BytesIO(data), **options)
    except Exception as error:  # of many kinds, from a file that is no workbook
        raise ValueError(
            f"{path} cannot be read as an Excel workbook: {' '.join(str(error).split())}"
        ) from None


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(
            "Excel files need openpyxl: python -m pip install 'modal-balance[table]'"
        ) from error
    return openpyxl


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip() in MISSING)


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
