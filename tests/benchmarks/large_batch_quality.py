"""What quick clusters cost a large batch: ``python tests/benchmarks/large_batch_quality.py``.

A forest learns 60 labels, asks for 300 or 500 more in one batch of `clustered_margin_query`, and is
tested. k-means is complete, or what it is for more than 256 clusters; 8 paired seeds.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier

from modal_balance import clustered_margin_query
from modal_balance.acquisition import low_margin

N_FIRST, N_SEEDS = 60, 8


def digits(seed):
    return *load_digits(return_X_y=True), 300


def synthetic(seed):
    options = {"n_informative": 10, "n_classes": 6, "n_clusters_per_class": 3}
    return *make_classification(6000, 20, random_state=seed, **options), 500


def accuracy(X, y, X_test, y_test, batch):
    known = np.r_[:N_FIRST, N_FIRST + batch]
    forests = [RandomForestClassifier(60, random_state=s).fit(X[known], y[known]) for s in range(2)]
    return np.mean([forest.score(X_test, y_test) for forest in forests])


def one_seed(make, seed):
    X, y, n_instances = make(seed)
    order = np.random.RandomState(seed).permutation(len(X))
    train, test = np.split(order, [len(X) * 3 // 4])
    X, y, X_test, y_test = X[train], y[train], X[test], y[test]
    forest = RandomForestClassifier(60, random_state=seed).fit(X[:N_FIRST], y[:N_FIRST])
    found = []
    for many_clusters in (10**9, 256):
        low_margin.MANY_CLUSTERS = many_clusters
        batch = clustered_margin_query(forest, X[N_FIRST:], n_instances, random_state=seed)[0]
        found.append(accuracy(X, y, X_test, y_test, batch))
    return found


for make in (digits, synthetic):
    results = np.array([one_seed(make, seed) for seed in range(N_SEEDS)])  # (seeds, 2)
    gain = results[:, 1] - results[:, 0]
    error = gain.std(ddof=1) / np.sqrt(N_SEEDS)
    complete, quick = results.mean(0)
    print(f"{make.__name__}: complete {complete:.4f}, quick {quick:.4f}, ", end="")
    print(f"difference {gain.mean():.4f} +- {error:.4f}", flush=True)
