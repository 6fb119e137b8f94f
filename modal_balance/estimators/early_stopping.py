"""Train a skorch net with early stopping on validation rows, as in the BALanCe paper.

Rows are drawn with replacement, the cross-entropy is weighted by class, and the epoch with the best
validation accuracy is restored. A ``DataLoader`` collates batches row by row, which costs more than
the network; here an epoch is drawn at once, and a batch is a single indexed read.

References
----------
Zhang, Khan, Grossman, Chen, "Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
Class Annealing", ICLR 2023, experiments.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

Data = tuple[Tensor, Tensor]  # inputs (n, ...), labels (n,) counted from 0


class DrawnBatches:
    """Batches of rows drawn with replacement; an ``iterator_train`` for skorch.

    Each iteration is an epoch of `samples_per_epoch` new draws, in batches of `batch_size` rows;
    the last batch may be shorter. Both numbers are at least 1. The rows depend only on the seed:
    two networks trained with the same seed get the same batches. The ``X`` (n, ...) and ``y`` (n,)
    of the skorch data set are arrays or tensors.

    Examples
    --------
    >>> import torch
    >>> from skorch.dataset import Dataset
    >>> from modal_balance.estimators.early_stopping import DrawnBatches
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

    def __iter__(self) -> Iterator[Data]:
        """Draw an epoch and yield its batches."""
        rows = torch.randint(len(self.X), (self.samples_per_epoch,), generator=self.generator)
        for idx in torch.split(rows.to(self.X.device), self.batch_size):
            yield self.X[idx], self.y[idx]


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy weighted by class, with label smoothing that is equal for all classes.

    The loss is the weighted mean of the cross-entropies of the rows, each with the weight of its
    class. (torch multiplies the smoothed share of each other class by the weight of that class,
    which teaches the network to predict rare classes everywhere.)

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.early_stopping import WeightedCrossEntropy
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
    training: Data,
    validation: Data,
    *,
    max_epochs: int,
    patience: int,
    verbose: int = 0,
) -> int:
    """Train a net with early stopping, restore the best epoch, and return the number of epochs.

    Training stops after `patience` consecutive epochs that do not exceed the best validation
    accuracy so far; of equally good epochs the first is the best. The loop over epochs is here
    because ``net.fit`` suppresses a ``KeyboardInterrupt``, and interrupted training must not count
    as finished.

    The net is initialised, with ``callbacks="disable"`` and the iterators of this module.
    ``training`` and ``validation`` are inputs (n, ...) and labels (n,), counted from 0, of at least
    one row. `max_epochs` and `patience` are at least 1, and ``verbose=1`` shows a progress bar over
    the epochs. The number returned includes the epochs after the best one. Raise ValueError if the
    training loss becomes infinite or NaN.
    """
    X, y, X_val, y_val = (part.to(net.device) for part in (*training, *validation))
    dataset = net.get_dataset(X, y)
    batches = net.get_iterator(dataset, training=True)
    best_accuracy, best_epoch, best_state = -1.0, 0, net.module_.state_dict()
    with tqdm(range(max_epochs), desc="epochs", disable=not verbose, leave=False) as epochs:
        for epoch in epochs:
            net.notify("on_epoch_begin", dataset_train=dataset)
            loss = _train_epoch(net, batches)
            net.history.record("train_loss", loss)
            if not math.isfinite(loss):
                raise ValueError(
                    f"The training loss became {loss} in epoch {epoch + 1}. It must stay finite: "
                    "scale X (for example with StandardScaler) or lower learning_rate."
                )
            accuracy = float((eval_logits(net, X_val).argmax(dim=1) == y_val).double().mean())
            net.history.record("valid_acc", accuracy)
            epochs.set_postfix(valid_acc=f"{accuracy:.3f}")
            if accuracy > best_accuracy:
                best_accuracy, best_epoch = accuracy, epoch
                best_state = copy.deepcopy(net.module_.state_dict())
            elif epoch - best_epoch >= patience:
                break
    net.module_.load_state_dict(best_state)
    return len(net.history)


def _train_epoch(net: NeuralNetClassifier, batches: Iterable[Data]) -> float:
    """Train for one epoch, and return the mean loss of its steps.

    skorch's loop reads the loss after each step, and so waits for the GPU.
    """
    sizes, losses = [], []
    for batch in batches:
        sizes.append(len(batch[1]))
        losses.append(net.train_step(batch)["loss"].detach())
    values = torch.stack(losses).tolist()
    for size, value in zip(sizes, values, strict=True):
        net.history.new_batch()
        net.history.record_batch("train_batch_size", size)
        net.history.record_batch("train_loss", value)
    net.history.record("train_batch_count", len(sizes))
    return float(np.mean(values))


def eval_logits(net: NeuralNetClassifier, X: Tensor) -> Tensor:
    """Return the logits (n, C) in eval mode (skorch's loop goes row by row)."""
    return torch.cat([net.evaluation_step((part, None)) for part in torch.split(X, net.batch_size)])
