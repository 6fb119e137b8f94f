"""Distances between the hypotheses of a learner on its pool."""

from __future__ import annotations

from typing import Any

import modal_balance as mb
from modal_balance.equivalence import all_pairs, hamming_distances, votes


def distance_quantile(
    learner: Any, X_pool: Any, quantile: float, *, n_samples: int, random_state: Any
) -> float:
    """Return a quantile of the distances of all pairs of n_samples hypotheses."""
    drawn = mb.draw_hypotheses(learner, n_samples, random_state=random_state)
    proba = drawn.predict_proba_samples(X_pool)
    distances = hamming_distances(votes(proba), all_pairs(len(proba)))
    return float(distances.quantile(quantile, interpolation="lower"))
