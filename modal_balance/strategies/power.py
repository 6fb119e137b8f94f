"""Stochastic batches: draws with probabilities proportional to a power of the scores.

S: hypotheses    N: points of the pool    C: classes
"""

from __future__ import annotations

from typing import Any

from ..acquisition.balance import balance_scores, warn_of_random_picks
from ..acquisition.bald import bald_scores
from ..acquisition.top import check_coldness, power_batch
from ..arguments import RandomState, check_integer
from ..equivalence.pairs import edges_beyond
from .coverage import Pairing, check_pairing, pairs_of, sample
from .query import Query


def power_balance_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_pairs: int = 50,
    pairing: Pairing | None = None,
    coldness: float = 1.0,
    tau: float | None = None,
    anneal: float = 0.25,
    X_val: Any = None,
    y_val: Any = None,
    X_reference: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Draw points with probabilities proportional to a power of their BALanCe scores.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_pairs : int, default=50
        K: 2K hypotheses are drawn.
    pairing : {"disjoint", "all"} or None, default=None
        Which pairs of them to compare, see :func:`balance_query`.
    coldness : float, default=1.0
        Power of the scores, >= 0. 0: uniform; as it grows, the points of the highest scores.
    tau : float in [0, 1] or None, default=None
        Radius of an equivalence class. None: see :func:`balance_query`.
    anneal : float, default=0.25
        Ratio of tau to the validation error, >= 0.
    X_val : array-like with M rows, optional
        Labelled validation data, for tau.
    y_val : array-like of shape (M,), optional
        Their labels.
    X_reference : like X_pool, optional
        Points on which hypotheses are compared. Default: the pool.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, in the order in which they were drawn.
    scores : ndarray of shape (n_instances,), float64
        Their BALanCe scores. Left out for learners of modAL 0.4.1.

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
    Zhang, Khan, Grossman, Chen, ICLR 2023 (PowerBALanCe).
    Kirsch et al., *Stochastic batch acquisition: a simple baseline for deep active learning*,
    TMLR 2023, arXiv 2106.12059.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, power_balance_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = power_balance_query(clf, X, n_instances=3, tau=0.01, random_state=0)
    >>> indices.shape
    (3,)
    """
    n_pairs = check_integer(n_pairs, "n_pairs", 1)
    check_pairing(pairing)
    check_coldness(coldness)
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    samples = sample(query, 2 * n_pairs, tau, anneal, X_val, y_val, X_reference)
    edges, weights = edges_beyond(samples.reference_votes, pairs_of(samples, pairing), samples.tau)
    scores = balance_scores(samples.proba, edges, weights)  # (N,)
    indices, chosen_scores = power_batch(
        scores, query.n_instances, coldness=coldness, random_state=query.random_state
    )
    warn_of_random_picks(len(edges), int((chosen_scores == 0).sum()))
    return query.result(indices, chosen_scores)


def power_bald_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    coldness: float = 1.0,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Draw points with probabilities proportional to a power of their BALD scores.

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
    coldness : float, default=1.0
        Power of the scores, >= 0. 0: uniform; as it grows, the batch of :func:`bald_query`.
    random_state : int, RandomState instance or None, default=None
        Decides the hypotheses and breaks ties. With None, NumPy's global state is used.
    verbose : int, default=0
        1 or more: progress bars.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, in the order in which they were drawn.
    scores : ndarray of shape (n_instances,), float64
        Mutual information of label and hypothesis, in nats. Left out for learners of modAL 0.4.1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

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
    >>> indices.shape
    (3,)
    """
    n_samples = check_integer(n_samples, "n_samples", 1)
    check_coldness(coldness)
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    scores = bald_scores(query.sample_proba(n_samples))  # (N,)
    return query.result(
        *power_batch(scores, query.n_instances, coldness=coldness, random_state=query.random_state)
    )
