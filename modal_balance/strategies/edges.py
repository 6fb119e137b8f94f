"""tau and the edges of a query: pairs of hypotheses in different equivalence classes (Eq. 2).

S: hypotheses    N: points of the pool    M: pending points    C: classes    P: pairs    E: edges
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from .._utils.arguments import check_validation_pair, n_rows
from ..acquisition.objective import EdgeDiscrimination
from ..acquisition.predictions import PoolPredictions
from ..equivalence.pairs import (
    all_pairs,
    annealed_tau,
    check_tau,
    disjoint_pairs,
    edges_beyond,
    random_edges,
    ring_pairs,
    votes,
)
from ..equivalence.partition import farthest_first_cells, partition_edges
from ..hypotheses.protocol import Hypotheses
from ..hypotheses.unwrap import UnwrappedLearner
from ..hypotheses.validation import validation_error_of, validation_error_on
from ..pools.caching import CachePolicy
from ..pools.shard import block_rows_for
from ..pools.sources import RowsInMemory
from .pool import held_or_sharded
from .query import SMALL_POOL, Query


def check_tau_arguments(tau: float | None, anneal: float, X_val: Any, y_val: Any) -> None:
    """Raise unless the arguments that decide tau are as described in the strategies."""
    annealed_tau(0.0, anneal)
    check_validation_pair(X_val, y_val)
    if tau is not None:
        check_tau(tau)


def known_tau(
    unwrapped: UnwrappedLearner, tau: float | None, anneal: float, X_val: Any, y_val: Any
) -> float | None:
    """Return tau where it is known before anything is predicted.

    Parameters
    ----------
    unwrapped : UnwrappedLearner
        The classifier or committee.
    tau : float in [0, 1] or None
        The radius as the user gave it.
    anneal : float
        Ratio of tau to the validation error, >= 0.
    X_val, y_val : array-like or None
        Labelled validation data.

    Returns
    -------
    float or None
        None: the error on the validation data will tell, see :func:`final_tau`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or there is nothing to take tau from.
    """
    check_tau_arguments(tau, anneal, X_val, y_val)
    if tau is not None:
        return float(tau)
    if X_val is not None:
        return None
    error = validation_error_of(unwrapped)
    if error is None:
        raise ValueError(
            "tau is unknown: the estimator has no validation error from its last fit. Pass tau=, "
            "or X_val= and y_val=, or hold out validation data when the estimator is fitted "
            "(skorch: train_split; a forest: oob_score=True; a committee: all its members)."
        )
    return annealed_tau(error, anneal)


def final_tau(
    tau: float | None, hypotheses: Hypotheses, anneal: float, X_val: Any, y_val: Any
) -> float:
    """Return tau, from the error of the hypotheses on validation data where it is not yet known.

    Parameters
    ----------
    tau : float or None
        What :func:`known_tau` returned.
    hypotheses : Hypotheses
        The hypotheses of the query.
    anneal : float
        Ratio of tau to the validation error, >= 0.
    X_val, y_val : array-like
        Labelled validation data; not needed where tau is known.

    Returns
    -------
    float
    """
    if tau is not None:
        return tau
    return annealed_tau(validation_error_on(hypotheses, X_val, y_val), anneal)


Pairing = Literal["auto", "disjoint", "ring", "all", "partition"]
PAIRINGS = ("auto", "disjoint", "ring", "all", "partition")


class Predictions(NamedTuple):
    """What the hypotheses of a query predict."""

    hypotheses: Hypotheses
    proba: Tensor | None  # (S, N, C), on the pool; None: it is large
    template: Tensor  # (S, 1, C), on one row: their number, type and device
    pending: Tensor | None  # (S, M, C), on the pending points
    reference_votes: Tensor  # (S, N_ref), on the reference pool
    tau: float
    complete: bool  # whether the hypotheses are the complete set


class Edges(NamedTuple):
    """Pairs of hypotheses that lie in different equivalence classes."""

    ends: Tensor  # (E, 2), int64
    weights: Tensor  # (E,)
    n_pairs: int  # P, how many pairs were compared


def predict_samples(
    query: Query,
    n_samples: int,
    tau: float | None,
    anneal: float,
    X_val: Any,
    y_val: Any,
    X_reference: Any,
) -> Predictions:
    """Check the remaining arguments, then draw hypotheses and predict everything that is needed."""
    query.unwrapped.check_has_hypotheses()
    X_reference = query.other_rows(X_reference, "X_reference")
    X_val = query.other_rows(X_val, "X_val")
    tau = known_tau(query.unwrapped, tau, anneal, X_val, y_val)

    hypotheses = query.draw(n_samples)
    tau = final_tau(tau, hypotheses, anneal, X_val, y_val)
    if query.source is not None and X_reference is None:
        _, X_reference = query.some_rows(SMALL_POOL)
    proba = None if query.source is not None else query.predict(hypotheses, query.X_pool)
    if proba is not None and X_reference is None:
        template, reference_votes = proba[:, :1], votes(proba)
    else:
        template, reference_votes = _reference_votes(query, hypotheses, X_reference)
    pending = None if query.X_pending is None else query.predict(hypotheses, query.X_pending)
    complete = getattr(hypotheses, "complete", False)
    return Predictions(hypotheses, proba, template, pending, reference_votes, tau, complete)


def _reference_votes(query: Query, hypotheses: Hypotheses, X: Any) -> tuple[Tensor, Tensor]:
    """Return the votes on the reference pool (S, N_ref), and the predictions on its first row.

    Block by block: the predictions may take more memory than the pool's are allowed.
    """
    n = n_rows(X)
    if not RowsInMemory.can_slice(X):
        proba = query.predict(hypotheses, X)
        return proba[:, :1], votes(proba)
    source = RowsInMemory(X)
    template = query.predict(hypotheses, source.read(0, 1))
    size = block_rows_for(template)
    blocks = [source.read(start, min(start + size, n)) for start in range(0, n, size)]
    return template, torch.cat([votes(query.predict(hypotheses, X)) for X in blocks], dim=1)


def pool_of(
    query: Query, predictions: Predictions, edges: Edges, cache_policy: CachePolicy | None = None
) -> AbstractContextManager[PoolPredictions]:
    """Return the predictions on the pool, prepared for scans of these edges."""
    n_hypotheses = len(predictions.template)
    return held_or_sharded(
        query,
        predictions.hypotheses,
        EdgeDiscrimination.of(edges.ends.to(predictions.template.device), n_hypotheses),
        held=predictions.proba,
        template=predictions.template,
        cache_policy=cache_policy,
    )


def check_pairing(pairing: str) -> None:
    """Raise unless ``pairing`` is known."""
    if pairing not in PAIRINGS:
        raise ValueError(
            f"pairing={pairing!r} is unknown. Choose 'auto', 'disjoint', 'ring', 'all' or "
            "'partition'."
        )


def edges_of(
    predictions: Predictions,
    pairing: Pairing,
    max_edges: int | None,
    random_state: np.random.RandomState,
) -> Edges:
    """Compare hypotheses on the reference pool, and return the pairs in different classes.

    Parameters
    ----------
    predictions : Predictions
        What the hypotheses predict.
    pairing : {"auto", "disjoint", "ring", "all", "partition"}
        Which hypotheses to compare.
    max_edges : int or None
        Largest number of edges; of more, a random subset is kept.
    random_state : RandomState
        Begins the traversal of "partition", and draws the subset.

    Returns
    -------
    Edges
    """
    n_hypotheses = len(predictions.template)
    if pairing == "partition":
        cells, _ = farthest_first_cells(
            predictions.reference_votes, predictions.tau, random_state=random_state
        )
        ends, weights = partition_edges(cells)
        n_pairs = n_hypotheses * (n_hypotheses - 1) // 2
    else:
        pairs = pairs_of(n_hypotheses, predictions.complete, pairing)
        ends, weights = edges_beyond(predictions.reference_votes, pairs, predictions.tau)
        n_pairs = len(pairs)
    if max_edges is not None:
        ends, weights = random_edges(ends, weights, max_edges, random_state)
    return Edges(ends, weights, n_pairs)


def pairs_of(n_hypotheses: int, complete: bool, pairing: Pairing) -> Tensor:
    """Return the pairs of hypotheses to compare, of shape (P, 2).

    "auto" takes disjoint pairs of draws, as the paper does: further pairs of the same draws hardly
    make the scores steadier. In a complete set no draw can replace a pair, so every pair counts.
    """
    if pairing == "all" or (pairing == "auto" and complete):
        return all_pairs(n_hypotheses)
    if pairing == "ring":
        return ring_pairs(n_hypotheses)
    return disjoint_pairs(n_hypotheses - n_hypotheses % 2)


Item = TypeVar("Item")


def with_progress(picks: Iterable[Item], query: Query) -> Iterable[Item]:
    """Return the picks behind a progress bar, which is shown where the query is verbose."""
    bar: Iterable[Item] = tqdm(
        picks, total=query.n_instances, desc="Batch", unit="point", disable=query.verbose < 1
    )
    return bar
