"""Compare strategies over tables, with tables as units and seeds as repetitions.

python docs/evidence/comparison.py tables/mcdropout_10/*.jsonl
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import studentized_range, wilcoxon

from modal_balance.simulation.results import (
    GAP_DECIMALS,
    holm,
    normalised_areas,
    read_results,
)

SIGNIFICANT = 0.05
ROUNDING = 1e-9  # equal means of accuracies may differ by this


def differences(areas: pd.Series[float], baseline: str) -> pd.DataFrame:
    """Return strategy minus baseline for paired runs: rows (dataset, seed), columns strategies.

    areas: the result of `normalised_areas` for one estimator.
    """
    wide = areas.droplevel("estimator").unstack("strategy")
    return wide.drop(columns=baseline).sub(wide[baseline], axis=0).round(GAP_DECIMALS)


def bootstrap_interval(
    gaps: pd.Series[float], n_draws: int = 10_000, level: float = 0.95, random_state: int = 0
) -> tuple[float, float]:
    """Return a percentile interval of the mean over tables, by a hierarchical bootstrap.

    Each draw resamples the tables, and then the seeds of each table, with replacement. gaps has the
    index (dataset, seed).
    """
    tables = [part.to_numpy(float) for _, part in gaps.dropna().groupby("dataset")]
    rng = np.random.default_rng(random_state)
    total = np.zeros(n_draws)
    for _ in tables:  # one table of each draw
        taken = rng.integers(len(tables), size=n_draws)
        for number, values in enumerate(tables):
            draws = np.flatnonzero(taken == number)
            seeds = rng.integers(len(values), size=(len(draws), len(values)))
            total[draws] += values[seeds].mean(axis=1)
    outside = (1 - level) / 2
    low, high = np.quantile(total / len(tables), [outside, 1 - outside])
    return float(low), float(high)


def over_tables(gaps: pd.Series[float]) -> dict[str, float]:
    """Return a summary over tables of a strategy's differences from a baseline.

    "difference", the mean over tables of the mean over seeds, with its interval, "low" and "high";
    "ahead" and "behind", tables by the sign of their mean; "better" and "worse", tables where
    Wilcoxon's signed-rank test over seeds is significant after Holm's correction for the number of
    tables; "testable", tables with enough seeds for this; "tables" and "runs".
    """
    gaps = gaps.dropna()
    means = gaps.groupby("dataset").mean().round(GAP_DECIMALS)
    low, high = bootstrap_interval(gaps)
    p = [wilcoxon(part).pvalue if part.any() else 1.0 for _, part in gaps.groupby("dataset")]
    significant = holm(np.array(p)) < SIGNIFICANT
    smallest_p = 2.0 ** (1 - gaps.groupby("dataset").size())  # all seeds on the same side
    return {
        "difference": float(means.mean()),
        "low": low,
        "high": high,
        "ahead": int((means > 0).sum()),
        "behind": int((means < 0).sum()),
        "better": int((significant & (means > 0)).sum()),
        "worse": int((significant & (means < 0)).sum()),
        "testable": int((smallest_p * len(means) < SIGNIFICANT).sum()),
        "tables": len(means),
        "runs": len(gaps),
    }


def summary(areas: pd.Series[float], baseline: str) -> pd.DataFrame:
    """Return `over_tables` for each strategy, the largest difference first."""
    gaps = differences(areas, baseline)
    rows = pd.DataFrame({name: over_tables(gaps[name]) for name in gaps}).T
    return rows.sort_values("difference", ascending=False)


def mean_ranks(areas: pd.Series[float]) -> tuple[pd.Series[float], int]:
    """Return the mean ranks of strategies over tables (1 is the best), and the number of tables.

    On a table, the ranks are of means over the seeds that all strategies have.
    """
    wide = areas.droplevel("estimator").unstack("strategy").dropna()
    means = wide.groupby("dataset").mean().round(GAP_DECIMALS)
    return means.rank(axis=1, ascending=False).mean().sort_values(), len(means)


def critical_difference(n_strategies: int, n_tables: int, level: float = SIGNIFICANT) -> float:
    """Return the critical difference of mean ranks in Nemenyi's test.

    Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.
    """
    q = studentized_range.ppf(1 - level, n_strategies, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_strategies * (n_strategies + 1) / (6 * n_tables)))


def labels_to_reach(n: NDArray[np.float64], value: NDArray[np.float64], target: float) -> float:
    """Return the number of labels at which a curve reaches a value; its last number if never."""
    best = np.maximum.accumulate(value)
    i = int(np.searchsorted(best, target - ROUNDING))
    if i == 0 or i == len(n):
        return float(n[min(i, len(n) - 1)])
    share = min((target - best[i - 1]) / (best[i] - best[i - 1]), 1.0)
    return float(n[i - 1] + share * (n[i] - n[i - 1]))


def labels_saved(frame: pd.DataFrame, baseline: str, n_labels: int = 100) -> pd.DataFrame:
    """Return the share of the baseline's labels that strategies save, with a row for each table.

    It compares the labels needed for the baseline's accuracy at `n_labels`, on mean curves over
    shared seeds. For a curve that never reaches it, its last number of labels is used.
    """
    rows = {}
    for dataset, part in frame.groupby("dataset"):
        wide = part.pivot(index=["seed", "n_labelled"], columns="strategy", values="accuracy")
        for name in wide.columns.drop(baseline):
            curves = wide[[name, baseline]].dropna().groupby("n_labelled").mean()
            n = curves.index.to_numpy(float)
            target = float(np.interp(n_labels, n, curves[baseline]))
            needed = {s: labels_to_reach(n, curves[s].to_numpy(), target) for s in curves}
            rows[dataset, name] = 1 - needed[name] / needed[baseline]
    return pd.Series(rows).unstack()


if __name__ == "__main__":
    print(summary(normalised_areas(read_results(*sys.argv[1:])), "margin").to_string())
