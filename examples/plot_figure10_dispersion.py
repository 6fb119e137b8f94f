"""
Figure 10: how much do scores vary from draw to draw?
=====================================================

This example repeats the paper's Figure 10, and adds all pairs of hypotheses to the paper's disjoint
pairs. It measures how much the score of a point varies between 5 independent sets of 2K hypotheses
of one trained network: the coefficient of variation, that is, the standard deviation over the sets
divided by the mean. Three scores are compared: BALD, BALanCe with K disjoint pairs, and BALanCe
with all pairs. All three need the same 2K forward passes.

The coefficient is averaged over the points whose mean score is among the top 20 % of the pool, for
each score separately, because it is unstable for scores near 0. It is then averaged over 6
networks, each with its own labels and a pool of up to 500 points: digits with 5 to 9 thinned to 8 %
and 120 labels; breast cancer with 40 labels.

With all pairs, the time to select grows with the cube of K. So the example also tries subsets of
all pairs from the same draws: random ones, as with ``max_edges`` of ``balance_query``, and even
ones, in which every hypothesis is in the same number of pairs (its neighbours on a ring).

What was found (6 networks):

* **Scores.** BALanCe varies less than BALD at the same number of forward passes, as the paper says.
  All fall about as one over the square root of K. At K = 50, they vary by

  =============================================  ==============  ==============  ==============
  ..                                             all pairs       disjoint pairs  BALD
  =============================================  ==============  ==============  ==============
  digits                                         0.032           0.034           0.074
  breast cancer                                  0.052           0.068           0.123
  three networks for which all pairs are edges   0.011 to 0.025                  0.087 to 0.121
  three for which 68 to 77 % are edges           0.070 to 0.107                  0.125 to 0.167
  =============================================  ==============  ==============  ==============

* **Selection** gains less than the scores, because the top scores of BALanCe lie closer together:
  among the top points, the mean scores have a coefficient of variation of 0.09 against 0.20 for
  BALD (digits), and 0.21 against 0.47 (breast cancer). The table shows which share of their 10 best
  points two sets of draws have in common at K = 50:

  =============  =========  ==============  ====
  ..             all pairs  disjoint pairs  BALD
  =============  =========  ==============  ====
  digits         81 %       77 %            68 %
  breast cancer  75 %       72 %            81 %
  =============  =========  ==============  ====

  On breast cancer BALD is ahead for every K, but by less than the networks differ under BALanCe.
* **Disjoint pairs** vary by 8 to 10 % more than all pairs on digits, which a fifth more forward
  passes would make up for, and by 11 to 26 % more on breast cancer. Selecting 10 digits takes
  0.02 s with disjoint and about 1 s with all pairs at K = 50, 0.05 s and about 7 s at K = 100 (one
  core).
* **Random subsets** need many edges: 8K edges are within 6 % of all pairs on digits and 14 % on
  breast cancer, and 16K within 4 % and 7 %. With all pairs of networks,
  ``max_edges=8 * n_samples`` (16K) is a good value: 0.2 s instead of 1 s at K = 50. (All pairs are
  more than that from K = 9 on.)
* **Even subsets** are better. On digits, 2K pairs (``pairing="ring"``) are within 6 % of all pairs,
  4K within 4 % and 8K within 2 %. On breast cancer, where not all of them are edges, they are
  within 18 %, 7 % and 3 %. In a random subset, some hypotheses are in many pairs and others in
  none: on digits, 1K random pairs vary by 31 to 39 % more than all pairs, and K disjoint ones by 8
  to 10 %.

.. code-block:: text

    python examples/plot_figure10_dispersion.py              about a minute and a half
    python examples/plot_figure10_dispersion.py --quick      one network a data set, K up to 50
"""

from __future__ import annotations

import argparse
from functools import partial
from time import process_time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from modal_balance import (
    MCDropoutClassifier,
    annealed_tau,
    balance_batch,
    balance_scores,
    disjoint_pairs,
    draw_hypotheses,
    edges_beyond,
)
from modal_balance.acquisition.information import bald_scores
from modal_balance.equivalence import all_pairs, random_edges, ring_pairs, votes

