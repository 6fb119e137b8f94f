"""
Images and a small CNN
======================

``MCDropoutClassifier`` can train a convolutional network. This example queries digits as images of
shape (N, 1, 8, 8) with a small CNN that has Dropout2d. ``module`` is the class of the network: it
takes the number of channels and the number of classes, and the network returns logits. Dropout2d
drops whole channels, and a hypothesis is the network under one fixed set of dropped channels. The
example prints the accuracy on test images for ``balance_margin_query`` and random selection, and
shows the first batch.

What was found (4 seeds, accuracy as mean ± standard deviation): ``balance_margin_query`` is ahead
of random selection from 40 labels on.

* 30 labels: 0.827 ± 0.086 against 0.807 ± 0.080
* 40 labels: 0.882 ± 0.034 against 0.797 ± 0.083
* 60 labels: 0.932 ± 0.027 against 0.884 ± 0.007
* 80 labels: 0.962 ± 0.012 against 0.924 ± 0.017

.. code-block:: text

    python examples/plot_images.py              three minutes
    python examples/plot_images.py --quick      one seed and one round
"""

from __future__ import annotations

import argparse
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from tqdm import tqdm

from modal_balance import MCDropoutClassifier, balance_margin_query, random_query

STRATEGIES = {"balance_margin": partial(balance_margin_query, n_samples=40), "random": random_query}


# %%
# The network
# -----------


class SmallCNN(nn.Module):
    """Two convolutions, dropout of channels, a hidden layer with dropout."""

    def __init__(self, n_channels: int, n_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.25),
            nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(64, n_classes),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n, n_classes) of images (n, n_channels, 8, 8)."""
        return self.layers(images)


# %%
# The loop
# --------


def run(strategy, seed, n_rounds):
    """Run one loop; return the accuracies, and the first batch as (images, labels)."""
    X, y = load_digits(return_X_y=True)
    images = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    pool, test, y_pool, y_test = train_test_split(
        images, y, test_size=0.4, stratify=y, random_state=seed
    )
    labelled = np.random.RandomState(seed).permutation(len(pool))[:20].tolist()
    test, y_test = test[:300], y_test[:300]
    classifier = MCDropoutClassifier(module=SmallCNN, classes=range(10), random_state=seed)
    accuracies, first = [], None
    for round_ in range(n_rounds + 1):
        classifier.fit(pool[labelled], y_pool[labelled])
        accuracies.append(classifier.score(test, y_test))
        if round_ < n_rounds:
            left = np.setdiff1d(np.arange(len(pool)), labelled)
            indices, _ = strategy(classifier, pool[left], n_instances=10, random_state=seed)
            labelled += left[indices].tolist()
            if first is None:
                first = pool[left[indices], 0], y_pool[left[indices]]
    return accuracies, first


# %%
# Table and picture
# -----------------


def mean_and_spread(values):
    """Return mean ± standard deviation over the seeds, and of a single seed the value alone."""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def main():
    """Compare two strategies, print a table, and draw the first batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", help="save the picture here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    n_seeds, n_rounds = (1, 1) if options.quick else (4, 6)

    curves, batches = {}, {}
    for name, strategy in tqdm(STRATEGIES.items()):
        runs = [run(strategy, seed, n_rounds) for seed in range(n_seeds)]
        curves[name] = np.array([accuracies for accuracies, _ in runs])
        batches[name] = runs[0][1]
    table = {
        name: [mean_and_spread(values) for values in of_seeds.T]
        for name, of_seeds in curves.items()
    }
    labels = pd.Index(range(20, 21 + 10 * n_rounds, 10), name="labels")
    print(pd.DataFrame(table, index=labels).to_string())

    figure, rows = plt.subplots(2, 10, figsize=(10, 2.8), layout="constrained")
    for row, (name, (images, classes)) in zip(rows, batches.items(), strict=True):
        row[0].set_title(f"{name}:", loc="left", fontsize=9)
        for panel, image, label in zip(row, images, classes, strict=True):
            panel.imshow(image, cmap="gray_r")
            panel.set(xticks=[], yticks=[], xlabel=label)
    figure.suptitle("The first ten images asked for, with their labels (first seed)")
    if options.output:
        figure.savefig(options.output, dpi=100)
    else:
        plt.show()


# %%
# Run
# ---
# On the site, the table is that of the quick form (``--quick``): one seed, 30 labels. The numbers
# under "What was found" are those of the full form. The picture is the same in both.

if __name__ == "__main__":
    main()
