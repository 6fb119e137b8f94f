"""Processor time of large batches: ``python tests/benchmarks/large_batches.py``, on one core.

Rows of 8 numbers, 3 classes, a forest of 20 trees and a network of 100 dropout hypotheses.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from modal_balance import (
    MCDropoutClassifier,
    balance_margin_query,
    balance_query,
    clustered_margin_query,
)

CASES = [
    (clustered_margin_query, 20_000, [10, 1_000, 4_000]),
    (balance_margin_query, 20_000, [10, 1_000, 4_000]),
    (balance_margin_query, 100_000, [10_000]),
    (balance_query, 20_000, [10, 100]),
]


def main():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_060, 8)).astype("float32")
    y = (X[:60, 0] > 0).astype(int) + (X[:60, 1] > 0)
    learners = [
        RandomForestClassifier(20, oob_score=True, random_state=0).fit(X[:60], y),
        MCDropoutClassifier(random_state=0).fit(X[:60], y),
    ]
    print("| learner | strategy | rows | batch | seconds |\n| --- | --- | --- | --- | --- |")
    for learner in learners:
        for query, n_rows, sizes in CASES:
            for size in sizes:
                started = time.process_time()
                query(learner, X[60 : 60 + n_rows], size, random_state=0)
                seconds = time.process_time() - started
                name = type(learner).__name__
                print(
                    f"| {name} | {query.__name__} | {n_rows} | {size} | {seconds:.1f} |", flush=True
                )


if __name__ == "__main__":
    main()
