"""Metrics of predictions.

n: rows    C: classes
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from ..acquisition.temperature import expected_calibration_error

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
        clipped at 1e-7; "ece", the expected calibration error with 15 bins.

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
    is_right = predicted == y
    n_classes = proba.shape[1]
    present = np.unique(y)
    auc = None
    if len(present) == n_classes and n_classes > 1:
        auc = float(roc_auc_score(np.eye(n_classes)[y], proba))
    likelihood = np.clip(proba[np.arange(len(y)), y], SMALLEST, 1.0)
    return {
        "accuracy": float(is_right.mean()),
        # balanced_accuracy_score would warn if classes that y lacks are predicted.
        "balanced_accuracy": float(recall_score(y, predicted, labels=present, average="macro")),
        "macro_f1": float(
            f1_score(y, predicted, labels=np.arange(n_classes), average="macro", zero_division=0)
        ),
        "auc": auc,
        "nll": float(-np.log(likelihood).mean()),
        "ece": expected_calibration_error(torch.from_numpy(proba), torch.from_numpy(is_right)),
    }
