"""Batch-BALanCe: deep Bayesian active learning by equivalence classes, for modAL and scikit-learn.

The names below are the public interface.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._utils.versions import __version__ as __version__
    from ._utils.versions import show_versions
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
        balance_margin_query,
        balance_query,
        bald_query,
        batchbald_query,
        clustered_margin_query,
        coreset_query,
        entropy_query,
        epig_query,
        herding_query,
        margin_query,
        mean_std_query,
        power_balance_query,
        power_bald_query,
        random_query,
        uncertainty_herding_query,
        variation_ratio_query,
    )

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
    "balance_margin_query",
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
    "herding_query",
    "margin_query",
    "mean_std_query",
    "power_balance_query",
    "power_bald_query",
    "random_query",
    "show_versions",
    "uncertainty_herding_query",
    "variation_ratio_query",
]

# torch and what is built on it take seconds to import. The command line does without them for its
# help and for merging tables, so they wait until one of the names above is asked for.
_SUBPACKAGES = (
    "acquisition",
    "equivalence",
    "estimators",
    "exceptions",
    "hypotheses",
    "strategies",
)
_SOURCES = (*_SUBPACKAGES, "_utils.versions")


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return _import_module(f".{name}", __name__)
    if name not in __all__ and name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for source in _SOURCES:
        module = _import_module(f".{source}", __name__)
        names = {*__all__, "__version__"} & set(vars(module))
        globals().update({inner: getattr(module, inner) for inner in names})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES, "__version__"})
