"""Run learning curves of strategies with several kinds of hypotheses (resumable)."""

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
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modal_balance import MCDropoutClassifier, balance_query, margin_query, random_query

HYPOTHESES: dict[str, dict[str, Any]] = {
    "dropout .2": {"dropout": 0.2},
    "dropout .5": {"dropout": 0.5},
    "ensemble, dropout .2": {"posterior": "ensemble", "dropout": 0.2},
    "ensemble, dropout .5": {"posterior": "ensemble", "dropout": 0.5},
    "ensemble, no dropout": {"posterior": "ensemble", "dropout": 0.0},
}
STRATEGIES: dict[str, Any] = {
    "balance": balance_query,
    "balance, tau 0": partial(balance_query, tau=0.0),
    "margin": margin_query,
    "random": random_query,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--hypotheses", nargs="+", default=list(HYPOTHESES))
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--budget", type=int, default=150)
    parser.add_argument("--pool", type=int, default=3000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    finished = set()
    if args.out.exists():
        runs = map(json.loads, args.out.open())
        finished = {(r["hypotheses"], r["strategy"], r["dataset"], r["seed"]) for r in runs}
    for seed in range(args.seeds):
        for name in args.datasets:
            data = load(name, args.data_dir)
            size = min(args.pool, len(data.y_pool))
            pool = np.random.default_rng(seed).permutation(len(data.y_pool))[:size]
            x_pool, y_pool = data.x_pool[pool], data.y_pool[pool]
            for hypotheses in args.hypotheses:
                for strategy in args.strategies:
                    key = (hypotheses, strategy, name, seed)
                    if key in finished:
                        continue
                    first = labelled_rows(
                        type(data)(name, x_pool, y_pool, data.x_test, data.y_test, data.n_classes),
                        args.first,
                        seed,
                    )
                    assert first is not None
                    labelled, rounds = list(first), []
                    while True:
                        clf = MCDropoutClassifier(
                            classes=range(data.n_classes),
                            random_state=1000 * seed + len(labelled),
                            **HYPOTHESES[hypotheses],
                        )
                        model = make_pipeline(StandardScaler(), clf)
                        start = time.perf_counter()
                        model.fit(x_pool[labelled], y_pool[labelled])
                        fit_seconds = time.perf_counter() - start
                        accuracy = float(model.score(data.x_test, data.y_test))
                        note = {"n": len(labelled), "acc": accuracy, "fit": fit_seconds}
                        note["validation_error"] = clf.validation_error_
                        rounds.append(note)
                        if len(labelled) >= args.budget:
                            break
                        left = np.setdiff1d(np.arange(size), labelled)
                        reports: list[Any] = []
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore")
                            indices, _ = STRATEGIES[strategy](
                                model, x_pool[left], args.batch, random_state=seed,
                                callback=reports.append,
                            )  # fmt: skip
                        note["query"] = reports[0].seconds
                        note["tau"], note["edges"] = reports[0].tau, reports[0].n_edges
                        labelled += left[indices].tolist()
                    run = dict(zip(("hypotheses", "strategy", "dataset", "seed"), key, strict=True))
                    append(args.out, [{**run, "rounds": rounds}])


if __name__ == "__main__":
    main()
