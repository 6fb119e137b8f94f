"""Labels as the user writes them, and the classes that they mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["class_of", "classes_of", "is_missing", "spellings"]

# "1.0" is how pandas writes the 1 of a column with holes.
WHOLE_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN, NaT, NA, or nothing but blanks.

    Parameters
    ----------
    value : object
        The cell.

    Returns
    -------
    bool

    Examples
    --------
    >>> from modal_balance.table.labels import is_missing
    >>> [is_missing(value) for value in (None, float("nan"), "  ", "no", 0)]
    [True, True, True, False, False]
    """
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def class_of(value: Any) -> str | None:
    """Return the class that a label means, as text, or None for an empty cell.

    Blanks around it do not count, and 1, 1.0, "1" and "1.0" are one class. Nothing else is
    interpreted: "Cat" and "cat" are two classes, and so are "007" and "7".

    Parameters
    ----------
    value : object
        A label as it stands in the table.

    Returns
    -------
    str or None

    Examples
    --------
    >>> from modal_balance.table.labels import class_of
    >>> class_of(" cat "), class_of(1.0), class_of("1.0"), class_of("007"), class_of("")
    ('cat', '1', '1', '007', None)
    """
    if is_missing(value):
        return None
    text = str(value).strip()
    whole = WHOLE_NUMBER.fullmatch(text)
    return whole.group(1) if whole else text


def classes_of(values: Iterable[Any]) -> list[str | None]:
    """Return the classes of a column of labels.

    Parameters
    ----------
    values : iterable
        The column.

    Returns
    -------
    list of str or None

    Examples
    --------
    >>> from modal_balance.table.labels import classes_of
    >>> classes_of([1.0, None, "b "])
    ['1', None, 'b']
    """
    return [class_of(value) for value in values]


def spellings(values: Iterable[Any]) -> dict[str, Any]:
    """Return, for each class, how the table writes it most often.

    Parameters
    ----------
    values : iterable
        The column of labels. Of equally frequent spellings the first counts.

    Returns
    -------
    dict
        Class -> label as in the table; in the order of the classes' names.

    Examples
    --------
    >>> from modal_balance.table.labels import spellings
    >>> spellings(["1.0", "1.0", "1", None, "0"])
    {'0': '0', '1': '1.0'}
    """
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
