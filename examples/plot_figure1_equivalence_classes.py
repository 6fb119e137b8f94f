"""
Figure 1: are the large equivalence classes the accurate ones?
==============================================================

This example repeats the paper's Figure 1 on imbalanced digits. The paper says that under class
imbalance, the equivalence classes with the most probability mass are not the most accurate ones.

A network with dropout is trained on 120 labels from thinned digits (8 % of the digits 5 to 9 are
left). 200 hypotheses are drawn, compared by their votes on the unlabelled pool, and partitioned
into equivalence classes by a farthest-first traversal. The mass of a class is its share of the
hypotheses; its accuracy is the mean accuracy of its hypotheses on balanced test digits. The example
computes the rank correlation of mass and accuracy over the classes, for several radii:

* the annealed radius, validation error / 4;
* the validation error itself;
* quantiles of the distances; "q 0.1" means that a tenth of all pairs are nearer.

It does the same with 120 balanced labels, and with the votes on a pool that is not thinned.

In the tables, "without small" leaves out classes of fewer than 3 hypotheses. "ball, accuracy" needs
no partition: it correlates the accuracy of every hypothesis with the number of others within the
radius.

What was found (10 seeds, rank correlations as mean ± standard deviation):

* **The annealed radius** is too small to form classes. It is 0.03, but half of all pairs of
  hypotheses differ on more than 45 % of the pool. Nearly every one of the 200 is alone in its class
  (199.8 classes).
* **At larger radii, large classes are more accurate**, under imbalance, too. So this example does
  not confirm the claim in its strong form, that the mass lies on the poor classes. Small classes of
  poor outliers explain a part of this.
* **Imbalance weakens the correlation**, which agrees with the claim. With balanced labels it is
  higher in 7, 7 and 8 of 10 seeds on the thinned pool, and in 10, 10 and 8 on the full pool.

  =================================  ===========  ===========  ===========
  rank correlation                   q 0.1        q 0.25       q 0.5
  =================================  ===========  ===========  ===========
  imbalanced labels, thinned pool    0.42 ± 0.20  0.50 ± 0.21  0.59 ± 0.18
  the same, with macro-F1            0.37         0.43         0.54
  the same, without small classes    0.18         0.50         0.48
  balanced labels, thinned pool      0.54         0.62         0.69
  imbalanced labels, full pool       0.35 ± 0.30  0.35 ± 0.36  0.40 ± 0.56
  balanced labels, full pool         0.67         0.73         0.77
  =================================  ===========  ===========  ===========

* **The largest class is not the best.** At q 0.25 on the thinned pool, it has 20 % of the mass and
  an accuracy of 0.49; the best class has 9 % and 0.53. This is not due to imbalance, because
  balanced labels give 21 % and 0.71, 8 % and 0.73. A single hypothesis has 0.45, and the mean
  prediction of many 0.60, more than the best class at any quantile.

.. code-block:: text

    python examples/plot_figure1_equivalence_classes.py              about a minute
    python examples/plot_figure1_equivalence_classes.py --quick      two seeds
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from modal_balance import MCDropoutClassifier, annealed_tau, draw_hypotheses
from modal_balance.equivalence import all_pairs, votes
from modal_balance.equivalence.pairs import hamming_distances
from modal_balance.equivalence.partition import farthest_first_cells

RARE_DIGITS, SHARE_KEPT = [5, 6, 7, 8, 9], 0.08
N_LABELS, N_HYPOTHESES = 120, 200
QUANTILES = (0.1, 0.25, 0.5)
N_SEVERAL, N_COLOURED = 3, 8
SHOWN = "imbalanced", "imbalanced", "q 0.25"  # labels, pool, radius
COLOURS = {"imbalanced": "tab:red", "balanced": "tab:blue"}


# %%
# Data
# ----


def thin(y, random):
    """Return the positions that stay when the rare digits are thinned."""
    return np.flatnonzero(~np.isin(y, RARE_DIGITS) | (random.random_sample(len(y)) < SHARE_KEPT))


def split_digits(seed):
    """Return (X, y) of the test set, two sets of labels and two pools, all disjoint rows."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    random = np.random.RandomState(seed)
    rest, test = train_test_split(np.arange(len(y)), test_size=0.4, stratify=y, random_state=seed)
    rest, even = train_test_split(rest, test_size=N_LABELS, stratify=y[rest], random_state=seed)
    kept = random.permutation(rest[thin(y[rest], random)])
    uneven, thinned = kept[:N_LABELS], kept[N_LABELS:]
    rows = {
        "test": test,
        "labels": {"imbalanced": uneven, "balanced": even},
        "pools": {"imbalanced": thinned, "balanced": np.setdiff1d(rest, uneven)},
    }
    return X, y, rows


# %%
# Measures
# --------


