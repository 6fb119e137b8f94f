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
from skorch.callbacks import Checkpoint, LoadInitState, TrainEndCheckpoint

from .._utils.arguments import check_labels, draw_seed, n_rows, set_seeds
from .._utils.sklearn_compat import FrozenEstimator
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
    if any(isinstance(part, FrozenEstimator) for part in _nested(estimator)):
        return 1.0  # it would not be fitted again
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
    copy = _without_search(estimator)
    _silence(copy)
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


def _without_search(estimator: Any) -> Any:
    """Return an unfitted copy, with the best estimator of a search in place of the search."""
    if hasattr(estimator, "best_estimator_"):
        return _without_search(estimator.best_estimator_)
    copy = clone(estimator)
    if isinstance(copy, Pipeline):
        name, last = estimator.steps[-1]
        copy.set_params(**{name: _without_search(last)})
    return copy


def _nested(estimator: Any) -> list[Any]:
    """Return an estimator and all its parameters, and theirs."""
    return [estimator, *estimator.get_params().values()]


def _silence(estimator: Any) -> None:
    """Make the skorch nets in an unfitted estimator read and write no files, and print nothing."""
    for part in _nested(estimator):
        if isinstance(part, NeuralNet):
            part.verbose = 0
            if isinstance(part.callbacks, list):
                part.callbacks = [entry for entry in part.callbacks if not _uses_files(entry)]


def _uses_files(entry: Any) -> bool:
    """Return whether an entry of a net's callbacks reads, writes or prints."""
    callback = entry[1] if isinstance(entry, tuple) else entry
    kind = callback if isinstance(callback, type) else type(callback)
    return issubclass(kind, (Checkpoint, TrainEndCheckpoint, LoadInitState)) or any(
        base.__module__ == "skorch.callbacks.logging" for base in kind.__mro__
    )
