"""Acquisition functions: predicted probabilities in, indices and scores out. Pure torch."""

from .balance import balance_batch, balance_scores, iter_balance_batch
from .bald import bald_scores
from .batchbald import batchbald_batch, conditional_bald_scores, iter_batchbald_batch
from .diversity import badge_batch, coreset_batch, gradient_embedding
from .epig import epig_scores
from .probabilities import check_probabilities, likelihood_deficit
from .top import power_batch, top_batch
from .uncertainty import entropy_scores, margin_scores, mean_std_scores, variation_ratio_scores

__all__ = [
    "badge_batch",
    "balance_batch",
    "balance_scores",
    "bald_scores",
    "batchbald_batch",
    "check_probabilities",
    "conditional_bald_scores",
    "coreset_batch",
    "entropy_scores",
    "epig_scores",
    "gradient_embedding",
    "iter_balance_batch",
    "iter_batchbald_batch",
    "likelihood_deficit",
    "margin_scores",
    "mean_std_scores",
    "power_batch",
    "top_batch",
    "variation_ratio_scores",
]
