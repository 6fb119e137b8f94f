"""Acquisition functions: predicted probabilities in, indices and scores out. Pure torch."""

from .balance import balance_batch, balance_scores, iter_balance_batch
from .probabilities import check_probabilities, likelihood_deficit

__all__ = [
    "balance_batch",
    "balance_scores",
    "check_probabilities",
    "iter_balance_batch",
    "likelihood_deficit",
]
