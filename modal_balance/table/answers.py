"""Answers of annotators, joined with their table."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .._utils.user_warnings import warn_user
from .labelled import LabelledTable, Place, check_columns, quoted, some
from .values import Names, class_of, is_missing, is_plain, spellings


class AnswersRefused(ValueError):
    """Raised if answers do not fit the table.

    Parameters
    ----------
    problems : list of str
        One sentence per cause, with the rows concerned.

    Examples
    --------
    >>> from modal_balance.table import AnswersRefused
    >>> AnswersRefused(["The table has no row for 1 answer: position 9."]).problems
    ['The table has no row for 1 answer: position 9.']
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(" ".join(problems))


class Answer(NamedTuple):
    """A row of an answers file. ``name`` is its class, or None if it is not filled in."""

    source: str
    label: Any
    name: str | None
    place: Place


def join_answers(
    table: LabelledTable, answers: Sequence[Any], sources: Sequence[str] = ()
) -> LabelledTable:
    """Return a table with the labels of answers added.

    Each of the answers is a DataFrame with the target, and the id or the column of row numbers;
    ``sources`` are their names in messages. Raise AnswersRefused if answers contradict the table or
    each other, or belong to no row of it or to another row, and ValueError if a column is missing.
    Warn if an id may be that of another row, changed by a spreadsheet.
    """
    sources = sources or [f"answers {n}" if n else "the answers" for n in range(len(answers))]
    found: list[Answer] = []
    notes: list[str] = []
    moved: list[str] = []
    for source, frame in zip(sources, answers, strict=True):
        labels = check_columns(frame, source, table.target, None)[table.target].tolist()
        places = table.places_of(frame, source)
        rows = zip(labels, map(class_of, labels), places, strict=True)
        new = [Answer(source, *row) for row in rows]
        found += new
        of_others, doubtful = _of_other_rows(table, frame, new)
        moved += of_others
        changed = [f"{a.place.name} as {a.place.truth!r}" for a in new if a.place.truth and a.name]
        if changed:
            notes.append(
                f"{source}: a spreadsheet has changed ids. They are read as: {some(changed)}."
            )
        if doubtful:
            warn_user(
                "A spreadsheet may have made these ids from those of other rows: "
                f"{some(doubtful)}. They are read as they stand. Keep the other columns in the "
                "answers, which show the row.",
                UserWarning,
            )
    spelling, respelled, problems = _spellings_with(table, found)
    classes, given, sources_of = list(table.classes), dict(table.given), dict[int, str]()
    lost: list[str] = []
    conflicts: list[str] = []
    for source, label, name, place in found:
        at = place.position
        if name is None:
            continue
        if at is None:
            lost.append(f"{place.name} in {source}")
        elif name == table.unsure:
            if classes[at] is None:
                given.setdefault(at, None)
        elif classes[at] is None:
            name = respelled.get(name, name)
            classes[at], given[at] = name, spelling.get(name, label)
            sources_of[at] = source
        elif classes[at] != respelled.get(name, name):
            where = sources_of.get(at, "the table")
            conflicts.append(f"{table.row(at)} is {classes[at]!r} in {where}, {name!r} in {source}")
    new_classes = _about_new_classes(table, spelling, classes)
    if lost:
        changed_ids = "A spreadsheet may have changed ids: it writes 123 for 00123."
        problems.append(
            f"The table has no row for {len(lost)} answer(s): {some(lost)}."
            + (f" {changed_ids}" if table.id_column else "")
        )
    if conflicts:
        problems.append(
            f"{len(conflicts)} answer(s) contradict another label: {some(conflicts)}. Keep the "
            "right one, and clear the other."
        )
    if moved:
        advice = (
            "Answers go by row number. If the table was sorted, or rows were added or removed, "
            "restore the order, or name a column of ids. If the numbers are right, delete the "
            "other columns of the answers."
        )
        if table.id_column is not None:
            advice = (
                "A spreadsheet may have changed their ids: it writes 1.1 for 1.10. Write the ids "
                "as in the table. If they are right, delete the other columns of the answers."
            )
        problems.append(
            f"{len(moved)} answer(s) have the cells of another row of the table: {some(moved)}. "
            f"{advice}"
        )
    if problems:
        raise AnswersRefused(problems)
    notes += [
        f"Label {b!r} is read as {a!r}, changed by a spreadsheet." for b, a in respelled.items()
    ]
    empty = sum(answer.name is None for answer in found)
    if empty:
        notes.append(f"{empty} row(s) of the answers are not filled in.")
    asked = [(a.source, a.place.position) for a in found if a.name and a.place.position is not None]
    rounds = [[at for source, at in asked if source == name] for name in sources]
    joined = replace(
        table,
        classes=classes,
        spelling=dict(sorted(spelling.items())),
        given=given,
        rounds=tuple(np.array(rows, dtype=np.intp) for rows in rounds),
        notes=(*table.notes, *notes, *new_classes),
    )
    joined.check_classes()
    return joined


