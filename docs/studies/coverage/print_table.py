"""Print the tables of the study from its results files."""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

N_POINTS = 9  # of a curve, including the start
BINS = ((0, 1.5), (1.5, 2.5), (2.5, 4), (4, 6), (6, 10), (10, 100))


def lines(path: Path) -> list[dict[str, Any]]:
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as file:
        return [json.loads(line) for line in file]


def mean(values: list[float]) -> str:
    if not values:
        return ""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):+.1f} ± {error:.1f}" if error == error else f"{np.mean(values):+.1f}"


def row(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |")


def switch_tables(path: Path) -> None:
    """Print differences from margin selection in points of accuracy, by data set and labels."""
    curves: dict[tuple[str, int], dict[str, np.ndarray]] = defaultdict(dict)
    classes = {}
    for record in lines(path):
        key = record["dataset"], record["seed"]
        curves[key][record["rule"]] = np.array(record["curve"])[:N_POINTS]
        classes[record["dataset"]] = record["n_classes"]
    rules = list(dict.fromkeys(rule for run in curves.values() for rule in run))
    rules.remove("margin")
    row(["minus margin", "classes", "seeds", *rules])
    row(["---"] * (3 + len(rules)))
    everything: dict[str, list[float]] = defaultdict(list)
    for name in dict.fromkeys(name for name, _ in curves):
        runs = [run for (other, _), run in curves.items() if other == name]
        cells = []
        for rule in rules:
            both = [run for run in runs if rule in run]
            gains = [100 * (run[rule] - run["margin"])[1:, 1].mean() for run in both]
            everything[rule] += gains
            cells.append(mean(gains))
        row([name, str(classes[name]), str(len(runs)), *cells])
    row(["all runs", "", str(len(curves)), *(mean(everything[rule]) for rule in rules)])
    print()
    row(["labels per class", *rules[1:], "margin"])
    row(["---"] * (1 + len(rules)))
    for low, high in BINS:
        gains_of: dict[str, list[float]] = defaultdict(list)
        for (name, _), run in curves.items():
            for rule in run:
                for point in range(1, N_POINTS):
                    if low <= run[rule][point, 0] / classes[name] < high:
                        gain = run[rule][point, 1] - run["balance_margin"][point, 1]
                        gains_of[rule].append(100 * gain)
        row([f"{low} to {high}", *(f"{np.mean(gains_of[r]):+.1f}" if gains_of[r] else ""
                                  for r in [*rules[1:], "margin"])])  # fmt: skip
    pairs = [("herding until 4 per class", "balance_margin"),
             ("uncertainty herding", "balance_margin"),
             ("herding", "MaxHerding of scikit-activeml")]  # fmt: skip
    for one, other in pairs:
        runs = [run for run in curves.values() if one in run and other in run]
        if runs:
            gains = [100 * (run[one] - run[other])[1:, 1].mean() for run in runs]
            better = sum(gain > 0 for gain in gains)
            print(f"\n{one} minus {other}: {mean(gains)}, ahead in {better} of {len(gains)} runs")


def kernel_table(path: Path) -> None:
    """Print accuracy minus that of random rows, by coordinates and width, in points."""
    runs: dict[tuple[str, int], dict[str, np.ndarray]] = defaultdict(dict)
    for record in lines(path):
        runs[record["name"], record["seed"]][record["rule"]] = np.array(record["acc"])
    names = list(dict.fromkeys(name for name, _ in runs))
    row(["coordinates and width", *names, "mean"])
    row(["---"] * (2 + len(names)))
    for rule in next(iter(runs.values())):
        if rule != "random":
            gains = [
                np.mean([100 * (run[rule] - run["random"]).mean()
                         for (other, _), run in runs.items() if other == name])
                for name in names
            ]  # fmt: skip
            row([rule, *(f"{gain:+.1f}" for gain in gains), f"{np.mean(gains):+.1f}"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--kernel", action="store_true", help="results of run_kernel.py")
    options = parser.parse_args()
    (kernel_table if options.kernel else switch_tables)(options.results)
