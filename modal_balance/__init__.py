"""Batch-BALanCe: deep Bayesian active learning by equivalence classes, for modAL and scikit-learn.

The names below are the public interface.
"""

from . import compat as _compat
from .acquisition import balance_batch, balance_scores
from .equivalence import annealed_tau, disjoint_pairs, edges_beyond
from .estimators import (
    BootstrapCommittee,
    CyclicalSGLD,
    LastLayerLaplace,
    MCDropoutClassifier,
)
from .exceptions import RandomSelectionWarning, UnseenDropoutWarning
from .hypotheses import DropoutHypotheses, Hypotheses, draw_hypotheses
from .strategies import (
    QueryReport,
    badge_query,
    balance_partition_query,
    balance_query,
    bald_query,
    batchbald_query,
    clustered_margin_query,
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
from .versions import __version__ as __version__
from .versions import show_versions

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
    "annealed_tau",
    "badge_query",
    "balance_batch",
    "balance_partition_query",
    "balance_query",
    "balance_scores",
    "bald_query",
    "batchbald_query",
    "clustered_margin_query",
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
    "show_versions",
    "variation_ratio_query",
]
