"""Answers of annotators brought back into the table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from .labelled import LabelledTable, check_columns, positions_in, quoted
from .labels import class_of, classes_of, is_missing

__all__ = ["AnswersRefused", "Merge", "merge_answers", "plan_merge"]


class AnswersRefused(ValueError):
    """Answers that do not fit the table.

    Parameters
    ----------
    problems : list of str
        A sentence for each answer that does not fit.

    Examples
    --------
    >>> from modal_balance.table import AnswersRefused
    >>> AnswersRefused(["Answer 1 (position 9): the table has no such row."]).problems
    ['Answer 1 (position 9): the table has no such row.']
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "1 answer does" if len(problems) == 1 else f"{len(problems)} answers do"
        super().__init__(f"{count} not fit, so none was taken over.\n" + "\n".join(problems))


@dataclass(frozen=True)
class Merge:
    """What answers change in a table.

    Parameters
    ----------
    cells : dict
        Position -> label to write, spelled as the table spells that class.
    problems : list of str
        A sentence for each answer that does not fit.
    n_unchanged : int
        Answers that the table has already.
    n_empty : int
        Rows of the answers that are not filled in.
    """

    cells: dict[int, Any]
    problems: list[str]
    n_unchanged: int
    n_empty: int


def merge_answers(
    frame: Any, answers: Any, target: str, *, id_column: str | None = None, force: bool = False
) -> Any:
    """Return a table with the answers of annotators filled in.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table. It is not changed.
    answers : DataFrame
        The labels in a column called like the target, and beside them the id, or without
        ``id_column`` the position, counted from 0, in a column "position":
        :func:`~modal_balance.table.next_rows` returns such a frame. Rows that are not filled in
        are passed over, and so are answers that the table has already.
    target : str
        Column of the labels.
    id_column : str or None, default=None
        Column that names the rows, in both frames.
    force : bool, default=False
        Take answers that do not fit as far as they can be: labels of new classes, and new labels
        of rows that have one. Of two answers for one row the last counts.

    Returns
    -------
    DataFrame
        A copy of the table with the labels. Labels of known classes are spelled as they are in
        the table.

    Raises
    ------
    AnswersRefused
        A ValueError that lists the answers that do not fit: a class that the table does not have
        yet (unless it has no labels at all), a row that has another label, two answers for one
        row, a row that is not there.
    TypeError, ValueError
        If a column is missing.

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

    merge = plan_merge(frame, answers, target, id_column=id_column)
    if merge.problems and not force:
        raise AnswersRefused(merge.problems)
    at = [str(name) for name in frame.columns].index(target)
    old = frame.iloc[:, at]
    merged = frame.copy()
    if merge.cells:
        values = old.astype(object).tolist()
        for position, label in merge.cells.items():
            values[position] = label
        column = pd.Series(values, index=frame.index, dtype=object)
        merged.isetitem(at, _as_before(column, old))
    return merged


def plan_merge(frame: Any, answers: Any, target: str, *, id_column: str | None = None) -> Merge:
    """Return what answers change in a table, and which of them do not fit.

    Parameters
    ----------
    frame, answers, target, id_column
        As in :func:`merge_answers`.

    Returns
    -------
    Merge

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.table.merging import plan_merge
    >>> frame = pd.DataFrame({"size": [1, 2, 3], "kind": ["1.0", "0.0", None]})
    >>> answers = pd.DataFrame({"position": [2, 7], "kind": [1, 1]})
    >>> plan_merge(frame, answers, "kind")
    Merge(cells={2: '1.0'}, problems=['Answer 2 (position 7): the table has no such row.'], \
n_unchanged=0, n_empty=0)
    """
    table = LabelledTable.of(frame, target, id_column)
    answers = check_columns(answers, "the answers", target, None)
    positions, names = positions_in(table, answers, "the answers")
    cells: dict[int, Any] = {}
    problems: list[str] = []
    n_unchanged = n_empty = 0
    rows = zip(answers[target].tolist(), positions, names, strict=True)
    for number, (label, position, name) in enumerate(rows, 1):
        where = f"Answer {number} ({name}): "
        wanted = class_of(label)
        if wanted is None:
            n_empty += 1
        elif position is None:
            problems.append(where + "the table has no such row.")
        elif table.classes[position] == wanted and position not in cells:
            n_unchanged += 1
        else:
            if position in cells and class_of(cells[position]) != wanted:
                problems.append(where + f"it has also the answer {cells[position]!r}.")
            elif table.classes[position] is not None:
                have = table.frame[target].iloc[position]
                problems.append(where + f"the row has the label {have!r} already, not {label!r}.")
            elif table.spelling and wanted not in table.spelling:
                problems.append(where + _new_class(label, wanted, list(table.spelling)))
            cells[position] = table.spelling.get(wanted, _plain(label))
    return Merge(cells, problems, n_unchanged, n_empty)


def _new_class(label: Any, wanted: str, known: list[str]) -> str:
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wanted.lower(), list(lower), 1)
    meant = f" Did you mean {lower[close[0]]!r}?" if close else ""
    return f"the label {label!r} is new; the table has {quoted(known)}.{meant}"


def _plain(label: Any) -> Any:
    return label.strip() if isinstance(label, str) else label


def _as_before(column: Any, old: Any) -> Any:
    """Return the column with the dtype it had, where its labels allow that."""
    import pandas as pd

    if isinstance(old.dtype, pd.CategoricalDtype):
        known = list(old.cat.categories)
        new = dict.fromkeys(v for v in column if not is_missing(v) and v not in known)
        return column.astype(pd.CategoricalDtype([*known, *new], old.cat.ordered))
    try:
        same = column.astype(old.dtype)
    except (TypeError, ValueError):
        return column
    # 1.5 would become 1 among integers, and every word True among booleans.
    return same if classes_of(same.tolist()) == classes_of(column.tolist()) else column
