"""Strategies of scikit-activeml 1.0.1 and modAL, with the learner that `simulate` has fitted.

The learner gets the original columns. Strategies that measure distances or set columns to 0 get
columns standardised by the labelled rows and the pool. As embeddings, strategies get the features
of the last layer of the network.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from modAL.batch import ranked_batch
from skactiveml import pool
from skactiveml.base import SkactivemlClassifier
from sklearn.preprocessing import StandardScaler

from modal_balance.hypotheses.last_layer import last_layer_features

SKACTIVEML = ("Falcun", "MaxHerding", "TypiClust", "Badge", "DropQuery", "Clue", "ContrastiveAL")


class Fitted(SkactivemlClassifier):
    """A classifier that is already fitted on unstandardised rows."""

    def __init__(self, fitted: Any, scale: StandardScaler) -> None:
        super().__init__()
        self.fitted, self.scale = fitted, scale

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Fitted:
        return self

    def predict_proba(self, X: Any, embedded: bool = False) -> Any:
        rows = self.scale.inverse_transform(X).astype(np.float32)
        proba = np.asarray(self.fitted.predict_proba(rows))
        if not embedded:
            return proba
        is_network = hasattr(self.fitted, "net_")
        return proba, last_layer_features(self.fitted, rows)[0].numpy() if is_network else X

    def predict(self, X: Any, embedded: bool = False) -> Any:
        if not embedded:
            return self.predict_proba(X).argmax(axis=1)
        proba, features = self.predict_proba(X, embedded=True)
        return proba.argmax(axis=1), features


def skactiveml_query(
    learner: Any, X_pool: Any, n_instances: int, *, random_state: int, name: str
) -> Any:
    """Query with a strategy of scikit-activeml."""
    X = np.concatenate([learner.X_training, X_pool])
    scale = StandardScaler().fit(X)
    X, n_labelled = scale.transform(X), len(learner.X_training)
    y = np.full(len(X), np.nan)  # unlabelled
    y[:n_labelled] = np.searchsorted(learner.estimator.classes_, learner.y_training)
    classifier = Fitted(learner.estimator, scale)
    options: dict[str, Any] = {"random_state": random_state}
    asked: dict[str, Any] = {"clf": classifier, "fit_clf": False}
    if name in ("DropQuery", "Clue"):
        options["cluster_algo_dict"] = {"random_state": random_state}
    if name in ("Badge", "DropQuery", "ContrastiveAL"):
        options["clf_embedding_flag_name"] = "embedded"
    elif name == "Clue":
        options["predict_dict"] = {"embedded": True}
        asked = {"estimator": classifier, "fit_estimator": False}
    elif name in ("MaxHerding", "TypiClust"):
        asked = {}
    strategy = getattr(pool, name)(**options)
    return np.asarray(strategy.query(X, y, batch_size=n_instances, **asked)) - n_labelled


def ranked_batch_query(learner: Any, X_pool: Any, n_instances: int) -> Any:
    """Query with modAL's ranked batch, with Euclidean distances."""
    scale = StandardScaler().fit(np.concatenate([learner.X_training, X_pool]))
    known = SimpleNamespace(X_training=scale.transform(learner.X_training), on_transformed=False)
    uncertainty = 1 - learner.predict_proba(X_pool).max(axis=1)
    return np.asarray(
        ranked_batch(known, scale.transform(X_pool), uncertainty, n_instances, "euclidean", 1)
    )


PEERS: dict[str, Any] = {"modAL ranked batch": ranked_batch_query} | {
    f"scikit-activeml {name}": partial(skactiveml_query, name=name) for name in SKACTIVEML
}
