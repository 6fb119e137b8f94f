"""Cell values: empty cells, classes of labels, and what a spreadsheet changes in either."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context
from functools import cache
from typing import Any

import numpy as np

ERRORS = frozenset(["#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"])
# Texts that mean an empty cell: pandas' list without "None", which may be a label.
MISSING = ERRORS | {
    "", "NA", "N/A", "n/a", "<NA>", "#NA", "NaN", "nan", "-NaN", "-nan", "NULL", "null",
}  # fmt: skip
# pandas writes the 1 of a column with gaps as "1.0", and a date of a workbook with its time.
WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*|(\d{4}-\d\d-\d\d) 00:00:00")
NUMBER = re.compile(r"[+-]?(?P<mantissa>\d+\.?\d*|\.\d+)(?P<exponent>[eE][+-]?\d+)?", re.ASCII)
PLAIN = re.compile(r"-?(0|[1-9]\d*)(\.\d*[1-9])?|-?\d(\.\d+)?[eE][+-]\d\d+|TRUE|FALSE", re.ASCII)
DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d{1,2}(?:$|[eE]))")  # three digits may be thousands
EXACT_DIGITS = 15  # digits of a number that a spreadsheet keeps


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN, NaT, NA, an error value, or only blanks."""
    if isinstance(value, str):
        return value.strip() in MISSING
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def cell_text(value: Any) -> str:
    """Return a cell as the text to show; "" for an empty one."""
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    text = str(value)
    return text.removesuffix(" 00:00:00") if isinstance(value, datetime) else text


def class_of(value: Any) -> str | None:
    """Return the class that a label means, as text, or None for an empty cell.

    Surrounding blanks and the Unicode normal form are ignored; 1, 1.0, "1" and "1.0" are one
    class, and a date is the same with and without the time 00:00:00. "Cat" and "cat" are two
    classes, and so are "007" and "7".

    Examples
    --------
    >>> from modal_balance.table.values import class_of
    >>> class_of(" cat "), class_of(1.0), class_of("1.0"), class_of("007"), class_of("")
    ('cat', '1', '1', '007', None)
    """
    if is_missing(value):
        return None
    text = str(value).strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    whole = WHOLE.fullmatch(text)
    return whole.group(1) or whole.group(2) if whole else text


def is_plain(name: str) -> bool:
    """Return whether a spreadsheet writes numbers or truth values in this form.

    Examples
    --------
    >>> from modal_balance.table.values import is_plain
    >>> [is_plain(name) for name in ("7", "007", "1,1", "1,10", "1.20E+05", "TRUE", "true")]
    [True, False, True, False, True, True, False]
    """
    text = DECIMAL_COMMA.sub(".", name)
    number = NUMBER.fullmatch(text)
    digits = number["mantissa"].replace(".", "").strip("0") if number else ""
    return PLAIN.fullmatch(text) is not None and len(digits) <= EXACT_DIGITS


def spellings(values: Iterable[Any]) -> dict[str, Any]:
    """Return the most frequent spelling of each class."""
    counts: Counter[tuple[str, str]] = Counter()
    written: dict[tuple[str, str], Any] = {}
    for value in values:
        name = class_of(value)
        if name is not None:
            counts[name, str(value)] += 1
            written.setdefault((name, str(value)), value)
    best: dict[str, Any] = {}
    for (name, spelling), _ in counts.most_common():
        best.setdefault(name, written[name, spelling])
    return dict(sorted(best.items()))


class Names:
    """Ids or classes that can be found after a spreadsheet has changed them.

    ``names`` are as :func:`class_of` returns them.

    Examples
    --------
    >>> from modal_balance.table.values import Names
    >>> names = Names(["00123", "12E4", "true", "1", "1.00", "2,0"])
    >>> names.like("123"), names.like("1.20E+05"), names.like("TRUE"), names.like("2")
    (['00123'], ['12E4'], ['true'], ['2,0'])
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._by_key = cache(self._keys)

    def like(self, text: str) -> list[str]:
        """Return the names that a spreadsheet may have changed into this text."""
        number = NUMBER.fullmatch(DECIMAL_COMMA.sub(".", text))
        digits = EXACT_DIGITS
        if number and number["exponent"]:  # rounded to two or more decimals
            digits = min(digits, max(3, sum(map(str.isdecimal, number["mantissa"]))))
        return self._by_key(digits).get(_key(text, digits) or "", [])

    def _keys(self, digits: int) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._names:
            key = _key(name, digits)
            if key:
                found.setdefault(key, []).append(name)
        return found


def _key(text: str, digits: int) -> str | None:
    if text.casefold() in ("true", "false"):
        return text.casefold()
    text = DECIMAL_COMMA.sub(".", text)
    if not NUMBER.fullmatch(text):
        return None
    rounding = ROUND_DOWN if digits == EXACT_DIGITS else ROUND_HALF_UP
    number = Context(prec=digits, rounding=rounding, traps=[]).create_decimal(text)
    return str(number.normalize() + 0)
