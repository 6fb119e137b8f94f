"""One run of active learning on labelled data, round by round."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import has_fit_parameter
from skorch import NeuralNet

from .._utils.arguments import (
    as_indexable,
    check_integer,
    check_validation_pair,
    draw_seed,
    n_rows,
    set_seeds,
)
from .._utils.torch_state import seeded
from ..estimators.bootstrap import BootstrapCommittee
from ..hypotheses.unwrap import check_labels_of_net, unwrap
from ..strategies.herding import herding_query
from ..strategies.query import QueryReport
from .metrics import evaluate

Strategy = Callable[..., Any]
# They fit the estimators within them on the labels as they are.
KEEP_LABELS = (Pipeline, GridSearchCV, RandomizedSearchCV, BootstrapCommittee)


@dataclass(frozen=True)
class Learner:
    """A fitted estimator with its labels, which a strategy accepts like a learner of modAL.

    Parameters
    ----------
    estimator : estimator
        Fitted on the labelled rows.
    X_training, y_training : array-like
        The labelled rows and their labels.
    query_strategy : None
        Marks the object as a learner.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.simulation.loop import Learner
    >>> X, y = [[0.0], [1.0]], [0, 1]
    >>> Learner(LogisticRegression().fit(X, y), X, y).predict([[3.0]]).tolist()
    [1]
    """

    estimator: Any
    X_training: Any
    y_training: Any
    query_strategy: None = None

    def predict(self, X: Any) -> Any:
        """Return the estimator's predictions."""
        return self.estimator.predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Return the estimator's probabilities."""
        return self.estimator.predict_proba(X)


@dataclass(frozen=True)
class Round:
    """The result of one round: a fit on the labels so far, and the next query.

    Parameters
    ----------
    number : int
        Number of the round, from 0.
    labelled : ndarray of int
        Rows of the pool that the estimator was fitted on, in the order of choice.
    indices : ndarray of int
        Rows of the pool chosen next; empty in the last round.
    estimator : estimator
        The estimator, fitted if there were labels of two classes.
    metrics : dict
        See :func:`~modal_balance.simulation.metrics.evaluate`.
    report : QueryReport or None
        Report of the query, if the strategy gives one.
    seconds_fit, seconds_query : float
        Duration of the fit and of the query.

    Examples
    --------
    >>> from modal_balance.simulation.loop import Round
    >>> Round.__dataclass_fields__["number"].type
    'int'
    """

    number: int
    labelled: NDArray[np.intp]
    indices: NDArray[np.intp]
    estimator: Any
    metrics: dict[str, Any]
    report: QueryReport | None
    seconds_fit: float
    seconds_query: float


@dataclass(frozen=True)
class Fit:
    """The first half of a round, before its query: a fit and its metrics."""

    estimator: Any
    metrics: dict[str, Any]
    query_seed: int
    used_up: bool  # whether the estimator used the validation data
    seconds: float


def first_labels(
    y: NDArray[Any], n_initial: int, *, per_class: bool = True, random_state: int = 0
) -> NDArray[np.intp]:
    """Return the rows that are labelled before the first query.

    Parameters
    ----------
    y : array of shape (n,)
        All labels.
    n_initial : int
        Number of rows of each class. If `per_class` is False, number of rows in total, which are
        drawn again until they have two classes. 0: none.
    per_class : bool, default=True
        Whether `n_initial` is per class.
    random_state : int, default=0
        Seed.

    Returns
    -------
    ndarray of int

    Raises
    ------
    ValueError
        If there are too few rows, or only one class.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.simulation.loop import first_labels
    >>> y = np.array([0, 0, 1, 1, 2, 2])
    >>> sorted(y[first_labels(y, 1)].tolist())
    [0, 1, 2]
    """
    rng = np.random.RandomState(random_state)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"y has only one class, {classes.tolist()}. Expected at least two.")
    order = rng.permutation(len(y))
    if n_initial == 0:
        return order[:0]
    if per_class:
        if counts.min() < n_initial:
            raise ValueError(
                f"n_initial={n_initial} rows of each class are needed, but class "
                f"{classes.tolist()[counts.argmin()]!r} has {counts.min()} in the pool."
            )
        rows = np.concatenate([order[y[order] == c][:n_initial] for c in classes])
        return rng.permutation(rows)
    if not 2 <= n_initial <= len(y):
        raise ValueError(f"n_initial={n_initial}. Expected 2 to {len(y)} rows of the pool.")
    while len(np.unique(y[order[:n_initial]])) < 2:
        order = rng.permutation(len(y))
    return order[:n_initial]


