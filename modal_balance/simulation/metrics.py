"""Metrics of predictions.

n: rows    C: classes
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score, roc_auc_score

__all__ = ["calibration_error", "evaluate"]

N_BINS = 15
SMALLEST = 1e-7  # lower bound of probabilities in the logarithm


def evaluate(y: NDArray[np.integer[Any]], proba: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Return all metrics of predictions.

    Parameters
    ----------
    y : array of int, shape (n,)
        True classes, counted from 0.
    proba : array of shape (n, C)
        Predicted probabilities.

    Returns
    -------
    dict
        "accuracy"; "balanced_accuracy", the mean recall of the classes in `y`; "macro_f1" over all
        C classes; "auc", the mean area under the ROC curve of each class against the rest, None
        if `y` lacks a class; "nll", the mean negative log-likelihood in nats, with probabilities
        clipped at 1e-7; "ece", the expected calibration error.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.simulation.metrics import evaluate
    >>> proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> metrics = evaluate(np.array([0, 1, 1]), proba)
    >>> round(metrics["accuracy"], 3), round(metrics["nll"], 3)
    (0.667, 0.415)
    """
    predicted = proba.argmax(axis=1)
    n_classes = proba.shape[1]
    present = np.unique(y)
    auc = None
    if len(present) == n_classes and n_classes > 1:
        auc = float(roc_auc_score(np.eye(n_classes)[y], proba))
    likelihood = np.clip(proba[np.arange(len(y)), y], SMALLEST, 1.0)
    return {
        "accuracy": float(np.mean(predicted == y)),
        # balanced_accuracy_score would warn if classes that y lacks are predicted.
        "balanced_accuracy": float(recall_score(y, predicted, labels=present, average="macro")),
        "macro_f1": float(
            f1_score(y, predicted, labels=np.arange(n_classes), average="macro", zero_division=0)
        ),
        "auc": auc,
        "nll": float(-np.log(likelihood).mean()),
        "ece": calibration_error(y, proba),
    }


def calibration_error(
    y: NDArray[np.integer[Any]], proba: NDArray[np.floating[Any]], n_bins: int = N_BINS
) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy.

    Parameters
    ----------
    y : array of int, shape (n,)
        True classes.
    proba : array of shape (n, C)
        Predicted probabilities.
    n_bins : int, default=15
        Number of bins of equal width for the largest probability.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.simulation.metrics import calibration_error
    >>> calibration_error(np.array([0, 0, 0, 1]), np.tile([0.75, 0.25], (4, 1)))
    0.0
    """
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gap = np.bincount(bins, weights=right - confidence, minlength=n_bins)
    return float(np.abs(gap).sum() / len(y))
