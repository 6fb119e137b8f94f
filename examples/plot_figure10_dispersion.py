"""
Figure 10: how much do scores vary from draw to draw?
=====================================================

The paper's Figure 10, with all pairs of hypotheses beside its disjoint ones. For 5 independent sets
of 2K hypotheses of one trained network, the coefficient of variation (standard deviation / mean
over the sets) of the score of every point: BALD, BALanCe with K disjoint pairs as in the paper, and
BALanCe with all pairs. All three cost the same 2K forward passes. It is averaged over the points
whose mean score is among the top 20 % of the pool (of each score's own; points of negligible score
would have any variation), then over 6 networks with their own labels and pools of up to 500 points:
digits, 5 to 9 thinned to 8 %, 120 labels; breast cancer, 40 labels.

Selection with all pairs takes time in proportion to K^3, so subsets are tried, too: random ones, as
``max_edges`` of ``balance_query`` takes them, and even ones, in which all hypotheses are in as many
pairs (the neighbours on a ring). Every subset sees the draws that all pairs see.

What was found:

* BALanCe varies less than BALD at the same number of forward passes, as the paper says: at K = 50,
  all pairs 0.032, disjoint pairs 0.034, BALD 0.074 (digits); 0.035, 0.036, 0.123 (breast cancer).
  All fall about as 1 / sqrt(K).
* But BALanCe's top scores also lie closer together: among these points the mean scores have a
  coefficient of variation of 0.09 against BALD's 0.20 (digits), 0.20 against 0.47. That is most of
  the advantage, and it does not make the *selection* as much steadier. Of the 10 best points, two
  sets of draws share 81 % (all pairs), 77 % (disjoint pairs), 68 % (BALD) on digits, but 75 %, 72
  %, 81 % on breast cancer, where BALD is ahead for every K, by less than the spread over networks.
* All pairs vary less than disjoint pairs, but little: disjoint pairs have 5 to 10 % more variation,
  what 10 to 20 % more forward passes would repair. The time to select 10 digits grows from 0.01 to
  0.7 s at K = 50, from 0.03 to 5 s at K = 100 (one core).
* Random subsets are dear. Within 10 % of all pairs are 8K edges on digits, and 16K (2 to 11 %) on
  breast cancer, where the K disjoint pairs (5 to 10 %) are no worse. So with all pairs of networks
  ``max_edges=8 * n_samples`` (16K) is the value to take, 0.12 s instead of 0.7 s at K = 50. (All
  pairs are more than that from K = 9 on.)
* Even subsets are far better: 2K edges (``pairing="ring"``) are within 6 % of all pairs, 4K within
  3.5 %, 8K within 2 %. In a random subset some hypotheses are in many pairs and others in none; 1K
  random pairs vary 30 to 65 % more than all pairs, the K disjoint ones 5 to 10 %.

.. code-block:: text

    python examples/plot_figure10_dispersion.py              about a minute and a half
    python examples/plot_figure10_dispersion.py --quick      one network a data set, K up to 50
"""

from __future__ import annotations

import argparse
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
from modal_balance.acquisition.bald import bald_scores
from modal_balance.equivalence import all_pairs, random_edges, ring_pairs, votes

RARE_DIGITS, SHARE_KEPT = [5, 6, 7, 8, 9], 0.08
N_PAIRS = (10, 25, 50, 100)
N_SETS, N_POOL = 5, 500
TOP_SHARE, N_BEST = 0.2, 10
N_TIMED = 2
BALD, DISJOINT, ALL = "BALD", "disjoint pairs", "all pairs"
RANDOM = {f"{multiple}K random": multiple for multiple in (1, 2, 4, 8, 16)}
EVEN = {f"{multiple}K even": multiple for multiple in (2, 4, 8)}
SHIFT = {BALD: 1.0, DISJOINT: 0.97, ALL: 1.03}  # of bars that would hide each other
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2)


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
    print(f"Coefficient of variation, mean ± standard deviation over {n_seeds} networks")
    print(by_score(results, "variation", lambda v: f"{v.mean():.3f} ± {v.std():.3f}").to_string())
    print("\nCoefficient of variation of the mean scores among these points")
    print(by_score(results, "among points", lambda v: f"{v.mean():.3f}").to_string())
    print(f"\nShare of the {N_BEST} best points that two sets of draws have in common")
    print(by_score(results, "common best", lambda v: f"{v.mean():.2f} ± {v.std():.2f}").to_string())
    print("\nCoefficient of variation over that of all pairs, same draws")
    print(table_of(results, "ratio").round(3).to_string())
    print(f"\nCPU seconds to select {N_BEST} points")
    print(table_of(results, "seconds", "min").round(3).to_string())