def quality(predicted, truth):
    """Return accuracy and macro-F1 of each row of predictions (S, N), both of shape (S,)."""
    digits = np.arange(10)[:, None]
    said, true = predicted[:, None] == digits, truth == digits  # (S, C, N), (C, N)
    f1 = 2 * (said & true).sum(-1) / (said.sum(-1) + true.sum(-1))  # (S, C)
    return (predicted == truth).mean(-1), f1.mean(-1)


def over_classes(cells, values):
    """Return the mean of the values of the hypotheses in each class."""
    return np.bincount(cells, values) / np.bincount(cells)


def rank_correlation(first, second):
    """Return Spearman's coefficient, NaN where fewer than three values or equal ones have none."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return spearmanr(first, second).statistic


def distance_matrix(pool_votes):
    """Return the Hamming distances between all hypotheses as an (S, S) array."""
    pairs = all_pairs(len(pool_votes))
    distances = np.zeros((len(pool_votes),) * 2)
    distances[pairs[:, 0], pairs[:, 1]] = hamming_distances(pool_votes, pairs)
    return distances + distances.T


def summary(cells, near, accuracy, f1):
    """Return what is reported of one partition; ``near``: mass within tau of each hypothesis."""
    mass = np.bincount(cells) / len(cells)  # (M,)
    class_accuracy, class_f1 = over_classes(cells, accuracy), over_classes(cells, f1)  # (M,), (M,)
    large, best = mass.argmax(), class_accuracy.argmax()
    several = mass >= N_SEVERAL / len(cells)
    return {
        "classes": len(mass),
        "mass, accuracy": rank_correlation(mass, class_accuracy),
        "mass, F1": rank_correlation(mass, class_f1),
        "without small": rank_correlation(mass[several], class_accuracy[several]),
        "ball, accuracy": rank_correlation(near, accuracy),
        "largest class": class_accuracy[large],
        "its mass": mass[large],
        "best class": class_accuracy[best],
        "mass of best": mass[best],
    }


# %%
# One seed
# --------


def measure(seed):
    """Return a record for labels x pool x radius, and the hypotheses that the picture shows."""
    X, y, rows = split_digits(seed)
    X_test, y_test = X[rows["test"]], y[rows["test"]]
    records, shown = [], None
    for labels, labelled in rows["labels"].items():
        classifier = MCDropoutClassifier.paper(
            samples_per_epoch=2048, patience=10, classes=range(10), random_state=seed
        ).fit(X[labelled], y[labelled])
        hypotheses = draw_hypotheses(classifier, N_HYPOTHESES, random_state=seed)
        test_votes = votes(hypotheses.predict_proba_samples(X_test)).numpy()
        accuracy, f1 = quality(test_votes, y_test)  # (S,), (S,)
        fit = {"one hypothesis": accuracy.mean(), "their mean": classifier.score(X_test, y_test)}
        error = classifier.validation_error_
        for pool, unlabelled in rows["pools"].items():
            pool_votes = votes(hypotheses.predict_proba_samples(X[unlabelled]))  # (S, N)
            distances = distance_matrix(pool_votes)  # (S, S)
            apart = distances[np.triu_indices(N_HYPOTHESES, 1)]
            radii = {"error / 4": annealed_tau(error), "error": annealed_tau(error, 1.0)}
            radii |= {f"q {share}": np.quantile(apart, share) for share in QUANTILES}
            for radius, tau in radii.items():
                cells = farthest_first_cells(pool_votes, tau, random_state=seed)[0].numpy()
                case = {"labels": labels, "pool": pool, "radius": radius, "seed": seed, "tau": tau}
                near = (distances <= tau).mean(1)  # (S,)
                records.append(case | summary(cells, near, accuracy, f1) | fit)
                if (labels, pool, radius) == SHOWN:
                    shown = distances, cells, accuracy, f1
    return records, shown


# %%
# Tables and picture
# ------------------


def formatted(values):
    """Return mean and standard deviation over seeds, or a dash where most seeds have no value."""
    if values.notna().mean() <= 0.5:
        return "-"
    return f"{values.mean():.2f} ± {values.std():.2f}"


def print_tables(results):
    """Print mean and spread over the seeds, then the contrast between the sets of labels."""
    n_seeds = results["seed"].nunique()
    grouped = results.groupby(["labels", "pool", "radius"], sort=False)
    print(f"Spearman's rank correlations, mean ± standard deviation over {n_seeds} seeds")
    columns = ["mass, accuracy", "mass, F1", "without small", "ball, accuracy"]
    table = grouped[["tau", "classes"]].mean().round({"tau": 3, "classes": 1})
    print(table.join(grouped[columns].agg(formatted)).to_string())

    print("\nAccuracy on the balanced test set, and masses: means over the seeds")
    columns = ["largest class", "its mass", "best class", "mass of best"]
    columns += ["one hypothesis", "their mean"]
    print(grouped[columns].mean().round(3).to_string())

    print("\nCorrelation of mass and accuracy, balanced labels minus imbalanced labels, same seed")
    cases = results.set_index(["pool", "radius", "seed"])
    column = "mass, accuracy"
    difference = cases.loc[cases["labels"] == "balanced", column].sub(
        cases.loc[cases["labels"] == "imbalanced", column]
    )
    grouped = difference.groupby(["pool", "radius"], sort=False)
    higher = grouped.agg(lambda values: f"{(values > 0).sum()} of {values.notna().sum()}")
    table = pd.DataFrame({"difference": grouped.agg(formatted), "seeds with > 0": higher})
    print(table[table["difference"] != "-"].to_string())


def plot(results, shown, form, path):
    """Draw the hypotheses, their classes, and the correlations of all seeds."""
    distances, cells, accuracy, f1 = shown
    figure, panels = plt.subplots(2, 2, figsize=(9.5, 9), layout="constrained")
    embedding = TSNE(metric="precomputed", init="random", random_state=0).fit_transform(distances)
    by_size = np.argsort(-np.bincount(cells), kind="stable")

    panel = panels[0, 0]
    rest = ~np.isin(cells, by_size[:N_COLOURED])
    panel.scatter(*embedding[rest].T, s=14, color="lightgrey", label="smaller classes")
    for cell in by_size[:N_COLOURED]:
        label = f"{(cells == cell).mean():.1%}, {accuracy[cells == cell].mean():.2f}"
        panel.scatter(*embedding[cells == cell].T, s=18, label=label)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": 3, "frameon": False}
    panel.legend(title="mass, accuracy of the class", columnspacing=1, handletextpad=0, **below)
    panel.set(title=f"equivalence classes: {len(by_size)}", xticks=[], yticks=[])

    panel = panels[0, 1]
    points = panel.scatter(*embedding.T, s=18, c=accuracy, cmap="viridis")
    figure.colorbar(points, ax=panel, label="accuracy on balanced test digits")
    panel.set(title="the same hypotheses, by accuracy", xticks=[], yticks=[])

    panel = panels[1, 0]
    mass = np.bincount(cells) / len(cells)
    for name, values, marker in (("accuracy", accuracy, "o"), ("macro-F1", f1, "x")):
        mean = over_classes(cells, values)
        label = f"{name}: rank correlation {rank_correlation(mass, mean):.2f}"
        panel.scatter(mean, mass, marker=marker, alpha=0.7, label=label)
    panel.legend(loc="upper left")
    panel.set(title="classes of this seed", xlabel="mean over the class", ylabel="mass")
    panel.set_ylim(0, 1.35 * mass.max())  # room for the legend

    panel = panels[1, 1]
    cases = results[(results["pool"] == SHOWN[1]) & (results["radius"] != "error / 4")]
    radii = list(cases["radius"].unique())
    for shift, (labels, colour) in zip((-0.1, 0.1), COLOURS.items(), strict=True):
        rows = cases[cases["labels"] == labels]
        x = rows["radius"].map(radii.index) + shift
        panel.scatter(x, rows["mass, accuracy"], s=14, alpha=0.5, color=colour)
        means = rows.groupby("radius", sort=False)["mass, accuracy"].mean()
        x = np.arange(len(means)) + shift
        panel.plot(x, means, "_", markersize=16, color=colour, label=labels)
    panel.axhline(0, color="grey", linewidth=0.8)
    panel.set_xticks(range(len(radii)), radii)
    panel.legend(title="labels", loc="upper left", ncols=2)
    panel.set_ylim(top=1.3)  # room for the legend
    panel.set(
        title=f"{form} (bar: mean)",
        xlabel="radius: validation error, or quantile of the distances",
        ylabel="rank correlation of mass and accuracy",
    )
    figure.suptitle(
        f"{N_HYPOTHESES} hypotheses of a network trained on {N_LABELS} imbalanced digits; "
        "radius: lower quartile of the distances"
    )
    if path:
        figure.savefig(path, dpi=120)
    else:
        plt.show()


def main():
    """Measure all seeds, print the tables and save the picture of the first seed."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", help="save the picture here")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    options = parser.parse_args()
    n_seeds = 2 if options.quick else options.seeds

    measured = [measure(seed) for seed in tqdm(range(n_seeds), unit="seed")]
    results = pd.DataFrame([record for records, _ in measured for record in records])
    print_tables(results)
    form = f"quick form: {n_seeds} seeds" if options.quick else f"all {n_seeds} seeds"
    plot(results, measured[0][1], form, options.output)


# %%
# Run
# ---
# On the site, the tables and the picture are those of the quick form (``--quick``): two seeds. The
# numbers under "What was found" are those of the full form. The first three panels are of the first
# seed, the same in both.

if __name__ == "__main__":
    main()
