"""Run the package's MCDropoutClassifier, and append the results (resumable)."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import LABELS, append, done, labelled_rows, load, metrics
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modal_balance import MCDropoutClassifier

# Training in the first two parts; the default has half the steps at twice the rate.
STEPS = {"n_steps": 400, "learning_rate": 1e-3}
# Name -> whether the columns are standardised before, and the parameters.
CONFIGURATIONS: dict[str, tuple[bool, dict[str, Any]]] = {
    # Dropout of the inputs.
    "no input dropout": (False, {"validation": None, "input_dropout": 0.0}),
    "little input dropout": (False, {"validation": None, "input_dropout": 0.05}),
    "words": (False, {"validation": None, "input_dropout": 0.0, "dropout": 0.3, "n_steps": 400}),
    # Steps. The validation error does not affect training and takes time, so leave it out.
    "200 steps": (False, {"validation": None}),
    "1500 steps": (False, {"validation": None, "n_steps": 1500}),
    "130 steps": (False, {"validation": None, "n_steps": 130, "learning_rate": 3e-3}),
    "150 steps": (False, {"validation": None, "n_steps": 150, "learning_rate": 4e-3}),
    "200 fast steps": (False, {"validation": None, "learning_rate": 3e-3}),
    "four members": (False, {"validation": None, "posterior": "ensemble", "n_members": 4}),
    # Bins, with 400 steps.
    "no bins": (False, {"n_bins": 0, "validation": None, **STEPS}),
    "bins": (False, {"validation": None, **STEPS}),
    "bins of the pool": (False, {"validation": None, **STEPS}),
    # No bins, with 400 steps.
    "default": (True, {"n_bins": 0, **STEPS}),
    "raw": (False, {"n_bins": 0, **STEPS}),
    "ensemble": (True, {"n_bins": 0, "posterior": "ensemble", **STEPS}),
    "ensemble without dropout": (
        True,
        {"n_bins": 0, "posterior": "ensemble", "dropout": 0.0, **STEPS},
    ),
    "held out": (True, {"n_bins": 0, "validation": 0.2, "learning_rate": 1e-3}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--configurations", nargs="+", default=["default"])
    parser.add_argument("--labels", nargs="+", type=int, default=list(LABELS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pool", type=int, default=None, help="most rows of the pool")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    finished = done(args.out)
    for name in args.datasets:
        data = load(name, args.data_dir, args.pool)
        for n in args.labels:
            for seed in range(args.seeds):
                rows = labelled_rows(data, n, seed)
                if rows is None:
                    continue
                x, y = data.x_pool[rows], data.y_pool[rows]
                for label in args.configurations:
                    if (label, name, n, seed) in finished:
                        continue
                    scaled, parameters = CONFIGURATIONS[label]
                    clf = MCDropoutClassifier(
                        classes=range(data.n_classes), random_state=seed, **parameters
                    )
                    pipe = make_pipeline(StandardScaler() if scaled else "passthrough", clf)
                    given = {}
                    if label == "bins of the pool":
                        given["mcdropoutclassifier__X_unlabelled"] = data.x_pool
                    start = time.perf_counter()
                    pipe.fit(x, y, **given)
                    seconds = time.perf_counter() - start
                    result = {
                        "config": label,
                        "dataset": name,
                        "n": n,
                        "seed": seed,
                        "seconds": seconds,
                        **metrics(pipe.predict_proba(data.x_test), data.y_test, np.unique(y)),
                        "validation_error": clf.validation_error_,
                        "validation_rows": clf.n_validation_rows_,
                    }
                    append(args.out, [result])


if __name__ == "__main__":
    main()
