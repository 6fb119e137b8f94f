"""
Edges cut, pick by pick
=======================

A network with dropout is trained on 60 imbalanced digits. 100 hypotheses are drawn and compared in
pairs, and a batch of 12 is chosen. How much of each edge is left after every pick?

A pick cuts an edge as far as its label will tell the two hypotheses apart. A few picks leave next
to nothing. What then? With ``rest="clusters"``, the default of ``balance_query``, the other points,
as soon as less than 0.3 of the weight is left, are of small margins, one of each cluster of points
that the hypotheses answer alike. With ``rest="cover"`` the full weight is put back when a
ten-thousandth is left, and the same edges are covered a second time.
Following the objective to the end, as the paper has it, means to go on with what is left, however
little: label configurations that hardly ever occur.

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
    balance_batch,
    disjoint_pairs,
    draw_hypotheses,
    edges_beyond,
)
from modal_balance.acquisition.cover_then_rest import iter_cover_then_rest
from modal_balance.equivalence import votes

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="it is quick anyway")
parser.add_argument("--output", help="save the picture here")
options = parser.parse_args()

N_LABELS, N_HYPOTHESES, N_PICKS, SHARE_KEPT = 60, 100, 12, 0.08
WHOLE, SHORT = 1e-4, 0.3  # what a cover leaves: rest="cover", rest="clusters"

# %%
# Hypotheses and edges
# --------------------

X, y = load_digits(return_X_y=True)
random = np.random.RandomState(0)
kept = random.permutation(np.flatnonzero((y < 5) | (random.random_sample(len(y)) < SHARE_KEPT)))
labelled, pool = kept[:N_LABELS], kept[N_LABELS:]
classifier = MCDropoutClassifier(classes=range(10), random_state=0).fit(X[labelled], y[labelled])
proba = draw_hypotheses(classifier, N_HYPOTHESES, random_state=0).predict_proba_samples(X[pool])
tau = annealed_tau(classifier.validation_error_)
edges, weights = edges_beyond(votes(proba), disjoint_pairs(N_HYPOTHESES), tau)
print(f"tau = {tau:.3f}; {len(edges)} of {N_HYPOTHESES // 2} pairs are edges")

# %%
# What is left of each edge
# -------------------------
# W[j, e], the product over the picks of G[j, e], begins with 1 for every hypothesis j and edge e.
# When the mean falls under the tolerance, a cover is complete; a further one begins with 1 again.


def weight_left(picks, tolerance):
    """Return the share of each edge that is left after every pick, (picks, edges)."""
    ratio = (proba / proba.amax(-1, keepdim=True)).double()  # lambda, (S, N, C)
    left, rows = torch.ones(N_HYPOTHESES, len(edges), dtype=torch.float64), []
    for x in picks:
        if left.mean() <= tolerance:
            left = torch.ones_like(left)
        both = ratio[edges[:, 0], x] * ratio[edges[:, 1], x]  # (E, C)
        left = left * (proba[:, x].double() @ both.T)  # G, (S, E)
        rows.append(left.mean(0).numpy())
    return np.array(rows)


to_the_end, _ = balance_batch(proba, edges, weights, N_PICKS, cover_tolerance=0, random_state=0)
covers, _ = balance_batch(proba, edges, weights, N_PICKS, cover_tolerance=WHOLE, random_state=0)
left_to_the_end = weight_left(to_the_end, 0)
left_in_covers = weight_left(covers, WHOLE)

# ``rest="clusters"``: the first cover, and then small margins that are unlike each other.
picks = iter_cover_then_rest(proba, edges, weights, N_PICKS, random_state=0)
left_with_clusters = weight_left([index for index, _ in picks], 0)


def n_covering(left, tolerance):
    """Return how many picks the first cover takes."""
    return int((left.mean(1) <= tolerance).argmax()) + 1


print(f"picks until {WHOLE:g} is left: {n_covering(left_to_the_end, WHOLE)}")
print(f"picks until {SHORT:g} is left: {n_covering(left_with_clusters, SHORT)}")

# %%
# The picture
# -----------
# A row of the upper panels is an edge, a column a pick; dark is what is left. Below, the mean over
# the edges on a logarithmic scale, and where a cover ends (dashed): at a ten-thousandth of the
# weight on the left and in the middle, at 0.3 on the right. To the end, the objective goes on about
# weights far under that. Small margins cut edges as well, though they are not chosen for it.

figure, panels = plt.subplots(
    2, 3, figsize=(10, 6), height_ratios=(3, 2), sharex=True, sharey="row", layout="constrained"
)
kinds = {
    "the objective to the end": (left_to_the_end, WHOLE),
    "rest='cover'": (left_in_covers, WHOLE),
    "rest='clusters' (the default)": (left_with_clusters, SHORT),
}
steps = np.arange(1, N_PICKS + 1)
for (above, below), (title, (left, tolerance)) in zip(panels.T, kinds.items(), strict=True):
    image = above.imshow(
        left.T,
        cmap="Greys",
        vmin=0,
        vmax=0.5,
        aspect="auto",
        interpolation="nearest",
        extent=(0.5, N_PICKS + 0.5, len(edges), 0),
    )
    above.set_title(title)
    means = left.mean(1)
    below.plot(steps, means, color="grey", linewidth=1)
    first = steps <= n_covering(left, tolerance)
    below.scatter(steps[first], means[first], color="tab:blue", label="first cover")
    below.scatter(steps[~first], means[~first], color="tab:orange", label="rest of the batch")
    below.axhline(tolerance, color="black", linewidth=0.8, linestyle="--")
    below.set(yscale="log", xlabel="pick")
panels[0, 0].set_ylabel("edge")
panels[1, 0].set_ylabel("mean weight left")
panels[1, 0].legend(fontsize="small")
figure.colorbar(image, ax=panels[0], label="weight left", extend="max")
if options.output:
    figure.savefig(options.output, dpi=110)
else:
    plt.show()
