"""Print the tables of the study from its results files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

HERE = Path(__file__).parent
# Names in the results files -> names in the tables.
NAMES = {
    "cover to 0.3, clusters apart": "70 % cut, then diverse low margins",
    "cover to 0.1, clusters apart": "90 % cut, then diverse low margins",
    "cover, clusters apart": "99.99 % cut, then diverse low margins",
    "cover, margin": "99.99 % cut, then lowest margins",
    "clusters of hypotheses": "diverse low margins",
}
# With batches of one point, the rules reduce to these.
NAMES_OF_ONE = {
    "cover to 0.3, clusters apart": "the largest BALanCe score",
    "cover to 0.3 of 5 x, clusters apart": "the largest score among 5 lowest margins",
    "cover to 0.3 of 20 x, clusters apart": "the largest score among 20 lowest margins",
}
SCORES = [
    "mean STD", "core-set", "variation ratio", "PowerBALanCe", "PowerBALD", "random", "entropy",
    "BALD", "BatchBALD", "EPIG", "BADGE",
]  # fmt: skip
TABLES = [
    (
        [*NAMES.values(), *SCORES],
        {
            "_confirm5": "validation, B = 5",
            "_confirm10": "validation, B = 10",
            "_confirm50": "validation, B = 50",
            "_third10": "held out, B = 10",
            "_third50": "held out, B = 50",
        },
    ),
    (
        [*NAMES.values(), "random"],
        {
            "_forest10": "random forests, B = 10",
            "_forest50": "random forests, B = 50",
            "_logistic": "committees of logistic regressions",
        },
    ),
    (
        [*NAMES_OF_ONE.values(), "random"],
        {"1": "development, B = 1", "_confirm1": "validation, B = 1", "_third1": "held out, B = 1"},
    ),
]


def areas(name: str) -> pd.DataFrame:
    """Return mean accuracies over the curve: a row for each run, a column for each rule."""
    rows = {}
    with gzip.open(HERE / f"side_by_side{name}.jsonl.gz", "rt") as lines:
        for record in map(json.loads, lines):
            n = np.array([point["n"] for point in record["curve"]], dtype=float)
            accuracy = [point["accuracy"] for point in record["curve"]]
            names = NAMES_OF_ONE if record["batch"] == 1 else NAMES
            rule = names.get(record["rule"], record["rule"])
            area = trapezoid(accuracy, n) / (n[-1] - n[0])
            rows[record["dataset"], record["batch"], record["seed"], rule] = area
    return pd.Series(rows).unstack()


def table(rules: list[str], experiments: dict[str, str]) -> str:
    """Return rules minus margin selection, with standard errors, as Markdown."""
    cells = {rule: ["" for _ in experiments] for rule in ["runs", *rules]}
    means = dict.fromkeys(rules, -np.inf)
    for i, name in enumerate(experiments):
        wide = areas(name)
        gaps = wide.sub(wide["margin"], axis=0)
        cells["runs"][i] = str(gaps[[rule for rule in rules if rule in gaps]].count().max())
        for rule in rules:
            if rule in gaps and gaps[rule].count() >= 10:
                mean, error = gaps[rule].mean(), gaps[rule].sem()
                cells[rule][i] = f"{mean:+.3f} ± {error:.3f}"
                means[rule] = max(means[rule], mean)
    shown = [rule for rule in rules if any(cells[rule])]
    order = ["runs", *sorted(shown, key=means.__getitem__)[::-1]]
    lines = [["", *experiments.values()], ["---"] * (1 + len(experiments))]
    lines += [[rule, *cells[rule]] for rule in order]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print("\n\n".join(table(*parts) for parts in TABLES))
