"""Training by a fixed number of steps, on all labels: for a few labels and no validation data.

M: networks    B: rows of a batch    C: classes
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .networks import MLP
from .stacked import StackedMLPs, adam, smoothed_targets

__all__ = ["train_steps"]


def train_steps(
    networks: Sequence[nn.Module],
    X: Tensor,
    y: Tensor,
    rows: Sequence[Tensor],
    class_weights: Sequence[Tensor],
    *,
    n_steps: int,
    learning_rate: float,
    batch_size: int,
    label_smoothing: float = 0.0,
    verbose: int = 0,
) -> Tensor:
    """Train networks, each on its own rows, by a fixed number of steps of Adam.

    A step sees all rows of a network, or, where they are more than `batch_size`, as many drawn with
    replacement. The loss is the mean cross-entropy, weighted by class. Networks that are all
    :class:`~modal_balance.estimators.networks.MLP` train side by side, any others one after the
    other. Random numbers come from torch's global generators.

    Parameters
    ----------
    networks : sequence of M nn.Module
        Map inputs to logits (n, C). They are changed in place, and left in training mode.
    X : Tensor of shape (n, ...)
        Inputs, on the device of the networks.
    y : Tensor of int64, shape (n,)
        Labels counted from 0.
    rows : sequence of M Tensor of int64
        The rows that each network is trained on.
    class_weights : sequence of M Tensor of shape (C,)
        Weight of each class in the loss of each network.
    n_steps : int
        Number of steps.
    learning_rate : float
        Learning rate of Adam, constant.
    batch_size : int
        Largest number of rows of a step.
    label_smoothing : float in [0, 1), default=0
        Share of a label that is spread evenly over all classes.
    verbose : int, default=0
        1 shows a progress bar over the steps.

    Returns
    -------
    Tensor of shape (M, n_steps)
        The losses.

    Raises
    ------
    ValueError
        If a loss becomes infinite or NaN.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.networks import MLP
    >>> from modal_balance.estimators.steps import train_steps
    >>> X, y = torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> rows, weight = torch.arange(4), torch.ones(3)
    >>> losses = train_steps(
    ...     [MLP(4, 3)], X, y, [rows], [weight], n_steps=50, learning_rate=0.01, batch_size=256
    ... )
    >>> bool(losses[0, -1] < losses[0, 0])
    True
    """
    together = all(type(network) is MLP for network in networks)
    groups = [slice(None)] if together else [slice(m, m + 1) for m in range(len(networks))]
    losses = []
    with tqdm(
        total=len(groups) * n_steps, desc="steps", disable=verbose < 1, leave=False
    ) as progress:
        for group in groups:
            data = _Data(X, y, rows[group], class_weights[group], batch_size, label_smoothing)
            model = _model(networks[group], data.n_batch)
            # The networks share no parameter: each follows its own loss.
            optimizer = adam(model.parameters, learning_rate)
            for batch in data.batches(n_steps):
                losses.append(model.backward(*batch))
                optimizer.step()
                progress.update()
            if isinstance(model, StackedMLPs):
                model.unstack()
    by_step = torch.stack(losses).view(len(groups), n_steps, -1).transpose(1, 2).flatten(0, 1)
    if not by_step.isfinite().all():
        step = int((~by_step.isfinite()).any(dim=0).int().argmax())
        raise ValueError(
            f"The training loss became {float(by_step[:, step].sum())} in step {step + 1}. It must "
            "stay finite: scale X (for example with StandardScaler) or lower learning_rate."
        )
    return by_step


class _Model(Protocol):
    parameters: list[Tensor]

    def backward(self, X: Tensor, targets: Tensor, weights: Tensor) -> Tensor: ...


class _OneModule:
    """Any module, by autograd; M is 1."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.train()
        self.parameters: list[Tensor] = [p for p in module.parameters() if p.requires_grad]

    def backward(self, X: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        for parameter in self.parameters:
            parameter.grad = None
        log_proba = torch.log_softmax(self.module(X[0]), dim=1)
        loss = -(log_proba * targets[0]).sum(dim=1) @ weights[0]
        torch.autograd.backward(loss)
        return loss.detach()[None]


def _model(networks: Sequence[nn.Module], n_rows: int) -> _Model:
    perceptrons = [network for network in networks if type(network) is MLP]
    if len(perceptrons) == len(networks):
        return StackedMLPs(perceptrons, n_rows)
    return _OneModule(networks[0])


class _Data:
    """The rows of M networks, padded to the same number by rows without weight."""

    def __init__(
        self,
        X: Tensor,
        y: Tensor,
        rows: Sequence[Tensor],
        class_weights: Sequence[Tensor],
        batch_size: int,
        label_smoothing: float,
    ) -> None:
        n_classes = len(class_weights[0])
        self.X = X
        self.targets = smoothed_targets(y, n_classes, label_smoothing)  # (n, C)
        self.n_rows = torch.tensor([len(own) for own in rows], device=X.device)  # (M,)
        self.rows = nn.utils.rnn.pad_sequence([own.to(X.device) for own in rows], batch_first=True)
        self.weights = torch.stack(
            [w.to(X.device)[y[own]] for w, own in zip(class_weights, self.rows, strict=True)]
        )
        self.weights *= torch.arange(self.rows.shape[1], device=X.device) < self.n_rows[:, None]
        self.n_batch = min(batch_size, self.rows.shape[1])

    def batches(self, n_steps: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield inputs (M, B, ...), targets (M, B, C) and weights (M, B), whose rows sum to 1."""
        if self.n_batch == self.rows.shape[1]:
            everything = self._batch(self.rows, self.weights)
            for _ in range(n_steps):
                yield everything
            return
        for _ in range(n_steps):
            uniform = torch.rand((len(self.rows), self.n_batch), device=self.X.device)
            drawn = (uniform.double() * self.n_rows[:, None]).long()
            yield self._batch(self.rows.gather(1, drawn), self.weights.gather(1, drawn))

    def _batch(self, rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.X[rows], self.targets[rows], weights / weights.sum(dim=1, keepdim=True)
