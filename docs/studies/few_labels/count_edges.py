"""How many of 50 disjoint pairs are edges under annealed tau, with and without bins."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch
from data_sets import append, labelled_rows, load

from modal_balance import MCDropoutClassifier, balance_query


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
                for n_bins in (0, 8):
                    classifier = MCDropoutClassifier(
                        classes=range(data.n_classes), n_bins=n_bins, random_state=seed
                    ).fit(data.x_pool[rows], data.y_pool[rows], X_unlabelled=data.x_pool)
                    reports: list[Any] = []
                    balance_query(
                        classifier, data.x_pool, 1, pairing="disjoint", random_state=seed,
                        callback=reports.append,
                    )  # fmt: skip
                    run = {"dataset": name, "n": n, "seed": seed, "n_bins": n_bins}
                    run |= {"tau": reports[0].tau, "edges": reports[0].n_edges}
                    append(args.out, [run | {"pairs": reports[0].n_pairs}])


if __name__ == "__main__":
    main()
