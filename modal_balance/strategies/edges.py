"""tau and the edges of a query: pairs of hypotheses in different equivalence classes (Eq. 2).

S: hypotheses    N: points of the pool    M: pending points    C: classes    P: pairs    E: edges
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import RandomState, n_rows
from ..acquisition.objective import EdgeDiscrimination
from ..acquisition.predictions import PoolPredictions
from ..equivalence.pairs import (
    all_pairs,
    annealed_tau,
    disjoint_pairs,
    edges_beyond,
    random_edges,
    ring_pairs,
    votes,
)
from ..equivalence.partition import farthest_first_cells, partition_edges
from ..hypotheses.draw import draw_from
from ..hypotheses.protocol import Hypotheses
from ..hypotheses.unwrap import UnwrappedLearner, unwrap_learner
from ..hypotheses.validation import validation_error_of, validation_error_on
from ..pools.caching import CachePolicy
from ..pools.shard import block_rows_for
from ..pools.sources import RowsInMemory
from .pool import held_or_sharded
from .query import Query, Radius, check_has_classes
from .rows import SMALL_POOL, check_rows, check_same_width


def known_tau(unwrapped: UnwrappedLearner, radius: Radius) -> float | None:
    """Return tau if it is known before predicting, and None if it depends on the validation data.

    Raises ValueError if there is neither a tau nor a validation error.
    """
    if radius.tau is not None:
        return float(radius.tau)
    if radius.X_val is not None:
        return None
    error = validation_error_of(unwrapped)
    if error is None:
        raise ValueError(
            "tau is unknown: the estimator has no validation error from its last fit. Pass tau=, "
            "or X_val= and y_val=, or hold out validation data when the estimator is fitted "
            "(MCDropoutClassifier: labels of two classes, and not validation=None; skorch: "
            "train_split; a forest: oob_score=True; a committee: all its members)."
        )
    return annealed_tau(error, radius.anneal)


def final_tau(tau: float | None, hypotheses: Hypotheses, radius: Radius) -> float:
    """Return tau; if it is None, compute it from the hypotheses' error on the validation data."""
    if tau is not None:
        return tau
    return annealed_tau(validation_error_on(hypotheses, radius.X_val, radius.y_val), radius.anneal)


def edge_share(
    learner: Any,
    X_reference: Any,
    n_samples: int,
    radius: Radius,
    *,
    random_state: RandomState = None,
) -> tuple[float, float]:
    """Return the share of all pairs of hypotheses that are edges, and tau.

    ``n_samples`` hypotheses, at least 2, are drawn from the learner and compared on
    ``X_reference``. The radius has been checked. Raises TypeError or ValueError if another argument
    is invalid, or tau is unknown.
    """
    unwrapped = unwrap_learner(learner)
    check_has_classes(unwrapped)
    unwrapped.check_has_hypotheses()
    X = check_rows(X_reference, "X_reference", unwrapped)
    if radius.X_val is not None:
        radius = radius._replace(X_val=check_rows(radius.X_val, "X_val", unwrapped))
        check_same_width(radius.X_val, "X_val", X, "X_reference")
    known = known_tau(unwrapped, radius)
    hypotheses = draw_from(unwrapped, n_samples, random_state=random_state)
    tau = final_tau(known, hypotheses, radius)
    reference_votes = votes(hypotheses.predict_proba_samples(X))
    pairs = all_pairs(len(reference_votes))
    edges, _ = edges_beyond(reference_votes, pairs, tau)
    return len(edges) / len(pairs), tau


Pairing = Literal["auto", "disjoint", "ring", "all", "partition"]
PAIRINGS = get_args(Pairing)


class Predictions(NamedTuple):
    """Predictions of the hypotheses of a query."""

    hypotheses: Hypotheses
    proba: Tensor  # (S, N, C), on the pool; (S, 1, C), on the first row of a large pool
    pending: Tensor | None  # (S, M, C), on the pending points
    reference_votes: Tensor  # (S, N_ref), on the reference pool
    tau: float


