"""
Edges cut, pick by pick
=======================

This example shows how much of each edge is left after every pick of a batch of 12. A network with
dropout is trained on 60 imbalanced digits, and 100 hypotheses are drawn and compared in pairs.

A pick cuts an edge to the extent that its label is expected to tell the two hypotheses apart. A few
picks cut nearly all of the edge weight. ``balance_query`` follows the paper's objective to the end
of the batch, so its last picks depend on combinations of labels that hardly ever occur.
``balance_margin_query`` stops when 70 % of the weight is cut, and fills the batch with low-margin
points, one from each cluster of points with similar predictions.

.. code-block:: text

    python examples/plot_edges_cut.py --output edges_cut.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from modal_balance import (
    MCDropoutClassifier,
    annealed_tau,
    balance_margin_query,
    balance_query,
    disjoint_pairs,
    draw_hypotheses,
    edges_beyond,
)
from modal_balance.equivalence import votes

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="no effect: always quick")
parser.add_argument("--output", help="save the picture here")
options = parser.parse_args()

N_LABELS, N_HYPOTHESES, N_PICKS, SHARE_KEPT = 60, 100, 12, 0.08

# %%
# Hypotheses and edges
# --------------------

X, y = load_digits(return_X_y=True)
random = np.random.RandomState(0)
kept = random.permutation(np.flatnonzero((y < 5) | (random.random_sample(len(y)) < SHARE_KEPT)))
labelled, pool = kept[:N_LABELS], kept[N_LABELS:]
classifier = MCDropoutClassifier(classes=range(10), random_state=0).fit(X[labelled], y[labelled])
hypotheses = draw_hypotheses(classifier, N_HYPOTHESES, random_state=0)
proba = hypotheses.predict_proba_samples(X[pool])
tau = annealed_tau(classifier.validation_error_)
edges, _ = edges_beyond(votes(proba), disjoint_pairs(N_HYPOTHESES), tau)
print(f"tau = {tau:.3f}; {len(edges)} of {N_HYPOTHESES // 2} pairs are edges")

# %%
# What is left of each edge
# -------------------------
# W[j, e] is the product of G[j, e] over the picks. It starts at 1 for every hypothesis j and edge
# e.


def weight_left(picks):
    """Return the share of each edge that is left after every pick, (picks, edges)."""
    ratio = (proba / proba.amax(-1, keepdim=True)).double()  # lambda, (S, N, C)
    left, rows = torch.ones(N_HYPOTHESES, len(edges), dtype=torch.float64), []
    for x in picks:
        both = ratio[edges[:, 0], x] * ratio[edges[:, 1], x]  # (E, C)
        left = left * (proba[:, x].double() @ both.T)  # G, (S, E)
        rows.append(left.mean(0).numpy())
    return np.array(rows)


batches = {}
for strategy in (balance_query, balance_margin_query):
    reports = []
    strategy(hypotheses, X[pool], N_PICKS, tau=tau, random_state=0, callback=reports.append)
    (report,) = reports
    left = weight_left(report.indices)
    batches[strategy.__name__] = left, report.from_objective
    n_cut = int((left.mean(1) <= 1e-4).argmax()) + 1
    print(f"{strategy.__name__}: {report.from_objective.sum()} picks by the objective, ", end="")
    print(f"{left[0].mean():.2f} of the weight left after one, 1e-4 after {n_cut}")

# %%
# The picture
# -----------
# In the upper panels, a row is an edge and a column is a pick; dark cells are uncut edges. The
# lower panels show the mean over the edges on a logarithmic scale. Low-margin points cut edges,
# too, although they are not chosen for that.

figure, panels = plt.subplots(
    2, 2, figsize=(8, 6), height_ratios=(3, 2), sharex=True, sharey="row", layout="constrained"
)
steps = np.arange(1, N_PICKS + 1)
for (above, below), (name, (left, by_objective)) in zip(panels.T, batches.items(), strict=True):
    image = above.imshow(
        left.T,
        cmap="Greys",
        vmin=0,
        vmax=0.5,
        aspect="auto",
        interpolation="nearest",
        extent=(0.5, N_PICKS + 0.5, len(edges), 0),
    )
    above.set_title(name)
    means = left.mean(1)
    below.plot(steps, means, color="grey", linewidth=1)
    below.scatter(steps[by_objective], means[by_objective], color="tab:blue", label="objective")
    below.scatter(
        steps[~by_objective], means[~by_objective], color="tab:orange", label="low margin"
    )
    below.axhline(0.3, color="black", linewidth=0.8, linestyle="--")
    below.set(yscale="log", xlabel="pick")
panels[0, 0].set_ylabel("edge")
panels[1, 0].set_ylabel("mean weight left")
panels[1, 1].legend(fontsize="small")
figure.colorbar(image, ax=panels[0], label="weight left", extend="max")
if options.output:
    figure.savefig(options.output, dpi=110)
else:
    plt.show()
