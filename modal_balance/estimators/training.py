"""Create, train and validate the networks of an MCDropoutClassifier.

With validation rows, each network is trained by :mod:`~modal_balance.estimators.early_stopping`.
Without, all are trained by :mod:`~modal_balance.estimators.steps`, and their error is estimated by
cross-validation.

C: classes
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNetClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .._utils.user_warnings import warn_user
from ..hypotheses.chunks import is_out_of_memory
from .early_stopping import Data, DrawnBatches, WeightedCrossEntropy, eval_logits, train
from .labels import class_weights, stratified_folds
from .networks import MLP, check_logits
from .posteriors import Posterior
from .steps import train_steps

DIVERGED = 10  # multiple of the loss of a uniform prediction
N_FOLDS = 5
# Five networks with 40 % of the steps take twice the time of one with all steps, at nearly the same
# accuracy: docs/studies/few_labels.
SHARE_OF_STEPS = 0.4


def fit_nets(
    classifier: Any, training: Data, validation: Data, seed: int
) -> list[NeuralNetClassifier]:
    """Return trained nets: one, or the members of an ensemble.

    Parameters, ``classes_`` and the number of inputs of the MCDropoutClassifier are read.
    ``training`` and ``validation`` are inputs (n, ...) and labels (n,), counted from 0; if
    ``validation`` has no rows, training takes a fixed number of steps. ``seed`` is that of the
    drawn rows, and all other draws are from torch's global generators.
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

    ``posterior`` is that of the trained nets, and predicts ``validation``. Without validation rows,
    ``training`` is cross-validated in folds drawn by ``rng``, if the parameters of the
    MCDropoutClassifier ask for it. The result is None without validation, or if there is only one
    class. Warn if every row is the only one of its class, so that no row can be held out.
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
            classifier, X.to(classifier.device), y.to(classifier.device), rng
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
    """Raise a ValueError unless an untrained net maps rows of X (n, ...) to logits.

    Two rows are used. Parameters and ``classes_`` of the MCDropoutClassifier are read.
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

    Parameters, ``classes_`` and the number of inputs of the MCDropoutClassifier are read.
    ``weights`` (C,) are those of the classes in the loss, and ``seed`` is that of the rows drawn in
    training.
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

    By Laplace's rule of succession, ``(n_wrong + 1) / (n_rows + 2)`` is the posterior mean of the
    error under a uniform prior.

    Examples
    --------
    >>> from modal_balance.estimators.training import smoothed_error
    >>> smoothed_error(0, 8), smoothed_error(0, 0)
    (0.1, 0.5)
    """
    return (n_wrong + 1) / (n_rows + 2)


def cross_validated_mistakes(
    classifier: Any, X: Tensor, y: Tensor, rng: np.random.RandomState
) -> tuple[int, int]:
    """Return the numbers of wrong predictions and of predicted rows in cross-validation.

    There are five folds, or as many as rows, drawn by ``rng``. Rows of classes with a single row
    are not predicted. New networks of the classifier train for two fifths of its steps, and predict
    without dropout. The inputs ``X`` are (n, ...) and the labels ``y``, int64 (n,), are counted
    from 0.
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
    build = _builder(classifier)
    networks = [build().to(X.device) for _ in folds]
    train_steps(
        networks,
        X,
        y,
        others,
        [_weights(classifier, y[rows]) for rows in others],
        n_steps=max(1, round(SHARE_OF_STEPS * classifier.n_steps)),
        learning_rate=classifier.learning_rate,
        batch_size=classifier.batch_size,
        label_smoothing=classifier.label_smoothing,
    )
    n_wrong = 0
    with torch.no_grad():
        for network, fold in zip(networks, folds, strict=True):
            predicted = network.eval()(X[fold]).argmax(dim=1)
            n_wrong += int((predicted != y[fold]).sum())
    return n_wrong, sum(map(len, folds))


def check_convergence(net: NeuralNetClassifier, X: Tensor, y: Tensor) -> None:
    """Warn if training has diverged, or raise a ValueError if the network's output is not finite.

    The net is trained and returns logits (n, C), with cross-entropy as its loss; ``X`` (n, ...) and
    ``y``, int64 (n,), are its training rows and their labels, counted from 0. Training has diverged
    if the weighted mean loss on these rows, in eval mode, exceeds 10 log C. A network that always
    predicts 1 / C for each of the C classes has the loss log C for any weights, and a network that
    has learnt anything has a smaller loss. The warning is a ConvergenceWarning.
    """
    logits = eval_logits(net, X).double()  # (n, C)
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