def rounds(
    estimator: Any,
    X: Any,
    y: NDArray[Any],
    strategy: Strategy,
    *,
    X_test: Any,
    y_test: NDArray[Any],
    labelled: Sequence[int] | NDArray[np.intp],
    n_instances: int = 10,
    budget: int = 200,
    X_val: Any = None,
    y_val: Any = None,
    first_batch: Strategy | None = herding_query,
    random_state: int = 0,
    first_round: int = 0,
    first_fit: Fit | None = None,
) -> Iterator[Round]:
    """Yield the rounds of a run: fit, evaluate, query, reveal labels, until the budget is spent.

    All randomness of a round depends only on `random_state` and the number of the round, so a run
    resumed from its labels continues exactly as it would have. Runs of different strategies with
    the same `random_state` are paired.

    Parameters
    ----------
    estimator : estimator
        Cloned in every round. Its parameters ``random_state`` are set, and a parameter ``classes``
        that is None is set to all labels of `y` and `y_test`.
    X : array-like, DataFrame or CSR matrix with N rows
        The pool.
    y : array of shape (N,)
        Labels of the pool, hidden from the strategy.
    strategy : callable
        ``strategy(learner, X_pool, n_instances=...)`` returns positions in the pool, or a tuple
        that begins with them. `random_state`, `callback`, `X_val` and `y_val` are passed if it
        accepts them.
    X_test, y_test : array-like
        Data on which the metrics are computed.
    labelled : sequence of int
        Rows of the pool labelled so far; may be empty.
    n_instances : int, default=10
        Size of a batch; the last one may be smaller, to meet the budget.
    budget : int, default=200
        Total number of labels at the end, including the initial ones.
    X_val, y_val : array-like, default=None
        Validation data, passed to ``fit`` if the estimator (of a pipeline, the last step) accepts
        them, otherwise to the strategy.
    first_batch : callable or None, default=herding_query
        Strategy that chooses until labels of two classes are known. Until then no estimator is
        fitted, and all classes count as equally probable. None: `strategy` also chooses the first
        batch, with an untrained estimator from its method ``fit_unlabelled(X)``.
    random_state : int, default=0
        Seed.
    first_round : int, default=0
        Number of the first round.
    first_fit : Fit, default=None
        The first round's fit, which runs of all strategies can share: what ``fit_round`` of
        ``modal_balance.simulation.loop`` returns for the same arguments. None: fit.

    Yields
    ------
    Round

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_query
    >>> from modal_balance.simulation.loop import first_labels, rounds
    >>> X, y = load_iris(return_X_y=True)
    >>> start = first_labels(y, 2)
    >>> run = rounds(MCDropoutClassifier(), X[::2], y[::2], balance_query, X_test=X[1::2],
    ...              y_test=y[1::2], labelled=first_labels(y[::2], 2), n_instances=5, budget=16)
    >>> [(len(r.labelled), len(r.indices)) for r in run]
    [(6, 5), (11, 5), (16, 0)]
    """
    check_integer(n_instances, "n_instances", 1)
    check_validation_pair(X_val, y_val)
    X, y, y_test = as_indexable(X), np.asarray(y), np.asarray(y_test)
    known = np.asarray(labelled, dtype=np.intp)
    n_pool = n_rows(X)
    budget = min(check_integer(budget, "budget", 1), n_pool)
    if budget < len(known):
        raise ValueError(f"budget={budget} is less than the {len(known)} initial labels.")
    number, fit = first_round, first_fit
    while True:
        if fit is None:
            fit = fit_round(
                estimator, X, y, X_test=X_test, y_test=y_test, labelled=known, number=number,
                X_val=X_val, y_val=y_val, first_batch=first_batch, random_state=random_state,
            )  # fmt: skip
        choose = strategy if _has_two_classes(y[known]) else first_batch or strategy
        indices, report, seconds_query = np.empty(0, dtype=np.intp), None, 0.0
        n_asked = min(n_instances, budget - len(known))
        if n_asked > 0:
            left = np.setdiff1d(np.arange(n_pool), known)
            learner = Learner(fit.estimator, _safe_indexing(X, known), y[known])
            reports: list[QueryReport] = []
            given: dict[str, Any] = {"random_state": fit.query_seed, "callback": reports.append}
            if not fit.used_up:
                given |= {"X_val": X_val, "y_val": y_val}
            started = perf_counter()
            chosen = ask(choose, learner, _safe_indexing(X, left), n_asked, given)
            seconds_query = perf_counter() - started
            indices, report = left[chosen], reports[0] if reports else None
        yield Round(
            number, known, indices, fit.estimator, fit.metrics, report, fit.seconds, seconds_query
        )
        if n_asked <= 0:
            return
        known = np.concatenate([known, indices])
        number, fit = number + 1, None


