"""Read tables from CSV, Excel and Parquet files unchanged, and write new files."""

from __future__ import annotations

import codecs
import csv
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .._utils.atomic import replacing
from .labelled import quoted
from .values import cell_text, class_of, is_missing

FORMATS = {
    ".csv": "text", ".tsv": "text", ".tab": "text", ".txt": "text",
    ".xlsx": "excel", ".xlsm": "excel", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
DELIMITERS = (",", ";", "\t", "|")
TABS = (".tsv", ".tab")  # names of files whose delimiter is a tab
MARKS = (  # UTF-32 before UTF-16, whose mark is a prefix of that of UTF-32
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# Encodings to guess for a file that is not UTF-8: those that spreadsheets write.
ENCODINGS = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "shift_jis", "gb18030",
             "big5", "euc_kr"]  # fmt: skip
N_SNIFFED = 50  # records read to find the delimiter
MAX_UNPACKED = 400_000_000  # bytes of a workbook
MAX_CELL = 32_767  # characters, Excel's limit
MAX_ROWS = 1_048_576  # Excel's limit
FORMULA_WITHOUT_VALUE = re.compile(
    rb'<c r="([A-Z]+\d+)"[^>]*>\s*<f[^>]*?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>'
)
MERGED = re.compile(rb'<mergeCell\s[^>]*ref="([A-Z0-9:]+)"')


@dataclass(frozen=True)
class TableFile:
    """A table read from a file.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        "text", "excel" or "parquet".
    frame : DataFrame
        Texts of a CSV file, values of an Excel file, or columns of a Parquet file.
    first : int
        Number that a spreadsheet gives to the first row below the header.
    notes : tuple of str
        What the user should know.
    encoding, delimiter, line_end : str
        Encoding, delimiter and line end of a text file.
    header : tuple of str
        Names of the columns of a text file, with surrounding blanks.
    """

    path: Path
    kind: str
    frame: Any
    first: int = 2
    notes: tuple[str, ...] = ()
    encoding: str = "utf-8"
    delimiter: str = ","
    line_end: str = "\n"
    header: tuple[str, ...] = ()


def table_format(path: str | Path) -> str:
    """Return the format that a file name stands for: "text", "excel" or "parquet"."""
    suffix = Path(path).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    older = "" if suffix not in (".xls", ".xlsb", ".ods", ".numbers") else " Save it as .xlsx."
    raise ValueError(f"{path} ends in {suffix!r}. Expected {', '.join(FORMATS)}.{older}")


def read_table(
    path: str | Path, encoding: str | None = None, *, or_else: str | None = None
) -> TableFile:
    r"""Return the table in a file, which is opened read-only.

    The file is a .csv, .tsv, .xlsx or .parquet file, or another of ``FORMATS``. If ``encoding`` is
    None, a text file is read in that of its byte order mark, else in UTF-8, else in ``or_else``,
    else in a guess, which is reported in a note. Raise ValueError if the file does not exist, or is
    not a table, and ImportError if pandas or pyarrow is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.table.files import read_table
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("name;size\n007;1,5\n")
    >>> read_table(path).frame.values.tolist()
    [['007', '1,5']]
    """
    path = Path(path)
    kind = table_format(path)
    if not path.exists():
        raise ValueError(f"There is no file {path}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Name a file in it.")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file.")
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Tables need pandas and pyarrow: python -m pip install 'modal-balance[table]'"
        ) from error
    if kind == "text":
        return _read_text(path, encoding, or_else)
    return _read_workbook(path) if kind == "excel" else _read_parquet(path)


