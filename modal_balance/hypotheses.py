"""Frozen hypotheses: an estimator's posterior samples as fixed functions of the input.

The only layer that knows skorch and scikit-learn. Whatever the estimator, drawing once gives an
object whose ``predict_proba_samples(X)`` is a pure function of X: the pool, the reference pool and
any part of them, in any order, are seen by the same hypotheses.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from skorch import NeuralNet
from torch import Tensor

from .acquisition.arguments import RandomState
from .dropout_hypotheses import DropoutHypotheses


class Hypotheses(Protocol):
    """Posterior samples of a classifier, each a fixed function of the input.

    Attributes
    ----------
    classes_ : ndarray of shape (C,) or None
        Labels of the columns. None: the labels are 0..C-1.
    """

    classes_: np.ndarray | None

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses on the rows of X, of shape (S, n, C)."""
        ...


def draw_hypotheses(
    estimator: Any, n_samples: int, *, random_state: RandomState = None, verbose: int = 0
) -> Hypotheses:
    """Draw hypotheses from a fitted estimator and freeze them.

    Parameters
    ----------
    estimator : estimator
        A fitted skorch classifier whose module has ``nn.Dropout*`` layers, an estimator with a
        ``draw_hypotheses`` method such as :class:`~modal_balance.MCDropoutClassifier`, or a
        scikit-learn Pipeline that ends in one of these.
    n_samples : int
        Number of hypotheses, at least 1.
    random_state : int, RandomState instance or None, default=None
        Decides the draw.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    Returns
    -------
    Hypotheses
        Valid until the estimator is trained again.

    Raises
    ------
    TypeError
        If it is not known how to draw hypotheses from such an estimator.
    ValueError
        If the network has no active dropout layer.

    Warns
    -----
    UnseenDropoutWarning
        If a layer drops activations inside itself, out of reach.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> hypotheses = draw_hypotheses(clf, 20, random_state=0)
    >>> hypotheses.predict_proba_samples(X[:5]).shape
    torch.Size([20, 5, 3])
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}.")
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1][1]
        hypotheses = draw_hypotheses(last, n_samples, random_state=random_state, verbose=verbose)
        if len(estimator.steps) == 1:
            return hypotheses
        return TransformedHypotheses(estimator[:-1].transform, hypotheses)
    if hasattr(estimator, "draw_hypotheses"):
        drawn: Hypotheses = estimator.draw_hypotheses(
            n_samples, random_state=random_state, verbose=verbose
        )
        return drawn
    if isinstance(estimator, NeuralNet):
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        return DropoutHypotheses(estimator, n_samples, seed, verbose=verbose)
    raise TypeError(
        f"It is not known how to draw hypotheses from a {type(estimator).__name__}. Use "
        "MCDropoutClassifier, a skorch classifier whose module has nn.Dropout layers, or a "
        "Pipeline that ends in one of these."
    )


class TransformedHypotheses:
    """Hypotheses behind a transformation of the input, such as the first steps of a pipeline.

    Parameters
    ----------
    transform : callable
        Maps X to what the hypotheses take.
    hypotheses : Hypotheses
        The hypotheses.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), MCDropoutClassifier(random_state=0)).fit(X, y)
    >>> draw_hypotheses(pipeline, 4, random_state=0).predict_proba_samples(X).shape
    torch.Size([4, 150, 3])
    """

    def __init__(self, transform: Callable[[Any], Any], hypotheses: Hypotheses) -> None:
        self.transform = transform
        self.hypotheses = hypotheses
        self.classes_ = hypotheses.classes_

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array-like
            Input of the transformation, n rows.

        Returns
        -------
        Tensor of shape (S, n, C)
        """
        return self.hypotheses.predict_proba_samples(self.transform(X))


def validation_error(estimator: Any) -> float | None:
    """Return the estimator's own validation error from its last fit.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator. Of a Pipeline, the last step counts.

    Returns
    -------
    float or None
        ``validation_error_`` where the estimator has it; of a skorch net, 1 minus the best
        ``valid_acc`` in its history. None where neither is known.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.hypotheses import validation_error
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> validation_error(clf) == clf.validation_error_
    True
    """
    if isinstance(estimator, Pipeline):
        return validation_error(estimator.steps[-1][1])
    error = getattr(estimator, "validation_error_", None)
    if error is None and isinstance(estimator, NeuralNet):
        accuracies = [epoch["valid_acc"] for epoch in estimator.history if "valid_acc" in epoch]
        error = 1 - max(accuracies) if accuracies else None
    return None if error is None else float(error)


def validation_error_on(hypotheses: Hypotheses, X_val: Any, y_val: Any) -> float:
    """Return the error of the mean prediction of hypotheses on validation data.

    Parameters
    ----------
    hypotheses : Hypotheses
        The hypotheses.
    X_val : array-like
        m rows.
    y_val : array-like of shape (m,)
        Their labels.

    Returns
    -------
    float
        Share of wrong predictions, in [0, 1].

    Raises
    ------
    ValueError
        If the numbers of rows and labels differ, or no label is one the hypotheses know.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> from modal_balance.hypotheses import validation_error_on
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> hypotheses = draw_hypotheses(clf, 50, random_state=0)
    >>> validation_error_on(hypotheses, X, y) < 0.2
    True
    """
    mean = hypotheses.predict_proba_samples(X_val).mean(0).cpu().numpy()  # (m, C)
    labels = np.asarray(y_val).reshape(-1)
    classes = np.arange(mean.shape[1]) if hypotheses.classes_ is None else hypotheses.classes_
    if len(labels) != len(mean):
        raise ValueError(f"X_val has {len(mean)} rows but y_val has {len(labels)} labels.")
    if not np.isin(labels, classes).any():
        raise ValueError(
            f"No label of y_val is a class of the estimator: y_val holds {labels[:3].tolist()}..., "
            f"the classes are {classes[:3].tolist()}..."
        )
    return float(np.mean(classes[mean.argmax(1)] != labels))
