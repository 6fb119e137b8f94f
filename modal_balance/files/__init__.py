"""Files that hold tables: CSV, TSV, Excel and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .atomic import write_atomically
from .delimited import DelimitedTable, as_delimited
from .parquet import ParquetTable, as_parquet
from .protocol import TableFile
from .workbook import WorkbookTable, as_workbook

__all__ = ["TableFile", "open_table", "table_format", "write_atomically", "write_frame"]

FORMATS = {
    ".csv": "text",
    ".tsv": "text",
    ".tab": "text",
    ".txt": "text",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def table_format(path: str | Path) -> str:
    """Return the format that the name of a file stands for.

    Parameters
    ----------
    path : path
        Its name.

    Returns
    -------
    str
        "text", "excel" or "parquet".

    Raises
    ------
    ValueError
        If it stands for none of them.

    Examples
    --------
    >>> from modal_balance.files import table_format
    >>> table_format("pool.CSV")
    'text'
    """
    suffix = Path(path).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    older = "" if suffix not in (".xls", ".xlsb", ".ods") else " Save it as .xlsx."
    raise ValueError(f"{path} ends in {suffix!r}. Expected {', '.join(FORMATS)}.{older}")


def open_table(path: str | Path, encoding: str | None = None) -> TableFile:
    r"""Read a table from a file.

    Parameters
    ----------
    path : path
        A .csv, .tsv, .xlsx or .parquet file.
    encoding : str or None, default=None
        Encoding of a text file without a byte order mark. Default: UTF-8.

    Returns
    -------
    TableFile

    Raises
    ------
    ValueError
        If it is not there, or no such table.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.files import open_table
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("name;size\n007;1,5\n")
    >>> table = open_table(path)
    >>> table.header, table.frame(as_text=["name"]).values.tolist()
    (['name', 'size'], [['007', 1.5]])
    >>> table.with_cells("name", {0: "x;y"})
    b'name;size\n"x;y";1,5\n'
    """
    path = Path(path)
    kind = table_format(path)
    if not path.exists():
        raise ValueError(f"There is no file {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is no file.")
    if kind == "excel":
        return WorkbookTable.read(path)
    if kind == "parquet":
        return ParquetTable.read(path)
    return DelimitedTable.read(path, encoding)


def write_frame(frame: Any, path: str | Path, like: TableFile | None = None) -> None:
    """Write a DataFrame to a file, in the format that its name stands for.

    Parameters
    ----------
    frame : DataFrame
        The table; its index is not written.
    path : path
        The file.
    like : TableFile or None, default=None
        Where both are text: write it with the same delimiter and encoding.
    """
    kind = table_format(path)
    if kind == "excel":
        data = as_workbook(frame)
    elif kind == "parquet":
        data = as_parquet(frame)
    elif isinstance(like, DelimitedTable) and Path(path).suffix.lower() in (".csv", ".txt"):
        data = as_delimited(frame, delimiter=like.delimiter, encoding=like.encoding, mark=like.mark)
    else:
        data = as_delimited(frame, delimiter="," if Path(path).suffix.lower() != ".tsv" else "\t")
    write_atomically(path, data)
