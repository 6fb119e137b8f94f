"""Run Figure 3 of the paper: tau, number of pairs and pairing, on HAR and the digits (resumable).

In the stored results, edge weights were restored when less than 1e-4 was left, which
`balance_query` no longer does.

The protocol is that of run_figure5.py; the digits are split into 500 pool, 400 validation and 897
test rows.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from distances import distance_quantile
from sklearn.preprocessing import StandardScaler

import modal_balance as mb
from modal_balance.simulation import simulate
from modal_balance.simulation.datasets import load_dataset


def median_distance_query(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None,
) -> Any:  # fmt: skip
    """Query with the median distance between hypotheses as tau."""
    tau = distance_quantile(learner, X_pool, 0.5, n_samples=40, random_state=0)
    return mb.balance_query(
        learner, X_pool, n_instances, tau=tau, n_samples=40,
        random_state=random_state, callback=callback,
    )  # fmt: skip


PAPER = partial(mb.balance_query, n_samples=40)  # K = 20 disjoint pairs, tau = error / 4
STRATEGIES: dict[str, Any] = {
    "margin": partial(mb.margin_query, n_samples=40),
    "random": mb.random_query,
    "error/4, K=20, disjoint": PAPER,
    "error/2": partial(PAPER, anneal=0.5),
    "error/8": partial(PAPER, anneal=0.125),
    "tau=0": partial(PAPER, tau=0.0),
    "tau=0.05": partial(PAPER, tau=0.05),
    "tau=0.15": partial(PAPER, tau=0.15),
    "tau=0.3": partial(PAPER, tau=0.3),
    "tau=median distance": median_distance_query,
    "K=50": partial(PAPER, n_samples=100),
    "K=100": partial(PAPER, n_samples=200),
    "ring": partial(PAPER, pairing="ring"),
    "all pairs": partial(PAPER, pairing="all"),
}


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=["har", "digits"])
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.datasets:
            data = load_dataset(name, args.data_dir)
            rows = np.random.RandomState(seed).permutation(len(data.X))
            n_validation, n_test = (2000, 0) if data.X_test is not None else (400, 897)
            validation, test = rows[:n_validation], rows[n_validation : n_validation + n_test]
            pool = rows[n_validation + n_test :]
            scale = StandardScaler().fit(data.X[pool]).transform
            simulate(
                mb.MCDropoutClassifier.paper(learning_rate=0.01, n_samples=40),
                scale(data.X[pool]),
                data.y[pool],
                STRATEGIES,
                X_test=scale(data.X[test] if data.X_test is None else data.X_test),
                y_test=data.y[test] if data.y_test is None else data.y_test,
                X_val=scale(data.X[validation]),
                y_val=data.y[validation],
                n_initial=20,
                initial_per_class=False,
                n_instances=10,
                budget=150,
                pool_size=3000,
                seeds=[seed],
                dataset=name,
                estimator_name="paper",
                results=args.results,
            )


if __name__ == "__main__":
    main()
