"""Create, train and validate the networks of an MCDropoutClassifier.

Without validation data, :func:`train_steps` trains networks on all labels for a fixed number of
steps, and :func:`cross_validated_mistakes` estimates their error.

With validation data, :func:`train` trains a skorch net as in the BALanCe paper: draws with
replacement, class-weighted cross-entropy, and early stopping on validation accuracy with the best
epoch restored. A ``DataLoader`` collates batches row by row, which costs more than the network;
here an epoch is drawn at once, and a batch is a single indexed read.

References
----------
Zhang, Khan, Grossman, Chen, "Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
Class Annealing", ICLR 2023, experiments.

M: networks    B: rows of a batch    C: classes
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNetClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from .._utils.user_warnings import warn_user
from ..hypotheses.chunks import is_out_of_memory
from .labels import class_weights, stratified_folds
from .networks import MLP, StackedMLPs, check_logits
from .posteriors import Posterior

__all__ = [
    "DrawnBatches",
    "WeightedCrossEntropy",
    "check_convergence",
    "check_network",
    "cross_validated_mistakes",
    "fit_nets",
    "smoothed_error",
    "train",
    "train_steps",
    "untrained_net",
    "validate",
]

Data = tuple[Tensor, Tensor]  # inputs (n, ...), labels (n,) counted from 0

DIVERGED = 10  # multiple of the loss of a uniform prediction
N_FOLDS = 5
# Five networks with 40 % of the steps take twice the time of one with all steps, at nearly the same
# accuracy: docs/studies/few_labels.
SHARE_OF_STEPS = 0.4
FUSED_ON_CPU = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)


def fit_nets(
    classifier: Any, training: Data, validation: Data, seed: int
) -> list[NeuralNetClassifier]:
    """Return trained nets: one, or the members of an ensemble.

    Parameters
    ----------
    classifier : MCDropoutClassifier
        Its parameters, ``classes_`` and its number of inputs are read.
    training, validation : pair of Tensor, shapes (n, ...) and (n,)
        Inputs and labels, counted from 0. If `validation` has no rows, training takes a fixed
        number of steps.
    seed : int
        Seed of the drawn rows. All other draws are from torch's global generators.

    Returns
    -------
    list of skorch.NeuralNetClassifier
    """
    X, y = training
    weights = _weights(classifier, y)
    n_nets = classifier.n_members if classifier.posterior == "ensemble" else 1
    nets = [untrained_net(classifier, weights, seed + i) for i in range(n_nets)]
    check_network(classifier, nets[0], X)
    if len(validation[1]):
        for net in nets:
            train(
                net,
                training,
                validation,
                max_epochs=classifier.max_epochs,
                patience=classifier.patience,
                verbose=classifier.verbose,
            )
    else:
        losses = train_steps(
            [net.module_ for net in nets],
            X.to(classifier.device),
            y.to(classifier.device),
            [torch.arange(len(y))] * n_nets,
            [weights] * n_nets,
            n_steps=classifier.n_steps,
            learning_rate=classifier.learning_rate,
            batch_size=classifier.batch_size,
            label_smoothing=classifier.label_smoothing,
            verbose=classifier.verbose,
        )
        for net, own in zip(nets, losses.tolist(), strict=True):
            for loss in own:
                net.history.new_epoch()
                net.history.record("train_loss", loss)
    for net in nets:
        check_convergence(net, X, y)
    return nets


def validate(
    classifier: Any,
    posterior: Posterior,
    training: Data,
    validation: Data,
    rng: np.random.RandomState,
) -> tuple[int, int] | None:
    """Return the numbers of wrong predictions and of predicted validation rows.

    Parameters
    ----------
    classifier : MCDropoutClassifier
        Its parameters, ``classes_`` and its number of inputs are read.
    posterior : Posterior
        Posterior of the trained nets, which predicts `validation`.
    training, validation : pair of Tensor, shapes (n, ...) and (n,)
        Inputs and labels, counted from 0. If `validation` has no rows and the parameters ask for
        it, `training` is cross-validated.
    rng : numpy.random.RandomState
        Draws the folds.

    Returns
    -------
    n_wrong, n_rows : int
        None without validation, or if there is only one class.

    Warns
    -----
    UserWarning
        If every row is the only one of its class, so that no row can be held out.
    """
    X, y = training
    if len(validation[1]):
        predicted = posterior.mean_proba(validation[0], classifier.n_samples).argmax(axis=1)
        return int(np.sum(predicted != validation[1].numpy())), len(predicted)
    if classifier.validation is None or len(torch.unique(y)) < 2:
        return None
    n_wrong, n_rows = 0, 0
    if classifier.validation == "cv":
        n_wrong, n_rows = cross_validated_mistakes(
            _builder(classifier),
            X.to(classifier.device),
            y.to(classifier.device),
            partial(_weights, classifier),
            rng,
            n_steps=classifier.n_steps,
            learning_rate=classifier.learning_rate,
            batch_size=classifier.batch_size,
            label_smoothing=classifier.label_smoothing,
        )
    if not n_rows:
        warn_user(
            f"None of the {len(y)} rows can be held out: each is the only one of its class. "
            f"validation_error_ is a guess, {smoothed_error(0, 0)}. Pass more labels, or X_val and "
            "y_val.",
            UserWarning,
        )
    return n_wrong, n_rows


def check_network(classifier: Any, net: NeuralNetClassifier, X: Tensor) -> None:
    """Raise a ValueError unless an untrained net maps rows of X to logits.

    Parameters
    ----------
    classifier : MCDropoutClassifier
        Its parameters and ``classes_`` are read.
    net : skorch.NeuralNetClassifier
        The net.
    X : Tensor of shape (n, ...)
        Inputs, of which two rows are used.
    """
    rows = X[:2]
    try:
        logits = net.evaluation_step((rows, None))
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        if classifier.module is None or is_out_of_memory(error):
            raise
        advice = "Change module or X."
        if classifier.normalise:
            advice = "X is standardised; for the integers of an embedding, pass normalise=False."
        raise ValueError(
            "The network that module built cannot be run on rows of X, of shape "
            f"{tuple(rows.shape)} and {rows.dtype}: {str(error).rstrip('. ')}. {advice}"
        ) from error
    check_logits(logits, (len(rows), len(classifier.classes_)))


def _weights(classifier: Any, y: Tensor) -> Tensor:
    return class_weights(y.cpu().numpy(), classifier.classes_, classifier.class_weight)


def _builder(classifier: Any) -> Callable[[], nn.Module]:
    build: Callable[[int, int], nn.Module]
    if classifier.module is None:
        build = partial(
            MLP,
            hidden_layer_sizes=classifier.hidden_layer_sizes,
            dropout=classifier.dropout,
            input_dropout=classifier.input_dropout,
        )
    else:
        build = partial(_own_network, classifier.module)
    return partial(_in_float32, build, classifier._n_inputs, len(classifier.classes_))


def _in_float32(build: Callable[[int, int], nn.Module], n_inputs: int, n_classes: int) -> nn.Module:
    """Return a new network with parameters like its inputs, whatever torch's default dtype is."""
    return build(n_inputs, n_classes).float()


