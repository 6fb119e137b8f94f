"""Stochastic batches: points drawn with probabilities proportional to a power of their scores.

S: hypotheses    N: points of the pool    C: classes
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .._utils.arguments import RandomState, check_number, draw_seed
from ..acquisition.balance import warn_of_random_picks
from ..acquisition.batchbald import conditional_bald_scores
from ..acquisition.objective import BalanceObjective
from ..acquisition.top import power_batch
from .edges import Pairing, check_pairing, edges_of, pool_of, predict_samples
from .pool import pool_scores
from .query import Callback, Query, Radius


def power_balance_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    pairing: Pairing = "auto",
    coldness: float = 1.0,
    tau: float | None = None,
    anneal: float = 0.25,
    X_val: Any = None,
    y_val: Any = None,
    X_reference: Any = None,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Draw points with probabilities proportional to a power of their BALanCe scores.

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
        Number of hypotheses to draw, at least 2.
    pairing : {"auto", "disjoint", "ring", "all", "partition"}, default="auto"
        Which hypotheses to compare.
    coldness : float, default=1.0
        Power of the scores, >= 0. 0 draws uniformly; larger values favour high scores more.
    tau : float in [0, 1] or None, default=None
        Radius of an equivalence class. None: ``anneal`` times the validation error.
    anneal : float, default=0.25
        Ratio of tau to the validation error, >= 0.
    X_val, y_val : like X_pool with M rows, and array-like of shape (M,), optional
        Validation data from which tau is computed.
    X_reference : like X_pool, optional
        Points on which hypotheses are compared. Default: the pool, or 10,000 rows of it.
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
        Positions of the chosen rows in the pool, in the order in which they were drawn.
    scores : ndarray of shape (n_instances,), float64
        BALanCe scores of the points.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If points were chosen at random: all of them if no pair is further apart than tau, some of
        them if no other point cuts an edge.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via
    Equivalence Class Annealing*, ICLR 2023: PowerBALanCe.

    Kirsch et al., *Stochastic batch acquisition: a simple baseline for deep active learning*,
    TMLR 2023, arXiv 2106.12059.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, power_balance_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = power_balance_query(clf, X, n_instances=3, tau=0.01, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    check_pairing(pairing)
    check_number(coldness, "coldness")
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="hypotheses",
        n_samples=n_samples,
        min_samples=2,
        radius=Radius(tau, anneal, X_val, y_val),
        X_reference=X_reference,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    predictions = predict_samples(query)
    edges = edges_of(predictions, pairing, None, query.random_state)
    with pool_of(query, predictions, edges, cache_policy="nothing") as pool:
        objective = BalanceObjective(pool, edges.ends, edges.weights)
        objective.add_pending(predictions.pending)
        scores = objective.gains()  # (N,)
    indices, chosen_scores = power_batch(
        scores, query.n_instances, coldness=coldness, random_state=query.random_state
    )
    warn_of_random_picks(len(edges.ends), int((chosen_scores == 0).sum()))
    return query.result(
        indices,
        chosen_scores,
        tau=predictions.tau,
        n_pairs=edges.n_pairs,
        n_edges=len(edges.ends),
    )


def power_bald_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    coldness: float = 1.0,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Draw points with probabilities proportional to a power of their BALD scores.

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
    coldness : float, default=1.0
        Power of the scores, >= 0. 0 draws uniformly; larger values favour high scores more.
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
        Positions of the chosen rows in the pool, in the order in which they were drawn.
    scores : ndarray of shape (n_instances,), float64
        Mutual information of the label and the hypothesis, in nats.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    References
    ----------
    Kirsch et al., *Stochastic batch acquisition: a simple baseline for deep active learning*,
    TMLR 2023, arXiv 2106.12059.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, power_bald_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = power_bald_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    check_number(coldness, "coldness")
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
    pending = None if query.X_pending is None else query.predict(hypotheses, query.X_pending)
    # All blocks of a large pool must use the same configurations of the pending labels.
    seed = query.random_state if query.source is None else draw_seed(query.random_state)
    score = partial(conditional_bald_scores, pending=pending, random_state=seed)
    scores = pool_scores(query, hypotheses, score)  # (N,)
    return query.result(
        *power_batch(scores, query.n_instances, coldness=coldness, random_state=query.random_state)
    )
