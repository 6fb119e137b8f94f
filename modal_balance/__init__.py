"""Batch-BALanCe: deep Bayesian active learning by equivalence classes, for modAL and scikit-learn.

The names below are the public interface.
"""

from . import compat as _compat
from .acquisition import balance_batch, balance_scores
from .equivalence.pairs import all_pairs, disjoint_pairs, edges_beyond, votes
from .equivalence.tau import annealed_tau
from .estimators.bootstrap import BootstrapCommittee
from .estimators.classifier import MCDropoutClassifier
from .estimators.laplace import LastLayerLaplace
from .estimators.sgmcmc import CyclicalSGLD
from .exceptions import RandomSelectionWarning, UnseenDropoutWarning
from .hypotheses.draw import draw_hypotheses
from .hypotheses.dropout import DropoutHypotheses
from .hypotheses.protocol import Hypotheses
from .strategies import (
    QueryReport,
    badge_query,
    balance_partition_query,
    balance_query,
    bald_query,
    batchbald_query,
    coreset_query,
    entropy_query,
    epig_query,
    margin_query,
    mean_std_query,
    power_balance_query,
    power_bald_query,
    random_query,
    variation_ratio_query,
)

__version__ = "0.1.0"

_compat.repair_modal()

__all__ = [
    "BootstrapCommittee",
    "CyclicalSGLD",
    "DropoutHypotheses",
    "Hypotheses",
    "LastLayerLaplace",
    "MCDropoutClassifier",
    "QueryReport",
    "RandomSelectionWarning",
    "UnseenDropoutWarning",
    "all_pairs",
    "annealed_tau",
    "badge_query",
    "balance_batch",
    "balance_partition_query",
    "balance_query",
    "balance_scores",
    "bald_query",
    "batchbald_query",
    "coreset_query",
    "disjoint_pairs",
    "draw_hypotheses",
    "edges_beyond",
    "entropy_query",
    "epig_query",
    "margin_query",
    "mean_std_query",
    "power_balance_query",
    "power_bald_query",
    "random_query",
    "variation_ratio_query",
    "votes",
]
