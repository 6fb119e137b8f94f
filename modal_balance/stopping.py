"""Stopping criteria for an active-learning loop.

Call a criterion with the learner once per round; it returns True when it is time to stop::

    until = AnyOf(AccuracyReached(0.9, X_val, y_val), BudgetSpent(200))
    while not until(learner):
        ...  # query, label, teach

Any other callable that takes the learner can be combined with these. Arguments are checked when
a criterion is created.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score

from ._utils.arguments import (
    RandomState,
    as_random_state,
    check_integer,
    check_number,
    check_validation_pair,
    n_rows,
)
from .strategies.edges import edge_share
from .strategies.query import Radius

__all__ = [
    "AccuracyReached",
    "AllOf",
    "AnyOf",
    "BudgetSpent",
    "NoEdgesLeft",
    "PredictionsStable",
]


@dataclass(eq=False)
class AccuracyReached:
    """Stop once the learner is accurate enough on validation data.

    Parameters
    ----------
    target : float in [0, 1]
        The accuracy to reach.
    X_val : array-like with M rows
        Labelled data on which the learner is not trained.
    y_val : array-like of shape (M,)
        Their labels.
    score : callable, default=accuracy_score
        ``score(y_val, predictions)``, at most 1. For imbalanced classes, use for example
        :func:`sklearn.metrics.balanced_accuracy_score`.

    Attributes
    ----------
    accuracy_ : float
        The score in the last round.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.stopping import AccuracyReached
    >>> X, y = load_iris(return_X_y=True)
    >>> until = AccuracyReached(0.9, X[1::2], y[1::2])
    >>> until(LogisticRegression(max_iter=1000).fit(X[::2], y[::2]))
    True
    """

    target: float
    X_val: Any = field(repr=False)
    y_val: Any = field(repr=False)
    score: Callable[[Any, Any], float] = accuracy_score
    accuracy_: float = field(default=math.nan, init=False)

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_number(self.target, "target", 1)
        _check_not_empty(self.X_val, "X_val")
        check_validation_pair(self.X_val, self.y_val)
        _check_callable(self.score, "score", "score(y_val, predictions)")

    def __call__(self, learner: Any) -> bool:
        """Evaluate the learner after a round; return True to stop."""
        self.accuracy_ = float(self.score(self.y_val, _predict(learner, self.X_val)))
        return self.accuracy_ >= self.target


@dataclass(eq=False)
class BudgetSpent:
    """Stop once the labelling budget is spent.

    Parameters
    ----------
    n_labels : int
        The budget, at least 1. Labels known before the first query are included.
    n_labelled : callable or None, default=None
        ``n_labelled(learner)`` returns the number of points labelled so far. None: the length of
        the learner's ``y_training``. modAL's ``ActiveLearner`` has it; a ``DeepActiveLearner``, a
        plain estimator, and a committee (whose members may know different points) do not.

    Attributes
    ----------
    spent_ : int
        Number of points labelled after the last round.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.stopping import BudgetSpent
    >>> y_known = [0, 1, 1]
    >>> until = BudgetSpent(4, n_labelled=lambda learner: len(y_known))
    >>> until(LogisticRegression())
    False
    >>> y_known.append(0)
    >>> until(LogisticRegression())
    True
    """

    n_labels: int
    n_labelled: Callable[[Any], int] | None = None
    spent_: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_integer(self.n_labels, "n_labels")
        if self.n_labelled is not None:
            _check_callable(self.n_labelled, "n_labelled", "n_labelled(learner), or None")

    def __call__(self, learner: Any) -> bool:
        """Evaluate the learner after a round; return True to stop."""
        if self.n_labelled is not None:
            self.spent_ = self.n_labelled(learner)
        elif hasattr(learner, "y_training"):
            self.spent_ = 0 if learner.y_training is None else len(learner.y_training)
        else:
            raise TypeError(
                f"A {type(learner).__name__} does not tell how many labels it has. Pass "
                "n_labelled=, a callable that returns the number, for example "
                "lambda learner: len(y_known)."
            )
        return self.spent_ >= self.n_labels


@dataclass(eq=False)
class NoEdgesLeft:
    """Stop once the hypotheses lie in one equivalence class, with no edge left to cut.

    Hypotheses are drawn from the learner's posterior, and all pairs are compared on the reference
    pool. A pair is an edge if the two predict differently on more than a share tau of the reference
    pool. The share of pairs that are edges is an upper bound of BALanCe's objective for any batch.
    The criterion returns True once this share has been at most ``threshold`` for ``patience``
    rounds.

    Networks under MC dropout often differ by more than a quarter of the error, so with an annealed
    tau this criterion may never stop the loop. Set tau to a disagreement between two networks that
    you can accept, and combine the criterion with a budget.

    Parameters
    ----------
    X_reference : array-like with N rows
        Unlabelled points on which hypotheses are compared, for instance the initial pool.
    tau : float in [0, 1] or None, default=None
        Radius of an equivalence class. None: ``anneal`` times the validation error, as in
        :func:`~modal_balance.balance_query`.
    anneal : float, default=0.25
        Ratio of tau to the validation error, >= 0.
    X_val : array-like with M rows, optional
        Labelled validation data, for tau.
    y_val : array-like of shape (M,), optional
        Their labels.
    n_samples : int, default=50
        Number of hypotheses drawn in each round, at least 2.
    threshold : float in [0, 1], default=0.0
        Largest share of pairs in different classes at which to stop.
    patience : int, default=3
        Number of consecutive rounds that must have such a share, at least 1. More than one is
        safer, because the share fluctuates.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the hypotheses.

    Attributes
    ----------
    share_ : float
        Share of pairs in different classes in the last round.
    tau_ : float
        Radius of an equivalence class in the last round.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing*, ICLR 2023, Eq. 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.stopping import NoEdgesLeft
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::2], y[::2])
    >>> until = NoEdgesLeft(X, tau=0.02, random_state=0)
    >>> until(clf)
    False
    >>> 0 < until.share_ <= 1
    True
    """

    X_reference: Any = field(repr=False)
    tau: float | None = None
    anneal: float = 0.25
    X_val: Any = field(default=None, repr=False)
    y_val: Any = field(default=None, repr=False)
    n_samples: int = 50
    threshold: float = 0.0
    patience: int = 3
    random_state: RandomState = None
    share_: float = field(default=math.nan, init=False)
    tau_: float = field(default=math.nan, init=False)
    _rounds: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_not_empty(self.X_reference, "X_reference")
        Radius(self.tau, self.anneal, self.X_val, self.y_val).check()
        if self.X_val is not None:
            _check_not_empty(self.X_val, "X_val")
        check_integer(self.n_samples, "n_samples", 2)
        check_number(self.threshold, "threshold", 1)
        check_integer(self.patience, "patience")
        as_random_state(self.random_state)

    def __call__(self, learner: Any) -> bool:
        """Evaluate the learner after a round; return True to stop."""
        radius = Radius(self.tau, self.anneal, self.X_val, self.y_val)
        self.share_, self.tau_ = edge_share(
            learner, self.X_reference, self.n_samples, radius, random_state=self.random_state
        )
        self._rounds = self._rounds + 1 if self.share_ <= self.threshold else 0
        return self._rounds >= self.patience


@dataclass(eq=False)
class PredictionsStable:
    """Stop once new labels no longer change the predictions on a fixed set.

    The predictions of each round are compared with those of the round before by Cohen's kappa,
    which corrects their agreement for chance. If both rounds predict the same single class for
    all points, kappa is undefined and the round does not count as stable: a learner that has not
    found a second class has not converged.

    Parameters
    ----------
    X_stop : array-like with N rows
        Points to predict in every round. They need no labels.
    threshold : float in [0, 1], default=0.99
        Smallest kappa that counts as stable.
    patience : int, default=3
        Number of consecutive rounds that must each reach the threshold, at least 1. The paper
        cited below compares their mean with the threshold instead.

    Attributes
    ----------
    kappa_ : float
        Agreement of the last two rounds; NaN after the first round, or if undefined.

    References
    ----------
    Bloodgood, Vijay-Shanker, *A method for stopping active learning based on stabilizing
    predictions and the need for user-adjustable stopping*, CoNLL 2009.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.stopping import PredictionsStable
    >>> X, y = load_iris(return_X_y=True)
    >>> until = PredictionsStable(X, patience=2)
    >>> clf = LogisticRegression(max_iter=1000)
    >>> [until(clf.fit(X[:n], y[:n])) for n in (60, 120, 150, 150, 150)]
    [False, False, False, False, True]
    """

    X_stop: Any = field(repr=False)
    threshold: float = 0.99
    patience: int = 3
    kappa_: float = field(default=math.nan, init=False)
    _last: np.ndarray | None = field(default=None, init=False, repr=False)
    _rounds: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_not_empty(self.X_stop, "X_stop")
        check_number(self.threshold, "threshold", 1)
        check_integer(self.patience, "patience")

    def __call__(self, learner: Any) -> bool:
        """Evaluate the learner after a round; return True to stop."""
        last, self._last = self._last, np.asarray(_predict(learner, self.X_stop))
        self.kappa_ = math.nan if last is None else _kappa(last, self._last)
        self._rounds = self._rounds + 1 if self.kappa_ >= self.threshold else 0
        return self._rounds >= self.patience


class _Combination:
    # Call every criterion in every round, because some compare a round with the one before.
    def __init__(self, *criteria: Callable[[Any], bool]) -> None:
        if not criteria:
            raise ValueError("There is no criterion. Pass at least one.")
        for criterion in criteria:
            if not callable(criterion):
                raise TypeError(
                    "A criterion must be a callable that takes the learner, got "
                    f"{criterion!r}. Pass each criterion as a separate argument."
                )
        self.criteria = criteria
        self.held_: list[Callable[[Any], bool]] = []

    def _ask(self, learner: Any) -> None:
        self.held_ = [criterion for criterion in self.criteria if criterion(learner)]


class AnyOf(_Combination):
    """Stop once any of several criteria is met. All are evaluated in every round.

    Parameters
    ----------
    *criteria : callables
        One or more criteria, as separate arguments. In nested combinations, use each object once:
        :class:`PredictionsStable` and :class:`NoEdgesLeft` count the times they are asked.

    Attributes
    ----------
    held_ : list of callables
        The criteria that returned True in the last round.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.stopping import AccuracyReached, AnyOf, PredictionsStable
    >>> X, y = load_iris(return_X_y=True)
    >>> until = AnyOf(AccuracyReached(0.9, X, y), PredictionsStable(X))
    >>> until(LogisticRegression(max_iter=1000).fit(X, y))
    True
    >>> [type(criterion).__name__ for criterion in until.held_]
    ['AccuracyReached']
    """

    def __call__(self, learner: Any) -> bool:
        """Evaluate the learner after a round; return True to stop."""
        self._ask(learner)
        return len(self.held_) > 0


class AllOf(_Combination):
    """Stop once all of several criteria are met in one round. All are evaluated in every round.

    Parameters
    ----------
    *criteria : callables
        See :class:`AnyOf`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.stopping import AccuracyReached, AllOf, PredictionsStable
    >>> X, y = load_iris(return_X_y=True)
    >>> until = AllOf(AccuracyReached(0.9, X, y), PredictionsStable(X, patience=1))
    >>> clf = LogisticRegression(max_iter=1000).fit(X, y)
    >>> until(clf), until(clf)
    (False, True)
    """

    def __call__(self, learner: Any) -> bool:
        """Evaluate the learner after a round; return True to stop."""
        self._ask(learner)
        return len(self.held_) == len(self.criteria)


def _predict(learner: Any, X: Any) -> Any:
    if not hasattr(learner, "predict"):
        raise TypeError(
            f"A {type(learner).__name__} has no predict method. Pass a modAL learner or a fitted "
            "estimator; for a list of classifiers, a modAL Committee or a VotingClassifier."
        )
    # The data loader of a skorch net draws from torch's global random state.
    with torch.random.fork_rng(devices=[]):
        return learner.predict(X)


def _kappa(before: np.ndarray, after: np.ndarray) -> float:
    one_class = len(np.unique(np.concatenate([before, after]))) == 1
    return math.nan if one_class else float(cohen_kappa_score(before, after))


def _check_callable(function: Any, name: str, call: str) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be a callable {call}, got {function!r}.")


def _check_not_empty(X: Any, name: str) -> None:
    if isinstance(X, str | os.PathLike) or not (
        X is None or hasattr(X, "shape") or hasattr(X, "__len__")
    ):
        raise TypeError(
            f"{name} must be an array or other rows in memory, got {X!r}. Pass the rows themselves."
        )
    if X is None or n_rows(X) == 0:
        raise ValueError(f"{name} is empty. Pass at least one row.")
