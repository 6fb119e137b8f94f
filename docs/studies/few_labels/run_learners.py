"""Run learning curves of margin selection and the default rule with learners (resumable)."""

from __future__ import annotations

import argparse
import json
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import append, labelled_rows, load
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import f1_score

from modal_balance import MCDropoutClassifier, balance_margin_query, margin_query

# tau makes no difference here; with a fixed one, training needs no cross-validation.
STRATEGIES: dict[str, Any] = {
    "margin": margin_query,
    "balance_margin": partial(balance_margin_query, tau=0.0),
}
LEARNERS = ("no bins", "bins", "bins of the pool", "ET100")


def fitted(learner: str, x: np.ndarray, y: np.ndarray, pool: np.ndarray, n_classes: int, seed: int):
    """Return the learner, fitted on x and y."""
    if learner == "ET100":
        return ExtraTreesClassifier(100, random_state=seed).fit(x, y)
    clf = MCDropoutClassifier(
        classes=range(n_classes),
        n_bins=0 if learner == "no bins" else 8,
        n_samples=50,
        validation=None,
        random_state=seed,
    )
    return clf.fit(x, y, X_unlabelled=pool if learner == "bins of the pool" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS))
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--pool", type=int, default=800)
    parser.add_argument("--test", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    finished = set()
    if args.out.exists():
        runs = map(json.loads, args.out.open())
        finished = {(r["learner"], r["strategy"], r["dataset"], r["seed"]) for r in runs}
    for seed in args.seeds:
        for name in args.datasets:
            data = load(name, args.data_dir, args.pool)
            x_test, y_test = data.x_test[: args.test], data.y_test[: args.test]
            for learner in args.learners:
                for strategy in args.strategies:
                    key = (learner, strategy, name, seed)
                    first = labelled_rows(data, 20, seed)
                    if key in finished or first is None:
                        continue
                    labelled, rounds = first.tolist(), []
                    start = time.perf_counter()
                    while True:
                        model = fitted(
                            learner, data.x_pool[labelled], data.y_pool[labelled], data.x_pool,
                            data.n_classes, 1000 * seed + len(labelled),
                        )  # fmt: skip
                        guess = model.predict(x_test)
                        note: dict[str, Any] = {"n": len(labelled)}
                        note["acc"] = float((guess == y_test).mean())
                        note["f1"] = float(
                            f1_score(y_test, guess, average="macro", zero_division=0)
                        )
                        rounds.append(note)
                        left = np.setdiff1d(np.arange(len(data.y_pool)), labelled)
                        if len(labelled) >= 150 or len(left) < 10:
                            break
                        reports: list[Any] = []
                        indices, _ = STRATEGIES[strategy](
                            model, data.x_pool[left], 10, random_state=seed, callback=reports.append
                        )
                        note["edges"], note["pairs"] = reports[0].n_edges, reports[0].n_pairs
                        labelled += left[indices].tolist()
                    run = dict(zip(("learner", "strategy", "dataset", "seed"), key, strict=True))
                    seconds = time.perf_counter() - start
                    append(args.out, [{**run, "seconds": seconds, "rounds": rounds}])


if __name__ == "__main__":
    main()
