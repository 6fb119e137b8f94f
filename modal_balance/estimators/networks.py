"""The default network: a multilayer perceptron with dropout after every hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MLP", "check_logits"]


class MLP(nn.Module):
    """Multilayer perceptron that returns logits and can be sampled by MC dropout.

    Each hidden layer is ``Linear -> ReLU -> Dropout``, the last layer is ``Linear``. Dropout of the
    input is noise in training alone: the sampled networks all see the whole input.

    Parameters
    ----------
    n_features : int, at least 1
        Columns of the input.
    n_classes : int, at least 1
        Columns of the output.
    hidden_layer_sizes : sequence of int, default=(64, 64)
        Units of each hidden layer. An empty sequence gives a linear model, without dropout.
    dropout : float in [0, 1), default=0.5
        Probability that a hidden unit is dropped.
    input_dropout : float in [0, 1), default=0
        Probability that an input is dropped in training.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.networks import MLP
    >>> network = MLP(n_features=4, n_classes=3, hidden_layer_sizes=(16,))
    >>> network(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden_layer_sizes: Sequence[int] = (64, 64),
        dropout: float = 0.5,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_dropout = input_dropout
        sizes = [n_features, *hidden_layer_sizes]
        layers: list[nn.Module] = []
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], n_classes))

    def forward(self, X: Tensor) -> Tensor:
        """Return the logits, (n, n_classes), of inputs (n, n_features)."""
        # The functional form, which no mask can fix: it is off in the sampled networks.
        logits: Tensor = self.layers(functional.dropout(X, self.input_dropout, self.training))
        return logits


def check_logits(logits: Any, shape: tuple[int, int]) -> None:
    """Raise a ValueError unless a network returned a tensor of this shape, (n, n_classes).

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.networks import MLP, check_logits
    >>> check_logits(MLP(4, 3)(torch.zeros(5, 4)), (5, 3))
    """
    got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if got != shape:
        raise ValueError(
            f"module returned {got} for {shape[0]} rows and {shape[1]} classes. Expected logits of "
            f"shape {shape}: one column per class."
        )
