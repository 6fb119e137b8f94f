"""The results file of a simulation: one JSON line a round, which a killed run goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["append_record", "finished_rounds", "frame_of", "mend"]

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

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.simulation.records import append_record
    >>> path = pathlib.Path(tempfile.mkdtemp(), "r.jsonl")
    >>> append_record(path, {"seed": 0})
    >>> path.read_text()
    '{"seed": 0}\n'
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def mend(path: Path) -> None:
    r"""Cut off a last line that was not written to its end.

    Parameters
    ----------
    path : Path
        A results file, or where one is to be.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.simulation.records import mend
    >>> path = pathlib.Path(tempfile.mkdtemp(), "r.jsonl")
    >>> _ = path.write_text('{"seed": 0}\n{"se')
    >>> mend(path)
    >>> path.read_text()
    '{"seed": 0}\n'
    """
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


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
        if record["settings"] != settings:
            differing = {
                name: (record["settings"].get(name), settings.get(name))
                for name in sorted({*record["settings"], *settings})
                if record["settings"].get(name) != settings.get(name)
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
