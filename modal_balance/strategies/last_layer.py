"""Strategies that use the last layer of a network: BADGE and core-set selection.

N: points of the pool    M: pending points    C: classes    D: features
"""

from __future__ import annotations

from typing import Any

import torch

from .._utils.arguments import RandomState
from ..acquisition.diversity import badge_batch, coreset_batch
from .pool import pool_features
from .query import Callback, Query, labelled_rows


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
    """Choose points with large and diverse loss gradients (BADGE).

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        The learner to query for: a :class:`~modal_balance.MCDropoutClassifier` or a skorch
        classifier, which may be the last step of a pipeline.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    memory_limit : int, str or None, default=None
        Memory that last-layer features may take, for example "4GB". None: half of what is free.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. The batch takes them into account.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, in the order of choice.
    scores : ndarray of shape (n_instances,), float64
        Distance of each gradient to the nearest pending or chosen one. For the first point, if
        nothing is pending, the norm of its gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

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
    """Choose the points furthest from all labelled and chosen points (core-set).

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        The learner to query for: a :class:`~modal_balance.MCDropoutClassifier` or a skorch
        classifier, which may be the last step of a pipeline.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    X_labelled : like X_pool, optional
        The labelled points. Default: the learner's ``X_training``; a plain estimator keeps
        none, which is warned about.
    memory_limit : int, str or None, default=None
        Memory that last-layer features may take, for example "4GB". None: half of what is free.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. The batch takes them into account.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, in the order of choice.
    distances : ndarray of shape (n_instances,), float64
        Distance of each point to the nearest labelled, pending or chosen one.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

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
    >>> indices, distances = coreset_query(
    ...     clf, X, n_instances=3, X_labelled=X[::5], random_state=0
    ... )
    >>> indices.shape, distances.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        X_labelled=labelled_rows(learner, X_labelled),
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
