"""The results file of a simulation: one JSON line a round, from which a killed run resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["append_record", "finished_rounds", "frame_of", "parsed", "records_to_resume"]

Record = dict[str, Any]
Key = tuple[str, str, str, int]
KEY = ("dataset", "estimator", "strategy", "seed")


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """Return records as a table, one row a round, sorted, without what all have in common.

    Parameters
    ----------
    records : iterable of dict
        Lines of a results file.

    Returns
    -------
    DataFrame
        Columns as the keys of a record, but for "settings" and "versions".

    Examples
    --------
    >>> from modal_balance.simulation.records import frame_of
    >>> keys = ("dataset", "estimator", "strategy", "seed", "round")
    >>> frame_of([dict(zip(keys, ("iris", "forest", "margin", 0, r))) for r in (1, 0)])["round"]
    0    0
    1    1
    Name: round, dtype: int64
    """
    import pandas as pd

    dropped = ("settings", "versions")
    rows = [{k: v for k, v in record.items() if k not in dropped} for record in records]
    if not rows:
        return pd.DataFrame(columns=[*KEY, "round"])
    return pd.DataFrame(rows).sort_values([*KEY, "round"], ignore_index=True)


def append_record(path: Path, record: Record) -> None:
    r"""Append a record as one line, in one write: several processes may do so at a time.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    record : dict
        What JSON can hold.

    Raises
    ------
    OSError
        If fewer bytes than the line has were stored, which are then taken back.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.simulation.records import append_record
    >>> path = pathlib.Path(tempfile.mkdtemp(), "r.jsonl")
    >>> append_record(path, {"seed": 0})
    >>> path.read_text()
    '{"seed": 0}\n'
    """
    line = (json.dumps(record, allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        written = os.write(descriptor, line)
        if written < len(line):  # a disk that is full: the next line must not continue this one
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(
                f"{path} took {written} of {len(line)} bytes. Make room, and run it again: it "
                "resumes from there."
            )
    finally:
        os.close(descriptor)


def records_to_resume(path: Path) -> list[Record]:
    r"""Return the records of a results file, and cut off a last line that was not finished.

    Parameters
    ----------
    path : Path
        A results file, or where one is to be.

    Returns
    -------
    list of dict

    Raises
    ------
    ValueError
        If it is no results file, which is left untouched, or cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.simulation.records import records_to_resume
    >>> path = pathlib.Path(tempfile.mkdtemp(), "r.jsonl")
    >>> keys = '"dataset": "iris", "estimator": "forest", "strategy": "margin", "seed": 0'
    >>> _ = path.write_text('{%s, "round": 0}\n{%s, "rou' % (keys, keys))
    >>> len(records_to_resume(path)), path.read_text()[-14:]
    (1, ', "round": 0}\n')
    """
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} to write {path.name} to.")
    if not os.access(path if path.exists() else path.parent, os.W_OK) or path.is_dir():
        raise ValueError(f"{path} is no file that can be written to. Name another for the results.")
    if not path.exists():
        return []
    if not path.is_file():
        raise ValueError(f"{path} is no regular file. Name another for the results.")
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    begin = b'{"dataset": '
    if not whole and content[: len(begin)] != begin[: len(content)]:
        raise ValueError(f"{path} is no results file: its first line is no record.")
    records = parsed(content[:whole].splitlines(), path)
    if whole < len(content):
        os.truncate(path, whole)
    return records


def parsed(lines: Iterable[bytes], path: Path) -> list[Record]:
    """Return the records of lines, or raise a ValueError that names the damaged one.

    Parameters
    ----------
    lines : iterable of bytes
        Whole lines of a results file.
    path : Path
        What the message calls it.

    Returns
    -------
    list of dict
    """
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:  # of JSON, or of its encoding
            kind = "no results file" if number == 1 else "damaged"
            raise ValueError(f"{path} is {kind}: line {number}: {error}") from None
        lacks = [
            name for name in (*KEY, "round") if not isinstance(record, dict) or name not in record
        ]
        if lacks:
            raise ValueError(f"{path} is no results file: line {number} lacks {lacks[0]!r}.")
        records.append(record)
    return records


def finished_rounds(
    records: Iterable[Record], keys: set[Key], settings: Record
) -> dict[Key, list[Record]]:
    """Return the rounds that each run has behind it, in order.

    Parameters
    ----------
    records : iterable of dict
        Lines of a results file.
    keys : set of tuple
        Data set, estimator, strategy and seed of the runs that are wanted.
    settings : dict
        Their settings.

    Returns
    -------
    dict of tuple to list of dict
        Without the runs that have not begun. A gap ends a run's rounds.

    Raises
    ------
    ValueError
        If one of the runs is in the file with other settings.

    Examples
    --------
    >>> from modal_balance.simulation.records import finished_rounds
    >>> key = ("iris", "forest", "margin", 0)
    >>> record = dict(zip(("dataset", "estimator", "strategy", "seed"), key))
    >>> done = finished_rounds([{**record, "round": 0, "settings": {}}], {key}, {})
    >>> len(done[key])
    1
    """
    found: dict[Key, dict[int, Record]] = {}
    for record in records:
        key = (record["dataset"], record["estimator"], record["strategy"], record["seed"])
        if key not in keys:
            continue
        there = record.get("settings", {})
        if there != settings:
            differing = {
                name: (there.get(name), settings.get(name))
                for name in sorted({*there, *settings})
                if there.get(name) != settings.get(name)
            }
            raise ValueError(
                f"The results file has the run {key} with other settings (there, here): "
                f"{differing}. Use another file, or the settings from there."
            )
        found.setdefault(key, {})[record["round"]] = record
    return {
        key: [by_round[n] for n in range(len(by_round)) if set(range(n + 1)) <= set(by_round)]
        for key, by_round in found.items()
    }