def check_output(path: str | Path, inputs: Sequence[str | Path], force: bool) -> None:
    """Raise a ValueError unless the output can be written and is not one of the inputs."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} to write {path.name} to.")
    if not os.access(path.resolve().parent, os.W_OK):
        raise ValueError(f"The folder {path.parent} is write-protected. Write to another folder.")
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file. Name another file to write to.")
    if any(is_same_file(other, path) for other in inputs):
        raise ValueError(f"{path} is an input, which is never changed. Name another file.")
    if not force:
        raise ValueError(f"{path} already exists. Name another file, or replace it with --force.")


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths lead to the same existing file."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


# --- text -----------------------------------------------------------------------------------------


def _read_text(path: Path, encoding: str | None, or_else: str | None) -> TableFile:
    import pandas as pd

    encoding, notes = _encoding(path, encoding, or_else)
    delimiter = "\t" if path.suffix.lower() in TABS else _delimiter(path, encoding)
    header: tuple[str, ...] = ()
    above = n_records = n_filled = header_line = 0
    with _records(path, encoding, delimiter) as records:
        for line, record in records:
            if not header and not any(cell.strip() for cell in record):
                above += 1
                continue
            if not header:
                header, header_line = tuple(record), line
                if re.fullmatch("(?i)sep=.?", delimiter.join(record).strip()):
                    raise ValueError(
                        f"{path} begins with {delimiter.join(record)!r}, a line for Excel, and not "
                        "with the names of the columns. Delete that line."
                    )
                continue
            n_records += 1
            is_blank = not any(cell.strip() for cell in record)
            if not is_blank:
                n_filled = n_records
            if len(record) != len(header) and not (is_blank and len(record) <= 1):
                mark = repr(delimiter) if len(record) > len(header) else "a line break"
                advice = f"Cells that contain {mark} need quotation marks around them."
                if len(header) == 1 and n_records == 1:
                    title = header[0].strip()
                    advice = f"If {title!r} is a title, delete all above the column names."
                raise ValueError(
                    f"{path}, line {line} (row {above + n_records + 1}) has {len(record)} cells, "
                    f"but the header has {len(header)}. {advice}"
                )
    if not header:
        raise ValueError(f"{path} is empty.")
    frame = pd.read_csv(
        path,
        sep=delimiter,
        header=None,
        names=range(len(header)),
        index_col=False,
        dtype=pd.StringDtype("pyarrow"),
        keep_default_na=False,
        skip_blank_lines=False,
        encoding=encoding,
    )
    frame = frame.iloc[above + 1 : above + 1 + n_filled].reset_index(drop=True)
    frame = frame.set_axis([name.strip() for name in header], axis=1)
    with path.open(encoding=encoding, newline="") as file:
        last = next(islice(file, header_line - 1, None))  # cells may have line breaks of their own
        line_end = "\r\n" if last.endswith("\r\n") else "\n"
    return TableFile(
        path, "text", frame, above + 2, tuple(notes), encoding, delimiter, line_end, header
    )


def _encoding(path: Path, encoding: str | None, or_else: str | None) -> tuple[str, list[str]]:
    data = path.read_bytes()
    found = next((name for mark, name in MARKS if data.startswith(mark)), None)
    if found is None and b"\0" in data:
        raise ValueError(f"{path} has null characters, so it is not a text file. Is it a CSV file?")
    for name in filter(None, (found, encoding, *([] if encoding else ["utf-8", or_else]))):
        try:
            data.decode(name)
        except LookupError:
            raise ValueError(f"There is no encoding {name!r}.") from None
        except UnicodeDecodeError as error:
            if name != encoding and not found:
                continue
            line = data[: error.start].decode(name).count("\n") + 1
            raise ValueError(
                f"{path} is not written in {name} (byte 0x{error.object[error.start]:02x} in line "
                f"{line}). Save it as UTF-8, or name another encoding."
            ) from None
        return name, []
    from charset_normalizer import from_bytes

    lines = [line for line in data.splitlines() if not line.isascii()]
    sample = b"\n".join(lines)[:100_000]
    matches = list(from_bytes(sample, cp_isolation=ENCODINGS))
    equal = {
        name for m in matches if m.chaos == matches[0].chaos for name in m.could_be_from_charset
    }
    # Among equally plausible encodings, prefer that of Excel in Western Europe.
    for name in [*(["cp1252"] if "cp1252" in equal else []), *(m.encoding for m in matches)]:
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name, [
            f"{path} is not UTF-8. It is read as {name}, in which a line of it is "
            f"{lines[0].decode(name).strip()[:60]!r}. If that looks wrong, name the encoding with "
            "--encoding."
        ]
    raise ValueError(
        f"{path} is not written in UTF-8 (line {data.splitlines().index(lines[0]) + 1}), and its "
        "encoding cannot be guessed. Save it as UTF-8, or name its encoding, for example cp1252."
    )


@contextmanager
def _records(
    path: Path, encoding: str, delimiter: str
) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Yield an iterator over the line numbers and records of a text file."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            yield ((reader.line_num, record) for record in reader)
    except csv.Error:
        raise ValueError(
            f'{path}, line {reader.line_num}: a quotation mark (") is not closed, or is inside a '
            "cell and not doubled."
        ) from None
    finally:
        csv.field_size_limit(limit)


def _delimiter(path: Path, encoding: str) -> str:
    """Return the delimiter that gives the most of the first records an equal number of cells.

    csv.Sniffer works on lines, not records. If the header is ``a;b`` and the first row ``1,5;2,5``,
    it takes the comma as the delimiter.
    """

    def fits(delimiter: str) -> tuple[float, int]:
        try:
            with _records(path, encoding, delimiter) as records:
                widths = [len(record) for _, record in islice(records, N_SNIFFED) if record]
        except ValueError:
            return 0.0, 0
        if not widths or widths[0] == 1:
            return 0.0, 0
        return widths.count(widths[0]) / len(widths), widths[0]

    return max(DELIMITERS, key=fits)  # the comma if none is found


def _write_text(
    frame: Any,
    path: Path,
    delimiter: str,
    encoding: str,
    line_end: str = "\n",
    n_above: int = 0,
) -> None:
    """Write a text file, with empty lines above the header."""
    # Python's csv does not quote carriage returns, which readers take for line ends.
    returns = any("\r" in str(name) for name in frame.columns) or any(
        frame.iloc[:, i].astype(str).str.contains("\r").any() for i in range(frame.shape[1])
    )
    try:
        with path.open("w", encoding=encoding, newline="") as file:
            file.write(line_end * n_above)
            frame.to_csv(
                file,
                index=False,
                sep=delimiter,
                lineterminator=line_end,
                quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
            )
    except UnicodeEncodeError as error:
        letter = str(error.object)[error.start]
        raise ValueError(
            f"The table is written in {encoding}, which has no {letter!r}. Save it as UTF-8 first."
        ) from None


# --- Excel ----------------------------------------------------------------------------------------


def _read_workbook(path: Path) -> TableFile:
    import pandas as pd

    openpyxl = _openpyxl()
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about unsupported parts of the workbook
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # of many types, if the file is not a workbook
        raise ValueError(
            f"{path} cannot be read as an Excel workbook: {' '.join(str(error).split())}"
        ) from None
    try:
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not sheets:
            raise ValueError(f"{path} has no visible sheet with cells. Put the table on one.")
        sheet = sheets[0]
        _check_cells(path, sheet._worksheet_path)
        sheet.reset_dimensions()  # a stray cell can make them huge
        rows: list[list[Any]] = []
        n_filled = 0
        for row in sheet.iter_rows(values_only=True):
            cells = list(row)
            while cells and not cell_text(cells[-1]).strip():
                cells.pop()
            rows.append(cells)
            if cells:
                n_filled = len(rows)
        title = sheet.title
        others = [f"{s.title!r}" + (" (hidden)" if s.sheet_state != "visible" else "")
                  for s in book.worksheets if s is not sheet]  # fmt: skip
    finally:
        book.close()
    del rows[n_filled:]
    above = next((i for i, row in enumerate(rows) if row), None)
    if above is None:
        raise ValueError(f"{path} is empty: its sheet {title!r} has no cells.")
    used = sorted({i for row in rows for i, cell in enumerate(row) if cell_text(cell).strip()})
    header = [cell_text(rows[above][i]).strip() if i < len(rows[above]) else "" for i in used]
    body = [[row[i] if i < len(row) else None for i in used] for row in rows[above + 1 :]]
    frame = pd.DataFrame(body, columns=range(len(used)), dtype=object).set_axis(header, axis=1)
    notes = [f"{path}: the sheet {title!r} is read, not {', '.join(others)}."] if others else []
    return TableFile(path, "excel", frame, above + 2, tuple(notes))


def _check_archive(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not an Excel workbook. If it has a password, save it without one."
        )
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > MAX_UNPACKED:
        raise ValueError(
            f"{path} unpacks to {size // 10**6} MB, more than {MAX_UNPACKED // 10**6}. Save the "
            "sheet as CSV."
        )


def _check_cells(path: Path, part: str) -> None:
    """Raise if a sheet has merged cells, or formulas that were never computed."""
    formulas: list[str] = []
    with zipfile.ZipFile(path) as archive, archive.open(part) as file:
        text = b""
        while chunk := file.read(1 << 20):
            text += chunk
            cut = max(text.rfind(b"</row>"), 0)
            formulas += [cell.decode() for cell in FORMULA_WITHOUT_VALUE.findall(text[:cut])]
            text = text[cut:]
        merged = [cells.decode() for cells in MERGED.findall(text)]  # they come after the rows
    if formulas:
        raise ValueError(
            f"{path} has {len(formulas)} formula(s) without a value, the first in cell "
            f"{formulas[0]}. Open the file in Excel and save it, which computes them."
        )
    if merged:
        raise ValueError(
            f"{path} has merged cells: {quoted(merged, 5)}. Unmerge them, and fill in every cell."
        )


def _write_workbook(frame: Any, path: Path, n_above: int = 0) -> None:
    """Write a workbook, with empty rows above the header."""
    openpyxl = _openpyxl()
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if len(frame) >= MAX_ROWS:
        raise ValueError(f"{len(frame)} rows do not fit on a sheet. Write a .csv file.")
    for at, name in enumerate(frame.columns):
        for number, value in enumerate(frame.iloc[:, at], 2):
            if isinstance(value, str) and len(value) > MAX_CELL:
                raise ValueError(
                    f"Column {name!r}, row {number}, has {len(value)} characters, and a cell of "
                    f"Excel at most {MAX_CELL}. Write a .csv file."
                )
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            if is_missing(value):
                return None
            # A workbook cannot hold times with a time zone.
            return value if getattr(value, "tzinfo", None) is None else cell(str(value))
        made = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value))
        made.data_type = "s"  # text, even if it begins with "="
        return made

    for _ in range(n_above):
        sheet.append([])
    sheet.append(list(map(cell, frame.columns)))
    for row in frame.itertuples(index=False, name=None):
        sheet.append(list(map(cell, row)))
    book.save(path)


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(
            "Excel files need openpyxl: python -m pip install 'modal-balance[table]'"
        ) from error
    return openpyxl


# --- Parquet --------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> TableFile:
    import pandas as pd
    import pyarrow as pa

    table, _ = _parquet(path)
    for at, field in enumerate(table.schema):
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            with suppress(pa.ArrowInvalid):  # Some programs store text as bytes.
                table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    names = [n for n in table.column_names if not re.fullmatch(r"__index_level_\d+__", n)]
    if not names:
        raise ValueError(f"{path} is empty.")
    whole = [f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)]
    types = {getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")() for name in whole}
    types |= {pa.bool_(): pd.BooleanDtype()}
    types |= dict.fromkeys((pa.string(), pa.large_string()), pd.StringDtype("pyarrow"))
    frame = table.select(names).to_pandas(
        ignore_metadata=True, date_as_object=False, types_mapper=types.get
    )
    return TableFile(path, "parquet", frame)


def _parquet(path: Path) -> tuple[Any, str]:
    """Return the table, and the compression of its first column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            groups = file.metadata.num_row_groups and file.metadata.num_columns
            compression = file.metadata.row_group(0).column(0).compression if groups else "SNAPPY"
            return file.read(), compression
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a Parquet file: {' '.join(str(error).split())}"
        ) from None


