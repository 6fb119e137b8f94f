"""What all query strategies share: what they work on, and what they return. Written once.

S: hypotheses    N: points of the pool    C: classes
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from torch import Tensor

from ..arguments import RandomState, check_integer, n_rows
from ..hypotheses.draw import draw_hypotheses
from ..hypotheses.protocol import Hypotheses
from .inputs import check_estimator_is_ready, check_rows, check_same_width


@dataclass(frozen=True)
class Query:
    """A checked call of a query strategy.

    Parameters
    ----------
    learner : object
        What the strategy was called with.
    estimator : estimator or committee
        The fitted classifier behind it, or the committee itself.
    X_pool : array-like with N rows
        The pool.
    n_instances : int
        Size of the batch, 1 to N.
    random_state : RandomState
        Source of all randomness of the query.
    verbose : int
        1 or more: progress bars.
    """

    learner: Any
    estimator: Any
    X_pool: Any
    n_instances: int
    random_state: np.random.RandomState
    verbose: int = 0

    @classmethod
    def of(
        cls,
        learner: Any,
        X_pool: Any,
        n_instances: int,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> Query:
        """Return the query, or raise unless learner, pool and batch size fit each other.

        Parameters
        ----------
        learner : ActiveLearner, DeepActiveLearner, Committee or fitted estimator
            What the strategy was called with.
        X_pool : array-like with N rows
            The pool.
        n_instances : int
            Size of the batch.
        random_state : int, RandomState instance or None, default=None
            Source of randomness.
        verbose : int, default=0
            1 or more: progress bars.

        Returns
        -------
        Query

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        estimator = estimator_of(learner)
        X_pool = check_rows(X_pool, "X_pool", estimator)
        n_instances = check_integer(n_instances, "n_instances", 1)
        if n_instances > n_rows(X_pool):
            raise ValueError(
                f"X_pool has {n_rows(X_pool)} rows but n_instances={n_instances}. Ask for at most "
                f"{n_rows(X_pool)}, or pass a larger pool."
            )
        state = check_random_state(random_state)
        return cls(learner, estimator, X_pool, n_instances, state, verbose)

    def other_rows(self, X: Any, name: str) -> Any:
        """Return other data in the form of the pool, or raise unless they have it.

        Parameters
        ----------
        X : array-like or None
            Other rows. None stays None.
        name : str
            What the error message calls them.

        Returns
        -------
        array-like or None
        """
        if X is None:
            return None
        X = check_rows(X, name, self.estimator)
        check_same_width(X, name, self.X_pool)
        return X

    def sample_proba(self, n_samples: int) -> Tensor:
        """Return the predictions of freshly drawn hypotheses on the pool, (S, N, C).

        Parameters
        ----------
        n_samples : int
            S.

        Returns
        -------
        Tensor of shape (S, N, C)
        """
        return self.draw(n_samples).predict_proba_samples(self.X_pool)

    def draw(self, n_samples: int) -> Hypotheses:
        """Draw hypotheses from the estimator.

        Parameters
        ----------
        n_samples : int
            S.

        Returns
        -------
        Hypotheses
        """
        return draw_hypotheses(
            self.estimator, n_samples, random_state=self.random_state, verbose=self.verbose
        )

    def result(self, indices: Tensor, scores: Tensor) -> Any:
        """Return what the learner expects of a strategy.

        Parameters
        ----------
        indices : Tensor of shape (n_instances,), int64
            The chosen points.
        scores : Tensor of shape (n_instances,)
            Their scores.

        Returns
        -------
        ndarray or tuple of ndarray
            See :func:`as_learner_expects`.
        """
        return as_learner_expects(self.learner, indices.numpy(), scores.double().numpy())


def estimator_of(learner: Any) -> Any:
    """Return the estimator of a modAL learner; a committee or an estimator as it is.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of learners or estimator
        What a query strategy is called with.

    Returns
    -------
    estimator or committee
        A fitted classifier, or several.

    Raises
    ------
    TypeError, ValueError
        If it is not a fitted classifier of at least two classes.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies.query import estimator_of
    >>> clf = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    >>> estimator_of(clf) is clf
    True
    """
    is_one = hasattr(learner, "query_strategy") and not hasattr(learner, "learner_list")
    estimator = learner.estimator if is_one else learner
    check_estimator_is_ready(estimator)
    return estimator


def as_learner_expects(learner: Any, indices: np.ndarray, scores: np.ndarray) -> Any:
    """Return what the learner's version of modAL wants of a query strategy.

    modAL 0.4.2 unpacks (indices, metrics). modAL 0.4.1 takes a tuple for a result of the old
    style, so it gets the indices alone.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee or estimator
        What the strategy was called with.
    indices : ndarray of shape (n_instances,)
        The chosen points.
    scores : ndarray of shape (n_instances,)
        Their scores.

    Returns
    -------
    ndarray or tuple of ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies.query import as_learner_expects
    >>> as_learner_expects(LogisticRegression(), np.array([3]), np.array([0.5]))
    (array([3]), array([0.5]))
    """
    queries = [vars(base)["query"] for base in type(learner).__mro__ if "query" in vars(base)]
    takes_metrics = any("return_metrics" in inspect.signature(q).parameters for q in queries)
    if hasattr(learner, "query_strategy") and queries and not takes_metrics:
        return indices
    return indices, scores
