"""Sections of the appendix: experiments under the paper's protocol."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from comparison import SIGNIFICANT, differences

from modal_balance.simulation.figures import area_heat_map, learning_curves
from modal_balance.simulation.results import (
    DECIMALS,
    RUN,
    normalised_areas,
    pairwise,
    read_results,
)

HERE = Path(__file__).parent
# Names in the results files of `simulate` -> names on the page. In those runs, `balance_query` was
# today's `balance_margin_query`.
SIMULATED = {
    "default of balance_query": "balance_margin_query",
    "Batch-BALanCe, to the end": "balance_query",
    "Batch-BALanCe": "Batch-BALanCe, weights restored at 1e-4",
    "rest by clusters": "99.99 % cut, then diverse low margins",
    "rest by margin": "99.99 % cut, then lowest margins",
}


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, with its index as the first column."""
    table = table.reset_index()
    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [list(map(str, row)) for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def whole_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rounds of complete runs."""
    end = frame.groupby(RUN).n_labelled.transform("max")
    return frame[end == frame.groupby("dataset").n_labelled.transform("max")]


def seeds_of(frame: pd.DataFrame) -> str:
    counts = frame.groupby(["dataset", "strategy"]).seed.nunique().groupby("dataset")
    return "; ".join(
        f"{name}: {low}" if low == high else f"{name}: {low} to {high}"
        for (name, low), high in zip(counts.min().items(), counts.max(), strict=True)
    )


def against(areas: pd.Series[float], baseline: str) -> pd.DataFrame:
    """Return the differences from a baseline, by strategy and data set."""
    table = pairwise(areas, baseline)
    # No-break spaces and hyphens keep a cell on one line.
    table["text"] = [
        f"{row.difference:+.4f} ({row.wins}-{row.ties}-{row.losses})".replace(
            " ", "\u00a0"
        ).replace("-", "\u2011")
        + ("*" if row.p_holm < SIGNIFICANT else "")
        for row in table.itertuples()
    ]
    order = table.groupby("strategy").difference.mean().sort_values(ascending=False).index
    return table.pivot(index="strategy", columns="dataset", values="text").loc[order].fillna("")


def over_runs(areas: pd.Series[float], baseline: str) -> pd.DataFrame:
    """Return the mean difference from a baseline over all runs, with its standard error."""
    gaps = differences(areas, baseline)
    rows = {
        strategy: {
            "difference": f"{gap.mean():+.4f} ± {gap.sem():.4f}",
            "runs ahead": f"{(gap > 0).sum()} of {len(gap)}",
        }
        for strategy in gaps.mean().sort_values(ascending=False).index
        if len(gap := gaps[strategy].dropna()) > 1
    }
    return pd.DataFrame(rows).T.rename_axis("strategy")


def picture(file: str, caption: str) -> str:
    return f":::{{figure}} {file}\n:alt: {caption}\n:figclass: wide\n\n{caption}\n:::"


def different_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the mean share of different rows in a batch, by strategy and data set."""
    n_different = {"digits": 700, "mnist": 2500}  # followed by their copies, in the same order
    asked = frame[frame["indices"].str.len() > 0]
    share = [
        len({index % n_different[name.split(",")[0]] for index in indices}) / len(indices)
        for name, indices in zip(asked["dataset"], asked["indices"], strict=True)
    ]
    means = asked.assign(share=share).groupby(["strategy", "dataset"]).share.mean()
    table = means.unstack("dataset")
    return table.loc[table.mean(axis=1).sort_values(ascending=False).index]


def shared_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rounds of those seeds that all strategies have on a data set."""
    counts = frame.groupby(["dataset", "seed"]).strategy.transform("nunique")
    return frame[counts == frame.groupby("dataset").strategy.transform("nunique")]


def last_accuracies(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies after the last batch, by strategy and data set.

    They are means and standard deviations over the seeds that all strategies have.
    """
    last = shared_seeds(frame)
    last = last[last.n_labelled == last.groupby("dataset").n_labelled.transform("max")]
    end = last.groupby(["strategy", "dataset"]).accuracy.agg(["mean", "std"]).round(DECIMALS)
    cells = [
        f"{row.mean:.3f} ± {row.std:.3f}".replace(" ± nan", "")
        for row in end.itertuples(index=False)
    ]
    return pd.Series(cells, end.index).unstack("dataset")


def compared(
    name: str,
    title: str,
    text: str,
    drawn: tuple[str, ...] = (),
    heat_map: bool = True,
    at_end: bool = False,
) -> str:
    """Return the section of an experiment that was run with `simulate`.

    drawn: strategies whose curves are drawn, all by default.
    at_end: whether to add a table of the accuracy after the last batch.
    """
    frame = whole_runs(read_results(HERE / f"{name}.jsonl.gz"))
    frame["strategy"] = frame.strategy.replace(SIMULATED).str.replace(
        "whole covers", "weights restored at 1e-4"
    )
    areas = normalised_areas(frame)
    baseline = areas.xs("margin", level="strategy").groupby("dataset").mean()
    level = "; ".join(f"{dataset}: {value:.3f}" for dataset, value in baseline.items())
    gaps = over_runs(areas, "margin")
    order = ["margin", *gaps.index]
    tables = f"""Mean accuracy over the curve of margin selection: {level}. Differences from it over
all runs, paired by seed, with standard errors:

{markdown(gaps)}

By data set: difference, wins-ties-losses over seeds, and a star if p < .05 in Wilcoxon's test after
Holm's correction for the number of strategies.

{markdown(against(areas, "margin"))}
"""
    if at_end:
        table = last_accuracies(frame).reindex(order).dropna(how="all")
        ends = frame.groupby("dataset").n_labelled.max()
        at = "; ".join(f"{dataset}: {n} labels" for dataset, n in ends.items())
        tables += f"""
Accuracy after the last batch ({at}), mean and
standard deviation over the seeds shared by all strategies:

{markdown(table.fillna(""))}
"""
    learning_curves(frame, strategies=[s for s in order if s in drawn] or order).savefig(
        HERE / f"{name}.png", dpi=140
    )
    pictures = picture(
        f"{name}.png", "Accuracy against the number of labels: mean over seeds and standard error."
    )
    if heat_map:
        area_heat_map(frame, "margin").savefig(HERE / f"{name}_areas.png", dpi=140)
        pictures += "\n\n" + picture(
            f"{name}_areas.png",
            "Mean accuracy over the curve minus that of margin selection, in hundredths.",
        )
    seconds = frame.groupby("strategy")[["seconds_fit", "seconds_draw", "seconds_select"]].median()
    seconds.columns = ["fit", "draw and predict", "select"]
    return f"""
## {title}

{text}

Seeds: {seeds_of(frame)}.

{tables}
Seconds per round (medians, on a machine that was also doing other work):

{markdown(seconds.reindex(order).map("{:.3f}".format))}

{pictures}
"""


def sections_of_experiments() -> list[str]:
    """Write the figures of the experiments, and return their sections."""
    sections = []
    main_strategies = (
        "margin", "random", "BALD", "BatchBALD", "BADGE", "balance_query", "balance_margin_query",
    )  # fmt: skip
    sections.append(
        compared(
            "hypotheses",
            "Which hypotheses, how many, and which tau",
            "All accuracies are those of `MCDropoutClassifier()`. Rows with a model choose by an "
            "earlier `balance_margin_query` (with tau = 0, unless the name says otherwise), whose "
            "hypotheses are drawn from this classifier or from another model fitted on the same "
            "labels. From 20 random labels to 120, in "
            "batches of 10, from pools of at most 2,000 rows.",
            heat_map=False,
            drawn=(
                "margin",
                "random",
                "dropout, 60 draws",
                "10 networks without dropout",
                "20 logistic regressions",
                "100 trees",
            ),
        )  # fmt: skip
    )
    sections.append(
        compared(
            "figure5",
            "Figure 5 of the paper: HAR, DRIFT, Dry Bean",
            "The paper's protocol: an MLP 64-64 with dropout 0.5, early stopping on 2,000 "
            "validation rows, tau a quarter of the error on them, K = 20, batches of 10, from 20 "
            "labels to 120. Pools of 3,000 rows, 1,500 test rows. HAR and DRIFT are not the "
            "complete official sets. `balance_query` maximises the objective for the whole "
            'batch, as in the paper, but in closed form. "Paper\'s estimator" does so with 10,000 '
            'samples, "paper\'s program" also in float32. "Weights restored at 1e-4" is a variant '
            "that has been removed: once less than 1e-4 of the edge weight is left, it starts "
            'again with the full weights. "All pairs" is this variant with all pairs of hypotheses '
            "as edges.",
            drawn=main_strategies,
        )
    )
    sections.append(
        compared(
            "repeated",
            "Repeated pools, as in Table 2",
            "The pool has 0 to 3 noisy copies of every row. The MLP of the paper learns rows of "
            "pixels, from 20 labels to 130 in batches of 10.",
            drawn=main_strategies,
            heat_map=False,
            at_end=True,
        )
    )
    rows = different_rows(whole_runs(read_results(HERE / "repeated.jsonl.gz")))
    sections.append(
        "Share of different rows in a batch, where copies count as the same row:\n\n"
        + markdown(rows.map("{:.2f}".format).replace("nan", ""))
    )
    sections.append(
        compared(
            "tau_and_pairs",
            "tau, number of pairs and pairing, as in Figure 3",
            "The paper's protocol, with edge weights restored at 1e-4. The setting of the paper is "
            "error/4 with K = 20 disjoint pairs; each other setting changes one option.",
            drawn=(
                "margin",
                "random",
                "error/4, K=20, disjoint",
                "tau=0",
                "tau=0.3",
                "K=100",
                "all pairs",
            ),
            at_end=True,
        )  # fmt: skip
    )
    sections.append(
        compared(
            "many_classes",
            "47 classes, starting without labels",
            "140,000 images of EMNIST ByMerge as rows of pixels, B = 5, K = 10. The untrained "
            "network chooses the first batch.",
            heat_map=False,
            at_end=True,
        )
    )
    sections.append(
        compared(
            "rare_classes",
            "Rare classes, starting without labels",
            "Dry Bean and the digits, with 8 % of the later half of the classes in the pool, and "
            "all of them in the validation and test rows. The MLP of the paper, B = 5, K = 10. "
            "The untrained network chooses the first batch.",
            heat_map=False,
            at_end=True,
        )
    )
    return sections