RARE_DIGITS, SHARE_KEPT = [5, 6, 7, 8, 9], 0.08
N_PAIRS = (10, 25, 50, 100)
N_SETS, N_POOL = 5, 500
TOP_SHARE, N_BEST = 0.2, 10
N_TIMED = 2
BALD, DISJOINT, ALL = "BALD", "disjoint pairs", "all pairs"
RANDOM = {f"{multiple}K random": multiple for multiple in (1, 2, 4, 8, 16)}
EVEN = {f"{multiple}K even": multiple for multiple in (2, 4, 8)}
COLOURS = {BALD: "tab:red", DISJOINT: "tab:blue", ALL: "tab:green"}
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


# %%
# Data
# ----


def digits(seed):
    """Return labels (X, y) for 120 digits and the pool, both with few of the digits 5 to 9."""
    X, y = load_digits(return_X_y=True)
    random = np.random.RandomState(seed)
    kept = ~np.isin(y, RARE_DIGITS) | (random.random_sample(len(y)) < SHARE_KEPT)
    return split(X / 16, y, random.permutation(np.flatnonzero(kept)), 120)


def breast_cancer(seed):
    """Return labels (X, y) for 40 tumours and the pool."""
    X, y = load_breast_cancer(return_X_y=True)
    return split(X, y, np.random.RandomState(seed).permutation(len(X)), 40)


def split(X, y, rows, n_labels):
    """Return X, y of the first rows and X of the pool that follows."""
    X = X.astype(np.float32)
    labelled, unlabelled = rows[:n_labels], rows[n_labels : n_labels + N_POOL]
    return X[labelled], y[labelled], X[unlabelled]


DATASETS = {"digits": digits, "breast cancer": breast_cancer}


# %%
# Measures
# --------


