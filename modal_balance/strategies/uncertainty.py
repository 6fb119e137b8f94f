"""Strategies that score single points by the mean prediction or the spread of the hypotheses.

S: hypotheses    N: points of the pool    C: classes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .._utils.arguments import RandomState
from ..acquisition.top import top_batch, warn_if_equal
from ..acquisition.uncertainty import (
    entropy_scores,
    margin_scores,
    mean_std_scores,
    variation_ratio_scores,
)
from .pool import pool_scores
from .query import Callback, Query


def margin_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points with the lowest margin between the two most probable classes.

    Takes any fitted classifier with ``predict_proba``. One that has no hypotheses counts as a
    single hypothesis.

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    n_samples : int, default=100
        Number of hypotheses to draw, at least 1.
    memory_limit : int, str or None, default=None
        Memory that predictions may take, for example "4GB". None: half of what is free.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. They have no effect here.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        One minus the margin of the mean prediction.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If all points have the same score.

    References
    ----------
    Scheffer, Decomain, Wrobel, *Active hidden Markov models for information extraction*, 2001.

    Bahri, Jiang, Schuster, Rostamizadeh, *Is margin all you need? An extensive empirical study
    of active learning on tabular data*, 2022, arXiv 2210.03822.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, margin_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = margin_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="predictions",
        n_samples=n_samples,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    return query_top_scores(query, margin_scores)


def entropy_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points whose mean prediction has the largest entropy.

    Takes any fitted classifier with ``predict_proba``. One that has no hypotheses counts as a
    single hypothesis.

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    n_samples : int, default=100
        Number of hypotheses to draw, at least 1.
    memory_limit : int, str or None, default=None
        Memory that predictions may take, for example "4GB". None: half of what is free.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. They have no effect here.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        Entropy of the mean prediction, in nats.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If all points have the same score.

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
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="predictions",
        n_samples=n_samples,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    return query_top_scores(query, entropy_scores)


def variation_ratio_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points whose most probable class has the lowest mean probability.

    Takes any fitted classifier with ``predict_proba``. One that has no hypotheses counts as a
    single hypothesis.

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    n_samples : int, default=100
        Number of hypotheses to draw, at least 1.
    memory_limit : int, str or None, default=None
        Memory that predictions may take, for example "4GB". None: half of what is free.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. They have no effect here.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        One minus the largest mean probability.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If all points have the same score.

    References
    ----------
    Freeman, *Elementary applied statistics*, 1965. Gal, Islam, Ghahramani, *Deep Bayesian
    active learning with image data*, ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, variation_ratio_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = variation_ratio_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="predictions",
        n_samples=n_samples,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    return query_top_scores(query, variation_ratio_scores)


def mean_std_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points whose class probabilities vary most between hypotheses.

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    n_samples : int, default=100
        Number of hypotheses to draw, at least 1.
    memory_limit : int, str or None, default=None
        Memory that predictions may take, for example "4GB". None: half of what is free.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. They have no effect here.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, the best first.
    scores : ndarray of shape (n_instances,), float64
        Standard deviation over the hypotheses, averaged over the classes.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If all points have the same score.

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
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="hypotheses",
        n_samples=n_samples,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    return query_top_scores(query, mean_std_scores)


def query_top_scores(query: Query, score: Callable[[Tensor], Tensor]) -> Any:
    """Draw hypotheses and return the points whose predictions (S, N, C) score (N,) highest."""
    hypotheses = query.draw()
    return query_highest(query, pool_scores(query, hypotheses, score))


def query_highest(query: Query, scores: Tensor) -> Any:
    """Return the points with the highest scores (N,)."""
    if query.n_instances < query.n_points:
        warn_if_equal(scores.min().item(), scores.max().item())
    return query.result(*top_batch(scores, query.n_instances, random_state=query.random_state))
