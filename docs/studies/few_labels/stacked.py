"""Train several multilayer perceptrons of the same shape as one, with hand-written gradients.

The time of small networks is dominated by the overhead of a step and by the random numbers of
dropout. Here the weights of several networks are stacked, so a layer is one batch of matrix
products; gradients reuse memory, and 64 random bits decide four units. That is twice as fast as
autograd for one network, and more for several. Only this study uses it.

M: networks    B: rows of a batch    C: classes
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modal_balance.estimators.networks import MLP

__all__ = ["StackedMLPs", "adam", "smoothed_targets"]

FUSED_ON_CPU = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)


def smoothed_targets(y: Tensor, n_classes: int, label_smoothing: float) -> Tensor:
    """Return the labels as distributions over the classes, (n, C).

    Parameters
    ----------
    y : Tensor of int64, shape (n,)
        Labels counted from 0.
    n_classes : int
        C.
    label_smoothing : float in [0, 1)
        Share of a label that is spread evenly over all classes.

    Returns
    -------
    Tensor of shape (n, C), float32

    Examples
    --------
    >>> import torch
    >>> from stacked import smoothed_targets
    >>> smoothed_targets(torch.tensor([1]), 2, 0.1)
    tensor([[0.0500, 0.9500]])
    """
    targets = nn.functional.one_hot(y, n_classes).float()
    return targets.mul_(1 - label_smoothing).add_(label_smoothing / n_classes)


def adam(parameters: Sequence[Tensor], learning_rate: float) -> torch.optim.Adam:
    """Return an Adam optimiser for the parameters, with a fused step if torch has one.

    Parameters
    ----------
    parameters : sequence of Tensor
        All on one device.
    learning_rate : float
        Constant.

    Returns
    -------
    torch.optim.Adam

    Examples
    --------
    >>> import torch
    >>> from stacked import adam
    >>> adam([torch.zeros(3, requires_grad=True)], 0.01).defaults["lr"]
    0.01
    """
    fused = parameters[0].is_cuda or FUSED_ON_CPU
    return torch.optim.Adam(parameters, lr=learning_rate, fused=fused)


class StackedMLPs:
    """Networks of the same shape and dropout, each with a separate batch.

    Parameters
    ----------
    networks : sequence of MLP
        The networks. They keep their parameters until :meth:`unstack`.
    n_rows : int
        Rows B of a batch.

    Attributes
    ----------
    parameters : list of Tensor
        Weights (M, n_in, n_out) of all layers, then their biases (M, 1, n_out). Their ``grad`` is
        set by :meth:`backward`.
    n_rows, n_classes : int
        B and C.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.networks import MLP
    >>> from stacked import StackedMLPs
    >>> stack = StackedMLPs([MLP(4, 3), MLP(4, 3)], n_rows=5)
    >>> targets = torch.full((2, 5, 3), 1 / 3)
    >>> stack.backward(torch.zeros(2, 5, 4), targets, torch.full((2, 5), 1 / 5)).shape
    torch.Size([2])
    """

    def __init__(self, networks: Sequence[MLP], n_rows: int) -> None:
        self.networks = list(networks)
        self.n_rows = n_rows
        layers = [
            [layer for layer in net.layers if isinstance(layer, nn.Linear)] for net in networks
        ]
        with torch.no_grad():
            self.weights = [
                torch.stack([layer.weight.T.contiguous() for layer in same])
                for same in zip(*layers, strict=True)
            ]
            self.biases = [
                torch.stack([layer.bias[None] for layer in same])
                for same in zip(*layers, strict=True)
            ]
        self.parameters = self.weights + self.biases
        self.n_classes = self.weights[-1].shape[2]
        for parameter in self.parameters:
            parameter.grad = torch.empty_like(parameter)
        hidden = next((m.p for m in networks[0].modules() if isinstance(m, nn.Dropout)), 0.0)
        self._dropout = [networks[0].input_dropout] + [hidden] * (len(self.weights) - 1)

        def room(weight: Tensor) -> Tensor:
            return weight.new_empty(len(weight), n_rows, weight.shape[1])  # (M, B, n_in)

        # For each layer: its input without the scale of dropout, what is kept, and the gradient.
        self._inputs = [room(weight) for weight in self.weights]
        self._kept = [room(weight) for weight in self.weights]
        self._gradients = [room(weight) for weight in self.weights]
        self._bits = [
            torch.empty((kept.numel() + 3) // 4, dtype=torch.int64, device=kept.device)
            for kept in self._kept
        ]

    def backward(self, X: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Compute the gradients of the losses in training mode, with new dropout.

        Parameters
        ----------
        X : Tensor of shape (M, B, n_features)
            Inputs.
        targets : Tensor of shape (M, B, C)
            Distributions over the classes.
        weights : Tensor of shape (M, B)
            Weight of each row's cross-entropy in the loss of its network.

        Returns
        -------
        Tensor of shape (M,)
            The losses.
        """
        with torch.no_grad():
            log_proba = torch.log_softmax(self._logits(X), dim=2)
            loss = -(log_proba * targets).sum(dim=2).mul_(weights).sum(dim=1)
            self._propagate(log_proba.exp_().sub_(targets).mul_(weights[..., None]))
        return loss

    def unstack(self) -> None:
        """Write the parameters into the networks."""
        with torch.no_grad():
            for m, network in enumerate(self.networks):
                layers = zip(_linear_layers(network), self.weights, self.biases, strict=True)
                for layer, weight, bias in layers:
                    layer.weight.copy_(weight[m].T)
                    layer.bias.copy_(bias[m, 0])

    def _logits(self, X: Tensor) -> Tensor:
        inputs = self._inputs[0].copy_(X)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            self._drop(i)
            # The product includes the scale of dropout at no cost.
            scale = 1 / (1 - self._dropout[i])
            if i + 1 == len(self.weights):
                break
            following = self._inputs[i + 1]
            inputs = torch.baddbmm(bias, inputs, weight, alpha=scale, out=following).relu_()
        return torch.baddbmm(bias, inputs, weight, alpha=scale)

    def _drop(self, i: int) -> None:
        """Set inputs of layer i to 0, in place, with p to the nearest multiple of 2**-16."""
        p, kept = self._dropout[i], self._kept[i]
        if p == 0:
            return
        bits = self._bits[i].random_(-(2**63), None).view(torch.int16)[: kept.numel()]
        torch.ge(bits.view(kept.shape), round(p * 2**16) - 2**15, out=kept)
        self._inputs[i].mul_(kept)

    def _propagate(self, delta: Tensor) -> None:
        """Write the gradients of all parameters, from that by the logits, (M, B, C)."""
        for i in reversed(range(len(self.weights))):
            weight, bias, inputs = self.weights[i], self.biases[i], self._inputs[i]
            scaled = {"beta": 0, "alpha": 1 / (1 - self._dropout[i])}
            torch.baddbmm(weight, inputs.transpose(1, 2), delta, out=weight.grad, **scaled)
            torch.sum(delta, dim=1, keepdim=True, out=bias.grad)
            if i:
                by_input = self._gradients[i]
                torch.baddbmm(by_input, delta, weight.transpose(1, 2), out=by_input, **scaled)
                # Inputs above 0 are those that passed ReLU and dropout.
                delta = by_input.mul_(torch.gt(inputs, 0, out=self._kept[i]))


def _linear_layers(network: MLP) -> list[nn.Linear]:
    return [layer for layer in network.layers if isinstance(layer, nn.Linear)]
