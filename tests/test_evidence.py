"""The statistics of the page of the evidence."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, rankdata, wilcoxon

pd = pytest.importorskip("pandas")
EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence"
if not EVIDENCE.exists():
    pytest.skip("a copy of the tests without the pages", allow_module_level=True)
sys.path.insert(0, str(EVIDENCE))
import comparison  # noqa: E402
import run_images  # noqa: E402

from modal_balance.simulation.results import labels_needed  # noqa: E402

NAMES = ["dataset", "estimator", "strategy", "seed"]


def made_up(n_tables=6, n_seeds=8):
    """Return areas of strategies a, b and c: a is ahead of b on all tables but the last."""
    rng = np.random.default_rng(0)
    tables, strategies = [f"t{i}" for i in range(n_tables)], list("abc")
    index = pd.MultiIndex.from_product([tables, ["e"], strategies, range(n_seeds)], names=NAMES)
    areas = pd.Series(rng.normal(0.8, 0.004, len(index)), index)
    ahead = (index.get_level_values("strategy") == "a") & (
        index.get_level_values("dataset") != tables[-1]
    )
    return areas + 0.02 * ahead - 0.02 * (index.get_level_values("strategy") == "c")


def test_the_bootstrap_draws_tables_and_then_seeds():
    gaps = comparison.differences(made_up(), "b")["a"].iloc[:-5]  # the last table has fewer seeds
    tables = [part.to_numpy() for _, part in gaps.groupby("dataset")]
    rng = np.random.default_rng(1)
    slow = [
        np.mean(
            [
                np.mean(rng.choice(tables[t], len(tables[t])))
                for t in rng.choice(len(tables), len(tables))
            ]
        )
        for _ in range(4000)
    ]
    assert comparison.bootstrap_interval(gaps) == pytest.approx(
        np.quantile(slow, [0.025, 0.975]), abs=0.0005
    )


def test_the_bootstrap_of_tables_with_one_seed_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(size=200)
    index = pd.MultiIndex.from_product([range(200), [0]], names=["dataset", "seed"])
    low, high = comparison.bootstrap_interval(pd.Series(values, index))
    error = values.std() / np.sqrt(200)
    expected = values.mean() + error * norm.ppf([0.025, 0.975])
    assert (low, high) == pytest.approx(expected, abs=0.01)


def test_tables_are_the_unit_of_a_summary():
    areas = made_up()
    few = areas.drop([("t0", "e", "a", s) for s in range(4)])  # t0 counts as the others do
    row = comparison.summary(few, "b").loc["a"]
    means, p = [], []
    for table in [f"t{i}" for i in range(6)]:
        seeds = [s for s in range(8) if (table, "e", "a", s) in few.index]
        gaps = [few[table, "e", "a", s] - few[table, "e", "b", s] for s in seeds]
        means.append(np.mean(gaps))
        p.append(wilcoxon(gaps).pvalue)
    assert row.difference == pytest.approx(np.mean(means))
    assert (row.ahead, row.behind) == (np.sum(np.array(means) > 0), np.sum(np.array(means) < 0))
    smallest = np.sort(p)  # Holm: the k-th smallest is multiplied by 6 - k
    n_rejected = np.argmin([*(smallest * np.arange(6, 0, -1) < 0.05), False])
    assert (row.better, row.worse) == (n_rejected, 0) and n_rejected > 2
    assert (row.tables, row.runs) == (6, 44)
    assert row.testable == 5  # 4 seeds give at best p = 1/8, and 8 seeds 1/128, times 6
    assert row.low < row.difference < row.high


def test_ranks_are_those_of_tables():
    areas = made_up()
    ranks, n_tables = comparison.mean_ranks(areas)
    means = areas.groupby(["dataset", "strategy"]).mean().unstack()
    expected = np.mean([rankdata(-row) for row in means.to_numpy()], axis=0)
    assert ranks.to_dict() == pytest.approx(dict(zip("abc", expected, strict=True)))
    assert n_tables == 6 and ranks.is_monotonic_increasing


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (4, 2.569), (10, 3.164)])
def test_the_critical_difference_is_that_of_demsars_table(k, q):
    assert comparison.critical_difference(k, 14) == pytest.approx(
        q * np.sqrt(k * (k + 1) / (6 * 14)), rel=5e-4
    )


def test_labels_saved():
    n = np.array([20.0, 60.0, 100.0, 140.0])
    curves = {"margin": [0.5, 0.6, 0.7, 0.72], "fast": [0.5, 0.8, 0.7, 0.9], "slow": [0.1] * 4}
    run = {"dataset": "t", "estimator": "e", "seed": 0, "n_labelled": n}
    frame = pd.concat(
        [pd.DataFrame({**run, "strategy": s, "accuracy": values}) for s, values in curves.items()]
    )
    needed = labels_needed(frame, [0.7]).set_index("strategy").labels
    assert needed["fast"] == pytest.approx(20 + 40 * 0.2 / 0.3)
    for name in ("margin", "fast"):
        found = comparison.labels_to_reach(n, np.array(curves[name]), 0.7)
        assert found == pytest.approx(needed[name])
    saved = comparison.labels_saved(frame, "margin").loc["t"]
    assert saved.to_dict() == pytest.approx({"fast": 1 - needed["fast"] / 100, "slow": -0.4})
    assert comparison.labels_to_reach(n, np.array(curves["margin"]), 0.5) == 20
    rounded_up = np.nextafter(0.6, 1)
    assert comparison.labels_to_reach(n, np.array(curves["margin"]), rounded_up) == 60


def test_the_readme_quotes_the_headline_of_the_page():
    page, readme = (
        " ".join(path.read_text().replace("**", "").split())
        for path in (EVIDENCE / "index.md", EVIDENCE.parents[1] / "README.md")
    )
    headline = re.search(r"`balance_margin_query` needs .* than random selection", page)
    assert headline is not None and headline[0] in readme


def test_sizes_of_images_are_given_or_the_papers(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 10
    images = np.clip(rng.normal(20 * y[:, None], 20, (200, 784)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", X_train=images, y_train=y, X_test=images, y_test=y)
    results = tmp_path / "images.jsonl"
    given = {"pool": 30, "test": 20, "masks": 2, "pairs": 2, "samples-per-epoch": 128}
    given |= {"budget": 24, "seeds": 1, "jobs": 1, "data-dir": tmp_path, "results": results}
    options = [str(part) for name, value in given.items() for part in (f"--{name}", value)]
    options += ["--paper-size", "--experiments", "repeated-1", "--strategies", "margin"]
    monkeypatch.setattr(sys, "argv", ["run_images.py", *options])
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # set by the script
    run_images.main()
    settings = json.loads(results.read_text().splitlines()[0])["settings"]
    assert (settings["n_rows"], settings["validation_rows"]) == (60, 128)
    assert "samples_per_epoch=128" in settings["parameters"]
    assert "n_samples=2" in settings["parameters"]
