"""Strategies that look at the network's last layer, and random selection.

N: points of the pool    C: classes    D: features
"""

from __future__ import annotations

from typing import Any

from ..acquisition.diversity import badge_batch, coreset_batch
from ..arguments import RandomState
from ..hypotheses.features import last_layer_features
from .query import Query


def badge_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose points of large and diverse loss gradients (BADGE).

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    random_state : int, RandomState instance or None, default=None
        Decides the draws. With None, NumPy's global state is used.
    verbose : int, default=0
        Without effect: there is nothing to wait for.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, in the order of choice.
    scores : ndarray of shape (n_instances,), float64
        Distance of each gradient from the nearest chosen before it; of the first, its length.
        Left out for learners of modAL 0.4.1.

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
    >>> indices.shape
    (3,)
    """
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    features, proba = last_layer_features(query.estimator, query.X_pool)  # (N, D), (N, C)
    return query.result(
        *badge_batch(features, proba, query.n_instances, random_state=query.random_state)
    )


def coreset_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    X_labelled: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose the points that are furthest from all labelled and chosen ones (core-set).

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    X_labelled : like X_pool, optional
        The labelled points. Default: the learner's ``X_training``; a plain estimator has none.
    random_state : int, RandomState instance or None, default=None
        Breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        Without effect: there is nothing to wait for.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, in the order of choice.
    distances : ndarray of shape (n_instances,), float64
        Distance of each from the nearest labelled or chosen point.
        Left out for learners of modAL 0.4.1.

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
    >>> indices, scores = coreset_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape
    (3,)
    """
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    if X_labelled is None:
        X_labelled = getattr(learner, "X_training", None)
    X_labelled = query.other_rows(X_labelled, "X_labelled")
    features, _ = last_layer_features(query.estimator, query.X_pool)  # (N, D)
    labelled = None
    if X_labelled is not None:
        labelled, _ = last_layer_features(query.estimator, X_labelled)
    return query.result(
        *coreset_batch(
            features,
            query.n_instances,
            labelled_features=labelled,
            random_state=query.random_state,
        )
    )
