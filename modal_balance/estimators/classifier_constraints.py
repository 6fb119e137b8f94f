"""What the parameters of MCDropoutClassifier may be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from .parameters import COUNT, DEVICE, POSITIVE, Constraint, between, one_of

__all__ = ["CLASSIFIER_CONSTRAINTS"]

_SHARE = between(0, 1, "a number in [0, 1)", low_itself=True)
_PART = between(0, 1, "a number in (0, 1)")

CLASSIFIER_CONSTRAINTS: Mapping[str, Constraint] = {
    "hidden_layer_sizes": Constraint(
        lambda sizes: isinstance(sizes, (list, tuple)) and all(map(COUNT.holds, sizes)),
        "a tuple of integers of at least 1, such as (64, 64)",
    ),
    "dropout": _SHARE,
    "input_dropout": _SHARE,
    "module": Constraint(
        lambda module: module is None or (callable(module) and not isinstance(module, nn.Module)),
        "a callable module(n_features, n_classes) that builds a new network for every fit, "
        "such as a torch.nn.Module class",
    ),
    "normalise": Constraint(lambda value: isinstance(value, (bool, np.bool_)), "True or False"),
    "learning_rate": POSITIVE,
    "batch_size": COUNT,
    "label_smoothing": _SHARE,
    "n_steps": COUNT,
    "samples_per_epoch": COUNT,
    "max_epochs": COUNT,
    "patience": COUNT,
    "validation": one_of(
        "cv",
        otherwise=Constraint(
            lambda value: value is None or _PART.holds(value),
            f"None or {_PART.expected}",
        ),
    ),
    "n_members": COUNT,
    "n_samples": COUNT,
    "posterior": one_of(
        "dropout",
        "ensemble",
        "sgmcmc",
        otherwise=Constraint(
            lambda value: hasattr(value, "sample") and not isinstance(value, type),
            "a CyclicalSGLD()",
        ),
    ),
    "device": DEVICE,
}