class Edges(NamedTuple):
    """Pairs of hypotheses that lie in different equivalence classes."""

    ends: Tensor  # (E, 2), int64
    weights: Tensor  # (E,)
    n_pairs: int  # P, number of pairs compared


def predict_samples(query: Query) -> Predictions:
    """Draw the hypotheses of a query and return all predictions that BALanCe needs."""
    assert query.radius is not None
    tau = known_tau(query.unwrapped, query.radius)
    hypotheses = query.draw()
    tau = final_tau(tau, hypotheses, query.radius)
    proba = query.predict(hypotheses, query.X_pool)
    n_block = block_rows_for(proba)
    if query.X_reference is not None:
        reference_votes = _reference_votes(query, hypotheses, query.X_reference, n_block)
    elif query.source is None:
        reference_votes = votes(proba)
    else:
        numbers, rows = query.some_rows(SMALL_POOL)
        with query.names_rows(numbers):
            reference_votes = _reference_votes(query, hypotheses, rows, n_block)
    pending = None if query.X_pending is None else query.predict(hypotheses, query.X_pending)
    return Predictions(hypotheses, proba, pending, reference_votes, tau)


def _reference_votes(query: Query, hypotheses: Hypotheses, X: Any, n_block: int) -> Tensor:
    """Return the votes on the reference pool, (S, N_ref).

    It is predicted in blocks of rows, because its predictions may not fit into memory.
    """
    n = n_rows(X)
    if not RowsInMemory.can_slice(X):
        return votes(query.predict(hypotheses, X))
    source = RowsInMemory(X)
    blocks = [source.read(start, min(start + n_block, n)) for start in range(0, n, n_block)]
    return torch.cat([votes(query.predict(hypotheses, X)) for X in blocks], dim=1)


def pool_of(
    query: Query, predictions: Predictions, edges: Edges, cache_policy: CachePolicy | None = None
) -> AbstractContextManager[PoolPredictions]:
    """Return the predictions on the pool, prepared for scoring these edges."""
    proba = predictions.proba
    cuts = EdgeDiscrimination.of(edges.ends.to(proba.device), len(proba))
    return held_or_sharded(query, predictions.hypotheses, cuts, proba, cache_policy=cache_policy)


def check_pairing(pairing: str) -> None:
    """Raise a ValueError unless ``pairing`` is known."""
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

    If there are more than ``max_edges``, a random subset is kept.
    """
    n_hypotheses = len(predictions.proba)
    if pairing == "partition":
        cells, _ = farthest_first_cells(
            predictions.reference_votes, predictions.tau, random_state=random_state
        )
        ends, weights = partition_edges(cells)
        n_pairs = n_hypotheses * (n_hypotheses - 1) // 2
    else:
        fixed = getattr(predictions.hypotheses, "fixed", False)
        pairs = pairs_of(n_hypotheses, fixed, pairing)
        ends, weights = edges_beyond(predictions.reference_votes, pairs, predictions.tau)
        n_pairs = len(pairs)
    if max_edges is not None:
        ends, weights = random_edges(ends, weights, max_edges, random_state)
    return Edges(ends, weights, n_pairs)


def pairs_of(n_hypotheses: int, fixed: bool, pairing: Pairing) -> Tensor:
    """Return the pairs of hypotheses to compare, of shape (P, 2).

    "auto" takes disjoint pairs of draws, as the paper does: more pairs of the same draws hardly
    make the scores more stable. Of a fixed set, "auto" takes all pairs: trees mostly predict 0 or
    1, so the edges of disjoint pairs are soon used up.
    """
    if pairing == "all" or (pairing == "auto" and fixed):
        return all_pairs(n_hypotheses)
    if pairing == "ring":
        return ring_pairs(n_hypotheses)
    return disjoint_pairs(n_hypotheses - n_hypotheses % 2)
