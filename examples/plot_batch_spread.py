"""
Where the batches of five strategies lie
========================================

One network, trained on 40 imbalanced digits, and one pool. Random selection, margin, BALD,
BatchBALD and Batch-BALanCe each choose 20 points, and a t-SNE plane of the pool shows where these
lie.

Every digit of the pool is in it three times, with a little noise: as near-duplicates often are in
real pools, and as in the experiment with which BatchBALD was introduced. A strategy that scores
each point alone, such as margin or BALD, likes all three copies alike.

    python examples/plot_batch_spread.py --output batch_spread.png
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE

from modal_balance import (
    MCDropoutClassifier,
    balance_query,
    bald_query,
    batchbald_query,
    margin_query,
    random_query,
)

parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
parser.add_argument("--quick", action="store_true", help="a smaller pool")
parser.add_argument("--output", help="save the picture here")
options = parser.parse_args()

N_LABELS, N_INSTANCES, N_COPIES, SHARE_KEPT = 40, 20, 3, 0.08
N_DIGITS = 200 if options.quick else 500

# %%
# Data and network
# ----------------
# Of the digits 5 to 9, 8 % are kept. The pool holds each of its digits three times.

X, y = load_digits(return_X_y=True)
random = np.random.RandomState(0)
kept = random.permutation(np.flatnonzero((y < 5) | (random.random_sample(len(y)) < SHARE_KEPT)))
labelled, rows = kept[:N_LABELS], kept[N_LABELS : N_LABELS + N_DIGITS]
original = np.tile(rows, N_COPIES)  # which digit each row of the pool is a copy of
X_pool = X[original] + random.normal(scale=0.5, size=(len(original), X.shape[1]))
y_pool = y[original]
classifier = MCDropoutClassifier(classes=range(10), random_state=0).fit(X[labelled], y[labelled])
plane = TSNE(random_state=0).fit_transform(X_pool)

# %%
# Batches
# -------

strategies = {
    "random": random_query,
    "margin": margin_query,
    "BALD": bald_query,
    "BatchBALD": batchbald_query,
    "Batch-BALanCe": balance_query,
}
batches = {
    name: strategy(classifier, X_pool, n_instances=N_INSTANCES, random_state=0)[0]
    for name, strategy in strategies.items()
}


def nearest(batch):
    """Return the mean distance of a batch's points to the nearest other one, in grey levels."""
    distances = np.linalg.norm(X_pool[batch][:, None] - X_pool[batch], axis=-1)
    return np.sort(distances, axis=1)[:, 1].mean()


table = pd.DataFrame(
    {
        "different digits": {name: len(set(original[batch])) for name, batch in batches.items()},
        "classes": {name: len(set(y_pool[batch])) for name, batch in batches.items()},
        "of rare classes": {name: (y_pool[batch] > 4).sum() for name, batch in batches.items()},
        "distance to nearest": {name: nearest(batch) for name, batch in batches.items()},
    }
)
print(f"{N_INSTANCES} points from {len(X_pool)}")
print(table.round(1).to_string())

# %%
# The picture
# -----------
# Grey: the pool. Coloured: the batch, by its true class. A thick ring: a copy of a digit that is in
# the batch already.

figure, panels = plt.subplots(2, 3, figsize=(12, 8), layout="constrained")
for panel, (name, batch) in zip(panels.flat, batches.items(), strict=False):
    panel.scatter(*plane.T, s=5, color="lightgrey")
    first = np.isin(np.arange(len(batch)), np.unique(original[batch], return_index=True)[1])
    for again, width in ((False, 0.5), (True, 2.5)):
        shown = batch[first != again]
        panel.scatter(
            *plane[shown].T,
            s=70,
            c=y_pool[shown],
            cmap="tab10",
            vmin=0,
            vmax=9,
            edgecolors="black",
            linewidths=width,
        )
    panel.set(xticks=[], yticks=[])
    panel.set_title(f"{name}: {len(set(original[batch]))} different digits")
legend = panels.flat[-1]
for digit in range(10):
    note = "" if digit < 5 else " (rare)"
    legend.scatter([], [], color=f"C{digit}", s=70, edgecolors="black", label=f"{digit}{note}")
legend.legend(title="true class", loc="center", ncols=2)
legend.set_axis_off()
if options.output:
    figure.savefig(options.output, dpi=110)
else:
    plt.show()
