"""Common parts of the BALanCe strategies: predictions, pairs, and covering the edges.

S: hypotheses    N: points of the pool    M: points out for annotation    C: classes    E: edges
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal, NamedTuple

from torch import Tensor
from tqdm.auto import tqdm

from ..acquisition.arguments import check_cover_tolerance
from ..acquisition.balance import iter_balance_batch
from ..acquisition.cover_then_rest import iter_cover_then_rest
from ..acquisition.greedy import as_tensors
from ..acquisition.pair_scan import PairCuts
from ..acquisition.predictions import PoolPredictions
from ..equivalence.pairs import all_pairs, disjoint_pairs, ring_pairs, votes
from ..hypotheses.protocol import Hypotheses
from ..pools.keeping import Keeping
from .inputs import SMALL_POOL
from .pool import held_or_sharded
from .query import Query
from .tau import final_tau, known_tau

Pairing = Literal["auto", "disjoint", "ring", "all"]
PAIRINGS = ("auto", "disjoint", "ring", "all")
Rest = Literal["clusters", "margin", "cover"]
RESTS = ("clusters", "margin", "cover")
# Measured in docs/studies/batch_rules: of what is beside a cover, clusters are worth more than its
# last points, and margins less.
COVER_TOLERANCES = {"clusters": 0.3, "margin": 1e-4, "cover": 1e-4}


class Predictions(NamedTuple):
    """What the hypotheses of a query predict."""

    hypotheses: Hypotheses
    proba: Tensor | None  # (S, N, C), on the pool; None: it is large
    reference: Tensor  # (S, N_ref, C), on the reference pool
    pending: Tensor | None  # (S, M, C), on the points out for annotation
    reference_votes: Tensor  # (S, N_ref), on the reference pool
    tau: float
    complete: bool  # whether the hypotheses are the complete set


def predict_samples(
    query: Query,
    n_samples: int,
    tau: float | None,
    anneal: float,
    X_val: Any,
    y_val: Any,
    X_reference: Any,
) -> Predictions:
    """Check what is left to check, then draw hypotheses and predict all there is to predict."""
    query.resolved.check_has_hypotheses()
    X_reference = query.other_rows(X_reference, "X_reference")
    X_val = query.other_rows(X_val, "X_val")
    tau = known_tau(query.resolved, tau, anneal, X_val, y_val)

    hypotheses = query.draw(n_samples)
    tau = final_tau(tau, hypotheses, anneal, X_val, y_val)
    if query.source is not None and X_reference is None:
        _, X_reference = query.some_rows(SMALL_POOL)
    proba = None if query.source is not None else query.predict(hypotheses, query.X_pool)
    if proba is not None and X_reference is None:
        reference = proba
    else:
        reference = query.predict(hypotheses, X_reference)
    pending = None if query.X_pending is None else query.predict(hypotheses, query.X_pending)
    complete = getattr(hypotheses, "complete", False)
    return Predictions(hypotheses, proba, reference, pending, votes(reference), tau, complete)


def pool_of(
    query: Query, predictions: Predictions, edges: Tensor, keeping: Keeping | None = None
) -> AbstractContextManager[PoolPredictions]:
    """Return the predictions on the pool, with what a scan for edges needs beside them."""
    n_hypotheses = len(predictions.reference)
    return held_or_sharded(
        query,
        predictions.hypotheses,
        PairCuts.of(edges.to(predictions.reference.device), n_hypotheses),
        held=predictions.proba,
        example=predictions.reference,
        keeping=keeping,
    )


def check_pairing(pairing: str) -> None:
    """Raise unless ``pairing`` is known."""
    if pairing not in PAIRINGS:
        raise ValueError(
            f"pairing={pairing!r} is unknown. Choose 'auto', 'disjoint', 'ring' or 'all'."
        )


def check_rest(rest: str, cover_tolerance: float | None) -> None:
    """Raise unless ``rest`` is known and ``cover_tolerance`` is None or in [0, 1)."""
    if rest not in RESTS:
        raise ValueError(f"rest={rest!r} is unknown. Choose 'clusters', 'margin' or 'cover'.")
    if cover_tolerance is not None:
        check_cover_tolerance(cover_tolerance)


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


def select_batch(
    query: Query,
    predictions: Predictions,
    n_pairs: int,
    edges: Tensor,
    weights: Tensor,
    cover_tolerance: float | None,
    rest: Rest,
) -> Any:
    """Choose the batch that covers the edges, and return the result of the query."""
    if cover_tolerance is None:
        cover_tolerance = COVER_TOLERANCES[rest]
    choose: Callable[..., Iterator[tuple[int, float]]] = iter_balance_batch
    if rest != "cover":
        choose = partial(iter_cover_then_rest, rest=rest)
    with pool_of(query, predictions, edges) as pool:
        picks = choose(
            pool,
            edges,
            weights,
            query.n_instances,
            pending=predictions.pending,
            cover_tolerance=cover_tolerance,
            random_state=query.random_state,
        )
        indices, gains = as_tensors(with_progress(picks, query))
    return query.result(indices, gains, tau=predictions.tau, n_pairs=n_pairs, n_edges=len(edges))


def with_progress(picks: Any, query: Query) -> Any:
    """Return the picks behind a progress bar, which is shown where the query is verbose."""
    return tqdm(
        picks, total=query.n_instances, desc="Batch", unit="point", disable=query.verbose < 1
    )
