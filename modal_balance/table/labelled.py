"""A checked table of which some rows are labelled."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .labels import class_of, classes_of, spellings

__all__ = ["POSITION", "LabelledTable", "check_columns", "positions_in", "quoted"]

# Column of the position in the table, counted from 0.
POSITION = "position"
# More classes than this, with hardly two labels of each, are numbers or names.
MANY_CLASSES = 50


@dataclass(frozen=True)
class LabelledTable:
    """A checked table of which some rows are labelled.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table.
    target : str
        Column of the labels.
    id_column : str or None
        Column that names the rows.
    classes : tuple of str or None
        Class of each row; None where the target is empty.
    spelling : dict
        Class -> label as the table writes it.
    ids : tuple of str or None
        Name of each row, where there is a column of them.
    """

    frame: Any
    target: str
    id_column: str | None
    classes: tuple[str | None, ...]
    spelling: dict[str, Any]
    ids: tuple[str, ...] | None

    @classmethod
    def of(cls, frame: Any, target: str, id_column: str | None = None) -> LabelledTable:
        """Return the table, or raise a ValueError that says what is wrong with it.

        Parameters
        ----------
        frame : DataFrame
            The table.
        target : str
            Column of the labels.
        id_column : str or None, default=None
            Column that names the rows.

        Returns
        -------
        LabelledTable
        """
        frame = check_columns(frame, "the table", target, id_column)
        if len(frame) == 0:
            raise ValueError("The table has no rows below its header.")
        classes = tuple(classes_of(frame[target].tolist()))
        ids = None if id_column is None else _unique_ids(frame[id_column].tolist(), id_column)
        table = cls(frame, target, id_column, classes, spellings(frame[target].tolist()), ids)
        table._check_classes()
        return table

    @property
    def labelled(self) -> NDArray[np.intp]:
        """Positions of the rows that have labels."""
        return np.flatnonzero([name is not None for name in self.classes])

    @property
    def unlabelled(self) -> NDArray[np.intp]:
        """Positions of the rows that have none."""
        return np.flatnonzero([name is None for name in self.classes])

    @property
    def counts(self) -> dict[str, int]:
        """Number of labels of each class."""
        counts = Counter(name for name in self.classes if name is not None)
        return {name: counts[name] for name in self.spelling}

    def labels_of(self, positions: NDArray[np.intp]) -> NDArray[Any]:
        """Return the classes of labelled rows.

        Parameters
        ----------
        positions : ndarray of int
            The rows.

        Returns
        -------
        ndarray of str
        """
        return np.array([self.classes[position] for position in positions], dtype=str)

    @property
    def columns(self) -> Any:
        """The columns to learn from, as a DataFrame; those without a name are left out."""
        kept = [
            name
            for name in self.frame.columns
            if name not in (self.target, self.id_column) and name.strip()
        ]
        if not kept:
            raise ValueError(
                f"There is no column to learn from beside the target {self.target!r}"
                + (f" and the id {self.id_column!r}." if self.id_column else ".")
            )
        return self.frame[kept].reset_index(drop=True)

    def _check_classes(self) -> None:
        n_labels, n_classes = sum(self.counts.values()), len(self.counts)
        if n_classes > MANY_CLASSES and 2 * n_classes > n_labels:
            some = ", ".join(repr(name) for name in list(self.counts)[:3])
            raise ValueError(
                f"The target {self.target!r} has {n_classes} different values in {n_labels} "
                f"labels, such as {some}. That looks like numbers or names and not like classes. "
                "Choose another column, or group its values into classes."
            )


def check_columns(frame: Any, what: str, target: str, id_column: str | None) -> Any:
    """Return the frame with its column names as text, or raise unless it has the columns.

    Parameters
    ----------
    frame : DataFrame
        A table, or answers.
    what : str
        What the error message calls it, such as "the table".
    target, id_column : str or None
        Columns that must be there.

    Returns
    -------
    DataFrame
    """
    if not hasattr(frame, "iloc") or not hasattr(frame, "columns"):
        raise TypeError(f"Expected a pandas DataFrame for {what}, got {type(frame).__name__}.")
    if target == id_column:
        raise ValueError(f"The column {target!r} cannot be both the target and the id.")
    names = [str(name) for name in frame.columns]
    for role, wanted in (("target", target), ("id", id_column)):
        if wanted is not None and wanted not in names:
            close = difflib.get_close_matches(str(wanted), names, 1)
            raise ValueError(
                f"There is no column {wanted!r}, to be the {role}, in {what}. "
                + (f"Did you mean {close[0]!r}? " if close else "")
                + f"Its columns are {quoted(names)}."
            )
    twice = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
    if twice:
        raise ValueError(
            f"There is more than one column {twice[0]!r} in {what}. Rename all but one."
        )
    return frame.set_axis(names, axis=1)


def positions_in(table: LabelledTable, rows: Any, what: str) -> tuple[list[int | None], list[str]]:
    """Return the positions of rows that are given by their id or their position.

    Parameters
    ----------
    table : LabelledTable
        The table.
    rows : DataFrame or array-like
        A frame with the table's id column, or else a column "position"; or the ids or positions
        themselves.
    what : str
        What error messages call them, such as "the answers".

    Returns
    -------
    positions : list of int or None
        None where the table has no such row.
    names : list of str
        What messages call the rows, such as "position 3".

    Raises
    ------
    ValueError
        If a frame has no column of ids or positions.
    """
    if hasattr(rows, "columns"):
        wanted = POSITION if table.id_column is None else table.id_column
        names = [str(name) for name in rows.columns]
        if wanted not in names:
            hint = (
                "Keep that column of the file that was to be filled in"
                if wanted == POSITION
                else "Keep it, or leave out the id to go by position"
            )
            raise ValueError(
                f"There is no column {wanted!r} in {what}, to say where they belong. {hint}. "
                f"The columns are {quoted(names)}."
            )
        values = rows.iloc[:, names.index(wanted)].tolist()
    else:
        values = np.asarray(rows).ravel().tolist() if not isinstance(rows, list) else rows
    texts = classes_of(values)
    if table.ids is not None:
        at = {name: position for position, name in enumerate(table.ids)}
        return (
            [None if text is None else at.get(text) for text in texts],
            [f"{table.id_column} {text!r}" for text in texts],
        )
    return [_position(text, len(table.frame)) for text in texts], [
        f"position {'missing' if text is None else text}" for text in texts
    ]


def quoted(names: Sequence[str], most: int = 20) -> str:
    """Return names for a message, the first of them where they are many.

    Parameters
    ----------
    names : sequence of str
        The names.
    most : int, default=20
        How many to show.

    Returns
    -------
    str

    Examples
    --------
    >>> from modal_balance.table.labelled import quoted
    >>> quoted(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _position(text: str | None, n_rows: int) -> int | None:
    if text is None or not text.isdecimal():
        return None
    return int(text) if int(text) < n_rows else None


def _unique_ids(values: list[Any], column: str) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    for position, value in enumerate(values):
        name = class_of(value)
        if name is None:
            raise ValueError(
                f"The id column {column!r} is empty at position {position}. Each row needs an id, "
                "or leave the id out to go by position."
            )
        if name in seen:
            raise ValueError(
                f"The id {name!r} is there twice in column {column!r}, at the positions "
                f"{seen[name]} and {position}. Ids must differ."
            )
        seen[name] = position
    return tuple(seen)
