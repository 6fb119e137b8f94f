"""Strategies that look at the mean prediction or the spread of single points.

S: hypotheses    N: points of the pool    C: classes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..acquisition.top import top_batch
from ..acquisition.uncertainty import (
    entropy_scores,
    margin_scores,
    mean_std_scores,
    variation_ratio_scores,
)
from ..arguments import RandomState, check_integer
from .query import Query


def margin_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose the points whose two most probable classes are closest, by the mean prediction.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses drawn, at least 1.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        One minus the difference of their two largest probabilities.
        Left out for learners of modAL 0.4.1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Scheffer, Decomain, Wrobel, *Active hidden Markov models for information extraction*, 2001.
    Bahri, Jiang, Schuster, Rostamizadeh, *Is margin all you need? An extensive empirical study of
    active learning on tabular data*, 2022, arXiv 2210.03822.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, margin_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = margin_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape
    (3,)
    """
    return top_query(margin_scores, learner, X_pool, n_instances, n_samples, random_state, verbose)


def entropy_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose the points of the largest entropy of the mean prediction.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses drawn, at least 1.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        Their entropies, in nats. Left out for learners of modAL 0.4.1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Shannon, *A mathematical theory of communication*, 1948.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, entropy_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = entropy_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape
    (3,)
    """
    return top_query(entropy_scores, learner, X_pool, n_instances, n_samples, random_state, verbose)


def variation_ratio_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose the points whose most probable class is least probable, by the mean prediction.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses drawn, at least 1.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        One minus their largest probability. Left out for learners of modAL 0.4.1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Freeman, *Elementary applied statistics*, 1965.
    Gal, Islam, Ghahramani, *Deep Bayesian active learning with image data*, ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, variation_ratio_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = variation_ratio_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape
    (3,)
    """
    return top_query(
        variation_ratio_scores, learner, X_pool, n_instances, n_samples, random_state, verbose
    )


def mean_std_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose the points whose probabilities vary most between hypotheses.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses drawn, at least 1.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        Mean over classes of the standard deviation over hypotheses.
        Left out for learners of modAL 0.4.1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Kendall, Badrinarayanan, Cipolla, *Bayesian SegNet*, BMVC 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, mean_std_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = mean_std_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape
    (3,)
    """
    return top_query(
        mean_std_scores, learner, X_pool, n_instances, n_samples, random_state, verbose
    )


def top_query(
    score: Callable[[Tensor], Tensor],
    learner: Any,
    X_pool: Any,
    n_instances: int,
    n_samples: int,
    random_state: RandomState,
    verbose: int,
) -> Any:
    """Choose the points with the highest scores of freshly drawn hypotheses.

    Parameters
    ----------
    score : callable
        Maps predictions (S, N, C) to scores (N,).
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        What the strategy was called with.
    X_pool : array-like with N rows
        The pool.
    n_instances : int
        Size of the batch.
    n_samples : int
        S.
    random_state : int, RandomState instance or None
        Decides the hypotheses and breaks ties.
    verbose : int
        1 or more: progress bars.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool.
    scores : ndarray of shape (n_instances,), float64
        Left out for learners of modAL 0.4.1.
    """
    n_samples = check_integer(n_samples, "n_samples", 1)
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    scores = score(query.sample_proba(n_samples))  # (N,)
    return query.result(*top_batch(scores, query.n_instances, random_state=query.random_state))
