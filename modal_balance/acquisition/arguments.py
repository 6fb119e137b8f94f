"""Argument checks shared by the acquisition functions.

S: hypotheses    N: points of the pool    C: classes
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .._utils.arguments import check_integer, kind_of

Ties = Literal["random", "first"]


def check_n_instances(n_instances: int, n_points: int, *, name: str = "proba") -> int:
    """Return ``n_instances`` as an int, or raise if the pool has fewer points.

    Raise TypeError if it is not an integer, and ValueError if it lies outside 1..n_points. ``name``
    is that of the argument that holds the points, for the error message.

    Examples
    --------
    >>> from modal_balance.acquisition.arguments import check_n_instances
    >>> check_n_instances(10, 400)
    10
    """
    n_instances = check_integer(n_instances, "n_instances")
    if n_instances > n_points:
        raise ValueError(
            f"{name} has {n_points} points but n_instances={n_instances}. "
            f"Ask for at most {n_points}, or pass a larger pool."
        )
    return n_instances


def check_features(features: Tensor, name: str) -> None:
    """Raise unless ``features`` is a finite matrix with at least one column.

    The matrix (N, D) has one row of features for each point. Raise TypeError if it is not a
    floating-point tensor, and ValueError if it has another shape or contains NaN or infinity.
    ``name`` is that of the argument, for the error message.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.arguments import check_features
    >>> check_features(torch.zeros(3, 2), "features")
    """
    if not isinstance(features, Tensor) or not features.is_floating_point():
        raise TypeError(f"{name} must be a floating-point torch tensor, got {kind_of(features)}.")
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(
            f"{name} must have the shape (points, features) with at least one feature, got "
            f"{tuple(features.shape)}. Flatten further dimensions."
        )
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name} contains NaN or infinity. Check the network for overflow.")


def check_edges(edges: Tensor, n_hypotheses: int) -> Tensor:
    """Return ``edges``, or raise if it does not hold pairs of hypotheses.

    Edges are an int64 tensor (E, 2) of indices 0..n_hypotheses-1. Raise TypeError if they are not
    an int64 tensor, and ValueError if the shape is wrong or an index is out of range.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.arguments import check_edges
    >>> check_edges(torch.tensor([[0, 1]]), 2)
    tensor([[0, 1]])
    """
    if not isinstance(edges, Tensor) or edges.dtype != torch.int64:
        raise TypeError(f"edges must be an int64 torch tensor, got {kind_of(edges)}.")
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"edges must have the shape (edges, 2), got {tuple(edges.shape)}.")
    if len(edges) and not (0 <= edges.min() and edges.max() < n_hypotheses):
        raise ValueError(
            f"edges has indices from {int(edges.min())} to {int(edges.max())}, but proba has "
            f"{n_hypotheses} hypotheses: indices must lie in 0..{n_hypotheses - 1}."
        )
    return edges


def check_weights(weights: Tensor | None, n_edges: int) -> Tensor:
    """Return the edge weights, by default 1 / E each, or raise if they do not fit the edges.

    The default, for None, is in float64. Raise ValueError unless the weights are a tensor of the
    shape (E,) and finite, non-negative and not all 0.

    Examples
    --------
    >>> from modal_balance.acquisition.arguments import check_weights
    >>> check_weights(None, 4)
    tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64)
    """
    if weights is None:
        return torch.full((n_edges,), 1 / max(n_edges, 1), dtype=torch.float64)
    if not isinstance(weights, Tensor) or weights.shape != (n_edges,):
        shape = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise ValueError(f"weights must be a tensor of shape ({n_edges},), got {shape}.")
    if not bool((weights >= 0).all()) or (n_edges and not 0 < weights.sum().item() < torch.inf):
        raise ValueError("weights must be finite, non-negative and not all 0.")
    return weights
