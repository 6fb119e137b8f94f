"""Predicted probabilities: their checks, and predictions on a pool read block by block.

S: hypotheses    N: points of the pool    n: points of a block    C: classes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .._utils.arguments import kind_of

# Softmax in float32 misses 1 by about C * 1e-7; half precision by about 1e-3.
SUM_TOLERANCE = 5e-3


def check_probabilities(proba: Tensor, *, name: str = "proba", cause: str = "") -> None:
    """Raise unless the last dimension of ``proba`` holds probability distributions.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    name : str, default="proba"
        What the error message calls the tensor.
    cause : str, default=""
        The likely cause and what to do, appended to the error message.

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
            f"{name} has {proba.shape[2]} class: at least two classes are needed to tell "
            "hypotheses apart."
        )
    if proba.numel() == 0:
        return
    hint = f" {cause}" if cause else ""
    # A NaN fails every comparison, so both tests below are written to fail on it.
    sums = proba.sum(-1, dtype=torch.promote_types(proba.dtype, torch.float32))  # (S, N)
    if not bool(((sums - 1).abs() <= SUM_TOLERANCE).all()):
        worst = sums.flatten()[(sums - 1).abs().nan_to_num(nan=torch.inf).argmax()].item()
        what = "contains NaN" if worst != worst else f"has a row that sums to {worst:.4g}, not 1"
        raise ValueError(f"{name} {what}.{hint}")
    smallest = proba.min().item()
    if smallest < 0:
        raise ValueError(f"{name} has a negative probability ({smallest:.4g}).{hint}")


def check_same_hypotheses(other: Tensor, proba: Tensor, *, name: str = "pending") -> None:
    """Raise unless two sets of predictions have the same number of hypotheses and of classes.

    Parameters
    ----------
    other : Tensor of shape (S, M, C)
        Predictions on other points.
    proba : Tensor of shape (S, N, C)
        Predictions on the points of the pool.
    name : str, default="pending"
        What the error message calls ``other``.

    Raises
    ------
    ValueError
        If they differ.

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

    Computed as (max - p) / max, which keeps its relative precision where lambda is near 1.

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


def working_precision(proba: Tensor, *, name: str = "proba", cause: str = "") -> Tensor:
    """Return the predictions in float32 or float64, or raise unless they are probabilities.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    name : str, default="proba"
        What the error message calls the tensor.
    cause : str, default=""
        The likely cause and what to do, appended to the error message.

    Returns
    -------
    Tensor of shape (S, N, C)
        The same tensor; in float32 if it came in half precision.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.predictions import working_precision
    >>> working_precision(torch.full((2, 3, 4), 0.25, dtype=torch.float16)).dtype
    torch.float32
    """
    check_probabilities(proba, name=name, cause=cause)
    return proba if proba.dtype in (torch.float32, torch.float64) else proba.float()


# Makes of the predictions on a block, (S, n, C), all that is kept of it: them first.
Prepare = Callable[[Tensor], tuple[Tensor, ...]]


def alone(proba: Tensor) -> tuple[Tensor, ...]:
    """Keep nothing beside the predictions."""
    return (proba,)


@runtime_checkable
class PoolPredictions(Protocol):
    """Predictions of S hypotheses on the N points of a pool.

    They need not be in memory, nor in this process. A pool is a row of blocks, whose bounds depend
    on nothing but N and the shape of the predictions: what is computed of a block is the same, to
    the last bit, wherever that happens.

    Attributes
    ----------
    n_points : int
        N.
    template : Tensor of shape (S, n, C)
        Predictions on some points, of the same type and on the same device as all others.
    """

    n_points: int
    template: Tensor

    def map(self, function: Callable[..., Any]) -> list[Any]:
        """Return ``function(first point, predictions (S, n, C), ...)`` of each block in order."""
        ...

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on single points, (S, len(points), C)."""
        ...


class HeldPredictions:
    """Predictions that are held in memory, as a single block.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    prepare : callable, optional
        Makes of ``proba`` all that is kept.

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

        Parameters
        ----------
        function : callable
            Called with the number of the first point and what is kept.

        Returns
        -------
        list
        """
        return [function(0, *self._block)]

    def rows(self, points: Sequence[int]) -> Tensor:
        """Return the predictions on single points.

        Parameters
        ----------
        points : sequence of int
            Their numbers.

        Returns
        -------
        Tensor of shape (S, len(points), C)
        """
        return self.template[:, list(points)]
