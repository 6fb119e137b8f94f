"""Run the scikit-learn baselines of the few-label study, each after a StandardScaler."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from data_sets import LABELS, append, done, labelled_rows, load, metrics
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

MODELS = {
    "LR": lambda seed: LogisticRegression(),
    "RF": lambda seed: RandomForestClassifier(random_state=seed),
    "SVC": lambda seed: SVC(),
    "HGB": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "RF200": lambda seed: RandomForestClassifier(200, random_state=seed),
    "ET200": lambda seed: ExtraTreesClassifier(200, random_state=seed),
    "5NN": lambda seed: KNeighborsClassifier(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--models", nargs="+", default=["LR", "RF", "SVC"])
    parser.add_argument("--labels", nargs="+", type=int, default=list(LABELS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pool", type=int, default=None, help="most rows of the pool")
    parser.add_argument(
        "--max-iter", type=int, default=None, help="HGB iterations, default scikit-learn's"
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    finished = done(args.out)
    for name in args.datasets:
        data = load(name, args.data_dir, args.pool)
        for n in args.labels:
            for seed in range(args.seeds):
                rows = labelled_rows(data, n, seed)
                if rows is None:
                    continue
                x, y = data.x_pool[rows], data.y_pool[rows]
                for model in args.models:
                    if (model, name, n, seed) in finished:
                        continue
                    pipe = make_pipeline(StandardScaler(), MODELS[model](seed))
                    start = time.perf_counter()
                    pipe.fit(x, y)
                    seconds = time.perf_counter() - start
                    classes = pipe.classes_
                    proba = np.zeros((len(data.y_test), data.n_classes))
                    if hasattr(pipe, "predict_proba"):
                        proba[:, classes] = pipe.predict_proba(data.x_test)
                    else:  # SVC predicts only labels, so its NLL and ECE are meaningless
                        proba[np.arange(len(proba)), pipe.predict(data.x_test)] = 1.0
                    row = {
                        "config": model,
                        "dataset": name,
                        "n": n,
                        "seed": seed,
                        "seconds": seconds,
                        **metrics(proba, data.y_test, classes),
                    }
                    if model == "SVC":
                        row["nll"] = row["nll_seen"] = row["ece"] = None
                    append(args.out, [row])


if __name__ == "__main__":
    main()
