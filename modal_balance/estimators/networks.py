"""The default network, a multilayer perceptron with dropout, and stacks of such networks.

M: networks    B: rows of a batch    C: classes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """Multilayer perceptron that returns logits and can be sampled by MC dropout.

    Each hidden layer is ``Linear -> ReLU -> Dropout``, the last layer is ``Linear``. Dropout of the
    input is applied only in training: MC-dropout samples use the whole input.

    Parameters
    ----------
    n_features : int, at least 1
        Columns of the input.
    n_classes : int, at least 1
        Columns of the output.
    hidden_layer_sizes : sequence of int, default=(64, 64)
        Units of each hidden layer. If empty, the model is linear and has no dropout.
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
        if self.training:  # not called in eval mode, so that MC dropout draws no mask for it
            X = functional.dropout(X, self.input_dropout)
        logits: Tensor = self.layers(X)
        return logits


class StackedMLPs(nn.Module):
    """Networks of the same shape and dropout as one network, with a batch for each of them.

    The overhead of torch calls dominates the time of small networks. Stacked, the layers of all
    networks are a single batch of matrix products.

    The M networks keep their parameters until :meth:`unstack`. For each layer, `weights` holds the
    weights of all networks, (M, n_in, n_out), and `biases` their biases, (M, 1, n_out).

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.networks import MLP, StackedMLPs
    >>> StackedMLPs([MLP(4, 3), MLP(4, 3)])(torch.zeros(2, 5, 4)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, networks: Sequence[MLP]) -> None:
        super().__init__()
        self.networks = tuple(networks)  # a tuple, so their parameters are not registered
        layers = list(zip(*map(_linear_layers, networks), strict=True))
        with torch.no_grad():
            self.weights = nn.ParameterList(
                torch.stack([layer.weight.T for layer in same]).contiguous() for same in layers
            )
            self.biases = nn.ParameterList(
                torch.stack([layer.bias[None] for layer in same]) for same in layers
            )
        hidden = next((m.p for m in networks[0].modules() if isinstance(m, nn.Dropout)), 0.0)
        self.dropout = [networks[0].input_dropout] + [hidden] * (len(layers) - 1)  # of each input

    def forward(self, X: Tensor) -> Tensor:
        """Return the logits, (M, B, C), of inputs (M, B, n_features)."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if i:
                X = X.relu_()
            if self.training and self.dropout[i]:
                X = X * _scaled_mask(X, self.dropout[i])
            X = torch.baddbmm(bias, X, weight)
        return X

    def unstack(self) -> None:
        """Write the parameters into the networks."""
        with torch.no_grad():
            for m, network in enumerate(self.networks):
                layers = zip(_linear_layers(network), self.weights, self.biases, strict=True)
                for layer, weight, bias in layers:
                    layer.weight.copy_(weight[m].T)
                    layer.bias.copy_(bias[m, 0])


def _linear_layers(network: MLP) -> list[nn.Linear]:
    return [layer for layer in network.layers if isinstance(layer, nn.Linear)]


def _scaled_mask(X: Tensor, p: float) -> Tensor:
    """Return a dropout mask for X: 0 with probability p (rounded to 2**-16), else 1 / (1 - p).

    One 64-bit number decides four units. torch's dropout takes five times as long; with hundreds of
    columns it would dominate a training step.
    """
    bits = torch.empty((X.numel() + 3) // 4, dtype=torch.int64, device=X.device)
    parts = bits.random_(-(2**63), None).view(torch.int16)[: X.numel()].view(X.shape)
    return torch.ge(parts, round(p * 2**16) - 2**15, out=torch.empty_like(X)).div_(1 - p)


def check_logits(logits: Any, shape: tuple[int, int]) -> None:
    """Raise a ValueError unless a network returned logits of this shape, (n, n_classes).

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
    # One row may sum to 1 by chance.
    if len(logits) > 1 and bool((logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-5).all()):
        raise ValueError(
            "module returned probabilities: no value is negative, and each row sums to 1. Expected "
            "logits: remove the softmax at its end."
        )
