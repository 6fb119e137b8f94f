"""Results files of simulations: write, resume and read them, and compare strategies.

A results file holds one JSON line per round, from which an interrupted run resumes. A run is one
strategy with one estimator on one data set under one seed; strategies are compared over paired
runs.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.stats import wilcoxon

__all__ = [
    "holm",
    "labels_needed",
    "mean_ranks",
    "normalised_areas",
    "pairwise",
    "read_results",
]

if TYPE_CHECKING:
    import pandas as pd


Record = dict[str, Any]
Key = tuple[str, str, str, int]
RUN = ["dataset", "estimator", "strategy", "seed"]
DECIMALS = 12  # of areas, where equal ones may otherwise differ in the last bits
GAP_DECIMALS = 10  # of their differences, so that areas rounded to neighbours are equal, too


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """Return records as a sorted table, one row per round, without settings and versions.

    The records are the lines of a results file, and their keys become the columns.

    Examples
    --------
    >>> from modal_balance.simulation.results import frame_of
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
        return pd.DataFrame(columns=[*RUN, "round"])
    return pd.DataFrame(rows).sort_values([*RUN, "round"], ignore_index=True)


def append_record(path: Path, record: Record) -> None:
    r"""Append a record as one line, in one write, so that processes can share the file.

    The file is created if it does not exist. The record has values that JSON can hold. Raise
    OSError if the line was stored only in part; that part is removed again.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.simulation.results import append_record
    >>> path = pathlib.Path(tempfile.mkdtemp(), "r.jsonl")
    >>> append_record(path, {"seed": 0})
    >>> path.read_text()
    '{"seed": 0}\n'
    """
    line = (json.dumps(record, allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        written = os.write(descriptor, line)
        if written < len(line):  # full disk: the next line must not continue this one
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(
                f"{path} took {written} of {len(line)} bytes. Free disk space and run it again: it "
                "resumes from there."
            )
    finally:
        os.close(descriptor)


def records_to_resume(path: Path) -> list[Record]:
    r"""Return the records of a results file, and remove an unfinished last line.

    The file need not exist. Raise ValueError if it is not a results file (it is left untouched), or
    cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.simulation.results import records_to_resume
    >>> path = pathlib.Path(tempfile.mkdtemp(), "r.jsonl")
    >>> keys = '"dataset": "iris", "estimator": "forest", "strategy": "margin", "seed": 0'
    >>> _ = path.write_text('{%s, "round": 0}\n{%s, "rou' % (keys, keys))
    >>> len(records_to_resume(path)), path.read_text()[-14:]
    (1, ', "round": 0}\n')
    """
    if path.suffix == ".gz":
        raise ValueError(
            f"{path} would not be compressed. Name a .jsonl file, and compress it later."
        )
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} to write {path.name} to.")
    if not os.access(path if path.exists() else path.parent, os.W_OK) or path.is_dir():
        raise ValueError(f"{path} cannot be written to. Name another file for the results.")
    if not path.exists():
        return []
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file. Name another file for the results.")
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    begin = b'{"dataset": '
    if not whole and content[: len(begin)] != begin[: len(content)]:
        raise ValueError(f"{path} is not a results file: its first line is not a record.")
    records = parsed(content[:whole].splitlines(), path)
    if whole < len(content):
        os.truncate(path, whole)
    return records


def parsed(lines: Iterable[bytes], path: Path) -> list[Record]:
    """Return the records of lines, or raise a ValueError that names the damaged line.

    The lines are complete lines of a results file, and ``path`` is its name in the message.
    """
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:  # invalid JSON or encoding
            kind = "not a results file" if number == 1 else "damaged"
            raise ValueError(f"{path} is {kind}: line {number}: {error}") from None
        lacks = [
            name for name in (*RUN, "round") if not isinstance(record, dict) or name not in record
        ]
        if lacks:
            raise ValueError(f"{path} is not a results file: line {number} lacks {lacks[0]!r}.")
        records.append(record)
    return records


def finished_rounds(
    records: Iterable[Record], settings: Mapping[Key, Record]
) -> dict[Key, list[Record]]:
    """Return the finished rounds of each run, in order.

    Runs that have not begun, and rounds after a gap, are left out. The records are the lines of a
    results file. ``settings`` maps each run to look for (data set, estimator, strategy, seed) to
    its settings; a setting that the file does not have is not compared. Raise ValueError if the
    file has one of the runs with other settings.

    Examples
    --------
    >>> from modal_balance.simulation.results import finished_rounds
    >>> key = ("iris", "forest", "margin", 0)
    >>> record = dict(zip(("dataset", "estimator", "strategy", "seed"), key))
    >>> record |= {"round": 0, "settings": {"budget": 9}}
    >>> done = finished_rounds([record], {key: {"budget": 9}})
    >>> len(done[key])
    1
    """
    found: dict[Key, dict[int, Record]] = {}
    for record in records:
        key = (record["dataset"], record["estimator"], record["strategy"], record["seed"])
        if key not in settings:
            continue
        there, now = record.get("settings", {}), settings[key]
        differing = {
            name: (there[name], now[name])
            for name in sorted({*there} & {*now})
            if there[name] != now[name]
        }
        if differing:
            raise ValueError(
                f"The results file has the run {key} with other settings (file, now): "
                f"{differing}. Use another file, or the settings of the file."
            )
        found.setdefault(key, {})[record["round"]] = record
    return {
        key: [by_round[n] for n in range(len(by_round)) if set(range(n + 1)) <= set(by_round)]
        for key, by_round in found.items()
    }


def read_results(*paths: str | Path) -> pd.DataFrame:
    r"""Return the rounds of results files as one table.

    Parameters
    ----------
    *paths : str or Path
        Files written by :func:`~modal_balance.simulation.simulate`, which may be compressed with
        gzip. An unfinished last line is left out.

    Returns
    -------
    DataFrame
        One row per round. If a round occurs twice, the later one counts.

    Raises
    ------
    ValueError
        If a file is not a results file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.simulation.results import read_results
    >>> path = pathlib.Path(tempfile.mkdtemp(), "r.jsonl")
    >>> keys = '"dataset": "iris", "estimator": "forest", "strategy": "margin", "seed": 0'
    >>> _ = path.write_text('{%s, "round": 0, "accuracy": 0.5}\n{%s, "rou' % (keys, keys))
    >>> read_results(path)[["strategy", "accuracy"]]
      strategy  accuracy
    0   margin       0.5
    """
    rounds: dict[tuple[Any, ...], Record] = {}
    for path in paths:
        for record in _records(Path(path)):
            rounds[(*(record[name] for name in RUN), record["round"])] = record
    return frame_of(rounds.values())


def _records(path: Path) -> list[Record]:
    opened = gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    with opened as file:
        lines = list(file)
    if lines and not lines[-1].endswith(b"\n"):
        del lines[-1]
    return parsed(lines, path)


def normalised_areas(frame: pd.DataFrame, metric: str = "accuracy") -> pd.Series[float]:
    """Return the mean of a metric over each learning curve: its area divided by its width.

    Parameters
    ----------
    frame : DataFrame
        As :func:`read_results` returns it.
    metric : str, default="accuracy"
        Column of the metric.

    Returns
    -------
    Series
        Indexed by data set, estimator, strategy and seed; rounded to 12 decimals.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.results import normalised_areas
    >>> run = {"dataset": "iris", "estimator": "forest", "strategy": "margin", "seed": 0}
    >>> curve = pd.DataFrame({"n_labelled": [10, 20, 40], "accuracy": [0.5, 0.7, 0.8]})
    >>> float(normalised_areas(curve.assign(**run)).iloc[0])
    0.7
    """

    def area(curve: pd.DataFrame) -> float:
        curve = curve.sort_values("n_labelled")
        n, value = curve["n_labelled"].to_numpy(float), curve[metric].to_numpy(float)
        if len(n) == 1:
            return float(value[0])
        return float(trapezoid(value, n) / (n[-1] - n[0]))

    areas: pd.Series[float] = frame.groupby(RUN)[["n_labelled", metric]].apply(area)
    return areas.rename(metric).round(DECIMALS)


def pairwise(areas: pd.Series[float], baseline: str) -> pd.DataFrame:
    """Return the paired differences between strategies and a baseline, on each data set.

    Parameters
    ----------
    areas : Series
        As :func:`normalised_areas` returns them.
    baseline : str
        The strategy to compare with.

    Returns
    -------
    DataFrame
        For each data set, estimator and other strategy: "difference", the mean of strategy minus
        baseline over the seeds that both have; "error", its standard error; "wins", "ties",
        "losses"; "p", of Wilcoxon's signed-rank test, two-sided; and "p_holm", corrected for the
        number of strategies on the data set.

    Raises
    ------
    ValueError
        If the baseline is not among the strategies.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.results import pairwise
    >>> names = ["dataset", "estimator", "strategy", "seed"]
    >>> rows = [("iris", "forest", s, seed) for s in ("a", "b") for seed in range(3)]
    >>> index = pd.MultiIndex.from_tuples(rows, names=names)
    >>> areas = pd.Series([0.9, 0.8, 0.7, 0.8, 0.8, 0.5], index)
    >>> pairwise(areas, "b")[["wins", "ties", "losses"]].values.tolist()
    [[2, 1, 0]]
    """
    import pandas as pd

    known = areas.index.get_level_values("strategy").unique().tolist()
    if baseline not in known:
        raise ValueError(f"baseline={baseline!r} is not in the results. They have {known}.")
    tables = []
    for (dataset, estimator), part in areas.groupby(["dataset", "estimator"]):
        wide = part.droplevel(["dataset", "estimator"]).unstack("strategy")
        if baseline not in wide:
            continue
        rows = []
        for strategy in wide.columns.drop(baseline):
            gap = (wide[strategy] - wide[baseline]).dropna().round(GAP_DECIMALS).to_numpy()
            rows.append(
                {
                    "dataset": dataset,
                    "estimator": estimator,
                    "strategy": strategy,
                    "runs": len(gap),
                    "difference": gap.mean() if len(gap) else np.nan,
                    "error": gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan,
                    "wins": int((gap > 0).sum()),
                    "ties": int((gap == 0).sum()),
                    "losses": int((gap < 0).sum()),
                    "p": float(wilcoxon(gap).pvalue) if gap.any() else 1.0,
                }
            )
        table = pd.DataFrame(rows)
        if len(table):
            tables.append(table.assign(p_holm=holm(table["p"].to_numpy())))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def holm(p: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return p-values corrected for multiple tests by Holm's method.

    Parameters
    ----------
    p : array of shape (n,)
        The p-values of n tests.

    Returns
    -------
    ndarray of shape (n,)

    References
    ----------
    Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scand. J. Statistics 6, 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.simulation.results import holm
    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    stepwise = (len(p) - np.arange(len(p))) * np.asarray(p, dtype=np.float64)[order]
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepwise))
    return corrected


