"""Acquisition functions: predicted probabilities in, indices and scores out. Pure torch.

Where the paper's equations are:

    Eq. 2              hamming_distances, edges_beyond     equivalence/pairs.py
    Eq. 3              balance_scores                      balance.py
    Eq. 4, Algorithms  balance_batch                       balance.py, on the objective in
    1 and 2                                                objective.py
    Eq. 5              not needed: the closed form is exact; reference/paper_estimators.py has it
    appendix B.3       farthest_first_cells                equivalence/partition.py

``balance_margin.py`` is a rule of this project: the objective first, then low-margin points.
"""

from .balance import balance_batch, balance_scores
from .batchbald import batchbald_batch, conditional_bald_scores
from .diversity import badge_batch, coreset_batch, gradient_embedding
from .herding import herding_batch
from .information import bald_scores, epig_scores
from .predictions import check_probabilities, likelihood_deficit
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
    "herding_batch",
    "likelihood_deficit",
    "margin_scores",
    "mean_std_scores",
    "power_batch",
    "top_batch",
    "variation_ratio_scores",
]
