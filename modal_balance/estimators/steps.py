"""Train networks side by side, for a fixed number of steps.

M: networks    B: rows of a batch    C: classes
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .networks import MLP, StackedMLPs

FUSED_ON_CPU = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)


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
    """Train networks, each on its own rows, for a fixed number of steps of Adam; return the losses.

    A step uses all rows of a network, or `batch_size` rows drawn with replacement if there are
    more. The loss is the mean cross-entropy, weighted by class. Networks that are all
    :class:`~modal_balance.estimators.networks.MLP` train in parallel, others one after the other.
    Random numbers are drawn from torch's global generators.

    Parameters
    ----------
    networks : sequence of M nn.Module
        Map inputs to logits (n, C). They are modified in place, and left in training mode.
    X : Tensor of shape (n, ...)
        Inputs, on the device of the networks.
    y : Tensor of int64, shape (n,)
        Labels counted from 0.
    rows : sequence of M Tensor of int64
        Training rows of each network.
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
        Loss of each network at each step.

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
            network = _side_by_side(networks[group]).train()
            # The networks share no parameters, so the gradient of the sum trains each on its loss.
            optimizer = _adam(network, learning_rate)
            batches = _Batches(X, y, rows[group], class_weights[group], batch_size, label_smoothing)
            for inputs, targets in batches.draw(n_steps):
                log_proba = torch.log_softmax(network(inputs), dim=2)  # (M, B, C)
                loss = -(log_proba * targets).sum(dim=(1, 2))  # (M,)
                # Gradients written by hand were only 1.6 times as fast (0.28 s instead of 0.45 s
                # for 100 rows and 64 columns with cross-validation): not worth the code.
                optimizer.zero_grad()
                torch.autograd.backward(loss.sum())
                optimizer.step()
                losses.append(loss.detach())
                progress.update()
            if isinstance(network, StackedMLPs):
                network.unstack()
    by_step = torch.stack(losses).view(len(groups), n_steps, -1).transpose(1, 2).flatten(0, 1)
    if not by_step.isfinite().all():
        step = int((~by_step.isfinite()).any(dim=0).int().argmax())
        raise ValueError(
            f"The training loss became {float(by_step[:, step].sum())} in step {step + 1}. It must "
            "stay finite: scale X (for example with StandardScaler) or lower learning_rate."
        )
    return by_step


class _Alone(nn.Module):
    """A single network as a stack of one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, X: Tensor) -> Tensor:
        """Return the logits, (1, B, C), of inputs (1, B, ...)."""
        logits: Tensor = self.network(X[0])[None]
        return logits


def _side_by_side(networks: Sequence[nn.Module]) -> nn.Module:
    perceptrons = [network for network in networks if type(network) is MLP]
    return StackedMLPs(perceptrons) if perceptrons else _Alone(*networks)


def _adam(network: nn.Module, learning_rate: float) -> torch.optim.Adam:
    parameters = [p for p in network.parameters() if p.requires_grad]
    fused = all(p.is_cuda for p in parameters) or FUSED_ON_CPU
    return torch.optim.Adam(parameters, lr=learning_rate, fused=fused)


class _Batches:
    """Batches of the rows of M networks, padded to equal size by rows of weight 0."""

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
        self.targets = nn.functional.one_hot(y, n_classes).float()  # (n, C)
        self.targets.mul_(1 - label_smoothing).add_(label_smoothing / n_classes)
        self.n_rows = torch.tensor([len(own) for own in rows], device=X.device)  # (M,)
        self.rows = nn.utils.rnn.pad_sequence([own.to(X.device) for own in rows], batch_first=True)
        self.weights = torch.stack(
            [w.to(X.device)[y[own]] for w, own in zip(class_weights, self.rows, strict=True)]
        )
        self.weights *= torch.arange(self.rows.shape[1], device=X.device) < self.n_rows[:, None]
        self.n_batch = min(batch_size, self.rows.shape[1])

    def draw(self, n_steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (M, B, ...) and weighted labels (M, B, C); each network's sum to 1."""
        if self.n_batch == self.rows.shape[1]:
            everything = self._batch(self.rows, self.weights)
            for _ in range(n_steps):
                yield everything
            return
        for _ in range(n_steps):
            uniform = torch.rand((len(self.rows), self.n_batch), device=self.X.device)
            drawn = (uniform.double() * self.n_rows[:, None]).long()
            yield self._batch(self.rows.gather(1, drawn), self.weights.gather(1, drawn))

    def _batch(self, rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        shares = weights / weights.sum(dim=1, keepdim=True)
        return self.X[rows], self.targets[rows] * shares[..., None]