def edge_sets(reference_votes, tau, random):
    """Return name -> (edges, weights) for the ways to pair 2K hypotheses."""
    n_hypotheses = len(reference_votes)
    pairs = {DISJOINT: disjoint_pairs(n_hypotheses), ALL: all_pairs(n_hypotheses)}
    pairs |= {name: ring_pairs(n_hypotheses, multiple // 2) for name, multiple in EVEN.items()}
    result = {name: edges_beyond(reference_votes, some, tau) for name, some in pairs.items()}
    for name, multiple in RANDOM.items():
        result[name] = random_edges(*result[ALL], multiple * n_hypotheses // 2, random)
    return result


def dispersion(scores):
    """Return the coefficients of variation of each top point over the sets, and among the points.

    The scores have the shape (sets, N).
    """
    mean = scores.mean(0)  # (N,)
    top = np.argsort(-mean, kind="stable")[: round(TOP_SHARE * len(mean))]
    points = scores[:, top].std(0, ddof=1) / mean[top]  # (top,)
    return points, mean[top].std() / mean[top].mean()


def common_best(scores):
    """Return the share of the best points that two sets have in common, mean over pairs."""
    best = [set(row) for row in np.argsort(-scores, axis=1, kind="stable")[:, :N_BEST]]
    pairs = all_pairs(len(scores)).tolist()
    return np.mean([len(best[k] & best[l]) / N_BEST for k, l in pairs])


# %%
# One network
# -----------


def measure(name, seed, timed, all_n_pairs):
    """Train one network and return a record for each K and score."""
    X, y, X_pool = DATASETS[name](seed)
    network = MCDropoutClassifier.paper(
        samples_per_epoch=2048, patience=10, classes=np.unique(y), random_state=seed
    )
    classifier = make_pipeline(StandardScaler(), network).fit(X, y)
    tau = annealed_tau(classifier[-1].validation_error_)
    random = np.random.RandomState(seed)
    drawn = [
        draw_hypotheses(classifier, 2 * max(all_n_pairs), random_state=random)
        for _ in range(N_SETS)
    ]
    probas = [hypotheses.predict_proba_samples(X_pool) for hypotheses in drawn]  # (S, N, C) each
    records = []
    for n_pairs in all_n_pairs:
        scores, seconds, n_edges = {}, {}, {}
        for proba in (proba[: 2 * n_pairs] for proba in probas):
            scores.setdefault(BALD, []).append(bald_scores(proba))
            for kind, (edges, weights) in edge_sets(votes(proba), tau, random).items():
                scores.setdefault(kind, []).append(balance_scores(proba, edges, weights))
                n_edges.setdefault(kind, []).append(len(edges))
                if timed and kind not in seconds:
                    started = process_time()
                    balance_batch(proba, edges, weights, N_BEST, random_state=seed)
                    seconds[kind] = process_time() - started
        for kind, rows in scores.items():
            rows = np.stack(rows)  # (sets, N)
            points, among = dispersion(rows)
            records.append(
                {
                    "data": name,
                    "seed": seed,
                    "K": n_pairs,
                    "score": kind,
                    "tau": tau,
                    "edges": np.mean(n_edges.get(kind, np.nan)),
                    "variation": points.mean(),
                    "among points": among,
                    "common best": common_best(rows),
                    "seconds": seconds.get(kind, np.nan),
                    "points": points,
                }
            )
    return records


# %%
# Tables and picture
# ------------------


def print_tables(results):
    """Print how much the scores vary, and what subsets of the pairs cost and lose."""
    n_seeds = results["seed"].nunique()
    several = f", mean ± standard deviation over {n_seeds} networks" if n_seeds > 1 else ""
    print(f"Coefficient of variation{several}")
    print(by_score(results, "variation", partial(mean_and_spread, digits=3)).to_string())
    print("\nCoefficient of variation of the mean scores among these points")
    print(by_score(results, "among points", lambda v: f"{v.mean():.3f}").to_string())
    print(f"\nShare of the {N_BEST} best points that two sets of draws have in common{several}")
    print(by_score(results, "common best", partial(mean_and_spread, digits=2)).to_string())
    print(f"\nCoefficient of variation for each network, K = {middle(results)}")
    print(by_network(results).round(3).to_string())
    print("\nCoefficient of variation over that of all pairs, same draws")
    print(table_of(results, "ratio").round(3).to_string())
    print(f"\nCPU seconds to select {N_BEST} points")
    print(table_of(results, "seconds", "min").round(3).to_string())


def mean_and_spread(values, digits):
    """Return mean ± standard deviation over the networks, and of a single one the value alone."""
    mean = f"{values.mean():.{digits}f}"
    return mean + (f" ± {values.std():.{digits}f}" if len(values) > 1 else "")


def middle(results):
    """Return the K of which single points and single networks are shown."""
    return 50 if 50 in set(results["K"]) else results["K"].max()


def by_score(results, column, summary):
    """Return a table of the three scores that use all draws: a row for each data set and K."""
    shown = results[results["score"].isin(COLOURS)]
    return shown.groupby(["data", "K", "score"], sort=False)[column].agg(summary).unstack()


def by_network(results):
    """Return the variation for each network, beside the share of all pairs that are edges."""
    n_pairs = middle(results)
    rows = results[results["K"] == n_pairs].set_index(["data", "seed"])
    scores = {score: rows.loc[rows["score"] == score, "variation"] for score in COLOURS}
    edges = rows.loc[rows["score"] == ALL, "edges"]
    return pd.DataFrame({"share of edges": edges / (n_pairs * (2 * n_pairs - 1))} | scores)


def table_of(results, column, how="mean"):
    """Return a table of the ways to pair: a row for each data set and K."""
    shown = results[results["score"] != BALD]
    table = shown.groupby(["data", "K", "score"], sort=False)[column].agg(how).unstack()
    return table[[DISJOINT, *RANDOM, *EVEN, ALL]]


def plot(results, form, path):
    """Draw a column of panels for each data set."""
    figure, grid = plt.subplots(4, len(DATASETS), figsize=(8, 13), layout="constrained")
    for panels, (name, rows) in zip(grid.T, results.groupby("data", sort=False), strict=True):
        plot_means(panels[0], rows)
        panels[0].set_title(f"{name}: mean over the top points")
        plot_points(panels[1], rows)
        plot_subsets(panels[2], panels[3], rows)
    grid[0, 0].legend(loc="lower left")
    grid[2, 0].legend()
    grid[3, 0].legend()
    figure.suptitle(
        f"Variation over {N_SETS} sets of draws, {TOP_SHARE:.0%} of the pool with the top scores\n"
        f"({form})"
    )
    if path:
        figure.savefig(path, dpi=110)
    else:
        plt.show()


def plot_means(panel, rows):
    """Draw the mean variation against K, and, thin, that of each network."""
    for score, colour in COLOURS.items():
        of_score = rows[rows["score"] == score]
        label = score if score == BALD else f"BALanCe, {score}"
        mean = of_score.groupby("K")["variation"].mean()
        panel.plot(mean, color=colour, marker="o", linewidth=2, label=label)
        for _, of_network in of_score.groupby("seed"):
            panel.plot(of_network["K"], of_network["variation"], color=colour, lw=0.8, alpha=0.4)
    all_n_pairs = rows["K"].unique()
    panel.set(xscale="log", yscale="log", xlabel="K (2K forward passes)")
    panel.set_ylim(bottom=0.003)  # room for the legend
    panel.set_yticks(TICKS, TICKS)
    panel.set_xticks(all_n_pairs, all_n_pairs)
    panel.minorticks_off()
    panel.set_ylabel("coefficient of variation")


def plot_points(panel, rows):
    """Draw how the variation is spread over the points of all networks."""
    n_pairs = middle(rows)
    rows = rows[rows["K"] == n_pairs].set_index("score")["points"]
    panel.boxplot([np.concatenate(list(rows.loc[[score]])) for score in COLOURS], showfliers=False)
    panel.set_xticks(range(1, len(COLOURS) + 1), COLOURS)
    panel.set_ylim(bottom=0)
    panel.set_title(f"single points, K = {n_pairs}")
    panel.set_ylabel("coefficient of variation")


def plot_subsets(variation, seconds, rows):
    """Draw variation and selection time against the number of edges asked for."""
    all_n_pairs = rows["K"].unique()
    shades = plt.cm.viridis(np.linspace(0, 0.85, len(all_n_pairs)))
    for n_pairs, shade in zip(all_n_pairs, shades, strict=True):
        means = rows[rows["K"] == n_pairs].groupby("score")[["ratio", "seconds"]].mean()
        label = f"K = {n_pairs}"
        for multiples, style in ((RANDOM, "o-"), (EVEN, "s:"), ({DISJOINT: 1}, "*")):
            of_kind = means.loc[list(multiples)]
            variation.plot(list(multiples.values()), of_kind["ratio"], style, color=shade)
        multiples = RANDOM | {ALL: 2 * n_pairs - 1}
        edges = n_pairs * np.array(list(multiples.values()))
        seconds.plot(edges, means.loc[list(multiples), "seconds"], "o-", color=shade, label=label)
    for style, label in (("o-", "random"), ("s:", "even"), ("*", "disjoint")):
        variation.plot([], [], style, color="grey", label=label)
    variation.axhline(1, color="grey", linewidth=0.8)
    variation.axhline(1.1, color="grey", linewidth=0.8, linestyle="--")
    variation.set_xscale("log", base=2)
    variation.set(xlabel="edges / K", ylabel="variation over that of all pairs")
    variation.set_title("subsets of the pairs")
    seconds.set(xscale="log", yscale="log", xlabel="edges (last point: all)")
    seconds.set_ylabel("CPU seconds")
    seconds.set_title(f"time to select {N_BEST} points")


def main():
    """Measure, print the tables and save the picture."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--output", help="save the picture here")
    parser.add_argument(
        "--quick", action="store_true", help="one network for each data set, K up to 50"
    )
    options = parser.parse_args()
    n_seeds, all_n_pairs = (1, N_PAIRS[:3]) if options.quick else (options.seeds, N_PAIRS)

    tasks = [(name, seed) for name in DATASETS for seed in range(n_seeds)]
    records = []
    for name, seed in tqdm(tasks, unit="network"):
        records += measure(name, seed, seed < N_TIMED, all_n_pairs)
    results = pd.DataFrame(records)
    whole = results[results["score"] == ALL].set_index(["data", "seed", "K"])["variation"]
    key = pd.MultiIndex.from_frame(results[["data", "seed", "K"]])
    results["ratio"] = results["variation"].to_numpy() / whole.loc[key].to_numpy()
    print_tables(results)
    quick_form = f"quick form: 1 network for each data set, K up to {all_n_pairs[-1]}"
    full_form = f"{n_seeds} networks for each data set, in the first row thin lines"
    form = quick_form if options.quick else full_form
    plot(results, form, options.output)


# %%
# Run
# ---
# On the site, the tables and the picture are those of the quick form (``--quick``): one network for
# each data set, K up to 50. The numbers under "What was found" are those of the full form.

if __name__ == "__main__":
    main()