def labels_needed(
    frame: pd.DataFrame, targets: Sequence[float], metric: str = "accuracy"
) -> pd.DataFrame:
    """Return the number of labels that strategies need to reach target values of a metric.

    Parameters
    ----------
    frame : DataFrame
        As :func:`read_results` returns it.
    targets : sequence of float
        Values to reach.
    metric : str, default="accuracy"
        Column of the metric.

    Returns
    -------
    DataFrame
        For each data set, estimator, strategy and target: "reached", the share of the runs that
        reach it, and "labels", the median over all runs of the number of labels at which they
        first do, interpolated between rounds; infinite if half of them never do.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.results import labels_needed
    >>> run = {"dataset": "iris", "estimator": "forest", "strategy": "margin", "seed": 0}
    >>> curve = pd.DataFrame({"n_labelled": [10, 20, 40], "accuracy": [0.5, 0.7, 0.8]})
    >>> labels_needed(curve.assign(**run), [0.6, 0.9])["labels"].tolist()
    [15.0, inf]
    """
    import pandas as pd

    rows = []
    for run, curve in frame.groupby(RUN):
        curve = curve.sort_values("n_labelled")
        n, value = curve["n_labelled"].to_numpy(float), curve[metric].to_numpy(float)
        for target in targets:
            rows.append((*run, target, _first_reached(n, value, target)))
    table = pd.DataFrame(rows, columns=[*RUN, "target", "labels"])
    grouped = table.groupby(["dataset", "estimator", "strategy", "target"])["labels"]
    reached = grouped.apply(lambda labels: float(np.isfinite(labels).mean()))
    return pd.DataFrame({"reached": reached, "labels": grouped.median()}).reset_index()


