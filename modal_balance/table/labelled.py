"""A checked, partly labelled table."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .values import Names, class_of, is_plain, spellings

# A target with more classes than this, and fewer than two labels per class, is refused.
MANY_CLASSES = 50
Positions = NDArray[np.intp]


class Place(NamedTuple):
    """A row that was given by number or id."""

    position: int | None  # None: the table has no such row
    name: str  # for messages
    truth: str | None = None  # its id, if a spreadsheet changed it
    rivals: tuple[int, ...] = ()  # positions of the rows whose ids a spreadsheet writes alike


@dataclass(frozen=True)
class Rows:
    """How rows are numbered if no column identifies them.

    ``column`` is the column of the row numbers, and ``first`` the number of the first row below the
    header.

    Examples
    --------
    >>> from modal_balance.table.labelled import Rows
    >>> Rows.of(["size", "position"], "position", 0).column
    'position (2)'
    """

    column: str
    first: int

    @classmethod
    def of(cls, names: Sequence[str], column: str, first: int) -> Rows:
        """Return rows whose number column has a name that is not taken."""
        free, number = column, 2
        while free in names:
            free, number = f"{column} ({number})", number + 1
        return cls(free, first)


@dataclass(frozen=True)
class LabelledTable:
    """A checked, partly labelled table.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table.
    target : str
        Column of the labels.
    id_column : str or None
        Column that identifies the rows.
    rows : Rows
        How rows are numbered without an id column.
    unsure : str or None
        Answer for "I do not know".
    classes : list of str or None
        Class of each row, or None.
    spelling : dict
        Class -> label as spelled in the table.
    ids : dict
        Id -> position, if there is an id column.
    blank : ndarray of bool
        Unlabelled rows in which every column to learn from is empty.
    given : dict
        Position -> label that the answers add, or None if the answer is unsure.
    rounds : tuple of ndarray
        Positions of the rows in each file of answers.
    notes : tuple of str
        What the user should know.
    """

    frame: Any
    target: str
    id_column: str | None
    rows: Rows
    unsure: str | None
    classes: list[str | None]
    spelling: dict[str, Any]
    ids: dict[str, int]
    blank: NDArray[np.bool_]
    given: dict[int, Any]
    rounds: tuple[Positions, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        frame: Any,
        target: str,
        id_column: str | None = None,
        *,
        unsure: str | None = "?",
        rows: Rows | None = None,
    ) -> LabelledTable:
        """Return the table, or raise a ValueError that says what is wrong with it."""
        frame = check_columns(frame, "the table", target, id_column)
        if len(frame) == 0:
            raise ValueError("The table has no rows below its header.")
        rows = rows or Rows.of(list(frame.columns), "position", 0)
        labels = frame[target].tolist()
        classes = [class_of(label) for label in labels]
        unsure = class_of(unsure)
        given = {i: None for i, name in enumerate(classes) if name is not None and name == unsure}
        known = [None if i in given else label for i, label in enumerate(labels)]
        blank = np.ones(len(frame), dtype=bool)
        for name in _names_to_learn_from(frame, target, id_column):
            column = frame[name]
            blank &= np.asarray(column.isna() | column.astype(str).str.strip().eq(""), dtype=bool)
        # If all rows are blank, another check raises an error.
        blank &= np.array([name is None for name in classes]) & (not blank.all())
        table = cls(
            frame=frame,
            target=target,
            id_column=id_column,
            rows=rows,
            unsure=unsure,
            classes=[None if i in given else name for i, name in enumerate(classes)],
            spelling=spellings(known),
            ids={},
            blank=blank,
            given=given,
            rounds=(),
            notes=(),
        )
        table.check_classes()
        unnamed = sum(not name.strip() for name in frame.columns)
        notes = [f"{unnamed} column(s) without a name are left out."] if unnamed else []
        notes += _about_capitals(table.counts)
        if blank.any():
            first = table.row(blank.argmax())
            notes.append(f"{blank.sum()} empty row(s) are left out, the first is {first}.")
        return replace(table, ids=table._unique_ids(), notes=tuple(notes))

    @property
    def labelled(self) -> Positions:
        """Positions of the labelled rows."""
        return np.flatnonzero([name is not None for name in self.classes])

    @property
    def unlabelled(self) -> Positions:
        """Positions of the rows to label: without a label, not unsure, not blank."""
        free = np.array([name is None for name in self.classes]) & ~self.blank
        free[[at for at, label in self.given.items() if label is None]] = False
        return np.flatnonzero(free)

    @property
    def n_unsure(self) -> int:
        """Number of rows marked as unsure, in the table or in the answers."""
        return sum(label is None for label in self.given.values())

    @property
    def counts(self) -> dict[str, int]:
        """Number of labels of each class."""
        counts = Counter(name for name in self.classes if name is not None)
        return {name: counts[name] for name in self.spelling if name in counts}

    @property
    def columns(self) -> Any:
        """The columns to learn from, as a DataFrame; those without a name are left out."""
        kept = _names_to_learn_from(self.frame, self.target, self.id_column)
        if not kept:
            raise ValueError(
                f"There is no column to learn from besides the target {self.target!r}"
                + (f" and the id {self.id_column!r}." if self.id_column else ".")
            )
        return self.frame[kept].reset_index(drop=True)

    def codes_of(self, positions: Positions) -> NDArray[np.intp]:
        """Return the classes of labelled rows as numbers, in the order of ``counts``."""
        code = {name: number for number, name in enumerate(self.counts)}
        return np.array([code[self.classes[at] or ""] for at in positions], dtype=np.intp)

    def row(self, position: Any) -> str:
        """Return the name of a row in messages: "row 7" or "position 5"."""
        return f"{self.rows.column.split()[0]} {int(position) + self.rows.first}"

    def places_of(self, rows: Any, what: str) -> list[Place]:
        """Return the places of rows that are given by id or by number.

        ``rows`` is a DataFrame with the table's id column or the column of row numbers, or only the
        values, array-like. ``what`` is their name in error messages, for example "the answers".
        Raise ValueError if the DataFrame lacks that column.
        """
        wanted = self.id_column or self.rows.column
        if hasattr(rows, "columns"):
            names = [str(name) for name in rows.columns]
            if wanted not in names:
                raise ValueError(
                    f"There is no column {wanted!r} in {what}, which identifies the rows. Keep "
                    f"that column of the file to be filled in. The columns are {quoted(names)}."
                )
            values = rows.iloc[:, names.index(wanted)].tolist()
        else:
            values = np.asarray(rows).ravel().tolist() if not isinstance(rows, list) else rows
        known, places = Names(self.ids), []
        for text in map(class_of, values):
            name = f"{wanted} {text!r}"
            if self.id_column is None:
                name = f"{wanted} {text or 'missing'}"
                number = int(text) - self.rows.first if text and text.isdecimal() else -1
                places.append(Place(number if 0 <= number < len(self.frame) else None, name))
                continue
            if text is not None and text in self.ids:
                like = known.like(text) if is_plain(text) else []
                rivals = tuple(self.ids[other] for other in like if other != text)
                places.append(Place(self.ids[text], name, rivals=rivals))
                continue
            like = [] if text is None else known.like(text)
            if len(like) > 1:
                name += f" (either of {quoted(like, 3)})"
            truth = like[0] if len(like) == 1 else None
            places.append(Place(self.ids.get(truth or ""), name, truth))
        return places

    def pending_at(self, rows: Any, what: str) -> Positions:
        """Return the positions of rows whose labels are pending.

        Where a spreadsheet may have changed an id into that of another row, both rows count as
        pending, so that nobody is asked twice. The arguments are those of :meth:`places_of`. Raise
        ValueError if the table lacks one of the rows.
        """
        places = self.places_of(rows, what)
        lost = [place.name for place in places if place.position is None]
        if lost:
            raise ValueError(f"{what}: the table has no row {some(lost)}.")
        positions = [at for place in places for at in (place.position, *place.rivals)]
        return np.unique(np.array(positions, dtype=np.intp))

    def check_classes(self) -> None:
        """Raise a ValueError if the labels look like numbers or names, and not like classes."""
        n_labels, n_classes = sum(self.counts.values()), len(self.counts)
        if n_classes > MANY_CLASSES and 2 * n_classes > n_labels:
            raise ValueError(
                f"The target {self.target!r} has {n_classes} different values in {n_labels} "
                f"labels, for example {quoted(list(self.counts)[:3])}. That looks like numbers or "
                "names and not like classes. Choose another column, or group its values."
            )

    def _unique_ids(self) -> dict[str, int]:
        seen: dict[str, int] = {}
        column = self.id_column
        for at, value in enumerate([] if column is None else self.frame[column].tolist()):
            name = class_of(value)
            if self.blank[at]:
                continue
            if name is None:
                raise ValueError(
                    f"The id column {column!r} is empty at {self.row(at)}. Each row needs an id, "
                    "or leave the id out to go by row numbers."
                )
            if name in seen:
                raise ValueError(
                    f"The id {name!r} occurs twice in column {column!r}: at "
                    f"{self.row(seen[name])} and {self.row(at)}. Ids must differ."
                )
            seen[name] = at
        return seen


def check_columns(frame: Any, what: str, target: str, id_column: str | None) -> Any:
    """Return the frame with its column names as text, or raise unless it has the columns."""
    if not hasattr(frame, "iloc") or not hasattr(frame, "columns"):
        raise TypeError(f"Expected a pandas DataFrame for {what}, got {type(frame).__name__}.")
    if target == id_column:
        raise ValueError(f"The column {target!r} cannot be both the target and the id.")
    names = [str(name) for name in frame.columns]
    for role, wanted in (("target", target), ("id", id_column)):
        if wanted is not None and wanted not in names:
            close = difflib.get_close_matches(str(wanted), names, 1)
            advice = f"If no row has a label yet, add an empty column {target!r}. "
            raise ValueError(
                f"There is no {role} column {wanted!r} in {what}. "
                + (f"Did you mean {close[0]!r}? " if close else "")
                + (advice if role == "target" and what == "the table" else "")
                + f"Its columns are {quoted(names)}."
            )
    twice = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
    if twice:
        raise ValueError(
            f"There is more than one column {twice[0]!r} in {what}. Rename all but one."
        )
    return frame.set_axis(names, axis=1)


def _names_to_learn_from(frame: Any, target: str, id_column: str | None) -> list[str]:
    return [name for name in frame.columns if name not in (target, id_column) and name.strip()]


def _about_capitals(classes: Iterable[str]) -> list[str]:
    """Return notes on classes that differ only in capitals."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(name.casefold(), []).append(name)
    return [
        f"The labels {quoted(names)} differ only in capitals, and count as different classes."
        for names in alike.values()
        if len(names) > 1
    ]


def quoted(names: Sequence[str], most: int = 20) -> str:
    """Return quoted names for a message, at most the first ``most``."""
    return some([repr(name) for name in names], most)


def some(texts: Sequence[str], most: int = 5) -> str:
    """Return the first texts, and the number of those left out."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