def fit_round(
    estimator: Any,
    X: Any,
    y: NDArray[Any],
    *,
    X_test: Any,
    y_test: NDArray[Any],
    labelled: NDArray[np.intp],
    number: int = 0,
    X_val: Any = None,
    y_val: Any = None,
    first_batch: Strategy | None = herding_query,
    random_state: int = 0,
) -> Fit:
    """Fit on the labels so far, and evaluate. For the arguments, see :func:`rounds`."""
    classes = np.unique(np.concatenate([y, y_test]))
    rng = np.random.RandomState([random_state, number])
    fitted = _prepared(estimator, classes, rng)
    query_seed, torch_seed = draw_seed(rng), draw_seed(rng)
    used_up, seconds = False, 0.0
    if first_batch is not None and not _has_two_classes(y[labelled]):
        proba = np.full((len(y_test), len(classes)), 1 / len(classes))
    else:
        # A skorch net has no random_state: it draws from torch's global one.
        classifier = unwrap(fitted).classifier
        device = classifier.device if isinstance(classifier, NeuralNet) else None
        with seeded(torch_seed, device or "cpu"):
            started = perf_counter()
            if len(labelled):
                rows = _safe_indexing(X, labelled)
                used_up = fit_with_unlabelled(fitted, rows, y[labelled], X, X_val, y_val)
            else:
                _fit_unlabelled(fitted, X)
                used_up = True  # its validation error is that of random predictions
            seconds = perf_counter() - started
            proba = _proba(fitted, X_test, classes)
    metrics = evaluate(np.searchsorted(classes, y_test), proba)
    return Fit(fitted, metrics, query_seed, used_up, seconds)


def _has_two_classes(labels: NDArray[Any]) -> bool:
    return len(np.unique(labels)) >= 2


def _prepared(estimator: Any, classes: NDArray[Any], rng: np.random.RandomState) -> Any:
    """Return a clone that knows all classes and has its own seeds."""
    fresh = clone(estimator)
    parameters = fresh.get_params(deep=True)
    estimators = parameters | {"": fresh}
    declared = {}
    for name, value in parameters.items():
        path = name.split("__")
        if path[-1] == "classes" and value is None:
            # Members of scikit-learn's ensembles are fitted on other labels: 0, 1, ... as seen.
            around = (estimators["__".join(path[:i])] for i in range(len(path) - 1))
            if all(isinstance(outer, KEEP_LABELS) for outer in around):
                declared[name] = classes
    return set_seeds(fresh, rng).set_params(**declared)


