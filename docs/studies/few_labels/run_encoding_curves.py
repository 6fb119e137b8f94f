"""Run learning curves with the networks of run_encodings.py, all seeds in parallel (resumable)."""

from __future__ import annotations

import argparse
import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import append, labelled_rows, load
from run_encodings import encoders, fit, parse, samples
from sklearn.metrics import f1_score

from modal_balance import balance_margin_query, margin_query

STRATEGIES: dict[str, Any] = {
    "margin": margin_query,
    "balance": partial(balance_margin_query, tau=0.0),
}


class Drawn:
    """A learner with 40 given hypotheses."""

    def __init__(self, predict: Any, n_classes: int) -> None:
        self.predict_proba_samples, self.classes_ = predict, np.arange(n_classes)

    def fit(self, x: Any, y: Any) -> Drawn:
        return self

    def predict_proba(self, x: Any) -> np.ndarray:
        return self.predict_proba_samples(x).mean(0).numpy()

    def predict(self, x: Any) -> np.ndarray:
        return self.predict_proba(x).argmax(1)


def curves(
    data: Any, o: dict[str, Any], strategy: Any, seeds: list[int], test: int
) -> dict[int, Any]:
    """Return accuracy and macro F1 for each round from 20 to 150 labels, and each seed."""
    x_test, y_test = data.x_test[:test], data.y_test[:test]
    n_plain = data.x_pool.shape[1]
    labelled = {seed: labelled_rows(data, 20, seed).tolist() for seed in seeds}
    scores: dict[int, Any] = {seed: [] for seed in seeds}
    for n in range(20, min(150, len(data.y_pool)) + 1, 10):
        rows = [np.array(labelled[seed]) for seed in seeds]
        encode = encoders(data, rows, o)
        xs = [e(data.x_pool[r]) for e, r in zip(encode, rows, strict=True)]
        ys = [data.y_pool[r] for r in rows]
        stack = fit(xs, ys, data.n_classes, n_plain, o, 1000 * seeds[0] + n)
        for m, seed in enumerate(seeds):

            def predict(x: Any, m: int = m, seed: int = 1000 * seed + n, e: Any = encode) -> Any:
                return samples(stack, m, e[m](np.asarray(x)), n_plain, o, seed, 40)  # noqa: B023

            learner = Drawn(predict, data.n_classes)
            guess = learner.predict(x_test)
            f1 = f1_score(y_test, guess, average="macro", zero_division=0)
            scores[seed].append((float((guess == y_test).mean()), float(f1)))
            left = np.setdiff1d(np.arange(len(data.y_pool)), labelled[seed])
            if n < 150 and len(left) >= 10:
                indices, _ = strategy(learner, data.x_pool[left], 10, random_state=seed)
                labelled[seed] += left[indices].tolist()
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pool", type=int, default=800)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--recipes", nargs="+", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    finished = set()
    if args.out.exists():
        runs = map(json.loads, args.out.open())
        finished = {(r["config"], r["strategy"], r["dataset"], r["seed"]) for r in runs}
    for name in args.datasets:
        data = load(name, args.data_dir, args.pool)
        for label, o in map(parse, args.recipes):
            for strategy in STRATEGIES:
                seeds = [
                    seed
                    for seed in range(args.seeds)
                    if (label, strategy, name, seed) not in finished
                ]
                if not seeds:
                    continue
                scores = curves(data, o, STRATEGIES[strategy], seeds, args.test)
                append(
                    args.out,
                    [
                        {
                            "config": label,
                            "strategy": strategy,
                            "dataset": name,
                            "seed": seed,
                            "acc": [accuracy for accuracy, _ in own],
                            "f1": [f1 for _, f1 in own],
                        }
                        for seed, own in scores.items()
                    ],
                )


if __name__ == "__main__":
    main()
