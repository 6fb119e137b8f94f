"""Query strategies with modAL's signature. The only layer that knows modAL.

S: hypotheses    N: points of the pool    C: classes    K: pairs    E: edges
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state
from tqdm.auto import tqdm

from .acquisition.balance import iter_balance_batch
from .acquisition.greedy import RandomState
from .equivalence import all_pairs, annealed_tau, check_tau, disjoint_pairs, edges_beyond, votes
from .hypotheses import draw_hypotheses, validation_error, validation_error_on
from .validation import (
    check_estimator_is_ready,
    check_integer,
    check_rows,
    check_same_width,
    n_rows,
)

Pairing = Literal["disjoint", "all"]
PAIRS_OF = {"disjoint": disjoint_pairs, "all": all_pairs}


@dataclass(frozen=True)
class QueryReport:
    """How a query went.

    Parameters
    ----------
    indices : ndarray of shape (n_instances,)
        Positions of the chosen points in the pool, in the order of choice.
    gains : ndarray of shape (n_instances,)
        What each added to the objective.
    tau : float
        Radius of an equivalence class.
    n_pairs : int
        Number of pairs of hypotheses compared.
    n_edges : int
        How many of them lie in different equivalence classes.
    inference_seconds : float
        Time spent on predictions.
    selection_seconds : float
        Time spent on choosing the batch.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> reports = []
    >>> indices, gains = balance_query(clf, X, 3, tau=0.01, random_state=0, report=reports.append)
    >>> reports[0].n_pairs
    50
    """

    indices: np.ndarray
    gains: np.ndarray
    tau: float
    n_pairs: int
    n_edges: int
    inference_seconds: float
    selection_seconds: float


def balance_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_pairs: int = 50,
    pairing: Pairing = "disjoint",
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

    Hypotheses are drawn from the learner's posterior and compared on the reference pool. Pairs
    that differ on more than a share tau of it lie in different equivalence classes and become
    edges; the batch is the one whose labels best tell the two ends of the edges apart, chosen
    greedily by the closed form of the paper's objective.

    tau is, in this order: ``tau``; ``anneal`` times the error on ``X_val, y_val``; ``anneal``
    times the estimator's own validation error from its last fit.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        Its estimator is a :class:`~modal_balance.MCDropoutClassifier`, a skorch classifier whose
        module has ``nn.Dropout*`` layers, or a Pipeline that ends in one.
    X_pool : array, tensor, dict of arrays or DataFrame with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_pairs : int, default=50
        K: 2K hypotheses are drawn.
    pairing : {"disjoint", "all"}, default="disjoint"
        Compare the K disjoint pairs of the 2K hypotheses, as in the paper, or all K (2K - 1).
        The predictions needed are the same; all pairs vary less, and selection takes longer.
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
    if pairing not in PAIRS_OF:
        raise ValueError(f"pairing={pairing!r} is unknown. Choose 'disjoint' or 'all'.")
    if not 0 <= cover_tolerance < 1:
        raise ValueError(f"cover_tolerance must lie in [0, 1), got {cover_tolerance}.")
    estimator = estimator_of(learner)
    X_pool, n_instances = _check_pool(estimator, X_pool, n_instances)
    X_reference = _check_other(X_reference, "X_reference", estimator, X_pool)
    X_pending = _check_other(X_pending, "X_pending", estimator, X_pool)
    X_val = _check_other(X_val, "X_val", estimator, X_pool)
    tau = _known_tau(estimator, tau, anneal, X_val, y_val)
    random_state = check_random_state(random_state)

    started = perf_counter()
    hypotheses = draw_hypotheses(estimator, 2 * n_pairs, random_state=random_state, verbose=verbose)
    if tau is None:
        tau = annealed_tau(validation_error_on(hypotheses, X_val, y_val), anneal)
    proba = hypotheses.predict_proba_samples(X_pool)  # (S, N, C)
    if X_reference is None:
        reference_votes = votes(proba)  # (S, N_ref)
    else:
        reference_votes = votes(hypotheses.predict_proba_samples(X_reference))
    pending = None if X_pending is None else hypotheses.predict_proba_samples(X_pending)
    inferred = perf_counter()

    pairs = PAIRS_OF[pairing](2 * n_pairs)
    edges, weights = edges_beyond(reference_votes, pairs, tau)
    picks = iter_balance_batch(
        proba,
        edges,
        weights,
        n_instances,
        pending=pending,
        cover_tolerance=cover_tolerance,
        random_state=random_state,
    )
    bar = tqdm(picks, total=n_instances, desc="Batch", unit="point", disable=verbose < 1)
    chosen, gained = zip(*bar, strict=True)
    indices, gains = np.array(chosen, dtype=np.int64), np.array(gained)
    if report is not None:
        report(
            QueryReport(
                indices=indices,
                gains=gains,
                tau=tau,
                n_pairs=len(pairs),
                n_edges=len(edges),
                inference_seconds=inferred - started,
                selection_seconds=perf_counter() - inferred,
            )
        )
    return as_learner_expects(learner, indices, gains)


def estimator_of(learner: Any) -> Any:
    """Return the estimator of a modAL learner, or the estimator itself.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or estimator
        What a query strategy is called with.

    Returns
    -------
    estimator
        A fitted classifier.

    Raises
    ------
    TypeError, ValueError
        If it is not a fitted classifier of at least two classes.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies import estimator_of
    >>> clf = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    >>> estimator_of(clf) is clf
    True
    """
    if hasattr(learner, "learner_list"):
        raise TypeError(
            f"{type(learner).__name__} cannot be queried as a whole. Pass one of its learners."
        )
    estimator = learner.estimator if hasattr(learner, "query_strategy") else learner
    check_estimator_is_ready(estimator)
    return estimator


def as_learner_expects(learner: Any, indices: np.ndarray, scores: np.ndarray) -> Any:
    """Return what the learner's version of modAL wants of a query strategy.

    modAL 0.4.2 unpacks (indices, metrics). modAL 0.4.1 takes a tuple for a result of the old
    style, so it gets the indices alone.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or estimator
        What the strategy was called with.
    indices : ndarray of shape (n_instances,)
        The chosen points.
    scores : ndarray of shape (n_instances,)
        Their scores.

    Returns
    -------
    ndarray or tuple of ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies import as_learner_expects
    >>> as_learner_expects(LogisticRegression(), np.array([3]), np.array([0.5]))
    (array([3]), array([0.5]))
    """
    queries = [vars(base)["query"] for base in type(learner).__mro__ if "query" in vars(base)]
    takes_metrics = any("return_metrics" in inspect.signature(q).parameters for q in queries)
    if hasattr(learner, "query_strategy") and queries and not takes_metrics:
        return indices
    return indices, scores


def _check_pool(estimator: Any, X_pool: Any, n_instances: int) -> tuple[Any, int]:
    X_pool = check_rows(X_pool, "X_pool", estimator)
    n_instances = check_integer(n_instances, "n_instances", 1)
    if n_instances > n_rows(X_pool):
        raise ValueError(
            f"X_pool has {n_rows(X_pool)} rows but n_instances={n_instances}. Ask for at most "
            f"{n_rows(X_pool)}, or pass a larger pool."
        )
    return X_pool, n_instances


def _check_other(X: Any, name: str, estimator: Any, X_pool: Any) -> Any:
    """Return X, or None where it was not given or, for pending points, is empty."""
    if X is None or (name == "X_pending" and n_rows(X) == 0):
        return None
    X = check_rows(X, name, estimator)
    check_same_width(X, name, X_pool)
    return X


def _known_tau(
    estimator: Any, tau: float | None, anneal: float, X_val: Any, y_val: Any
) -> float | None:
    """Return tau where it is known before inference, None where validation data will tell."""
    annealed_tau(0.0, anneal)
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val belong together: one was given without the other.")
    if tau is not None:
        check_tau(tau)
        return float(tau)
    if X_val is not None:
        if n_rows(X_val) != len(y_val):
            raise ValueError(f"X_val has {n_rows(X_val)} rows but y_val has {len(y_val)} labels.")
        return None
    error = validation_error(estimator)
    if error is None:
        raise ValueError(
            "tau is unknown: the estimator has no validation error from its last fit. Pass tau=, "
            "or X_val= and y_val=, or hold out validation data when the estimator is fitted "
            "(skorch: train_split)."
        )
    return annealed_tau(error, anneal)
