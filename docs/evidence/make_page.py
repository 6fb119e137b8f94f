"""Write figure5.md and its picture from figure5.jsonl.gz: every number comes from that file.

python docs/evidence/make_page.py
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from modal_balance.simulation.figures import area_heat_map, learning_curves
from modal_balance.simulation.results import (
    mean_ranks,
    normalised_areas,
    pairwise,
    read_results,
)

HERE = Path(__file__).parent
ORDER = [
    "Batch-BALanCe", "all pairs", "PowerBALanCe", "margin", "variation ratio", "mean STD", "BADGE",
    "BatchBALD", "PowerBALD", "BALD", "EPIG", "random",
]  # fmt: skip


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, with its index as the first column."""
    table = table.reset_index()
    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [list(map(str, row)) for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Write the page."""
    frame = read_results(HERE / "figure5.jsonl.gz")
    # Whole runs alone, and seeds that all strategies of a data set have.
    ends = frame.groupby(["dataset", "strategy", "seed"]).n_labelled.max().rename("end")
    frame = frame.join(ends, on=["dataset", "strategy", "seed"])
    frame = frame[frame.end == frame.n_labelled.max()]
    n_strategies = frame.groupby(["dataset", "seed"]).strategy.nunique().rename("n")
    frame = frame.join(n_strategies, on=["dataset", "seed"])
    frame = frame[frame.n == frame.strategy.nunique()]
    seeds = frame.groupby("dataset").seed.nunique()

    areas = normalised_areas(frame)
    known = [name for name in ORDER if name in frame.strategy.unique()]
    by_set = areas.groupby(["dataset", "strategy"]).mean().unstack("dataset").loc[known]
    table = by_set.map("{:.4f}".format)
    table["mean rank"] = mean_ranks(areas).loc[known].map("{:.1f}".format)
    compared = pairwise(areas, "margin").set_index(["strategy", "dataset"])
    against = pd.DataFrame(
        {
            dataset: {
                s: "{difference:+.4f} ({wins}-{ties}-{losses}, p = {p_holm:.2g})".format(
                    **compared.loc[(s, dataset)]
                )
                for s in known
                if s != "margin"
            }
            for dataset in seeds.index
        }
    ).rename_axis("strategy")
    seconds = frame.groupby("strategy")[["seconds_fit", "seconds_draw", "seconds_select"]].mean()
    learning_curves(frame, strategies=known).savefig(HERE / "figure5.png", dpi=90)
    area_heat_map(frame, "random").savefig(HERE / "figure5_areas.png", dpi=90)
    text = f"""# Figure 5: HAR, DRIFT and Dry Bean under the paper's protocol

Written by `make_page.py` from `figure5.jsonl.gz`, which `run_figure5.py` fills. Seeds: \
{", ".join(f"{name} {count}" for name, count in seeds.items())}. 20 labels at the start, batches \
of 10, 200 labels at the end; 2,000 validation rows for early stopping and for tau.

Mean accuracy over the learning curve, and mean rank over data sets and seeds:

{markdown(table)}

Against margin selection: difference, wins-ties-losses over seeds, p of Wilcoxon's test after Holm:

{markdown(against)}

Seconds a round:

{markdown(seconds.loc[known].map("{:.3f}".format))}

![Learning curves](figure5.png)

![Areas](figure5_areas.png)
"""
    (HERE / "figure5.md").write_text(text)


if __name__ == "__main__":
    main()