def _write_parquet_like(old: Path, path: Path, target: str, cells: dict[int, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, compression = _parquet(old)
    at = table.column_names.index(target)
    column = table.column(at)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    kind = pa.string() if pa.types.is_null(kind) else kind
    values = column.to_pylist()
    for position, label in cells.items():
        try:
            text = class_of(label) if pa.types.is_integer(kind) else str(label)  # 3 for "3.0"
            values[position] = pa.scalar(text).cast(kind).as_py()
        except (pa.ArrowException, TypeError, ValueError):
            raise ValueError(
                f"The label {label!r} cannot be written to the column {target!r}, which holds "
                f"{kind}. Name a .csv file as the output: it takes any label."
            ) from None
    new = pa.array(values, type=kind)
    if pa.types.is_dictionary(column.type):
        new = new.dictionary_encode().cast(column.type)
    table = table.set_column(at, table.field(at).with_type(new.type), new)
    pq.write_table(
        table, path, compression="none" if compression == "UNCOMPRESSED" else compression
    )


# --- writing --------------------------------------------------------------------------------------


def write_filled(
    file: TableFile, target: str, cells: dict[int, Any], path: str | Path
) -> tuple[str, ...]:
    """Write a table to a new file, with some cells of a column filled in.

    The file has the format of the table, or is a CSV file of a Parquet table, whose columns may
    not take a label such as "?".
    """
    wanted = ".xlsx" if file.kind == "excel" else file.path.suffix.lower()
    is_same = file.kind == table_format(path)
    if file.kind == "excel":
        is_same = Path(path).suffix == wanted
    as_text = file.kind == "parquet" and Path(path).suffix.lower() == ".csv"
    if not (is_same or as_text):
        raise ValueError(
            f"{path} ends in {Path(path).suffix!r}, but {file.path} is a "
            f"{file.path.suffix.lower()} file. Name a {wanted} file."
        )
    frame, at = file.frame, list(file.frame.columns).index(target)
    n_above = file.first - 2  # kept, because answers go by row numbers
    values = frame.iloc[:, at].astype(object)
    numeric = file.kind == "excel" and all(
        isinstance(value, int | float) for value in values if cell_text(value)
    )
    with replacing(path) as new:
        if file.kind == "parquet" and not as_text:
            _write_parquet_like(file.path, new, target, cells)
            return ()
        filled = values.tolist()
        for position, label in cells.items():
            # Write a text as a number only if no digit of it is lost.
            exact = numeric and isinstance(label, str) and re.fullmatch("0|[1-9][0-9]{0,14}", label)
            filled[position] = int(label) if exact else label
        frame = frame.copy(deep=False)
        frame.isetitem(at, filled)
        if as_text:
            _write_text(_texts(frame), new, ",", "utf-8")
            return (f"{path} has the values of {file.path} as text, without their types.",)
        if file.kind == "text":
            delimiter = _delimiter_of(path, file.delimiter)
            frame = frame.set_axis(list(file.header), axis=1)
            _write_text(frame, new, delimiter, file.encoding, file.line_end, n_above)
            return ()
        _write_workbook(frame, new, n_above)
    return (f"{path} has the values of {file.path}. Its formats, formulas and other sheets are "
            "not copied.",)  # fmt: skip


def _delimiter_of(path: str | Path, delimiter: str) -> str:
    """Return a tab for file names that promise one, otherwise the delimiter."""
    return "\t" if Path(path).suffix.lower() in TABS else delimiter


def _texts(frame: Any) -> Any:
    """Return a table with each cell as text, except in columns of integers."""
    return frame.apply(lambda c: c if c.dtype.kind == "i" else c.map(cell_text).astype(object))


def write_rows(frame: Any, path: str | Path, delimiter: str = ",") -> None:
    """Write rows for annotators, each cell as text; row numbers stay integers."""
    kind, texts = table_format(path), _texts(frame)
    with replacing(path) as new:
        if kind == "excel":
            _write_workbook(texts, new)
        elif kind == "parquet":
            texts.to_parquet(new, index=False)
        else:
            # The byte order mark tells Excel that this is UTF-8.
            _write_text(texts, new, _delimiter_of(path, delimiter), "utf-8-sig")
