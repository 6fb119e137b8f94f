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

    Parameters
    ----------
    n_instances : int
        Size of the batch.
    n_points : int
        Size of the pool.
    name : str, default="proba"
        Name of the argument that holds the points, for the error message.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it lies outside 1..n_points.

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

    Parameters
    ----------
    features : Tensor of shape (N, D)
        One row of features for each point.
    name : str
        Name of the argument, for the error message.

    Raises
    ------
    TypeError, ValueError
        If they are not as described.

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

    Parameters
    ----------
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses.
    n_hypotheses : int
        Number of hypotheses S.

    Returns
    -------
    Tensor of shape (E, 2), int64

    Raises
    ------
    TypeError, ValueError
        If ``edges`` is not as described.

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

    Parameters
    ----------
    weights : Tensor of shape (E,) or None
        Non-negative numbers, not all 0.
    n_edges : int
        Number of edges E.

    Returns
    -------
    Tensor of shape (E,)

    Raises
    ------
    ValueError
        If ``weights`` is not as described.

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
