"""Run means of the predictions of several models, and append the results (resumable)."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import append, done, labelled_rows, load, metrics
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modal_balance import MCDropoutClassifier

VOTES = ["network", "trees", "linear", "network, trees", "network, trees, linear", "trees, linear"]


def models(seed: int, n_classes: int) -> dict[str, Any]:
    """Return the models by name."""
    return {
        "network": MCDropoutClassifier(
            classes=range(n_classes), validation=None, random_state=seed
        ),
        "trees": ExtraTreesClassifier(200, random_state=seed),
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--labels", nargs="+", type=int, default=[20, 50, 100, 200, 300])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=3000, help="most rows of the pool")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    finished = done(args.out)
    for name in args.datasets:
        data = load(name, args.data_dir, args.pool)
        for n in args.labels:
            for seed in range(args.seeds):
                rows = labelled_rows(data, n, seed)
                if rows is None or (VOTES[-1], name, n, seed) in finished:
                    continue
                x, y = data.x_pool[rows], data.y_pool[rows]
                proba = {}
                for model, estimator in models(seed, data.n_classes).items():
                    estimator.fit(x, y)
                    proba[model] = np.zeros((len(data.y_test), data.n_classes))
                    proba[model][:, estimator.classes_] = estimator.predict_proba(data.x_test)
                for vote in VOTES:
                    mean = np.mean([proba[model] for model in vote.split(", ")], axis=0)
                    row = {"config": vote, "dataset": name, "n": n, "seed": seed}
                    append(args.out, [row | metrics(mean, data.y_test, np.unique(y))])


if __name__ == "__main__":
    main()
