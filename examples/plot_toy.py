"""
Ten hypotheses, their classes, and the points that tell them apart
==================================================================

This example draws all steps of Batch-BALanCe in two dimensions. There are eight labels, and ten
straight lines that fit all of them: the members of a bootstrap committee.

The pool has four groups. All lines agree on the groups on the left and on the right, so their
labels would tell nothing. The lines disagree on the small groups above and below.

As a script with ``--output toy.png``, it saves the first picture.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from sklearn.linear_model import LogisticRegression

from modal_balance import BootstrapCommittee, balance_batch, balance_scores, edges_beyond
from modal_balance.equivalence import (
    all_pairs,
    farthest_first_cells,
    hamming_distances,
    votes,
)

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="no effect: always quick")
parser.add_argument("--output", help="save the first picture here")
options = parser.parse_args()

N_HYPOTHESES, TAU, N_PICKS = 10, 0.1, 3
SIDES = np.array(["tab:blue", "tab:red"])  # the two labels
NAMES, CLASSES = ["green", "orange", "purple"], np.array(["#1b7837", "#e08214", "#762a83"])

# %%
# Data and hypotheses
# -------------------
# A hypothesis is a function that gives every point class probabilities. Here it is a logistic
# regression on a resample of the eight labels. In practice it is usually a network under one fixed
# set of dropout masks.

random = np.random.default_rng(0)
groups = [((-2.3, 0), 0.45, 35), ((2.3, 0), 0.45, 35), ((0, 2.1), 0.3, 30), ((0, -2.1), 0.3, 20)]
X_pool = np.vstack([random.normal(centre, spread, (n, 2)) for centre, spread, n in groups])
X_left, X_right = (
    [(-1.7, 0.9), (-1.9, -0.5), (-1.3, -1.0), (-1.2, 0.4)],
    [(1.5, 0.8), (1.8, -0.9), (1.2, 0.2), (1.3, -0.8)],
)
X, y = np.array(X_left + X_right), np.repeat([0, 1], 4)

committee = BootstrapCommittee(
    LogisticRegression(C=30), n_members=N_HYPOTHESES, random_state=5
).fit(X, y)
proba = committee.predict_proba_samples(X_pool)  # (hypotheses, points, labels)

# %%
# Distances, classes, edges
# -------------------------
# The distance of two hypotheses is the share of the pool on which they predict different labels
# (Eq. 2). Two hypotheses within ``tau`` of each other are equivalent, and every pair further apart
# is an edge. The objective needs only the edges. The classes give the lines their colours.

pool_votes = votes(proba)
pairs = all_pairs(N_HYPOTHESES)
edges, weights = edges_beyond(pool_votes, pairs, TAU)
cells = farthest_first_cells(pool_votes, TAU, random_state=0)[0].numpy()
order = np.argsort(cells, kind="stable")  # hypotheses, class by class
distances = np.zeros((N_HYPOTHESES, N_HYPOTHESES))
distances[tuple(pairs.T)] = hamming_distances(pool_votes, pairs)
distances += distances.T
print(f"{len(edges)} of {len(pairs)} pairs are edges, in {cells.max() + 1} classes")

# %%
# The batch
# ---------
# ``balance_batch`` picks greedily. The share of an edge that is left after some picks is the mean,
# over all hypotheses j, of the product of G over these picks: the closed form of the paper's
# objective.

indices, gains = balance_batch(proba, edges, weights, n_instances=N_PICKS, random_state=0)


def weight_left(picks):
    """Return which share of each edge is left after some picks, (edges,)."""
    ratio = proba / proba.amax(-1, keepdim=True)  # lambda, (S, N, C)
    left = torch.ones(N_HYPOTHESES, len(edges), dtype=proba.dtype)
    for x in picks:
        both = ratio[edges[:, 0], x] * ratio[edges[:, 1], x]  # (E, C)
        left *= proba[:, x] @ both.T  # G, (S, E)
    return left.mean(0).numpy()


remaining = [weight_left(indices[:n]) for n in range(N_PICKS + 1)]
shares = [f"{left.mean():.0%}" for left in remaining]
print("edge weight left after each pick:", ", ".join(shares))
for one, other in all_pairs(cells.max() + 1).tolist():
    between = np.all(np.sort(cells[edges], axis=1) == (one, other), axis=1)
    left = ", ".join(f"{left[between].mean():.0%}" for left in remaining)
    print(f"  between {NAMES[one]} and {NAMES[other]} lines:", left)

# %%
# Pictures
# --------


def draw_pool(panel, colours="lightgrey", **options):
    """Draw the labels and the pool."""
    panel.scatter(*X.T, c=SIDES[y], s=55, edgecolors="black", zorder=3)
    drawn = panel.scatter(*X_pool.T, c=colours, s=14, zorder=2, **options)
    panel.set(xticks=[], yticks=[], xlim=(-3.6, 3.6), ylim=(-3.2, 3.2))
    return drawn


def draw_boundaries(panel):
    """Draw the line of each hypothesis in the colour of its class."""
    for member, cell in zip(committee.estimators_, cells, strict=True):
        (a, b), c = member.coef_[0], member.intercept_[0]
        height = np.array([-3.2, 3.2])
        panel.plot(-(b * height + c) / a, height, color=CLASSES[cell], linewidth=1.3, zorder=1)


def draw_distances(panel):
    """Draw the distances, and a frame around each that is an edge."""
    image = panel.imshow(distances[np.ix_(order, order)], cmap="Blues", vmin=0)
    for row, column in np.argwhere(distances[np.ix_(order, order)] > TAU):
        frame = (column - 0.5, row - 0.5), 1, 1
        panel.add_patch(plt.Rectangle(*frame, fill=False, edgecolor="black", linewidth=0.8))
    panel.set_xticks(range(N_HYPOTHESES), ["●"] * N_HYPOTHESES)
    panel.set_yticks(range(N_HYPOTHESES), ["●"] * N_HYPOTHESES)
    panel.tick_params(length=0)
    for label, hypothesis in zip(panel.get_xticklabels(), order, strict=True):
        label.set_color(CLASSES[cells[hypothesis]])
    for label, hypothesis in zip(panel.get_yticklabels(), order, strict=True):
        label.set_color(CLASSES[cells[hypothesis]])
    panel.figure.colorbar(image, ax=panel, shrink=0.8)


def draw_edges(panel, left):
    """Draw the hypotheses on a circle, and what is left of the edges between them."""
    angles = np.empty(N_HYPOTHESES)
    angles[order] = np.linspace(0, 2 * np.pi, N_HYPOTHESES, endpoint=False)
    places = np.column_stack([np.cos(angles), np.sin(angles)])
    lines = LineCollection(places[edges.numpy()], colors="black", alpha=left, linewidths=1.2)
    panel.add_collection(lines)
    panel.scatter(*places.T, c=CLASSES[cells], s=90, zorder=2)
    panel.set(xticks=[], yticks=[], xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
    panel.set_frame_on(False)


def draw_pick(panel, n):
    """Draw what each point would gain after n picks, and the picks up to the next."""
    scores = balance_scores(proba, edges, weights, pending=proba[:, indices[:n]])
    draw_pool(panel, scores, cmap="Greys", vmin=-0.25 * scores.max())
    for number, x in enumerate(indices[: n + 1].tolist(), 1):
        panel.scatter(*X_pool[x], marker="*", s=330, color="gold", edgecolors="black", zorder=4)
        panel.annotate(
            str(number),
            X_pool[x],
            (12, 2),
            textcoords="offset points",
            zorder=5,
            weight="bold",
            path_effects=[withStroke(linewidth=4, foreground="white")],
        )


figure, panels = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
draw_pool(panels[0])
draw_boundaries(panels[0])
panels[0].set_title(f"ten hypotheses\nin {cells.max() + 1} classes")
draw_distances(panels[1])
panels[1].set_title(f"their distances;\nframed: edges (above {TAU})")
draw_pick(panels[2], 0)
panels[2].set_title("what each point would cut,\nand the pick")
draw_edges(panels[3], remaining[1])
panels[3].set_title(f"edge weight left\nafter it: {shares[1]}")
if options.output:
    figure.savefig(options.output, dpi=150)

# %%
# The first pick cuts most of the edges between green and orange lines. It lies on the purple lines,
# which are uncertain about its label. So more is left of the edges to purple lines, most of all of
# those between orange and purple. The second pick lies on the other side of the purple lines,
# the third in the other group. The points on the left and on the right never have anything to cut.

figure, rows = plt.subplots(2, N_PICKS, figsize=(9, 6), layout="constrained")
for n, (above, below) in enumerate(rows.T):
    draw_pick(above, n)
    draw_boundaries(above)
    above.set_title(f"pick {n + 1}: gain {gains[n]:.2f}")
    draw_edges(below, remaining[n + 1])
    below.set_title(f"edge weight left: {shares[n + 1]}")
if not options.output:
    plt.show()
