"""Predicted probabilities: checks, and predictions on a pool read block by block.

S: hypotheses    N: points of the pool    n: points of a block    C: classes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .._utils.arguments import kind_of

# Sums of a softmax differ from 1 by about C * 1e-7 in float32, by about 1e-3 in half precision.
SUM_TOLERANCE = 5e-3


def check_probabilities(proba: Tensor, *, name: str = "proba", cause: str = "") -> None:
    """Raise unless the last dimension of ``proba`` holds probability distributions.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    name : str, default="proba"
        Name of the argument, for the error message.
    cause : str, default=""
        The likely cause and remedy, appended to the error message.

    Raises
    ------
    TypeError
        If ``proba`` is not a floating-point tensor.
    ValueError
        If the shape is wrong, a value is NaN or negative, or a row does not sum to 1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition import check_probabilities
    >>> check_probabilities(torch.full((2, 3, 4), 0.25))
    """
    if not isinstance(proba, Tensor) or not proba.is_floating_point():
        raise TypeError(f"{name} must be a floating-point torch tensor, got {kind_of(proba)}.")
    if proba.ndim != 3 or proba.shape[0] < 1:
        raise ValueError(
            f"{name} must have the shape (hypotheses, points, classes) with at least one "
            f"hypothesis, got {tuple(proba.shape)}."
        )
    if proba.shape[2] < 2:
        raise ValueError(
            f"{name} has {proba.shape[2]} class: hypotheses can differ only if there are at least "
            "two classes."
        )
    if proba.numel() == 0:
        return
    hint = f" {cause}" if cause else ""
    # Comparisons with NaN are False, so both tests below are written to fail on NaN.
    sums = proba.sum(-1, dtype=torch.promote_types(proba.dtype, torch.float32))  # (S, N)
    if not bool(((sums - 1).abs() <= SUM_TOLERANCE).all()):
        worst = sums.flatten()[(sums - 1).abs().nan_to_num(nan=torch.inf).argmax()].item()
        what = "contains NaN" if worst != worst else f"has a row that sums to {worst:.4g}, not 1"
        raise ValueError(f"{name} {what}.{hint}")
    smallest = proba.min().item()
    if smallest < 0:
        raise ValueError(f"{name} has a negative probability ({smallest:.4g}).{hint}")


def check_same_hypotheses(other: Tensor, proba: Tensor, *, name: str = "pending") -> None:
    """Raise a ValueError unless predictions have the same numbers of hypotheses and classes.

    ``proba`` (S, N, C) are those on the points of the pool, and ``other`` (S, M, C) those on other
    points. ``name`` is that of ``other``, for the error message.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.predictions import check_same_hypotheses
    >>> check_same_hypotheses(torch.full((2, 1, 4), 0.25), torch.full((2, 3, 4), 0.25))
    """
    (n_other, _, n_other_classes), (n_hypotheses, _, n_classes) = other.shape, proba.shape
    if (n_other, n_other_classes) != (n_hypotheses, n_classes):
        raise ValueError(
            f"{name} has {n_other} hypotheses and {n_other_classes} classes, proba has "
            f"{n_hypotheses} and {n_classes}. Predict both with the same hypotheses."
        )


def likelihood_deficit(proba: Tensor) -> Tensor:
    """Return 1 - lambda, with lambda = p(y | h) / max_y' p(y' | h) the likelihood ratio.

    Computed as (max - p) / max, which keeps its relative precision for lambda near 1.

    Parameters
    ----------
    proba : Tensor of shape (..., C)
        Probabilities.

    Returns
    -------
    Tensor of shape (..., C)
        Values in [0, 1]; 0 at the most probable class.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition import likelihood_deficit
    >>> likelihood_deficit(torch.tensor([0.5, 0.25, 0.25]))
    tensor([0.0000, 0.5000, 0.5000])
    """
    largest = proba.amax(-1, keepdim=True)  # (..., 1)
    return (largest - proba).div_(largest)  # (..., C)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return a tensor of float32 or float64.

    Other numbers become float32, because a softmax in half precision does not sum to 1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.predictions import at_least_float32
    >>> at_least_float32(torch.ones(2, dtype=torch.float16)).dtype
    torch.float32
    """
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def working_precision(proba: Tensor, *, name: str = "proba", cause: str = "") -> Tensor:
    """Return the predictions in float32 or float64, or raise unless they are probabilities.

    The result is ``proba`` (S, N, C) itself, converted to float32 if it was in half precision.
    ``name``, ``cause`` and the errors are those of :func:`check_probabilities`.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.predictions import working_precision
    >>> working_precision(torch.full((2, 3, 4), 0.25, dtype=torch.float16)).dtype
    torch.float32
    """
    check_probabilities(proba, name=name, cause=cause)
    return at_least_float32(proba)


def check_one_for_each_row(n_found: int, n_rows: int) -> None:
    """Raise a ValueError unless the number of predictions, ``n_found``, is that of the rows.

    Examples
    --------
    >>> from modal_balance.acquisition.predictions import check_one_for_each_row
    >>> check_one_for_each_row(3, 3)
    """
    if n_found != n_rows:
        raise ValueError(
            f"There are predictions for {n_found} of {n_rows} rows: the classifier, or a step of "
            "its pipeline, drops or adds rows."
        )


# Turns the predictions on a block, (S, n, C), into the tensors to keep: the predictions first.
Prepare = Callable[[Tensor], tuple[Tensor, ...]]


def alone(proba: Tensor) -> tuple[Tensor, ...]:
    """Keep only the predictions."""
    return (proba,)


@runtime_checkable
class PoolPredictions(Protocol):
    """Predictions of S hypotheses on the N points of a pool.

    They need not be in memory or in this process. A pool is a sequence of blocks, whose bounds
    depend only on N and on the shape of the predictions. So the results for a block are the same to
    the last bit, wherever they are computed.

    ``n_points`` is N. ``template`` holds the predictions (S, n, C) on a few points, with the dtype
    and device of all predictions.
    """

    n_points: int
    template: Tensor

    def map(self, function: Callable[..., Any]) -> list[Any]:
        """Return ``function(first point, predictions (S, n, C), ...)`` for each block in order."""
        ...

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on some points, (S, len(points), C)."""
        ...


class HeldPredictions:
    """Predictions held in memory as a single block.

    ``prepare`` turns the predictions ``proba`` (S, N, C) into the tensors to keep.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.predictions import HeldPredictions
    >>> held = HeldPredictions(torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]))
    >>> held.map(lambda start, proba: proba.amax(-1))
    [tensor([[1.0000, 0.5000]])]
    """

    def __init__(self, proba: Tensor, prepare: Prepare = alone) -> None:
        self.n_points = proba.shape[1]
        self.template = proba
        self._block = prepare(proba)

    def map(self, function: Callable[..., Any]) -> list[Any]:
        """Return ``function(0, proba, ...)``, as the only entry of a list.

        The arguments are the index of the first point and the tensors kept.
        """
        return [function(0, *self._block)]

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on the points with these indices, (S, len(points), C)."""
        return self.template[:, list(points)]
