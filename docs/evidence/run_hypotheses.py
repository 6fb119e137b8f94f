"""Vary the hypotheses of `balance_margin_query`: kind, number, tau, temperature (resumable).

All accuracies are those of the same `MCDropoutClassifier`, fitted on the points that a strategy has
chosen. The hypotheses are those of the classifier (20 to 600 dropout masks), or of another model
fitted on the same labels. By default tau is 0, so all hypotheses with different votes are in
different classes. "Calibrated" predictions have a temperature from cross-validation on the labels.
Needs laplace-torch.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distances import distance_quantile
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modal_balance as mb
from modal_balance.simulation import simulate

sys.path.insert(0, str(Path(__file__).parents[1] / "studies" / "few_labels"))
from data_sets import load

LINEAR = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def model(kind: str, classes: Any, seed: int) -> Any:
    """Return an unfitted model whose hypotheses are drawn."""
    network = partial(mb.MCDropoutClassifier, validation=None, classes=classes, random_state=seed)
    if kind == "forest":
        return RandomForestClassifier(100, random_state=seed)
    if kind == "bootstrap":
        return mb.BootstrapCommittee(LINEAR, classes=classes, random_state=seed)
    if kind == "laplace":
        return mb.LastLayerLaplace(network(), random_state=seed)
    if kind == "networks":
        return network(dropout=0.0, posterior="ensemble")
    return network(posterior=kind)


def query(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None, kind: str, strategy: Any = mb.balance_margin_query, **options: Any,
) -> Any:  # fmt: skip
    """Query with the hypotheses of another model, fitted on the learner's labels."""
    other = model(kind, learner.estimator.classes_, random_state)
    other.fit(learner.X_training, learner.y_training)
    return strategy(
        other, X_pool, n_instances, random_state=random_state, callback=callback, **options
    )


def at_quantile(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None, quantile: float, **options: Any,
) -> Any:  # fmt: skip
    """Query with tau at a quantile of the distances between hypotheses on the pool."""
    tau = distance_quantile(learner, X_pool, quantile, n_samples=60, random_state=random_state)
    return mb.balance_margin_query(
        learner, X_pool, n_instances, tau=tau, n_samples=60,
        random_state=random_state, callback=callback, **options,
    )  # fmt: skip


class Tempered:
    """Hypotheses with predictions to the power 1 / temperature, normalised."""

    complete = False

    def __init__(self, hypotheses: Any, temperature: float) -> None:
        self.hypotheses, self.temperature = hypotheses, temperature
        self.classes_ = hypotheses.classes_

    def predict_proba_samples(self, X: Any) -> torch.Tensor:
        proba = self.hypotheses.predict_proba_samples(X)
        return torch.softmax(proba.clamp(min=1e-12).log() / self.temperature, dim=-1)


def calibrated_temperature(estimator: Any, X: Any, y: Any, seed: int) -> float:
    """Return the temperature, from 0.25 to 8, with the smallest cross-validated NLL."""
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    one = clone(estimator).set_params(validation=None, random_state=seed)
    proba = np.zeros((len(y), len(estimator.classes_)))
    for train, held_out in folds.split(X, y):
        proba[held_out] = clone(one).fit(X[train], y[train]).predict_proba(X[held_out])
    proba = np.clip(proba, 1e-7, 1)
    codes = np.searchsorted(estimator.classes_, y)
    losses = {}
    for temperature in 2.0 ** np.arange(-2, 3.5, 0.5):
        logits = np.log(proba) / temperature
        logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
        losses[float(temperature)] = -logits[np.arange(len(codes)), codes].mean()
    return min(losses, key=losses.__getitem__)


def tempered(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None, temperature: float | None = None, **options: Any,
) -> Any:  # fmt: skip
    """Query with tempered predictions; temperature=None calibrates them."""
    estimator = learner.estimator
    if temperature is None:
        temperature = calibrated_temperature(
            estimator, learner.X_training, learner.y_training, random_state
        )
    drawn = mb.draw_hypotheses(estimator, 60, random_state=random_state)
    return mb.balance_margin_query(
        Tempered(drawn, temperature), X_pool, n_instances, tau=0.0, random_state=random_state,
        callback=callback, **options,
    )  # fmt: skip


BALANCE: dict[str, Any] = {"tau": 0.0, "n_samples": 60}
STRATEGIES: dict[str, Any] = {
    "random": mb.random_query,
    "margin": partial(mb.margin_query, n_samples=60),
    "margin, ensemble of 10": partial(
        query, kind="ensemble", strategy=mb.margin_query, n_samples=60
    ),
    **{
        f"dropout, {n} draws": partial(mb.balance_margin_query, tau=0.0, n_samples=n)
        for n in (20, 60, 200, 600)
    },
    "dropout, 60 draws, annealed tau": partial(mb.balance_margin_query, n_samples=60),
    "dropout, 60 draws, tau at the median distance": partial(at_quantile, quantile=0.5),
    "calibrated": tempered,
    "ensemble of 10 with dropout, 60 draws": partial(query, kind="ensemble", **BALANCE),
    "10 networks without dropout": partial(query, kind="networks", **BALANCE),
    "SG-MCMC": partial(query, kind="sgmcmc", **BALANCE),
    "Laplace, 60 draws": partial(query, kind="laplace", **BALANCE),
    "20 logistic regressions": partial(query, kind="bootstrap", **BALANCE),
    "100 trees": partial(query, kind="forest", **BALANCE),
}


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument(
        "--datasets",
        nargs="+",
        default=["digits_imbalanced", "dry_bean", "har", "drift", "fashion"],
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.datasets:
            data = load(name, args.data_dir)
            simulate(
                mb.MCDropoutClassifier(),
                np.asarray(data.x_pool, dtype=np.float32),
                data.y_pool,
                STRATEGIES,
                X_test=np.asarray(data.x_test[:1000], dtype=np.float32),
                y_test=data.y_test[:1000],
                n_initial=20,
                initial_per_class=False,
                n_instances=10,
                budget=120,
                pool_size=2000,
                seeds=[seed],
                dataset=name,
                results=args.results,
            )


if __name__ == "__main__":
    main()