def _own_network(
    build: Callable[[int, int], nn.Module], n_inputs: int, n_classes: int
) -> nn.Module:
    """Return a network of the user that shares nothing with other networks, and keeps its input.

    ``module`` may return layers that exist already, for example pretrained ones. Without the copy,
    all fits, folds and members would train the same layers.
    """
    with torch.no_grad():  # a network with torch's old weight_norm can be copied only like this
        network = build(n_inputs, n_classes)
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"module({n_inputs}, {n_classes}) returned {network!r}. Expected a torch.nn.Module."
        )
    network = copy.deepcopy(network)
    network.register_forward_pre_hook(_copy_inputs)
    network.register_forward_hook(_logits_in_float32)
    return network


def _copy_inputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # Every step gets the same rows, perhaps the user's own array, and a network may change its
    # input in place, as in ``x -= 0.5``.
    return tuple(X.clone() for X in inputs)


def _logits_in_float32(network: nn.Module, inputs: Any, output: Any) -> Any:
    # Losses need one dtype, and a softmax in half precision does not sum to 1. The output is in
    # half precision under autocast, for example.
    return output.float() if isinstance(output, Tensor) else output


def untrained_net(classifier: Any, weights: Tensor, seed: int) -> NeuralNetClassifier:
    """Return a net with new weights, drawn from torch's global generators.

    Parameters
    ----------
    classifier : MCDropoutClassifier
        Its parameters, ``classes_`` and its number of inputs are read.
    weights : Tensor of shape (C,)
        Weights of the classes in the loss.
    seed : int
        Seed of the rows drawn in training.

    Returns
    -------
    skorch.NeuralNetClassifier
    """
    net = NeuralNetClassifier(
        _builder(classifier),  # not an instance, which skorch would store twice
        criterion=WeightedCrossEntropy,
        criterion__weight=weights,
        criterion__label_smoothing=classifier.label_smoothing,
        optimizer=torch.optim.Adam,
        lr=classifier.learning_rate,
        batch_size=int(classifier.batch_size),  # torch.split takes no integer of NumPy
        max_epochs=classifier.max_epochs,
        iterator_train=DrawnBatches,
        iterator_train__samples_per_epoch=classifier.samples_per_epoch,
        iterator_train__seed=seed,
        train_split=None,
        callbacks="disable",
        classes=list(range(len(weights))),
        device=classifier.device,
        verbose=0,
    )
    return net.initialize()