def by_score(results, column, summary):
    """Return a table of the three scores that use all draws: a row for each data set and K."""
    shown = results[results["score"].isin([BALD, DISJOINT, ALL])]
    return shown.groupby(["data", "K", "score"], sort=False)[column].agg(summary).unstack()


def table_of(results, column, how="mean"):
    """Return a table of the ways to pair: a row for each data set and K."""
    shown = results[results["score"] != BALD]
    table = shown.groupby(["data", "K", "score"], sort=False)[column].agg(how).unstack()
    return table[[DISJOINT, *RANDOM, *EVEN, ALL]]


def plot(results, path):
    """Save a row of panels for each data set."""
    figure, grid = plt.subplots(len(DATASETS), 4, figsize=(16, 7), layout="constrained")
    colours = {BALD: "tab:red", DISJOINT: "tab:blue", ALL: "tab:green"}
    all_n_pairs = results["K"].unique()
    middle = all_n_pairs[len(all_n_pairs) // 2]
    for panels, (name, rows) in zip(grid, results.groupby("data", sort=False), strict=True):
        points = {}
        for score, colour in colours.items():
            of_score = rows[rows["score"] == score]
            grouped = of_score.groupby("K")["variation"]
            mean, error = grouped.mean(), grouped.std().fillna(0)
            label = score if score == BALD else f"BALanCe, {score}"
            shifted = mean.index * SHIFT[score]
            panels[0].errorbar(shifted, mean, error, color=colour, capsize=3, label=label)
            points[score] = np.concatenate(of_score.loc[of_score["K"] == middle, "points"].tolist())
        panels[0].set(xscale="log", yscale="log", xlabel="K (2K forward passes)")
        panels[0].set_title(f"{name}: mean over points and networks", fontsize=10)
        panels[0].set_yticks(TICKS, TICKS)
        panels[0].set_xticks(all_n_pairs, all_n_pairs)
        panels[0].minorticks_off()
        panels[0].set_ylabel("coefficient of variation")
        panels[0].legend(fontsize=8)
        panels[1].boxplot(list(points.values()), showfliers=False)
        panels[1].set_xticks(range(1, len(points) + 1), points)
        panels[1].set_title(f"{name}: single points, K = {middle}", fontsize=10)
        panels[1].set_ylim(bottom=0)
        plot_subsets(panels[2], panels[3], rows)
    figure.suptitle(
        f"Variation over {N_SETS} sets of draws, {TOP_SHARE:.0%} of the pool with the top scores"
    )
    if path:
        figure.savefig(path, dpi=110)
    else:
        plt.show()


def plot_subsets(variation, seconds, rows):
    """Draw variation and selection time against the number of edges asked for."""
    all_n_pairs = rows["K"].unique()
    shades = plt.cm.viridis(np.linspace(0, 0.85, len(all_n_pairs)))
    for n_pairs, shade in zip(all_n_pairs, shades, strict=True):
        means = rows[rows["K"] == n_pairs].groupby("score")[["ratio", "seconds"]].mean()
        for multiples, style in ((RANDOM, "o-"), (EVEN, "s:"), ({DISJOINT: 1}, "*")):
            of_kind = means.loc[list(multiples)]
            label = f"K = {n_pairs}" if multiples is RANDOM else None
            edges = list(multiples.values())
            variation.plot(edges, of_kind["ratio"], style, color=shade, label=label)
        multiples = RANDOM | {ALL: 2 * n_pairs - 1}
        edges = n_pairs * np.array(list(multiples.values()))
        seconds.plot(edges, means.loc[list(multiples), "seconds"], "o-", color=shade)
    variation.axhline(1, color="grey", linewidth=0.8)
    variation.axhline(1.1, color="grey", linewidth=0.8, linestyle="--")
    variation.set_xscale("log", base=2)
    variation.set(xlabel="edges / K", ylabel="variation over that of all pairs")
    variation.set_title("circles: random, squares: even, stars: disjoint", fontsize=10)
    variation.legend(fontsize=8)
    seconds.set(xscale="log", yscale="log", xlabel="edges (last point: all)")
    seconds.set_ylabel(f"CPU seconds for {N_BEST} points")


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
    plot(results, options.output)


# %%
# Run
# ---

if __name__ == "__main__":
    main()
