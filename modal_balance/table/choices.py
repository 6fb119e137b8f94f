"""Models and strategies by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ..arguments import RandomState, draw_seed
from ..hypotheses.unwrapping import check_labels_of_net

__all__ = ["MODELS", "fit_quietly", "model_by_name", "strategies_by_name", "strategy_by_name"]


def _mcdropout() -> Any:
    from ..estimators import MCDropoutClassifier

    return MCDropoutClassifier()


def _ensemble() -> Any:
    from ..estimators import MCDropoutClassifier

    return MCDropoutClassifier(posterior="ensemble")


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, oob_score=True)


def _logistic_bootstrap() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ..estimators import BootstrapCommittee

    return BootstrapCommittee(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)))


def _boosting_bootstrap() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    from ..estimators import BootstrapCommittee

    # With the usual 20 rows of a leaf, fewer than 40 labels are never split.
    return BootstrapCommittee(
        HistGradientBoostingClassifier(max_iter=25, learning_rate=0.2, min_samples_leaf=3)
    )


MODELS: dict[str, Callable[[], Any]] = {
    "mcdropout": _mcdropout,
    "ensemble": _ensemble,
    "forest": _forest,
    "logistic-bootstrap": _logistic_bootstrap,
    "boosting-bootstrap": _boosting_bootstrap,
}


def model_by_name(model: Any, random_state: RandomState = None) -> Any:
    """Return an unfitted classifier.

    Parameters
    ----------
    model : str or estimator
        One of ``MODELS``, or a classifier, which is cloned and keeps its own random state.
    random_state : int, RandomState, Generator or None, default=None
        Seed of a model by name.

    Returns
    -------
    estimator

    Raises
    ------
    ValueError
        If there is no such model.

    Examples
    --------
    >>> from modal_balance.table.choices import model_by_name
    >>> model_by_name("forest", random_state=0).n_estimators
    100
    """
    if not isinstance(model, str):
        return clone(model)
    if model not in MODELS:
        raise ValueError(f"There is no model {model!r}. Known are {', '.join(MODELS)}.")
    return MODELS[model]().set_params(random_state=draw_seed(random_state))


def fit_quietly(estimator: Any, X: NDArray[np.float32], y: NDArray[Any]) -> Any:
    """Fit a classifier without the warnings that few labels bring.

    Some rows have no out-of-bag prediction, or none can be validated on: with few labels that is
    to be expected, and no user of a table can do anything about it but label.

    Parameters
    ----------
    estimator : estimator
        The classifier.
    X : ndarray of shape (n, n_features)
        Features of the labelled rows.
    y : ndarray of shape (n,)
        Their classes.

    Returns
    -------
    estimator
        The same, fitted.

    Raises
    ------
    TypeError
        If it is a skorch net, which takes no words as labels.
    """
    check_labels_of_net(estimator, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return estimator.fit(X, y)


def strategies_by_name() -> dict[str, Any]:
    """Return the strategies of the package by their names without "_query".

    Examples
    --------
    >>> from modal_balance.table.choices import strategies_by_name
    >>> "power-balance" in strategies_by_name()
    True
    """
    from .. import strategies

    names = [name for name in strategies.__all__ if name.endswith("_query")]
    return {name[:-6].replace("_", "-"): getattr(strategies, name) for name in names}


def strategy_by_name(strategy: Any) -> Callable[..., Any]:
    """Return a query strategy.

    Parameters
    ----------
    strategy : str or callable
        A name of :func:`strategies_by_name`, or a function with modAL's signature.

    Returns
    -------
    callable

    Raises
    ------
    ValueError, TypeError
        If there is no such strategy.

    Examples
    --------
    >>> from modal_balance.table.choices import strategy_by_name
    >>> strategy_by_name("margin").__name__
    'margin_query'
    """
    if isinstance(strategy, str):
        known = strategies_by_name()
        if strategy not in known:
            raise ValueError(f"There is no strategy {strategy!r}. Known are {', '.join(known)}.")
        found: Callable[..., Any] = known[strategy]
        return found
    if not callable(strategy):
        raise TypeError(f"strategy must be a name or a callable, got {strategy!r}.")
    given: Callable[..., Any] = strategy
    return given
