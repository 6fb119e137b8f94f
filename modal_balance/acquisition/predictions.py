"""Predictions on a pool, as the objectives see them: block by block, wherever they are.

S: hypotheses    N: points of the pool    n: points of a block    C: classes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["HeldPredictions", "PoolPredictions"]

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
    example : Tensor of shape (S, n, C)
        Predictions on some points, of the same type and on the same device as all others.
    """

    n_points: int
    example: Tensor

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
        self.example = proba
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
        return self.example[:, list(points)]
