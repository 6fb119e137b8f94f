"""Strategies that look at a network's last layer.

N: points of the pool    M: pending points    C: classes    D: features
"""

from __future__ import annotations

from typing import Any

import torch

from .._utils.arguments import RandomState
from ..acquisition.diversity import badge_batch, coreset_batch
from .pool import pool_features
from .query import Callback, Query


def badge_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose points of large and diverse loss gradients (BADGE).

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        The learner to query for. Its classifier is a
        :class:`~modal_balance.MCDropoutClassifier` or a skorch classifier, which may be the
        last step of a pipeline.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    memory_limit : int, str or None, default=None
        Memory that the predictions on a pool of more than 10,000 rows may take: bytes, or a
        text such as "4GB"; on a Dask cluster, of each worker. None: half of what is free.
    X_pending : like X_pool, optional
        Points whose labels are pending, left out of ``X_pool``. The batch does not ask again
        for what their labels will tell.
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
        Positions of the chosen rows in the pool, never DataFrame labels; in the order of
        choice.
    scores : ndarray of shape (n_instances,), float64
        Distance of each gradient from the nearest pending or chosen one; of the first of
        all, its length. Left out for learners of modAL 0.4.1, whose strategies return
        indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Ash, Zhang, Krishnamurthy, Langford, Agarwal, *Deep batch active learning by diverse,
    uncertain gradient lower bounds*, ICLR 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, badge_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = badge_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    features, proba = pool_features(query)  # (N, D), (N, C)
    pending, proba_pending = (
        (None, None) if query.X_pending is None else query.features(query.X_pending)
    )  # (M, D), (M, C)
    return query.result(
        *badge_batch(
            features,
            proba,
            query.n_instances,
            pending_features=pending,
            pending_proba=proba_pending,
            random_state=query.random_state,
        )
    )


def coreset_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    X_labelled: Any = None,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points that are furthest from all labelled and chosen ones (core-set).

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        The learner to query for. Its classifier is a
        :class:`~modal_balance.MCDropoutClassifier` or a skorch classifier, which may be the
        last step of a pipeline.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    X_labelled : like X_pool, optional
        The labelled points. Default: the learner's ``X_training``; a plain estimator has
        none.
    memory_limit : int, str or None, default=None
        Memory that the predictions on a pool of more than 10,000 rows may take: bytes, or a
        text such as "4GB"; on a Dask cluster, of each worker. None: half of what is free.
    X_pending : like X_pool, optional
        Points whose labels are pending, left out of ``X_pool``. The batch does not ask again
        for what their labels will tell.
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
        Positions of the chosen rows in the pool, never DataFrame labels; in the order of
        choice.
    distances : ndarray of shape (n_instances,), float64
        Distance of each from the nearest labelled, pending or chosen point. Left out for
        learners of modAL 0.4.1, whose strategies return indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Sener, Savarese, *Active learning for convolutional neural networks: a core-set approach*,
    ICLR 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, coreset_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, distances = coreset_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, distances.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        X_labelled=getattr(learner, "X_training", None) if X_labelled is None else X_labelled,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    features, _ = pool_features(query)  # (N, D)
    known = [query.features(X)[0] for X in (query.X_labelled, query.X_pending) if X is not None]
    return query.result(
        *coreset_batch(
            features,
            query.n_instances,
            labelled_features=torch.cat(known) if known else None,
            random_state=query.random_state,
        )
    )
