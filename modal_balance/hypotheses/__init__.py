"""Frozen hypotheses: posterior samples of an estimator as fixed functions of the input."""

from .draw import draw_hypotheses
from .dropout import DropoutHypotheses
from .last_layer import last_layer_features
from .protocol import (
    GivenHypotheses,
    Hypotheses,
    Part,
    SingleHypothesis,
    StackedHypotheses,
    TransformedHypotheses,
)
from .snapshots import SnapshotHypotheses
from .validation import validation_error, validation_error_on

__all__ = [
    "DropoutHypotheses",
    "GivenHypotheses",
    "Hypotheses",
    "Part",
    "SingleHypothesis",
    "SnapshotHypotheses",
    "StackedHypotheses",
    "TransformedHypotheses",
    "draw_hypotheses",
    "last_layer_features",
    "validation_error",
    "validation_error_on",
]
