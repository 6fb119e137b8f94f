"""What the parameters of the estimators may be, and the error for one that is not."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["check_parameters"]


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and value is not True and int(value) >= 1


def _is_between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float, np.number)) and low < float(value) < high


def _is_device(value: Any) -> bool:
    try:
        kind = torch.device(value).type
    except (RuntimeError, TypeError):
        return False
    return kind == "cpu" or (kind == "cuda" and torch.cuda.is_available())


_COUNT = (_is_count, "an integer of at least 1")
_POSITIVE = (lambda value: _is_between(value, 0, math.inf), "a number above 0")
_PARAMETER_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hidden_layer_sizes": (
        lambda sizes: isinstance(sizes, (list, tuple)) and all(map(_is_count, sizes)),
        "a tuple of integers of at least 1, such as (64, 64)",
    ),
    "dropout": (lambda p: p == 0 or _is_between(p, 0, 1), "a number in [0, 1)"),
    "module": (
        lambda module: module is None or (callable(module) and not isinstance(module, nn.Module)),
        "a callable module(n_features, n_classes) that builds a new network for every fit, such as "
        "a torch.nn.Module class",
    ),
    "learning_rate": _POSITIVE,
    "batch_size": _COUNT,
    "samples_per_epoch": _COUNT,
    "max_epochs": _COUNT,
    "patience": _COUNT,
    "validation_fraction": (lambda fraction: _is_between(fraction, 0, 1), "a number in (0, 1)"),
    "n_samples": _COUNT,
    "posterior": (
        lambda value: (
            value in ("dropout", "sgmcmc")
            if isinstance(value, str)
            else hasattr(value, "sample") and not isinstance(value, type)
        ),
        "'dropout', 'sgmcmc', or a CyclicalSGLD()",
    ),
    "n_cycles": _COUNT,
    "steps_per_cycle": _COUNT,
    "samples_per_cycle": _COUNT,
    "step_size": _POSITIVE,
    "exploration": (lambda share: share == 0 or _is_between(share, 0, 1), "a number in [0, 1)"),
    "prior_std": _POSITIVE,
    "temperature": _POSITIVE,
    "n_members": _COUNT,
    "hessian_structure": (
        lambda value: isinstance(value, str) and value in ("kron", "full", "diag"),
        "'kron', 'full' or 'diag'",
    ),
    "prior_precision": (
        lambda value: (
            value == "marglik" if isinstance(value, str) else _is_between(value, 0, math.inf)
        ),
        "'marglik' or a number above 0",
    ),
    "device": (_is_device, "'cpu', or 'cuda' where torch finds a CUDA device"),
}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first parameter with a value of no use.

    Examples
    --------
    >>> from modal_balance.estimators.parameters import check_parameters
    >>> check_parameters({"patience": 0})
    Traceback (most recent call last):
    ValueError: patience=0. Expected an integer of at least 1.
    """
    for name, (holds, expected) in _PARAMETER_RULES.items():
        value = parameters.get(name)
        if name in parameters and not holds(value):
            raise ValueError(f"{name}={value!r}. Expected {expected}.")
