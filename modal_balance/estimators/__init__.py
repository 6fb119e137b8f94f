"""Estimators whose posterior can be sampled."""

from .bootstrap import BootstrapCommittee
from .classifier import MCDropoutClassifier
from .laplace import LastLayerLaplace
from .networks import MLP
from .sgmcmc import CyclicalSGLD

__all__ = [
    "MLP",
    "BootstrapCommittee",
    "CyclicalSGLD",
    "LastLayerLaplace",
    "MCDropoutClassifier",
]