def smoothed_error(n_wrong: int, n_rows: int) -> float:
    """Return an error rate estimated from few rows, which is never 0 or 1.

    By Laplace's rule of succession, this is the posterior mean of the error under a uniform prior.

    Parameters
    ----------
    n_wrong : int
        Number of wrong predictions.
    n_rows : int
        Number of predicted rows.

    Returns
    -------
    float
        ``(n_wrong + 1) / (n_rows + 2)``.

    Examples
    --------
    >>> from modal_balance.estimators.training import smoothed_error
    >>> smoothed_error(0, 8), smoothed_error(0, 0)
    (0.1, 0.5)
    """
    return (n_wrong + 1) / (n_rows + 2)


def cross_validated_mistakes(
    build: Callable[[], nn.Module],
    X: Tensor,
    y: Tensor,
    class_weights: Callable[[Tensor], Tensor],
    rng: np.random.RandomState,
    *,
    n_steps: int,
    learning_rate: float,
    batch_size: int,
    label_smoothing: float,
) -> tuple[int, int]:
    """Return the numbers of wrong predictions and of predicted rows in cross-validation.

    There are five folds, or as many as rows. Networks train for two fifths of the steps, and
    predict without dropout.

    Parameters
    ----------
    build : callable
        ``build()`` returns a new network that maps inputs to logits (n, C).
    X : Tensor of shape (n, ...)
        Inputs.
    y : Tensor of int64, shape (n,)
        Labels counted from 0.
    class_weights : callable
        ``class_weights(y)`` returns the weights (C,) of the classes for training labels.
    rng : numpy.random.RandomState
        Draws the folds.
    n_steps, learning_rate, batch_size, label_smoothing
        As in :func:`~modal_balance.estimators.training.train_steps`, for the network whose error is
        estimated.

    Returns
    -------
    n_wrong, n_rows : int
        Predicted are all rows of classes with at least two rows.
    """
    folds = [
        torch.from_numpy(fold).to(y.device)
        for fold in stratified_folds(y.cpu().numpy(), N_FOLDS, rng)
    ]
    if not folds:
        return 0, 0
    others = []
    for fold in folds:
        left = torch.ones(len(y), dtype=torch.bool, device=y.device)
        left[fold] = False
        others.append(left.nonzero()[:, 0])
    networks = [build().to(X.device) for _ in folds]
    train_steps(
        networks,
        X,
        y,
        others,
        [class_weights(y[rows]) for rows in others],
        n_steps=max(1, round(SHARE_OF_STEPS * n_steps)),
        learning_rate=learning_rate,
        batch_size=batch_size,
        label_smoothing=label_smoothing,
    )
    n_wrong = 0
    with torch.no_grad():
        for network, fold in zip(networks, folds, strict=True):
            predicted = network.eval()(X[fold]).argmax(dim=1)
            n_wrong += int((predicted != y[fold]).sum())
    return n_wrong, sum(map(len, folds))


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
    >>> from modal_balance.estimators.training import train_steps
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


