"""Count how many of 50 disjoint pairs are edges under annealed tau, by kind of hypotheses."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch
from data_sets import append, labelled_rows, load

from modal_balance import MCDropoutClassifier, balance_query

KINDS: dict[str, dict[str, Any]] = {
    "masks": {},
    "masks, no bins": {"n_bins": 0},
    "members and masks": {"posterior": "ensemble"},
    "members": {"posterior": "ensemble", "dropout": 0.0, "n_members": 100},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--labels", nargs="+", type=int, default=[30, 100])
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for seed in range(args.seeds):
        for name in args.datasets:
            data = load(name, args.data_dir, 800)
            for n in args.labels:
                rows = labelled_rows(data, n, seed)
                for kind, parameters in KINDS.items():
                    classifier = MCDropoutClassifier(
                        classes=range(data.n_classes), random_state=seed, **parameters
                    ).fit(data.x_pool[rows], data.y_pool[rows], X_unlabelled=data.x_pool)
                    reports: list[Any] = []
                    balance_query(
                        classifier, data.x_pool, 1, pairing="disjoint", random_state=seed,
                        callback=reports.append,
                    )  # fmt: skip
                    run = {"dataset": name, "n": n, "seed": seed, "kind": kind}
                    run |= {"tau": reports[0].tau, "edges": reports[0].n_edges}
                    append(args.out, [run | {"pairs": reports[0].n_pairs}])


if __name__ == "__main__":
    main()
