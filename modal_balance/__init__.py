"""Batch-BALanCe: deep Bayesian active learning by equivalence classes, for modAL and scikit-learn.

The names below are the public interface.
"""

from . import compat as _compat
from .acquisition import balance_batch, balance_scores
from .classifier import MCDropoutClassifier
from .equivalence import all_pairs, annealed_tau, disjoint_pairs, edges_beyond, votes
from .exceptions import RandomSelectionWarning, UnseenDropoutWarning
from .hypotheses import DropoutHypotheses, Hypotheses, draw_hypotheses
from .strategies import QueryReport, balance_query

__version__ = "0.1.0"

_compat.repair_modal()

__all__ = [
    "DropoutHypotheses",
    "Hypotheses",
    "MCDropoutClassifier",
    "QueryReport",
    "RandomSelectionWarning",
    "UnseenDropoutWarning",
    "all_pairs",
    "annealed_tau",
    "balance_batch",
    "balance_query",
    "balance_scores",
    "disjoint_pairs",
    "draw_hypotheses",
    "edges_beyond",
    "votes",
]