def fit_with_unlabelled(
    estimator: Any, X: Any, y: Any, X_unlabelled: Any, X_val: Any = None, y_val: Any = None
) -> bool:
    """Fit an estimator, also on unlabelled and on validation rows if it accepts these.

    The estimator is fitted in place, and the result says whether it used the validation rows.
    ``X_unlabelled`` is passed to a ``fit`` that has a parameter of that name, and ``X_val`` with
    ``y_val`` to a ``fit`` that has a parameter ``X_val``; rows that are None are not passed. If the
    estimator is a pipeline, its last step gets these rows after the other steps, unless one of them
    resamples.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.simulation.loop import fit_with_unlabelled
    >>> fit_with_unlabelled(LogisticRegression(), [[0.0], [1.0]], [0, 1], [[2.0]])
    False
    """
    check_labels_of_net(estimator, y)
    steps = [step for _, step in getattr(estimator, "steps", [])]
    last = steps[-1] if steps else estimator
    given = {
        name: rows
        for name, rows in {"X_val": X_val, "X_unlabelled": X_unlabelled}.items()
        if rows is not None and has_fit_parameter(last, name)
    }
    # Steps that resample do so only during fit.
    if not given or any(hasattr(step, "fit_resample") for step in steps):
        estimator.fit(X, y)
        return False
    if len(steps) > 1:
        before = estimator[:-1]
        X = before.fit_transform(X, y)
        given = {name: before.transform(rows) for name, rows in given.items()}
    used_up = "X_val" in given
    last.fit(X, y, **given, **({"y_val": y_val} if used_up else {}))
    return used_up


def _fit_unlabelled(estimator: Any, X: Any) -> None:
    """Make an estimator predict before the first label."""
    if not hasattr(estimator, "fit_unlabelled"):
        raise ValueError(
            f"{type(estimator).__name__} cannot begin without labels: it has no method "
            "fit_unlabelled(X). Use n_initial=1 or more, a first_batch, or an "
            "MCDropoutClassifier."
        )
    estimator.fit_unlabelled(X)


def _proba(estimator: Any, X: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the predictions (n, C) in the order of the classes; unseen classes get 0."""
    if hasattr(estimator, "predict_proba"):
        known = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        proba = np.zeros((len(known), len(classes)))
        proba[:, np.searchsorted(classes, estimator.classes_)] = known
        return proba
    certain: NDArray[np.float64] = np.eye(len(classes))[
        np.searchsorted(classes, estimator.predict(X))
    ]
    return certain


def ask(
    strategy: Strategy, learner: Any, X_pool: Any, n_instances: int, options: dict[str, Any]
) -> NDArray[np.intp]:
    """Return the positions in the pool that a strategy chooses.

    The strategy gets those of the options that are not None, that it names as parameters, and that
    a ``functools.partial`` has not fixed.
    """
    # Ignore **kwargs: modAL's strategies take any keyword, and pass it to functions that may not.
    parameters = inspect.signature(strategy).parameters
    fixed = getattr(strategy, "keywords", {})
    taken = {
        name: value
        for name, value in options.items()
        if name in parameters and name not in fixed and value is not None
    }
    answer = strategy(learner, X_pool, n_instances=n_instances, **taken)
    chosen = np.asarray(answer[0] if isinstance(answer, tuple) else answer)
    _check_choice(chosen, n_instances, n_rows(X_pool), strategy)
    return chosen


def _check_choice(chosen: NDArray[Any], n_asked: int, n_left: int, strategy: Strategy) -> None:
    name = getattr(getattr(strategy, "func", strategy), "__name__", repr(strategy))
    if chosen.shape != (n_asked,) or not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(
            f"{name} returned an array of shape {chosen.shape} and type {chosen.dtype}. Expected "
            f"{n_asked} positions in the pool."
        )
    if len(np.unique(chosen)) < n_asked or chosen.min() < 0 or chosen.max() >= n_left:
        raise ValueError(
            f"{name} returned {chosen.tolist()}. Expected {n_asked} different positions from 0 to "
            f"{n_left - 1}."
        )