def _of_other_rows(
    table: LabelledTable, frame: Any, answers: list[Answer]
) -> tuple[list[str], list[str]]:
    """Return the answers whose other cells are those of another row, and those in doubt.

    The id alone decides, unless a spreadsheet would write the id of another row in the same way.
    Such an answer is in doubt if its cells are those of both rows, or if there are none to compare.
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    by_number = table.id_column is None
    given = [
        (at, answer.place.position, answer.place.rivals, f"{answer.place.name} in {answer.source}")
        for at, answer in enumerate(answers)
        if answer.name and answer.place.position is not None
        if by_number or answer.place.rivals
    ]
    apart = (table.target, table.id_column)
    columns = [c for c in table.frame if c in frame and c not in apart and c.strip()]

    def cells(of: Any, at: int) -> tuple[str | None, ...]:
        return tuple(class_of(of[c].iloc[at]) for c in columns)

    moved: list[str] = []
    if any(cells(frame, at) != cells(table.frame, own) for at, own, _, _ in given):
        known = {c: [class_of(cell) for cell in table.frame[c]] for c in columns}
        # A column that a spreadsheet has changed has cells that the table lacks.
        there = {c: {class_of(frame[c].iloc[at]) for at, *_ in given} for c in columns}
        columns = [c for c in columns if there[c] <= set(known[c])]
        rows = set(zip(*(known[c] for c in columns), strict=True))
        moved = [
            name
            for at, own, rivals, name in given
            if cells(frame, at) != cells(table.frame, own)
            and cells(frame, at) in (rows if by_number else [cells(table.frame, r) for r in rivals])
        ]
    doubtful = [
        name
        for at, _, rivals, name in given
        if name not in moved and any(cells(frame, at) == cells(table.frame, r) for r in rivals)
    ]
    return moved, doubtful


def _spellings_with(
    table: LabelledTable, found: list[Answer]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return the spelling of all classes, the corrected spelling of answers, and problems."""
    spelling, respelled, problems = dict(table.spelling), dict[str, str](), list[str]()
    same = {name.casefold(): name for name in spelling}
    new = spellings(a.label for a in found if a.name != table.unsure)
    # Spellings that a spreadsheet writes come last, because each may stand for another label.
    for name in sorted(set(new) - set(spelling), key=lambda name: (is_plain(name), name)):
        like = Names(spelling).like(name)
        other = same.setdefault(name.casefold(), name)
        if len(like) == 1:
            respelled[name] = like[0]
        elif like:
            problems.append(f"The label {name!r} may be {quoted(like)}, changed by a spreadsheet.")
        elif other != name:
            first = next(answer for answer in found if answer.name == name)
            problems.append(
                f"The labels {name!r} and {other!r} differ only in capitals, {name!r} at "
                f"{first.place.name} in {first.source}. Write both the same way; or, if they are "
                "two classes, enter a label of each in the table."
            )
        else:
            spelling[name] = new[name].strip() if isinstance(new[name], str) else new[name]
    return spelling, respelled, problems


