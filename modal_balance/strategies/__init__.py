"""Query strategies with modAL's signature ``(learner, X_pool, n_instances)``."""

from .._utils.modal_compat import repair_modal
from .balance import balance_query
from .balance_margin import balance_margin_query
from .clustered_margin import clustered_margin_query
from .herding import herding_query, uncertainty_herding_query
from .information import bald_query, batchbald_query, epig_query
from .last_layer import badge_query, coreset_query
from .power import power_balance_query, power_bald_query
from .query import QueryReport
from .random import random_query
from .uncertainty import entropy_query, margin_query, mean_std_query, variation_ratio_query

__all__ = [
    "QueryReport",
    "badge_query",
    "balance_margin_query",
    "balance_query",
    "bald_query",
    "batchbald_query",
    "clustered_margin_query",
    "coreset_query",
    "entropy_query",
    "epig_query",
    "herding_query",
    "margin_query",
    "mean_std_query",
    "power_bald_query",
    "power_balance_query",
    "random_query",
    "uncertainty_herding_query",
    "variation_ratio_query",
]

# A learner is fitted and taught before it queries, so repair modAL as soon as a strategy is
# imported. This costs no time: everything that modAL imports is loaded already.
repair_modal()
