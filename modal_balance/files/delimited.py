"""Tables as text, CSV and TSV, of which single cells can be replaced and nothing else changes."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .protocol import with_columns_as_written

__all__ = ["MISSING", "DelimitedTable", "as_delimited"]

# How an empty cell is written where it is not left empty: pandas' list, but for "None", which may
# well be a label.
MISSING = frozenset(
    ["", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "NULL", "null"]
)
DELIMITERS = (",", ";", "\t", "|")
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class DelimitedTable:
    """A table in a text file, with the place of each cell.

    Parameters
    ----------
    path : Path
        Where it was read.
    text : str
        All of it but the byte order mark.
    mark : bytes
        The byte order mark, or nothing.
    encoding : str
        Of the text.
    delimiter : str
        Between cells.
    header : list of str
        Names of the columns.
    places : list of list of (int, int)
        Start and end in the text of each cell below the header, quotation marks included.
    """

    path: Path
    text: str
    mark: bytes
    encoding: str
    delimiter: str
    header: list[str]
    places: list[list[tuple[int, int]]]

    @classmethod
    def read(cls, path: Path, encoding: str | None = None) -> DelimitedTable:
        """Read a file.

        Parameters
        ----------
        path : Path
            The file. A name that ends in .tsv or .tab means tabs between the cells; else the
            header tells.
        encoding : str or None, default=None
            Its encoding where there is no byte order mark. Default: UTF-8.

        Returns
        -------
        DelimitedTable

        Raises
        ------
        ValueError
            If it is no such table.
        """
        text, mark, encoding = _decoded(path, path.read_bytes(), encoding)
        if "\0" in text:
            raise ValueError(f"{path} is no text: it has null characters. Is it a CSV file?")
        delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else _delimiter(text)
        records = list(_records(path, text, delimiter))
        if not records:
            raise ValueError(f"{path} is empty.")
        header = [_value(text, place).strip() for place in records[0]]
        places = records[1:]
        while places and not any(_value(text, place).strip() for place in places[-1]):
            places.pop()  # spreadsheets leave such rows at the end
        for number, record in enumerate(places):
            if len(record) != len(header):
                line = text.count("\n", 0, record[0][0]) + 1
                raise ValueError(
                    f"{path}, line {line} (position {number}) has {len(record)} cells, but the "
                    f"header has {len(header)}. Cells that contain {delimiter!r} need quotation "
                    "marks around them."
                )
        return cls(path, text, mark, encoding, delimiter, header, places)

    def column(self, name: str) -> list[str | None]:
        """Return the cells of a column as text, None where they are empty."""
        at = self.header.index(name)
        cells = [_value(self.text, record[at]) for record in self.places]
        return [None if cell.strip() in MISSING else cell for cell in cells]

    def frame(self, as_text: Sequence[str] = ()) -> Any:
        """Return the table as a DataFrame."""
        import pandas as pd

        plain = io.StringIO()
        # Without quotes Python's csv writes a carriage return that its readers take for a new line.
        writer = csv.writer(plain, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(range(len(self.header)))  # pandas would rename a name that is there twice
        writer.writerows([_value(self.text, p) for p in record] for record in self.places)

        def read(decimal: str) -> Any:
            plain.seek(0)
            return pd.read_csv(plain, decimal=decimal, index_col=False, low_memory=False)

        frame = read(".")
        if self.delimiter != ",":  # where commas are free, they may stand in numbers
            with_commas = read(",")
            if _n_numeric(with_commas) > _n_numeric(frame):
                frame = with_commas
        return with_columns_as_written(self, frame, as_text)

    def with_cells(self, column: str, cells: dict[int, Any]) -> bytes:
        """Return the file with some cells of a column replaced, and nothing else changed."""
        at = self.header.index(column)
        if self.mark + self.text.encode(self.encoding) != self.path.read_bytes():
            raise ValueError(
                f"{self.path} has been changed meanwhile, or its encoding {self.encoding} has more "
                "than one way to write the same text. Nothing was written."
            )
        quote = any(self.text[slice(*record[at])][:1] == '"' for record in self.places)
        pieces, done = [], 0
        for position in sorted(cells):
            start, end = self.places[position][at]
            pieces += [self.text[done:start], self._cell(str(cells[position]), quote)]
            done = end
        try:
            changed = "".join([*pieces, self.text[done:]]).encode(self.encoding)
        except UnicodeEncodeError as error:
            letter = str(error.object)[error.start]
            raise ValueError(
                f"{self.path} is written in {self.encoding}, which has no {letter!r}. Save it as "
                "UTF-8."
            ) from None
        return self.mark + changed

    def _cell(self, text: str, quote: bool) -> str:
        if quote or any(letter in text for letter in (self.delimiter, '"', "\r", "\n")):
            return '"' + text.replace('"', '""') + '"'
        return text


def as_delimited(
    frame: Any, *, delimiter: str = ",", encoding: str = "utf-8", mark: bytes = b""
) -> bytes:
    """Return a DataFrame as a text file.

    Parameters
    ----------
    frame : DataFrame
        The table, without its index.
    delimiter : str, default=","
        Between cells.
    encoding : str, default="utf-8"
        Of the text.
    mark : bytes, default=b""
        Byte order mark.

    Returns
    -------
    bytes
    """
    text: str = frame.to_csv(index=False, sep=delimiter, lineterminator="\n")
    if "\r" in text:  # only quotes keep it within its cell
        text = frame.to_csv(
            index=False, sep=delimiter, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
        )
    return mark + text.encode(encoding)


def _decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, bytes, str]:
    for mark, name in MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
            break
    else:
        mark = b""
    try:
        return data.decode(encoding or "utf-8"), mark, encoding or "utf-8"
    except LookupError:
        raise ValueError(f"There is no encoding {encoding!r}.") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not written in {encoding or 'UTF-8'} (byte 0x{data[error.start]:02x} in "
            f"line {line}). Save it as UTF-8, or name its encoding, such as latin-1."
        ) from None


def _delimiter(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=bare.count)  # the first where there is none


def _records(path: Path, text: str, delimiter: str) -> Iterator[list[tuple[int, int]]]:
    """Yield the places of the cells of each line that is not blank."""
    mark = re.escape(delimiter)
    cell = re.compile(
        rf'(?:"[^"]*(?:""[^"]*)*"[^"{mark}\r\n]*|[^"{mark}\r\n][^{mark}\r\n]*|)'
        rf"(?P<end>{mark}|\r\n|\r|\n|\Z)"
    )
    at, record = 0, []
    while at <= len(text):
        found = cell.match(text, at)
        if found is None:
            line = text.count("\n", 0, at) + 1
            raise ValueError(
                f'{path}, line {line}: a quotation mark (") is not closed, or stands within a cell '
                "and is not doubled."
            )
        record.append((at, found.start("end")))
        at = found.end()
        if found["end"] != delimiter:
            if len(record) > 1 or text[slice(*record[0])].strip():
                yield record
            record = []
        if not found["end"]:
            return


def _value(text: str, place: tuple[int, int]) -> str:
    raw = text[slice(*place)]
    if not raw.startswith('"'):
        return raw
    inside, _, after = raw[1:].rpartition('"')
    return inside.replace('""', '"') + after


def _n_numeric(frame: Any) -> int:
    import pandas as pd

    return sum(pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes)
