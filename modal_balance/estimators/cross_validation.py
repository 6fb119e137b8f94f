"""Cross-validated error of networks that train on all labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from .labels import stratified_folds
from .steps import train_steps

__all__ = ["cross_validated_mistakes", "smoothed_error"]

N_FOLDS = 5
# Five networks with 40 % of the steps take twice the time of one. Accuracy is nearly that of all
# the steps: docs/studies/few_labels.
SHARE_OF_STEPS = 0.4


def smoothed_error(n_wrong: int, n_rows: int) -> float:
    """Return an estimate of an error from few rows, which is never 0 or 1.

    Laplace's rule of succession: the mean of the error given the rows, if all errors were as likely
    before.

    Parameters
    ----------
    n_wrong : int
        Rows that were predicted wrongly.
    n_rows : int
        Rows that were predicted.

    Returns
    -------
    float
        ``(n_wrong + 1) / (n_rows + 2)``.

    Examples
    --------
    >>> from modal_balance.estimators.cross_validation import smoothed_error
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
    """Count the rows that networks trained without them predict wrongly.

    Five folds, or as many as there are rows; two fifths of the steps; dropout off in predictions.

    Parameters
    ----------
    build : callable
        Returns a new network, which maps inputs to logits (n, C).
    X : Tensor of shape (n, ...)
        Inputs.
    y : Tensor of int64, shape (n,)
        Labels counted from 0.
    class_weights : callable
        Returns the weights (C,) of the classes from the labels trained on.
    rng : numpy.random.RandomState
        Deals the rows into folds.
    n_steps, learning_rate, batch_size, label_smoothing
        As in :func:`~modal_balance.estimators.steps.train_steps`, of the network to be judged.

    Returns
    -------
    n_wrong, n_rows : int
        How many were predicted wrongly, and how many were predicted: all rows of classes with at
        least two.
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
