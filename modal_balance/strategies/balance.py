"""Batch-BALanCe, with edges between pairs of hypotheses or between the cells of a partition.

K: pairs    E: edges
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import RandomState, check_integer
from ..equivalence.pairs import edges_beyond, random_edges
from ..equivalence.partition import farthest_first_cells, partition_edges
from .coverage import (
    Pairing,
    QueryReport,
    check_cover_tolerance,
    check_pairing,
    checked_max_edges,
    cover,
    pairs_of,
    pending_rows,
    sample,
)
from .query import Query


def balance_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_pairs: int = 50,
    pairing: Pairing | None = None,
    max_edges: int | None = None,
    tau: float | None = None,
    anneal: float = 0.25,
    cover_tolerance: float = 1e-4,
    X_val: Any = None,
    y_val: Any = None,
    X_reference: Any = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    report: Callable[[QueryReport], object] | None = None,
) -> Any:
    """Choose the points to label by Batch-BALanCe.

    Hypotheses are drawn from the learner's posterior, or are the members of an ensemble or a
    committee, and compared on the reference pool. Pairs that differ on more than a share tau of it
    lie in different equivalence classes and become edges; the batch is the one whose labels best
    tell the two ends of the edges apart, chosen greedily by the closed form of the paper's
    objective.

    tau is, in this order: ``tau``; ``anneal`` times the error on ``X_val, y_val``; ``anneal``
    times the estimator's own validation error from its last fit: out of bag for a forest, the mean
    of the members' for a committee.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        Its estimator is a :class:`~modal_balance.MCDropoutClassifier`, a skorch classifier whose
        module has ``nn.Dropout*`` layers, a scikit-learn forest, BaggingClassifier or
        VotingClassifier, an object with ``predict_proba_samples``, or a Pipeline or a search over
        one of these. The members of a Committee may be any classifiers. See
        :func:`~modal_balance.draw_hypotheses`.
    X_pool : array, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_pairs : int, default=50
        K: 2K hypotheses are drawn. Of an ensemble or a committee with fewer members, all are used.
    pairing : {"disjoint", "all"} or None, default=None
        Compare the K disjoint pairs of the 2K hypotheses, as in the paper, or all K (2K - 1).
        The predictions needed are the same; all pairs vary less, and selection takes longer.
        Of an odd number, disjoint pairs leave the last hypothesis out. None: disjoint pairs of
        hypotheses that were drawn, all pairs where they are all there are: 2K trees of a forest or
        fewer, or the members of a committee without dropout.
    max_edges : int or None, default=None
        Keep at most so many edges, a random subset of them. None: keep all.
    tau : float in [0, 1] or None, default=None
        Radius of an equivalence class.
    anneal : float, default=0.25
        Ratio of tau to the validation error, >= 0.
    cover_tolerance : float in [0, 1), default=1e-4
        Share of the edge weight under which a further cover begins, see
        :func:`~modal_balance.balance_batch`. 0 gives the paper's objective to the end.
    X_val : array-like with M rows, optional
        Labelled validation data, for tau.
    y_val : array-like of shape (M,), optional
        Their labels.
    X_reference : like X_pool, optional
        Points on which hypotheses are compared. Default: the pool.
    X_pending : like X_pool, optional
        Points already out for annotation, left out of X_pool. The batch does not ask again for
        what they will tell.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.
    report : callable or None, default=None
        Called with the :class:`QueryReport` of the query, for instance a list's ``append``.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, in the order of choice: rows, never DataFrame labels.
    gains : ndarray of shape (n_instances,), float64
        What each adds to the objective. Left out for learners of modAL 0.4.1, whose strategies
        return indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If no pair is further apart than tau, so that the batch is random, or part of it is.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing*, ICLR 2023, Eq. 2-4.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, gains = balance_query(clf, X, n_instances=3, tau=0.01, random_state=0)
    >>> indices.shape, gains.shape
    ((3,), (3,))
    """
    n_pairs = check_integer(n_pairs, "n_pairs", 1)
    max_edges = checked_max_edges(max_edges)
    check_pairing(pairing)
    check_cover_tolerance(cover_tolerance)
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    pending = pending_rows(query, X_pending)
    samples = sample(query, 2 * n_pairs, tau, anneal, X_val, y_val, X_reference, pending)
    pairs = pairs_of(samples, pairing)
    edges, weights = edges_beyond(samples.reference_votes, pairs, samples.tau)
    if max_edges is not None:
        edges, weights = random_edges(edges, weights, max_edges, query.random_state)
    return cover(query, samples, len(pairs), edges, weights, cover_tolerance, report)


def balance_partition_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    tau: float | None = None,
    anneal: float = 0.25,
    cover_tolerance: float = 1e-4,
    max_edges: int | None = None,
    X_val: Any = None,
    y_val: Any = None,
    X_reference: Any = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    report: Callable[[QueryReport], object] | None = None,
) -> Any:
    """Choose the points to label by BALanCe-Partition.

    The equivalence classes are built explicitly, by a farthest-first traversal of the hypotheses
    with radius tau; every pair of hypotheses in different classes is an edge.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses, at least 2. Of an ensemble with fewer members, all are used.
    tau : float in [0, 1] or None, default=None
        Radius of a cell of the partition. None: see :func:`balance_query`.
    anneal : float, default=0.25
        Ratio of tau to the validation error, >= 0.
    cover_tolerance : float in [0, 1), default=1e-4
        Share of the edge weight under which a further cover begins.
    max_edges : int or None, default=None
        Keep at most so many edges, a random subset of them. None: keep all.
    X_val : array-like with M rows, optional
        Labelled validation data, for tau.
    y_val : array-like of shape (M,), optional
        Their labels.
    X_reference : like X_pool, optional
        Points on which hypotheses are compared. Default: the pool.
    X_pending : like X_pool, optional
        Points already out for annotation, left out of X_pool.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.
    report : callable or None, default=None
        Called with the :class:`QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, in the order of choice.
    gains : ndarray of shape (n_instances,), float64
        What each adds to the objective. Left out for learners of modAL 0.4.1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If all hypotheses lie in one cell, so that the batch is random, or part of it is.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, appendix B.3.
    Gonzalez, *Clustering to minimize the maximum intercluster distance*, 1985.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_partition_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = balance_partition_query(clf, X, n_instances=3, tau=0.01, random_state=0)
    >>> indices.shape
    (3,)
    """
    n_samples = check_integer(n_samples, "n_samples", 2)
    max_edges = checked_max_edges(max_edges)
    check_cover_tolerance(cover_tolerance)
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    pending = pending_rows(query, X_pending)
    samples = sample(query, n_samples, tau, anneal, X_val, y_val, X_reference, pending)
    cells, _ = farthest_first_cells(
        samples.reference_votes, samples.tau, random_state=query.random_state
    )
    edges, weights = partition_edges(cells)
    n_pairs = len(cells) * (len(cells) - 1) // 2
    if max_edges is not None:
        edges, weights = random_edges(edges, weights, max_edges, query.random_state)
    return cover(query, samples, n_pairs, edges, weights, cover_tolerance, report)
