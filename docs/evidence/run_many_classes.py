"""Run EMNIST ByMerge, 47 classes, starting without labels, with K = 10 and B = 5 (resumable).

The MLP of the paper learns rows of pixels, with 2,000 validation rows, a pool of 3,000 and 2,000
test rows. (The paper uses a convolutional network and 20 validation images of each class.)
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import modal_balance as mb
from modal_balance.simulation import simulate
from modal_balance.simulation.datasets import load_dataset

DRAWN: dict[str, Any] = {"n_samples": 20}
STRATEGIES: dict[str, Any] = {
    "random": mb.random_query,
    "margin": partial(mb.margin_query, **DRAWN),
    "BALD": partial(mb.bald_query, **DRAWN),
    "PowerBALD": partial(mb.power_bald_query, **DRAWN),
    "BADGE": mb.badge_query,
    # Names in the results file; appendix.py translates them to today's.
    "Batch-BALanCe, to the end": partial(mb.balance_query, **DRAWN),
    "PowerBALanCe": partial(mb.power_balance_query, **DRAWN),
    "default of balance_query": partial(mb.balance_margin_query, **DRAWN),
}


def simulate_from_no_labels(
    X: np.ndarray, y: np.ndarray, learning_rate: float, **settings: Any
) -> None:
    """Run the strategies in batches of 5; the untrained network chooses the first batch."""
    simulate(
        mb.MCDropoutClassifier.paper(learning_rate=learning_rate, n_samples=20),
        X,
        y,
        STRATEGIES,
        n_initial=0,
        first_batch=None,  # as in the paper
        n_instances=5,
        pool_size=3000,
        estimator_name="paper",
        **settings,
    )


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    data = load_dataset("emnist_bymerge", args.data_dir)
    assert data.X_test is not None and data.y_test is not None
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        rows = np.random.RandomState(seed).permutation(len(data.X))
        pool, validation = rows[2000:22000], rows[:2000]
        mean, deviation = data.X[pool].mean(), data.X[pool].std()
        simulate_from_no_labels(
            (data.X[pool] - mean) / deviation,
            data.y[pool],
            1e-3,
            X_test=(data.X_test[:2000] - mean) / deviation,
            y_test=data.y_test[:2000],
            X_val=(data.X[validation] - mean) / deviation,
            y_val=data.y[validation],
            budget=150,
            seeds=[seed],
            dataset="EMNIST ByMerge",
            results=args.results,
        )


if __name__ == "__main__":
    main()
