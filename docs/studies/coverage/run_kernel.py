"""Compare coordinates and kernel widths for herding, by classes found and accuracy (resumable).

Without labels, herding chooses one and three rows for each class from a pool of 1,500 rows. The
accuracies are those of two fast models, an SVC and a logistic regression. Widths are multiples w of
the median distance m: exp(-d^2 / (2 w^2 m^2)).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from run_switch import DEVELOPMENT, finished, load_any
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from modal_balance.acquisition.herding import herding_batch
from modal_balance.estimators.scaling import SquashedScaling
from modal_balance.simulation.results import append_record

PER_CLASS = (1, 3)


def of_length_one(X: np.ndarray) -> np.ndarray:
    rows: np.ndarray = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
    return rows


def coordinates(kind: str, X: np.ndarray) -> np.ndarray:
    """Return the coordinates of the rows X."""
    if kind == "rawL2":  # as in scikit-activeml
        return of_length_one(X)
    scaled: np.ndarray = SquashedScaling(X)(X).astype(np.float64)
    if kind == "sqL2":
        return of_length_one(scaled)
    if kind == "range2":
        scaled -= scaled.min(0)
        scaled /= np.maximum(np.ptp(scaled, axis=0), 1e-12)
    if kind == "pca":
        scaled -= scaled.mean(0)
        left, size, _ = np.linalg.svd(scaled, full_matrices=False)
        scaled = left[:, :30] * size[:30]
    return scaled


def batches(X: np.ndarray, n: int, rng: np.random.RandomState) -> dict[str, list[int]]:
    """Return the first n rows that each rule chooses."""
    chosen = {"random": rng.permutation(len(X))[:n].tolist()}
    for kind in ("rawL2", "sq", "sqL2", "range2", "pca"):
        F = torch.from_numpy(coordinates(kind, X))
        median = torch.pdist(F).median().item()
        radii = {
            f"{kind} {w}": 2**0.5 * w * median
            for w in ((0.5,) if kind == "rawL2" else (0.25, 0.5, 1.0, 2.0))
        }
        if kind == "rawL2":
            radii = {"sk": F.shape[1] ** 0.5} | radii
        for name, radius in radii.items():
            chosen[name] = herding_batch(F, n, radius=radius, random_state=0)[0].tolist()
    return chosen


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    done = finished(args.out, ("name", "seed", "rule"))
    for seed in range(args.seeds):
        for name in DEVELOPMENT:
            data = load_any(name, args.data_dir, None)
            rng = np.random.RandomState(seed)
            rows = rng.permutation(len(data.y_pool))[:1500]
            X, y = data.x_pool[rows].astype(np.float64), data.y_pool[rows]
            scale = SquashedScaling(X)
            X_scaled, X_test, y_test = scale(X), scale(data.x_test[:1000]), data.y_test[:1000]
            sizes = [min(p * data.n_classes, len(y) - 1) for p in PER_CLASS]
            for rule, order in batches(X, sizes[-1], rng).items():
                if (name, seed, rule) in done:
                    continue
                accuracies = []
                for n in sizes:
                    own = order[:n]
                    if len(set(y[own])) < 2:
                        accuracies.append([float((y_test == y[own][0]).mean())] * 2)
                        continue
                    models = (SVC(C=10), LogisticRegression(C=0.1, max_iter=60))
                    accuracies.append(
                        [float(m.fit(X_scaled[own], y[own]).score(X_test, y_test)) for m in models]
                    )
                seen = [len(set(y[order[:n]])) for n in sizes]
                append_record(args.out, {"name": name, "seed": seed, "rule": rule, "ns": sizes,
                                         "acc": accuracies, "seen": seen})  # fmt: skip


if __name__ == "__main__":
    main()
