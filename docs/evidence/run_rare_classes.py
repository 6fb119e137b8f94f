"""Run Dry Bean and digits with thinned classes, starting without labels (resumable).

The pool keeps 8 % of the later half of the classes, as in the quickstart; validation and test rows
keep all. The MLP of the paper, K = 10, B = 5.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from run_many_classes import simulate_from_no_labels
from sklearn.preprocessing import StandardScaler

from modal_balance.simulation.datasets import load_dataset

SIZES = {"dry_bean": (2000, 1500), "digits": (400, 600)}  # validation, test
SHARE_KEPT = 0.08


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=list(SIZES))
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.datasets:
            data = load_dataset(name, args.data_dir)
            rng = np.random.RandomState(seed)
            rows = rng.permutation(len(data.X))
            validation, test, pool = np.split(rows, np.cumsum(SIZES[name]))
            classes, codes = np.unique(data.y[pool], return_inverse=True)
            rare = codes >= len(classes) // 2
            pool = pool[~rare | (rng.random_sample(len(pool)) < SHARE_KEPT)]
            scale = StandardScaler().fit(data.X[pool]).transform
            simulate_from_no_labels(
                scale(data.X[pool]),
                data.y[pool],
                0.01,
                X_test=scale(data.X[test]),
                y_test=data.y[test],
                X_val=scale(data.X[validation]),
                y_val=data.y[validation],
                budget=100,
                seeds=[seed],
                dataset=f"{name}, thinned",
                results=args.results,
            )


if __name__ == "__main__":
    main()
