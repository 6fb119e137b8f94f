"""Run pools with 0 to 3 noisy copies of each row, as in Table 2 of the paper (resumable).

The data are the digits (700 different rows in the pool) and MNIST (2,500, so 10,000 with 3 copies),
as rows of pixels. The network is the paper's MLP; the paper's convolutional network for MNIST would
need a GPU. From 20 labels to 130, in batches of 10. "Batch-BALanCe" in the results restarts with
the full weights when less than 1e-4 is left uncut; "to the end" maximises the objective for the
whole batch, as in the paper, in closed form; "paper's estimator" does so with 10,000 samples.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from paper_estimator import paper_estimator_query

import modal_balance as mb
from modal_balance.simulation import simulate
from modal_balance.simulation.datasets import load_dataset, repeated

DRAWN: dict[str, Any] = {"n_samples": 40}
STRATEGIES: dict[str, Any] = {
    "random": mb.random_query,
    "margin": partial(mb.margin_query, **DRAWN),
    "BALD": partial(mb.bald_query, **DRAWN),
    "BatchBALD": partial(mb.batchbald_query, max_configurations=300, **DRAWN),
    "PowerBALD": partial(mb.power_bald_query, **DRAWN),
    "BADGE": mb.badge_query,
    # Names in the results file; appendix.py translates them to today's.
    "Batch-BALanCe, to the end": partial(mb.balance_query, **DRAWN),
    "paper's estimator": partial(paper_estimator_query, **DRAWN),
    "default of balance_query": partial(mb.balance_margin_query, **DRAWN),
}
SIZES = {"digits": (700, 400, 697), "mnist": (2500, 1000, 2000)}  # pool, validation, test


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=["digits"])
    parser.add_argument("--repeats", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.datasets:
            data = load_dataset(name, args.data_dir)
            rows = np.random.RandomState(seed).permutation(len(data.X))
            pool, validation, test = np.split(rows, np.cumsum(SIZES[name]))[:3]
            mean, deviation = data.X[pool].mean(), data.X[pool].std()
            X = (data.X - mean) / deviation
            for n_repeats in args.repeats:
                X_pool, y_pool = repeated(X[pool], data.y[pool], n_repeats, random_state=seed)
                simulate(
                    mb.MCDropoutClassifier.paper(learning_rate=0.01, n_samples=40),
                    X_pool,
                    y_pool,
                    STRATEGIES,
                    X_test=X[test],
                    y_test=data.y[test],
                    X_val=X[validation],
                    y_val=data.y[validation],
                    n_initial=20,
                    initial_per_class=False,
                    n_instances=10,
                    budget=130,
                    seeds=[seed],
                    dataset=f"{name}, repeated {n_repeats}",
                    estimator_name="paper",
                    results=args.results,
                )


if __name__ == "__main__":
    main()