def _first_reached(n: NDArray[Any], value: NDArray[Any], target: float) -> float:
    above = np.flatnonzero(value >= target)
    if not len(above):
        return float("inf")
    i = int(above[0])
    if i == 0:
        return float(n[0])
    share = (target - value[i - 1]) / (value[i] - value[i - 1])
    return float(n[i - 1] + share * (n[i] - n[i - 1]))


def mean_ranks(areas: pd.Series[float]) -> pd.Series[float]:
    """Return the mean rank of each strategy over data sets, estimators and seeds; 1 is best.

    Parameters
    ----------
    areas : Series
        As :func:`normalised_areas` returns them. Seeds without runs of all strategies are left out.

    Returns
    -------
    Series
        Indexed by strategy, best first.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.results import mean_ranks
    >>> names = ["dataset", "estimator", "strategy", "seed"]
    >>> rows = [("iris", "forest", s, seed) for s in ("a", "b") for seed in range(2)]
    >>> index = pd.MultiIndex.from_tuples(rows, names=names)
    >>> mean_ranks(pd.Series([0.9, 0.8, 0.7, 0.8], index)).to_dict()
    {'a': 1.25, 'b': 1.75}
    """
    complete = areas.unstack("strategy").dropna()
    ranks: pd.Series[float] = complete.rank(axis=1, ascending=False).mean().sort_values()
    return ranks
