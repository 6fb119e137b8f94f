"""The temperature of predictions, from labelled rows that a copy of the estimator has not seen."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import column_or_1d
from skorch import NeuralNet
from skorch.callbacks import Checkpoint

from .._utils.arguments import check_labels, draw_seed, n_rows, set_seeds
from .._utils.torch_state import seeded
from ..acquisition.temperature import calibrated_temperature
from ..hypotheses.protocol import SingleHypothesis
from ..hypotheses.unwrap import check_labels_of_net
from ..pools.sources import RowsInMemory
from .query import Query

HELD_OUT = 0.2  # share of the labelled rows used to find the temperature


def held_out_temperature(query: Query, X: Any, y: Any) -> float:
    """Return the best temperature of a copy of the estimator on held-out labelled rows."""
    estimator = query.unwrapped.estimator
    needed = ("fit", "get_params", "predict_proba")
    can_refit = all(hasattr(estimator, name) for name in needed)
    if X is None or y is None or query.unwrapped.is_committee or not can_refit:
        return 1.0
    check_labels_of_net(estimator, y)
    check_labels(y, "y_labelled")
    y = column_or_1d(y)
    if len(y) != n_rows(X):
        raise ValueError(
            f"y_labelled has {len(y)} labels but X_labelled has {n_rows(X)} rows. Pass one label "
            "for each row."
        )
    order = query.random_state.permutation(len(y))
    n_held = round(HELD_OUT * len(y))
    held, rest = np.sort(order[:n_held]), np.sort(order[n_held:])
    if n_held == 0 or len(np.unique(y[rest])) < 2:
        return 1.0
    copy = _without_output(clone(_found(estimator)))
    set_seeds(copy, query.random_state)
    rows = RowsInMemory(X)
    with seeded(draw_seed(query.random_state), "cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user has seen those of the learner's own fit
        try:
            copy.fit(rows.rows(rest), y[rest])
            hypothesis = SingleHypothesis(copy)
            proba = hypothesis.predict_proba_samples(rows.rows(held))[0].double()  # (n, C)
        except ValueError:  # too few labels for this estimator
            return 1.0
    labels = proba.argmax(1).numpy()  # (n,)
    if hypothesis.classes_ is not None:
        labels = hypothesis.classes_[labels]
    return calibrated_temperature(proba, torch.from_numpy(labels == y[held]))


def _found(estimator: Any) -> Any:
    """Return an estimator with the best estimator that each search has found in its place."""
    if hasattr(estimator, "best_estimator_"):
        return _found(estimator.best_estimator_)
    if isinstance(estimator, Pipeline) and hasattr(estimator[-1], "best_estimator_"):
        name, last = estimator.steps[-1]
        return type(estimator)([*estimator.steps[:-1], (name, _found(last))])
    return estimator


def _without_output(estimator: Any) -> Any:
    """Make the skorch nets in an unfitted estimator write no files and print nothing."""
    for part in [estimator, *estimator.get_params().values()]:
        if isinstance(part, NeuralNet):
            part.set_params(verbose=0, callbacks=_without_writers(part.callbacks))
    return estimator


def _without_writers(callbacks: Any) -> Any:
    if not isinstance(callbacks, list):
        return callbacks

    def writes(entry: Any) -> bool:
        callback = entry[1] if isinstance(entry, tuple) else entry
        kind = callback if isinstance(callback, type) else type(callback)
        return issubclass(kind, Checkpoint) or kind.__module__ == "skorch.callbacks.logging"

    return [entry for entry in callbacks if not writes(entry)]
