"""Draws of a network's output layer, as frozen hypotheses that share its features.

S: hypotheses    n: rows    D: features    C: classes
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .features import last_layer_features

__all__ = ["LaplaceHypotheses"]


class LaplaceHypotheses:
    """Draws of a network's output layer, each a frozen hypothesis.

    Parameters
    ----------
    estimator : estimator
        The fitted classifier whose features the draws share.
    theta : Tensor of shape (S, C D + C) or (S, C D)
        The weights of each draw, row by row, and its biases, if there are any.
    classes : ndarray of shape (C,)
        Labels of the columns.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.hypotheses.last_layer import LaplaceHypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MCDropoutClassifier((8,), random_state=0).fit(X, y)
    >>> theta = torch.randn(10, 3 * 8 + 3)
    >>> hypotheses = LaplaceHypotheses(classifier, theta, classifier.classes_)
    >>> hypotheses.predict_proba_samples(X).shape
    torch.Size([10, 150, 3])
    """

    complete = False

    def __init__(self, estimator: Any, theta: Tensor, classes: NDArray[Any]) -> None:
        self.estimator = estimator
        self.theta = theta
        self.classes_ = classes

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array-like
            n rows of whatever the estimator takes.

        Returns
        -------
        Tensor of shape (S, n, C), in the precision of the network, on its device
        """
        features, proba = last_layer_features(self.estimator, X)  # (n, D), (n, C)
        n_classes, n_weights = proba.shape[1], proba.shape[1] * features.shape[1]
        theta = self.theta.to(features.dtype)
        weight = theta[:, :n_weights].reshape(len(theta), n_classes, -1)  # (S, C, D)
        logits = features @ weight.mT  # (S, n, C)
        if theta.shape[1] > n_weights:
            logits += theta[:, None, n_weights:]
        return torch.softmax(logits, dim=-1)
