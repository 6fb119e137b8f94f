"""
Where the batches of five strategies lie
========================================

Five strategies choose 20 points each, from the same pool and with the same network, which was
trained on 40 imbalanced digits: random selection, margin, BALD, BatchBALD and
``balance_margin_query``. A t-SNE plane of the pool shows where the points lie.

What was found (10 seeds):

* **Classes.** ``balance_margin_query`` asks for 9.0 of the 10 classes, margin for 8.4, BatchBALD
  for 7.6, random selection for 5.9 and BALD for 5.6.
* **Rare digits.** Of the 20 points, 8 are rare digits with margin, 7 with
  ``balance_margin_query``, 5 with BatchBALD, 3 with BALD and 1 with random selection.
* **Distances.** The nearest other point of the batch is 33 grey levels away with
  ``balance_margin_query``, 31 with margin, 25 with BALD and 29 with random selection.
* **Duplicates.** If the pool has every digit three times, with a little noise, the 20 points are 20
  different digits with ``balance_margin_query``, 18 with margin, 16 with BatchBALD and 13 with
  BALD.

.. code-block:: text

    python examples/plot_batch_spread.py                 ten seeds; half a minute
    python examples/plot_batch_spread.py --copies 3      each digit of the pool three times
    python examples/plot_batch_spread.py --quick         one seed
"""

import argparse
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE

from modal_balance import (
    MCDropoutClassifier,
    balance_margin_query,
    bald_query,
    batchbald_query,
    margin_query,
    random_query,
)

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--copies", type=int, default=1, help="of each digit in the pool, with noise")
parser.add_argument("--quick", action="store_true", help="one seed")
parser.add_argument("--output", help="save the picture here")
options = parser.parse_args()

N_SEEDS = 1 if options.quick else 10
N_LABELS, N_DIGITS, N_INSTANCES, SHARE_KEPT = 40, 600, 20, 0.08
STRATEGIES = {
    "random": random_query,
    "margin": margin_query,
    "BALD": bald_query,
    "BatchBALD": partial(batchbald_query, n_samples=40, max_configurations=500),
    "balance_margin": balance_margin_query,
}

# %%
# Data, network and batches
# -------------------------
# Of the digits 5 to 9, 8 % are kept. All strategies are called with the same network and the same
# pool.
#
# On the site, the table is that of the quick form (``--quick``): one seed. The numbers under "What
# was found" are those of the full form.


def choose(seed):
    """Return the pool X, y, the digit that each row is a copy of, and the batches by name."""
    X, y = load_digits(return_X_y=True)
    random = np.random.RandomState(seed)
    kept = random.permutation(np.flatnonzero((y < 5) | (random.random_sample(len(y)) < SHARE_KEPT)))
    labelled, unlabelled = kept[:N_LABELS], kept[N_LABELS : N_LABELS + N_DIGITS]
    original = np.tile(unlabelled, options.copies)
    X_pool = X[original]
    if options.copies > 1:
        X_pool = X_pool + random.normal(scale=0.5, size=X_pool.shape)
    network = MCDropoutClassifier(classes=range(10), random_state=seed)
    network.fit(X[labelled], y[labelled])
    batches = {
        name: strategy(network, X_pool, n_instances=N_INSTANCES, random_state=seed)[0]
        for name, strategy in STRATEGIES.items()
    }
    return X_pool, y[original], original, batches


def describe(X_pool, y_pool, original, batches):
    """Return a table with a row for each batch."""
    rows = {}
    for name, batch in batches.items():
        distances = np.linalg.norm(X_pool[batch][:, None] - X_pool[batch], axis=-1)
        rows[name] = {
            "different digits": len(set(original[batch])),
            "classes": len(set(y_pool[batch])),
            "of rare classes": (y_pool[batch] > 4).sum(),
            "distance to nearest": np.sort(distances, axis=1)[:, 1].mean(),
        }
    return pd.DataFrame(rows).T


chosen = [choose(seed) for seed in range(N_SEEDS)]
tables = pd.concat([describe(*each) for each in chosen])
form = "quick form: 1 seed" if options.quick else f"means over {N_SEEDS} seeds"
print(f"{N_INSTANCES} points from {len(chosen[0][0])} ({form})")
print(tables.groupby(level=0, sort=False).mean().round(1).to_string())

# %%
# The picture
# -----------
# The batches of the first seed, in the quick form and the full form alike. Grey: the pool.
# Coloured: the batch, by its true class; the digits 5 to 9 are the rare ones.

X_pool, y_pool, _, batches = chosen[0]
plane = TSNE(random_state=0).fit_transform(X_pool)
figure, panels = plt.subplots(2, 3, figsize=(11, 7.5), layout="constrained")
for panel, (name, batch) in zip(panels.flat, batches.items(), strict=False):
    panel.scatter(*plane.T, s=5, color="lightgrey")
    style = {"cmap": "tab10", "vmin": 0, "vmax": 9, "edgecolors": "black", "linewidths": 0.7}
    panel.scatter(*plane[batch].T, s=75, c=y_pool[batch], **style)
    panel.set(xticks=[], yticks=[])
    panel.set_title(f"{name}: {len(set(y_pool[batch]))} classes")
legend = panels.flat[-1]
for digit in range(10):
    label = f"{digit}" if digit < 5 else f"{digit} (rare)"
    legend.scatter([], [], color=f"C{digit}", s=75, edgecolors="black", label=label)
legend.legend(title="true class", loc="center", ncols=2)
legend.set_axis_off()
figure.suptitle(f"{N_INSTANCES} points from {len(X_pool)} (first seed)")
if options.output:
    figure.savefig(options.output, dpi=110)
else:
    plt.show()
