"""Strategies that maximise mutual information: BALD, BatchBALD and EPIG.

S: hypotheses    N: points of the pool    C: classes    M: target points
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .._utils.arguments import RandomState, check_integer
from ..acquisition.batchbald import iter_batchbald_batch
from ..acquisition.greedy import as_tensors
from ..acquisition.information import bald_scores, epig_scores
from .pool import held_predictions, pool_scores
from .query import Callback, Query
from .uncertainty import query_highest, query_top_scores


def bald_query(
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
    """Choose the points whose labels individually tell most about the hypotheses (BALD).

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
        Mutual information of the label and the hypothesis, in nats.

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
    Houlsby, Huszár, Ghahramani, Lengyel, *Bayesian active learning for classification and
    preference learning*, 2011, arXiv 1112.5745.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, bald_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = bald_query(clf, X, n_instances=3, random_state=0)
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
    return query_top_scores(query, bald_scores)


def batchbald_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    max_configurations: int = 10_000,
    max_pool: int | None = None,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points whose labels together tell most about the hypotheses (BatchBALD).

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
    max_configurations : int, default=10000
        Largest number of label configurations of the chosen points for which gains are exact.
        With more, gains are estimated from sampled configurations.
    max_pool : int or None, default=None
        Largest number of points to choose from. A larger pool is replaced by a random subset
        of this size (at least ``n_instances``). None: use all points; they must fit into memory.
    memory_limit : int, str or None, default=None
        Memory that predictions may take, for example "4GB". None: half of what is free.
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
    gains : ndarray of shape (n_instances,), float64
        Gain of each point in joint mutual information, in nats.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If some points were chosen although their gain is 0.

    References
    ----------
    Kirsch, van Amersfoort, Gal, *BatchBALD*, NeurIPS 2019, arXiv 1906.08158.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, batchbald_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, gains = batchbald_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, gains.shape
    ((3,), (3,))
    """
    max_configurations = check_integer(max_configurations, "max_configurations", 1)
    max_pool = None if max_pool is None else check_integer(max_pool, "max_pool", 1)
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
    hypotheses = query.draw()
    proba, numbers = held_predictions(query, hypotheses, max_pool)
    pending = None if query.X_pending is None else query.predict(hypotheses, query.X_pending)
    picks = iter_batchbald_batch(
        proba,
        query.n_instances,
        pending=pending,
        max_configurations=max_configurations,
        random_state=query.random_state,
    )
    indices, gains = as_tensors(query.with_progress(picks))
    return query.result(indices if numbers is None else numbers[indices], gains)


def epig_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    X_target: Any = None,
    n_targets: int = 100,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points whose labels tell most about predictions on target points (EPIG).

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
    X_target : like X_pool, optional
        Points from the distribution on which the model will be used. Default: a random sample
        of the pool.
    n_targets : int, default=100
        Size M of that sample, at least 1. A pool with fewer points is used whole.
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
        Expected predictive information gain, in nats.

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
    Bickford Smith et al., *Prediction-oriented Bayesian active learning*, AISTATS 2023, arXiv
    2304.08151.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, epig_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = epig_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    n_targets = check_integer(n_targets, "n_targets", 1)
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="hypotheses",
        n_samples=n_samples,
        X_target=X_target,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    X_target = query.X_target
    hypotheses = query.draw()
    if X_target is None and query.source is None:
        proba = query.predict(hypotheses, query.X_pool)  # (S, N, C)
        targets = query.random_state.permutation(query.n_points)[:n_targets]
        scores = epig_scores(proba, proba[:, targets])  # (N,)
    else:
        if X_target is None:
            _, X_target = query.some_rows(min(n_targets, query.n_points))
        score = partial(epig_scores, proba_target=query.predict(hypotheses, X_target))
        scores = pool_scores(query, hypotheses, score)  # (N,)
    return query_highest(query, scores)