def _about_new_classes(
    table: LabelledTable, spelling: dict[str, Any], classes: list[str | None]
) -> list[str]:
    """Return notes on classes that the table did not have."""
    old = {name.casefold(): name for name in table.spelling}
    counts = Counter(classes)
    notes = []
    for name in [name for name in spelling if name not in table.spelling and old]:
        close = difflib.get_close_matches(name.casefold(), list(old), 1)
        meant = f" Did you mean {old[close[0]]!r}?" if close else ""
        notes.append(f"The class {name!r} is new ({counts[name]} label(s)).{meant}")
    return notes


def merge_answers(
    frame: Any,
    answers: Any,
    target: str,
    *,
    id_column: str | None = None,
    unsure: str | None = "?",
) -> Any:
    """Return a table with the answers of annotators filled in.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table. It is not changed.
    answers : DataFrame or sequence of DataFrame
        The labels, in a column with the name of the target, and the id of each row; without
        ``id_column``, the position counted from 0, as :func:`~modal_balance.table.next_rows`
        returns it. Rows that are not filled in are skipped, and so are answers that the table
        already has.
    target : str
        Column of the labels.
    id_column : str or None, default=None
        Column that identifies the rows, in all frames.
    unsure : str or None, default="?"
        Answer for "I do not know". It is written to the table, so the row is not asked again.

    Returns
    -------
    DataFrame
        A copy of the table with the labels. Labels of known classes keep the spelling of the
        table.

    Raises
    ------
    AnswersRefused
        A ValueError that lists the answers that do not fit, by cause: the row has another label or
        does not exist, the other columns are those of another row, or the label differs from a
        known class only in capitals.
    TypeError, ValueError
        If a column is missing.

    Warns
    -----
    UserWarning
        If an id may be that of another row, changed by a spreadsheet: the table has both 1.1 and
        1.10, and the other columns of the answers do not show which of them is meant.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.table import merge_answers
    >>> frame = pd.DataFrame({"size": [1, 2, 3], "kind": ["a", "b", None]})
    >>> answers = pd.DataFrame({"position": [2], "kind": ["b"]})
    >>> merge_answers(frame, answers, "kind")["kind"].tolist()
    ['a', 'b', 'b']
    """
    import pandas as pd

    several: Sequence[Any] = [answers] if hasattr(answers, "columns") else answers
    table = LabelledTable.of(frame, target, id_column, unsure=unsure)
    cells = cells_to_fill(join_answers(table, several))
    at = [str(name) for name in frame.columns].index(target)
    old = frame.iloc[:, at]
    merged = frame.copy()
    if cells:
        values = old.astype(object).tolist()
        for position, label in cells.items():
            values[position] = label
        column = pd.Series(values, index=frame.index, dtype=object)
        merged.isetitem(at, _as_before(column, old))
    return merged


def cells_to_fill(table: LabelledTable) -> dict[int, Any]:
    """Return the labels that answers add to a table."""
    labels = table.frame[table.target].tolist()
    return {
        at: table.unsure if label is None else label
        for at, label in table.given.items()
        if class_of(labels[at]) != (table.unsure if label is None else class_of(label))
    }


def _as_before(column: Any, old: Any) -> Any:
    """Return the column with its previous dtype, if its labels allow that."""
    import pandas as pd

    if isinstance(old.dtype, pd.CategoricalDtype):
        known = list(old.cat.categories)
        new = dict.fromkeys(v for v in column if not is_missing(v) and v not in known)
        return column.astype(pd.CategoricalDtype([*known, *new], old.cat.ordered))
    try:
        same = column.astype(old.dtype)
    except (TypeError, ValueError):
        return column
    # Without this check, 1.5 would become 1 among integers, and any word True among booleans.
    return same if [*map(class_of, same)] == [*map(class_of, column)] else column
