"""The networks of an MCDropoutClassifier: how its parameters make them, train and validate them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import Tensor, nn

from .cross_validation import cross_validated_mistakes, smoothed_error
from .labels import class_weights
from .networks import MLP, check_logits
from .posteriors import Posterior
from .steps import train_steps
from .training import DrawnBatches, WeightedCrossEntropy, check_convergence, train

__all__ = ["fit_nets", "untrained_net", "validate"]

Data = tuple[Tensor, Tensor]  # inputs (n, ...), labels (n,) counted from 0


def fit_nets(
    classifier: Any, training: Data, validation: Data, seed: int
) -> list[NeuralNetClassifier]:
    """Return trained nets: one, or the members of an ensemble.

    Parameters
    ----------
    classifier : MCDropoutClassifier
        Its parameters, ``classes_`` and ``n_features_in_`` are read.
    training, validation : pair of Tensor, shapes (n, ...) and (n,)
        Inputs, and labels counted from 0. Where `validation` has no rows, training takes a fixed
        number of steps.
    seed : int
        Seed of the rows that are drawn. All else comes from torch's global generators.

    Returns
    -------
    list of skorch.NeuralNetClassifier
    """
    X, y = training
    weights = _weights(classifier, y)
    n_nets = classifier.n_members if classifier.posterior == "ensemble" else 1
    nets = [untrained_net(classifier, weights, seed + i) for i in range(n_nets)]
    logits = nets[0].evaluation_step((X[:2], None))
    check_logits(logits, (min(2, len(X)), len(weights)))
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
    """Return how many validation rows are predicted wrongly, and of how many.

    Parameters
    ----------
    classifier : MCDropoutClassifier
        Its parameters, ``classes_`` and ``n_features_in_`` are read.
    posterior : Posterior
        Of the trained nets; it predicts `validation`.
    training, validation : pair of Tensor, shapes (n, ...) and (n,)
        Inputs, and labels counted from 0. Where `validation` has no rows, networks trained on parts
        of `training` predict the rest of it, if the parameters say so.
    rng : numpy.random.RandomState
        Deals the rows into folds.

    Returns
    -------
    n_wrong, n_rows : int
        None where there is nothing to validate on: no validation wanted, or one class only.

    Warns
    -----
    UserWarning
        If every row is alone in its class, so that none can be validated on.
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
        warnings.warn(
            f"None of the {len(y)} rows can be validated on: each is alone in its class. "
            f"validation_error_ is a guess, {smoothed_error(0, 0)}. Pass more labels, or X_val and "
            "y_val.",
            UserWarning,
            stacklevel=3,
        )
    return n_wrong, n_rows


def _weights(classifier: Any, y: Tensor) -> Tensor:
    return class_weights(y.cpu().numpy(), classifier.classes_, classifier.class_weight)


def _builder(classifier: Any) -> Callable[[], nn.Module]:
    build = classifier.module or partial(
        MLP,
        hidden_layer_sizes=classifier.hidden_layer_sizes,
        dropout=classifier.dropout,
        input_dropout=classifier.input_dropout,
    )
    return partial(build, classifier.n_features_in_, len(classifier.classes_))


def untrained_net(classifier: Any, weights: Tensor, seed: int) -> NeuralNetClassifier:
    """Return a net with new weights, from torch's global generators.

    Parameters
    ----------
    classifier : MCDropoutClassifier
        Its parameters, ``classes_`` and ``n_features_in_`` are read.
    weights : Tensor of shape (C,)
        Weights of the classes in the loss.
    seed : int
        Seed of the rows that are drawn in training.

    Returns
    -------
    skorch.NeuralNetClassifier
    """
    net = NeuralNetClassifier(
        _builder(classifier),  # and not an instance, which skorch would store twice
        criterion=WeightedCrossEntropy,
        criterion__weight=weights,
        criterion__label_smoothing=classifier.label_smoothing,
        optimizer=torch.optim.Adam,
        lr=classifier.learning_rate,
        batch_size=classifier.batch_size,
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
