"""Training with early stopping, as in the BALanCe paper, on a skorch net, without per-row Python.

A round of active learning retrains from scratch on a few hundred labels, so that a ``DataLoader``,
which collates batches row by row, costs more than the network. Here the data are tensors, the rows
of an epoch are drawn at once, and a batch is one indexed read.

The protocol: draws with replacement, class-weighted cross-entropy, early stopping on validation
accuracy with the best epoch restored (Zhang, Khan, Grossman, Chen, "Scalable Batch-Mode Deep
Bayesian Active Learning via Equivalence Class Annealing", ICLR 2023, experiments).
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNetClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from tqdm.auto import tqdm

from .networks import MLP
from .stacked import StackedMLPs, adam, smoothed_targets

__all__ = ["DrawnBatches", "WeightedCrossEntropy", "check_convergence", "train"]

DIVERGED = 10  # times the loss of a uniform prediction


class DrawnBatches:
    """Batches of rows drawn with replacement; an ``iterator_train`` for skorch.

    Each iteration is one epoch and draws anew. The rows depend on the seed alone, not on the
    network: two networks trained with one seed see the same batches.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        Its ``X`` (n, ...) and ``y`` (n,) are arrays or tensors.
    batch_size : int, at least 1
        Rows of a batch; the last one may be shorter.
    samples_per_epoch : int, at least 1
        Rows drawn per epoch.
    seed : int
        Seed of the generator that draws.

    Examples
    --------
    >>> import torch
    >>> from skorch.dataset import Dataset
    >>> from modal_balance.estimators.training import DrawnBatches
    >>> data = Dataset(torch.arange(3.0), torch.arange(3))
    >>> batches = DrawnBatches(data, batch_size=4, samples_per_epoch=10, seed=0)
    >>> [len(y) for _, y in batches]
    [4, 4, 2]
    """

    def __init__(self, dataset: Any, batch_size: int, samples_per_epoch: int, seed: int) -> None:
        self.X: Tensor = torch.as_tensor(dataset.X)
        self.y: Tensor = torch.as_tensor(dataset.y)
        self.batch_size = batch_size
        self.samples_per_epoch = samples_per_epoch
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw an epoch and yield its batches."""
        rows = torch.randint(len(self.X), (self.samples_per_epoch,), generator=self.generator)
        for idx in torch.split(rows.to(self.X.device), self.batch_size):
            yield self.X[idx], self.y[idx]


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy weighted by class, whose label smoothing is the same for all classes.

    The loss is the weighted mean of the rows' cross-entropies, with the weight of each row's own
    class. (torch weighs the share that smoothing gives to other classes by the weights of these: it
    teaches the network to predict rare classes everywhere.)

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.training import WeightedCrossEntropy
    >>> loss = WeightedCrossEntropy(weight=torch.tensor([1.0, 9.0]), label_smoothing=0.1)
    >>> round(float(loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))), 4)
    0.6931
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (n, C) and labels (n,)."""
        losses = cross_entropy(
            input, target, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.weight is None:
            return losses.mean()
        weights = self.weight[target]
        return losses @ weights / weights.sum()


def train(
    net: NeuralNetClassifier,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    max_epochs: int,
    patience: int,
    verbose: int = 0,
) -> int:
    """Train an initialised net, stop early on validation accuracy, restore the best epoch.

    Training stops after `patience` epochs in succession that do not exceed the best validation
    accuracy so far, in eval mode; the first of equally good epochs is the best. The epochs are
    driven here, one by one, because ``net.fit`` swallows a ``KeyboardInterrupt``, and training that
    was interrupted must not count as finished.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        Initialised, with ``callbacks="disable"`` and the iterators of this module.
    training, validation : pair of Tensor, shapes (n, ...) and (n,)
        Inputs, and labels counted from 0; one row at least.
    max_epochs : int, at least 1
        Largest number of epochs.
    patience : int, at least 1
        Epochs without improvement before training stops.
    verbose : int, default=0
        1 shows a progress bar over the epochs.

    Returns
    -------
    int
        Number of epochs that were run, the ones after the best one included.

    Raises
    ------
    ValueError
        If the training loss becomes infinite or NaN.
    """
    X, y, X_val, y_val = (part.to(net.device) for part in (*training, *validation))
    dataset = net.get_dataset(X, y)
    run_epoch = _epochs(net, dataset)
    best_accuracy, best_epoch, best_state = -1.0, 0, net.module_.state_dict()
    with tqdm(range(max_epochs), desc="epochs", disable=not verbose, leave=False) as epochs:
        for epoch in epochs:
            net.notify("on_epoch_begin", dataset_train=dataset)
            loss = run_epoch()
            net.history.record("train_loss", loss)
            if not math.isfinite(loss):
                raise ValueError(
                    f"The training loss became {loss} in epoch {epoch + 1}. It must stay finite: "
                    "scale X (for example with StandardScaler) or lower learning_rate."
                )
            accuracy = _accuracy(net, X_val, y_val)
            net.history.record("valid_acc", accuracy)
            epochs.set_postfix(valid_acc=f"{accuracy:.3f}")
            if accuracy > best_accuracy:
                best_accuracy, best_epoch = accuracy, epoch
                best_state = copy.deepcopy(net.module_.state_dict())
            elif epoch - best_epoch >= patience:
                break
    net.module_.load_state_dict(best_state)
    return len(net.history)


def _epochs(net: NeuralNetClassifier, dataset: Any) -> Callable[[], float]:
    """Return a function that trains for an epoch and returns the mean loss of its batches."""
    batches = net.get_iterator(dataset, training=True)
    module, criterion = net.module_, net.criterion_
    if type(module) is MLP and type(criterion) is WeightedCrossEntropy:
        stack = StackedMLPs([module], net.batch_size)
        return partial(_stacked_epoch, net, stack, adam(stack.parameters, net.lr), batches)

    def run_epoch() -> float:
        net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step)
        return float(np.mean(net.history[-1, "batches", :, "train_loss"]))

    return run_epoch


def _stacked_epoch(
    net: NeuralNetClassifier, stack: StackedMLPs, optimizer: torch.optim.Optimizer, batches: Any
) -> float:
    """Train the default network, whose gradients are written out, for an epoch."""
    loss = net.criterion_
    losses = []
    for X, y in batches:
        targets = smoothed_targets(y, stack.n_classes, loss.label_smoothing)
        weights = torch.ones_like(X[:, 0]) if loss.weight is None else loss.weight[y]
        batch = [X[None], targets[None], (weights / weights.sum())[None]]
        missing = stack.n_rows - len(y)
        if missing:  # in the last batch: rows without weight take their place
            batch[:2] = [pad(part, (0, 0, 0, missing)) for part in batch[:2]]
            batch[2] = pad(batch[2], (0, missing))
        losses.append(stack.backward(*batch))
        optimizer.step()
        net.history.new_batch()
        net.history.record_batch("train_batch_size", len(y))
    stack.unstack()
    return float(torch.cat(losses).mean())


def check_convergence(net: NeuralNetClassifier, X: Tensor, y: Tensor) -> None:
    """Warn if training has diverged, or raise a ValueError if the network's output is not finite.

    Training has diverged if the mean loss on the training rows, in eval mode and with the weights
    of the classes, is more than 10 log C. A network that always predicts 1 / C for each of the C
    classes has log C, whatever the weights, and one that has learnt anything has less.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        A trained net that returns logits (n, C), with cross-entropy as its loss.
    X : Tensor of shape (n, ...)
        The rows it was trained on.
    y : Tensor of int64, shape (n,)
        Their labels, counted from 0.

    Warns
    -----
    ConvergenceWarning
        If training has diverged.
    """
    parts = [net.evaluation_step((part, None)) for part in torch.split(X, net.batch_size)]
    logits = torch.cat(parts).double()  # (n, C)
    if not logits.isfinite().all():
        raise ValueError(
            "The trained network's output is not finite on the rows it was trained on. Scale X "
            f"(for example with StandardScaler) or lower learning_rate, which is {net.lr:g}."
        )
    weight = net.criterion_.weight
    weight = None if weight is None else weight.double()
    loss = float(cross_entropy(logits, y.to(logits.device), weight))
    uniform = math.log(logits.shape[1])
    if loss > DIVERGED * uniform:
        warnings.warn(
            f"Training has not converged: the loss on the training rows is {loss:.3g}, and that of "
            f"a guess among the {logits.shape[1]} classes {uniform:.3g}. Scale X (for example "
            f"with StandardScaler) or lower learning_rate, which is {net.lr:g}.",
            ConvergenceWarning,
            stacklevel=4,  # the caller of the estimator's fit
        )


def _accuracy(net: NeuralNetClassifier, X: Tensor, y: Tensor) -> float:
    """Return the share of right predictions in eval mode (skorch's own loop goes row by row)."""
    hits = [
        net.evaluation_step((X_part, None)).argmax(dim=1) == y_part
        for X_part, y_part in zip(
            torch.split(X, net.batch_size), torch.split(y, net.batch_size), strict=True
        )
    ]
    return float(torch.cat(hits).double().mean())
