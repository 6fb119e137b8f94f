"""Strategies that look at the mean prediction or the spread of single points.

S: hypotheses    N: points of the pool    C: classes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .._utils.arguments import RandomState
from ..acquisition.top import top_batch
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
    """Choose the points whose two most probable classes are closest, by the mean prediction.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for. See :func:`~modal_balance.draw_hypotheses` for the
        estimators whose hypotheses can be drawn.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses, at least 1. Of an ensemble or a committee with fewer members,
        all are used.
    memory_limit : int, str or None, default=None
        Memory that the predictions on a pool of more than 10,000 rows may take: bytes, or a
        text such as "4GB"; on a Dask cluster, of each worker. None: half of what is free.
    X_pending : like X_pool, optional
        Points whose labels are pending, left out of ``X_pool``. They have no effect here,
        because points are scored one by one.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query: the hypotheses and the order among equal
        scores. None: NumPy's global state.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query, for instance a
        list's ``append``.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, never DataFrame labels; the best first.
    scores : ndarray of shape (n_instances,), float64
        One minus the difference of the two largest probabilities. Left out for learners of
        modAL 0.4.1, whose strategies return indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

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
        needs="hypotheses",
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
    """Choose the points of the largest entropy of the mean prediction.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for. See :func:`~modal_balance.draw_hypotheses` for the
        estimators whose hypotheses can be drawn.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses, at least 1. Of an ensemble or a committee with fewer members,
        all are used.
    memory_limit : int, str or None, default=None
        Memory that the predictions on a pool of more than 10,000 rows may take: bytes, or a
        text such as "4GB"; on a Dask cluster, of each worker. None: half of what is free.
    X_pending : like X_pool, optional
        Points whose labels are pending, left out of ``X_pool``. They have no effect here,
        because points are scored one by one.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query: the hypotheses and the order among equal
        scores. None: NumPy's global state.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query, for instance a
        list's ``append``.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, never DataFrame labels; the best first.
    scores : ndarray of shape (n_instances,), float64
        Their entropies, in nats. Left out for learners of modAL 0.4.1, whose strategies
        return indices alone.

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
    """Choose the points whose most probable class is least probable, by the mean prediction.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for. See :func:`~modal_balance.draw_hypotheses` for the
        estimators whose hypotheses can be drawn.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses, at least 1. Of an ensemble or a committee with fewer members,
        all are used.
    memory_limit : int, str or None, default=None
        Memory that the predictions on a pool of more than 10,000 rows may take: bytes, or a
        text such as "4GB"; on a Dask cluster, of each worker. None: half of what is free.
    X_pending : like X_pool, optional
        Points whose labels are pending, left out of ``X_pool``. They have no effect here,
        because points are scored one by one.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query: the hypotheses and the order among equal
        scores. None: NumPy's global state.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query, for instance a
        list's ``append``.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, never DataFrame labels; the best first.
    scores : ndarray of shape (n_instances,), float64
        One minus their largest probability. Left out for learners of modAL 0.4.1, whose
        strategies return indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

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
        needs="hypotheses",
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
    """Choose the points whose probabilities vary most between hypotheses.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for. See :func:`~modal_balance.draw_hypotheses` for the
        estimators whose hypotheses can be drawn.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses, at least 1. Of an ensemble or a committee with fewer members,
        all are used.
    memory_limit : int, str or None, default=None
        Memory that the predictions on a pool of more than 10,000 rows may take: bytes, or a
        text such as "4GB"; on a Dask cluster, of each worker. None: half of what is free.
    X_pending : like X_pool, optional
        Points whose labels are pending, left out of ``X_pool``. They have no effect here,
        because points are scored one by one.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query: the hypotheses and the order among equal
        scores. None: NumPy's global state.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query, for instance a
        list's ``append``.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, never DataFrame labels; the best first.
    scores : ndarray of shape (n_instances,), float64
        Mean over classes of the standard deviation over hypotheses. Left out for learners
        of modAL 0.4.1, whose strategies return indices alone.

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
    """Choose the points with the highest scores of freshly drawn hypotheses.

    Parameters
    ----------
    query : Query
        The call of the strategy.
    score : callable
        Maps predictions (S, N, C) to scores (N,).

    Returns
    -------
    ndarray or tuple of ndarray
        What the learner expects.
    """
    hypotheses = query.draw()
    scores = pool_scores(query, hypotheses, score)  # (N,)
    return query.result(*top_batch(scores, query.n_instances, random_state=query.random_state))
