"""What the BALanCe strategies share: tau, what the hypotheses say, and covering the edges.

S: hypotheses    N: points of the pool    C: classes    E: edges
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from ..acquisition.balance import iter_balance_batch
from ..acquisition.greedy import as_tensors
from ..arguments import check_integer, n_rows
from ..equivalence.pairs import all_pairs, disjoint_pairs, votes
from ..equivalence.tau import annealed_tau, check_tau
from ..hypotheses.validation import validation_error, validation_error_on
from .query import Query, as_learner_expects

Pairing = Literal["disjoint", "all"]


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


def checked_max_edges(max_edges: int | None) -> int | None:
    """Return ``max_edges``, or raise unless it is None or an integer of at least 1."""
    return None if max_edges is None else check_integer(max_edges, "max_edges", 1)


def check_cover_tolerance(cover_tolerance: float) -> None:
    """Raise unless ``cover_tolerance`` lies in [0, 1)."""
    if not 0 <= cover_tolerance < 1:
        raise ValueError(f"cover_tolerance must lie in [0, 1), got {cover_tolerance}.")


def pending_rows(query: Query, X_pending: Any) -> Any:
    """Return the pending points in the form of the pool, None where there are none."""
    if X_pending is None or n_rows(X_pending) == 0:
        return None
    return query.other_rows(X_pending, "X_pending")


class Samples(NamedTuple):
    """What the hypotheses of a query say."""

    proba: Tensor  # (S, N, C), on the pool
    pending: Tensor | None  # (S, M, C), on the pending points
    reference_votes: Tensor  # (S, N_ref), on the reference pool
    tau: float
    complete: bool  # whether the hypotheses are all there are
    seconds: float


def sample(
    query: Query,
    n_hypotheses: int,
    tau: float | None,
    anneal: float,
    X_val: Any,
    y_val: Any,
    X_reference: Any,
    X_pending: Any = None,
) -> Samples:
    """Check what is left to check, then draw hypotheses and predict all there is to predict."""
    X_reference = query.other_rows(X_reference, "X_reference")
    X_val = query.other_rows(X_val, "X_val")
    tau = _known_tau(query.estimator, tau, anneal, X_val, y_val)

    started = perf_counter()
    hypotheses = query.draw(n_hypotheses)
    if tau is None:
        tau = annealed_tau(validation_error_on(hypotheses, X_val, y_val), anneal)
    proba = hypotheses.predict_proba_samples(query.X_pool)  # (S, N, C)
    if X_reference is None:
        reference_votes = votes(proba)  # (S, N_ref)
    else:
        reference_votes = votes(hypotheses.predict_proba_samples(X_reference))
    pending = None if X_pending is None else hypotheses.predict_proba_samples(X_pending)
    complete = getattr(hypotheses, "complete", False)
    return Samples(proba, pending, reference_votes, tau, complete, perf_counter() - started)


def check_pairing(pairing: Pairing | None) -> None:
    """Raise unless ``pairing`` is known."""
    if pairing not in ("disjoint", "all", None):
        raise ValueError(f"pairing={pairing!r} is unknown. Choose 'disjoint', 'all' or None.")


def pairs_of(samples: Samples, pairing: Pairing | None) -> Tensor:
    """Return the pairs of hypotheses to compare, of shape (P, 2).

    Draws of a posterior cost a prediction each and another pair is as good, so that the paper
    takes disjoint ones. Where the hypotheses are all there are, every pair counts.
    """
    n_hypotheses = len(samples.proba)
    if pairing == "all" or (pairing is None and samples.complete):
        return all_pairs(n_hypotheses)
    return disjoint_pairs(n_hypotheses - n_hypotheses % 2)


def cover(
    query: Query,
    samples: Samples,
    n_pairs: int,
    edges: Tensor,
    weights: Tensor,
    cover_tolerance: float,
    report: Callable[[QueryReport], object] | None,
) -> Any:
    """Choose the batch that covers the edges, report how it went, and return the result."""
    started = perf_counter()
    picks = iter_balance_batch(
        samples.proba,
        edges,
        weights,
        query.n_instances,
        pending=samples.pending,
        cover_tolerance=cover_tolerance,
        random_state=query.random_state,
    )
    bar = tqdm(
        picks, total=query.n_instances, desc="Batch", unit="point", disable=query.verbose < 1
    )
    indices, gains = (part.numpy() for part in as_tensors(bar))
    if report is not None:
        report(
            QueryReport(
                indices=indices,
                gains=gains,
                tau=samples.tau,
                n_pairs=n_pairs,
                n_edges=len(edges),
                inference_seconds=samples.seconds,
                selection_seconds=perf_counter() - started,
            )
        )
    return as_learner_expects(query.learner, indices, gains)


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
            "(skorch: train_split; a forest: oob_score=True; a committee: all its members)."
        )
    return annealed_tau(error, anneal)