class DrawnBatches:
    """Batches of rows drawn with replacement; an ``iterator_train`` for skorch.

    Each iteration is an epoch of new draws. The rows depend only on the seed: two networks trained
    with the same seed get the same batches.

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
    """Cross-entropy weighted by class, with label smoothing that is equal for all classes.

    The loss is the weighted mean of the cross-entropies of the rows, each with the weight of its
    class. (torch multiplies the smoothed share of each other class by the weight of that class,
    which teaches the network to predict rare classes everywhere.)

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
    """Train a net with early stopping, restore the best epoch, and return the number of epochs.

    Training stops after `patience` consecutive epochs that do not exceed the best validation
    accuracy so far; of equally good epochs the first is the best. The loop over epochs is here
    because ``net.fit`` suppresses a ``KeyboardInterrupt``, and interrupted training must not count
    as finished.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        Initialised, with ``callbacks="disable"`` and the iterators of this module.
    training, validation : pair of Tensor, shapes (n, ...) and (n,)
        Inputs and labels, counted from 0; at least one row.
    max_epochs : int, at least 1
        Largest number of epochs.
    patience : int, at least 1
        Epochs without improvement before training stops.
    verbose : int, default=0
        1 shows a progress bar over the epochs.

    Returns
    -------
    int
        Number of epochs, including those after the best one.

    Raises
    ------
    ValueError
        If the training loss becomes infinite or NaN.
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
            accuracy = float((_logits(net, X_val).argmax(dim=1) == y_val).double().mean())
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


def check_convergence(net: NeuralNetClassifier, X: Tensor, y: Tensor) -> None:
    """Warn if training has diverged, or raise a ValueError if the network's output is not finite.

    Training has diverged if the weighted mean loss on the training rows, in eval mode, exceeds
    10 log C. A network that always predicts 1 / C for each of the C classes has the loss log C for
    any weights, and a network that has learnt anything has a smaller loss.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        A trained net that returns logits (n, C), with cross-entropy as its loss.
    X : Tensor of shape (n, ...)
        Its training rows.
    y : Tensor of int64, shape (n,)
        Their labels, counted from 0.

    Warns
    -----
    ConvergenceWarning
        If training has diverged.
    """
    logits = _logits(net, X).double()  # (n, C)
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
        warn_user(
            f"Training has not converged: the loss on the training rows is {loss:.3g}, but random "
            f"guessing among the {logits.shape[1]} classes has {uniform:.3g}. Scale X (for example "
            f"with StandardScaler) or lower learning_rate, which is {net.lr:g}.",
            ConvergenceWarning,
        )


def _logits(net: NeuralNetClassifier, X: Tensor) -> Tensor:
    """Return the logits (n, C) in eval mode (skorch's loop goes row by row)."""
    return torch.cat([net.evaluation_step((part, None)) for part in torch.split(X, net.batch_size)])
