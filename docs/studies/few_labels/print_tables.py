"""Print the tables of the study, and draw its figure, from the results files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from data_sets import FRESH_TABLES, TABLES_TO_CHOOSE, TABLES_TO_CONFIRM

HERE = Path(__file__).parent
EVIDENCE = HERE.parents[1] / "evidence"
sys.path.insert(0, str(EVIDENCE))
from appendix import whole_runs  # noqa: E402
from comparison import over_tables  # noqa: E402

from modal_balance.simulation.results import normalised_areas, read_results  # noqa: E402

SIMPLE = ["ET200", "RF200", "LR", "SVC", "5NN"]
NAMES = {
    "200 steps": "MCDropoutClassifier",
    "ET200": "ExtraTrees(200)",
    "RF200": "RandomForest(200)",
    "LR": "LogisticRegression",
}


def read(name: str) -> pd.DataFrame:
    """Return a results file."""
    return pd.read_json(HERE / f"{name}.jsonl.gz", lines=True)


def random_labels(models: pd.DataFrame, title: str) -> pd.DataFrame:
    """Print means by number of labels, and by table next to the best simple model."""
    baselines = read("second_baselines")
    runs = pd.concat([models, baselines])
    runs = runs[runs.dataset.isin(models.dataset.unique())]
    # Use the tables, numbers of labels and seeds that all have.
    keys = ["dataset", "n", "seed"]
    counts = runs.drop_duplicates([*keys, "config"]).groupby(keys).config.nunique()
    runs = runs.set_index(keys)[lambda r: r.index.isin(counts[counts == counts.max()].index)]
    runs = runs.reset_index()
    n_seeds = runs.groupby("dataset").seed.nunique()
    print(f"\n{title}: {runs.dataset.nunique()} tables, {n_seeds.min()} to {n_seeds.max()} seeds")
    by_size = runs.groupby(["config", "n", "dataset"])[["acc", "f1"]].mean()
    by_size = by_size.groupby(["config", "n"]).mean().unstack("n")
    print((by_size * 100).round(1).to_string())
    print(runs.groupby("config")[["acc", "f1", "nll", "ece"]].mean().round(3).to_string())
    by_table = runs.groupby(["dataset", "config"])[["acc", "f1"]].mean().unstack() * 100
    for metric in ("acc", "f1"):
        best = by_table[metric][SIMPLE].max(axis=1)
        for model in models.config.unique():
            print(metric, model, (by_table[metric][model] - best).round(1).to_dict())
    return runs


def steps() -> None:
    """Print how the number of steps and the learning rate change accuracy."""
    runs = read("third_steps").set_index(["dataset", "n", "seed"])
    wide = runs.pivot(columns="config")
    for config in runs.config.unique():
        gap = 100 * (wide["acc"][config] - wide["acc"]["bins"])
        means = wide.xs(config, axis=1, level="config").mean()
        print(
            f"{config}: accuracy {means.acc:.4f}, F1 {means.f1:.4f}, NLL {means.nll:.3f}, "
            f"{gap.mean():+.2f} +- {gap.sem():.2f} points, {means.seconds:.2f} s"
        )


def many_labels() -> None:
    """Print what 1,500 steps change with 1,000 labels and more, in points of accuracy."""
    wide = read("sixth_steps").pivot(index=["n", "dataset", "seed"], columns="config", values="acc")
    gap = 100 * (wide["1500 steps"] - wide["200 steps"])
    print(gap.groupby(["dataset", "n"]).mean().unstack("n").round(1).to_string())


def edges() -> None:
    """Print how many of 50 pairs are edges, by kind of hypotheses."""
    runs = read("third_edges")
    share = 50 * runs.edges / runs.pairs
    print(share.groupby([runs.kind, runs.n, runs.dataset]).mean().unstack().round(0).to_string())


def input_dropout() -> None:
    """Print how the dropout of the inputs changes accuracy and macro F1."""
    keys = ["dataset", "n", "seed"]
    today = read("third_classifier")[lambda r: r.config == "200 steps"].set_index(keys)
    for config, runs in read("fourth_classifier").set_index(keys).groupby("config"):
        gaps = 100 * (runs[["acc", "f1"]] - today[["acc", "f1"]]).dropna()
        by_table = gaps.groupby("dataset").mean()
        print(f"\n{config}, minus the default, {gaps.groupby('dataset').size().max()} runs a table")
        for tables in (TABLES_TO_CHOOSE, TABLES_TO_CONFIRM, FRESH_TABLES):
            some = by_table[by_table.index.isin(tables)]
            print(len(some), some.mean().round(2).to_dict(), "+-", some.sem().round(2).to_dict())
        print(gaps.acc.groupby(["n", "dataset"]).mean().groupby("n").mean().round(2).to_dict())
        print(by_table.round(1).to_string())


def input_dropout_by_size() -> None:
    """Print what switching off input dropout from 100 labels on changes, also on more tables."""
    keys = ["dataset", "n", "seed"]
    today = read("third_classifier")[lambda r: r.config == "200 steps"].set_index(keys)
    more = read("fifth_classifier").set_index(keys)
    base = pd.concat([today, more[more.config == "200 steps"]])
    for runs in (read("fifth_variants"), more[more.config == "no input dropout"].reset_index()):
        for config, some in runs.set_index(keys).groupby("config"):
            gaps = 100 * (some[["acc", "f1", "nll"]] - base[["acc", "f1", "nll"]]).dropna()
            by_table = gaps.groupby("dataset").mean()
            print(f"\n{config}: {len(by_table)} tables, {by_table.mean().round(2).to_dict()}")
            print("+-", by_table.sem().round(2).to_dict())
            print(gaps.acc.groupby(["n", "dataset"]).mean().groupby("n").mean().round(2).to_dict())
            print(by_table.acc.round(1).to_dict())


def votes() -> None:
    """Print the accuracy, macro F1 and NLL of models that vote."""
    runs = read("sixth_votes")
    groups = {"12 development": TABLES_TO_CHOOSE, "12 validation": TABLES_TO_CONFIRM}
    groups |= {"10 fresh": FRESH_TABLES, "34": TABLES_TO_CHOOSE + TABLES_TO_CONFIRM + FRESH_TABLES}
    for title, tables in groups.items():
        some = runs[runs.dataset.isin(tables)]
        by_table = some.groupby(["config", "dataset"])[["acc", "f1", "nll", "ece"]].mean()
        print(f"\n{title} tables", by_table.groupby("config").mean().round(3), sep="\n")
        by_size = some.groupby(["config", "n", "dataset"])[["acc", "f1"]].mean()
        means = by_size.groupby(["config", "n"]).mean().unstack("n")
        print((100 * means).round(1).to_string())
    by_table = 100 * runs.groupby(["dataset", "config"])[["acc", "f1"]].mean().unstack()
    for vote in ("network", "network, trees", "network, trees, linear"):
        for metric in ("acc", "f1"):
            behind = by_table[metric][vote] - by_table[metric][["trees", "linear"]].max(axis=1)
            print(vote, metric, behind[behind < -1].round(1).sort_values().to_dict())


def ensemble() -> None:
    """Print how far ensembles of three networks are ahead of one network, on learning curves."""
    files = sorted((EVIDENCE / "tables" / "mcdropout_10").glob("keel*.gz"))
    many, one = (
        normalised_areas(whole_runs(read_results(*paths))).droplevel("estimator")
        for paths in ([HERE / "sixth_ensemble.jsonl.gz"], files)
    )
    for strategy in ("margin", "balance_margin_query"):
        gaps = (many - one).xs(strategy, level="strategy").dropna()
        print(f"three networks minus one, {strategy}", over_tables(gaps))


def draw(runs: pd.DataFrame, path: Path) -> None:
    """Draw accuracy and macro F1 by number of labels."""
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for panel, metric, title in zip(panels, ("acc", "f1"), ("accuracy", "macro F1"), strict=True):
        # Tables with rows for all numbers of labels.
        full = runs.groupby("dataset").n.nunique()
        some = runs[runs.dataset.isin(full[full == full.max()].index)]
        means = some.groupby(["config", "n"])[metric].mean().unstack("n")
        for config, name in NAMES.items():
            style = {"lw": 2.5} if config == "200 steps" else {"lw": 1.2}
            panel.plot(means.columns, means.loc[config], marker=".", label=name, **style)
        panel.set(xlabel="labels, at random", title=title)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="where to save the picture")
    args = parser.parse_args()
    steps()
    many_labels()
    edges()
    today = read("third_classifier")
    for title, tables in (
        ("development", TABLES_TO_CHOOSE),
        ("validation", TABLES_TO_CONFIRM),
        ("both", TABLES_TO_CHOOSE + TABLES_TO_CONFIRM),
        ("fresh tables", FRESH_TABLES),
    ):
        runs = random_labels(today[today.dataset.isin(tables)], title)
    input_dropout()
    input_dropout_by_size()
    votes()
    ensemble()
    if args.picture:
        draw(runs, args.picture)


if __name__ == "__main__":
    main()
