"""Models and strategies by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import strategies
from .._utils.arguments import RandomState, as_random_state, set_seeds
from ..estimators import BootstrapCommittee, MCDropoutClassifier
from ..simulation.loop import fit_with_unlabelled

MODELS: dict[str, Callable[[], Any]] = {
    "network-and-trees": lambda: VotingClassifier(
        [
            ("network", MCDropoutClassifier()),
            ("trees", ExtraTreesClassifier(bootstrap=True, oob_score=True)),
        ],
        voting="soft",
    ),
    "mcdropout": MCDropoutClassifier,
    "ensemble": lambda: MCDropoutClassifier(posterior="ensemble"),
    "forest": lambda: RandomForestClassifier(100, oob_score=True),
    "logistic-bootstrap": lambda: BootstrapCommittee(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    ),
    # With the default of 20 rows per leaf, fewer than 40 labels would never be split.
    "boosting-bootstrap": lambda: BootstrapCommittee(
        HistGradientBoostingClassifier(max_iter=25, learning_rate=0.2, min_samples_leaf=3)
    ),
}


def model_by_name(model: Any, random_state: RandomState = None) -> Any:
    """Return an unfitted classifier for prepared columns: one of ``MODELS``, or a clone."""
    if not isinstance(model, str):
        return clone(model)
    if model not in MODELS:
        raise ValueError(f"There is no model {model!r}. Known are {', '.join(MODELS)}.")
    return set_seeds(MODELS[model](), as_random_state(random_state))


def fit_quietly(
    estimator: Any, X: NDArray[np.float32], y: NDArray[Any], X_unlabelled: NDArray[np.float32]
) -> Any:
    """Fit a classifier without the warnings that are expected with few labels.

    A classifier that takes ``X_unlabelled`` gets all rows of the table, to scale its columns.
    With few labels, some rows may have no out-of-bag prediction, or no validation rows can be held
    out. Only more labels help, so a warning would not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        fit_with_unlabelled(estimator, X, y, X_unlabelled)
    return estimator


def strategies_by_name() -> dict[str, Any]:
    """Return the strategies of the package by name, without "_query".

    Examples
    --------
    >>> from modal_balance.table.choices import strategies_by_name
    >>> "power-balance" in strategies_by_name()
    True
    """
    names = [name for name in strategies.__all__ if name.endswith("_query")]
    return {name[:-6].replace("_", "-"): getattr(strategies, name) for name in names}


def strategy_by_name(strategy: Any) -> Callable[..., Any]:
    """Return a strategy by its name; a function with modAL's signature is returned unchanged."""
    if isinstance(strategy, str):
        known = strategies_by_name()
        name = strategy.replace("_", "-")
        if name not in known:
            raise ValueError(f"There is no strategy {strategy!r}. Known are {', '.join(known)}.")
        strategy = known[name]
    if not callable(strategy):
        raise TypeError(f"strategy must be a name or a callable, got {strategy!r}.")
    found: Callable[..., Any] = strategy
    return found
