"""The training protocol of the BALanCe paper, on a skorch net, without per-row Python.

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
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNetClassifier
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

__all__ = [
    "DrawnBatches",
    "check_convergence",
    "class_weights",
    "encode",
    "find_classes",
    "stratified_holdout",
    "train",
]

EPOCHS_WITHOUT_VALIDATION = 10
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


def find_classes(y: NDArray[Any], declared: ArrayLike | None) -> NDArray[Any]:
    """Return the sorted labels: all that are declared, or else those of `y`.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.training import find_classes
    >>> find_classes(np.array([7, 7]), declared=[9, 7, 8])
    array([7, 8, 9])
    """
    classes = np.unique(y if declared is None else np.asarray(declared))
    if declared is not None and np.shape(declared) != classes.shape:
        raise ValueError(
            f"classes={declared!r}. Expected a flat sequence of labels without duplicates."
        )
    if len(classes) < 2:
        raise ValueError(
            f"There is one class only, {classes.tolist()}. Expected at least two: label rows of "
            "another class, or declare the labels that are still to come with classes=."
        )
    return classes


def encode(y: NDArray[Any], classes: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return the position of each label in `classes`; errors call `y` by `name`.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.training import encode
    >>> encode(np.array(["b", "c", "b"]), np.array(["a", "b", "c"]), "y")
    array([1, 2, 1])
    """
    position = {label: i for i, label in enumerate(classes.tolist())}
    labels, inverse = np.unique(y, return_inverse=True)
    unknown = [label for label in labels.tolist() if label not in position]
    if unknown:
        raise ValueError(
            f"{name} has the labels {unknown}, but the classes are {classes.tolist()}. Declare "
            "every label that may occur with classes=."
        )
    return np.array([position[label] for label in labels.tolist()], dtype=np.int64)[inverse]


def stratified_holdout(
    codes: NDArray[np.integer[Any]], fraction: float, rng: np.random.RandomState
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split labelled rows into training and validation rows, keeping each class in training.

    ``round(fraction * n)`` rows, at least one, are held out in proportion to the classes, at random
    within a class. No class gives its last row: a class with one row stays in training, and the
    other classes make up for it as far as they can. Where every class has one row only, nothing is
    held out. (``train_test_split`` refuses such classes, and fewer rows than classes.)

    Parameters
    ----------
    codes : array of int, shape (n,)
        Class of each row, counted from 0.
    fraction : float in (0, 1)
        Share of the rows to hold out.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    train, validation : arrays of int
        Row numbers, sorted.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.training import stratified_holdout
    >>> codes = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2])
    >>> _, validation = stratified_holdout(codes, 0.3, np.random.RandomState(0))
    >>> np.bincount(codes[validation], minlength=3)
    array([2, 1, 0])
    """
    counts = np.bincount(codes)
    spare = np.maximum(counts - 1, 0)
    n_out = min(max(1, round(fraction * len(codes))), int(spare.sum()))
    share = fraction * counts
    take = np.minimum(np.floor(share).astype(int), spare)
    tiebreak = rng.permutation(len(counts))
    while take.sum() < n_out:  # at most about one step per class and per row of the lone classes
        claim = np.where(take < spare, share - take, -np.inf)
        take[np.lexsort((tiebreak, claim))[-1]] += 1
    shuffled = rng.permutation(len(codes))
    held_out = np.zeros(len(codes), dtype=bool)
    for code, n_rows in enumerate(take):
        held_out[shuffled[codes[shuffled] == code][:n_rows]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def class_weights(
    codes: NDArray[np.integer[Any]],
    classes: NDArray[Any],
    class_weight: Mapping[Any, float] | str | None,
) -> Tensor:
    """Return the weight of each class in the loss, float32, shape (n_classes,).

    "balanced" gives class c the weight ``n / (k * n_c)``: n rows, n_c of class c, k classes
    present. A class without rows weighs 1, which no batch ever uses. A dict maps labels to weights,
    1 for labels left out. None weighs all classes 1.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.training import class_weights
    >>> class_weights(np.array([0, 0, 0, 2]), np.array(["a", "b", "c"]), "balanced").tolist()
    [0.6666666865348816, 1.0, 2.0]
    """
    weights = np.ones(len(classes))
    labels = classes.tolist()
    if isinstance(class_weight, Mapping):
        # As in scikit-learn: weights for labels still to come are no error, a misspelt label is.
        known = set(labels) <= set(class_weight) or set(class_weight) <= set(labels)
        weights[:] = [class_weight.get(label, 1.0) for label in labels]
        valid = known and bool(np.all(np.isfinite(weights) & (weights > 0)))
    elif isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(codes, minlength=len(classes))
        present = counts > 0
        weights[present] = len(codes) / (present.sum() * counts[present])
        valid = True
    else:
        valid = class_weight is None
    if not valid:
        raise ValueError(
            f"class_weight={class_weight!r}. Expected 'balanced', None, or a dict of positive "
            f"weights for the classes {labels}."
        )
    return torch.as_tensor(weights, dtype=torch.float32)


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
        Inputs, and labels counted from 0. Where `validation` has no rows, training takes 10 epochs
        (or `max_epochs`, if fewer): more would only memorise a handful of labels.
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
    batches = net.get_iterator(dataset, training=True)
    if not len(y_val):
        max_epochs = min(max_epochs, EPOCHS_WITHOUT_VALIDATION)
    best_accuracy, best_epoch, best_state = -1.0, 0, None
    with tqdm(range(max_epochs), desc="epochs", disable=not verbose, leave=False) as epochs:
        for epoch in epochs:
            net.notify("on_epoch_begin", dataset_train=dataset)
            net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step)
            loss = float(np.mean(net.history[-1, "batches", :, "train_loss"]))
            net.history.record("train_loss", loss)
            if not math.isfinite(loss):
                raise ValueError(
                    f"The training loss became {loss} in epoch {epoch + 1}. It must stay finite: "
                    "scale X (for example with StandardScaler) or lower learning_rate."
                )
            if not len(y_val):
                continue
            accuracy = _accuracy(net, X_val, y_val)
            net.history.record("valid_acc", accuracy)
            epochs.set_postfix(valid_acc=f"{accuracy:.3f}")
            if accuracy > best_accuracy:
                best_accuracy, best_epoch = accuracy, epoch
                best_state = copy.deepcopy(net.module_.state_dict())
            elif epoch - best_epoch >= patience:
                break
    if best_state is not None:
        net.module_.load_state_dict(best_state)
    return len(net.history)


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
            stacklevel=3,
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
