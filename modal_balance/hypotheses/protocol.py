"""The protocol of frozen hypotheses, and sets of them that wrap others.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..acquisition.probabilities import check_probabilities
from ..arguments import n_rows


class Hypotheses(Protocol):
    """Posterior samples of a classifier, each a fixed function of the input.

    Whatever has the method ``predict_proba_samples`` can be queried: pass it in place of a learner,
    or as the estimator of one. The method may return a NumPy array, and every call must use the
    same hypotheses in the same order. Attributes may be missing.

    Attributes
    ----------
    classes_ : ndarray of shape (C,) or None
        Labels of the columns. None: the labels are 0..C-1.
    complete : bool, optional
        Whether the set is complete, such as the trees of a forest, and not a sample of a larger
        posterior. Missing: of what ``draw_hypotheses`` returns, False.
    validation_error_ : float, optional
        Share of wrong predictions on data held out. Gives tau where nothing else does.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import balance_query
    >>> X, _ = load_iris(return_X_y=True)
    >>> class Softmax:
    ...     weights = np.random.default_rng(0).normal(size=(20, X.shape[1], 3))
    ...     def predict_proba_samples(self, X):
    ...         odds = np.exp(X @ self.weights)
    ...         return odds / odds.sum(-1, keepdims=True)
    >>> indices, gains = balance_query(Softmax(), X, n_instances=3, tau=0.05, random_state=0)
    >>> indices.shape
    (3,)
    """

    classes_: np.ndarray | None

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses on the rows of X, of shape (S, n, C)."""
        ...


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
        self.classes_ = getattr(hypotheses, "classes_", None)
        self.complete: bool = getattr(hypotheses, "complete", False)

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


class GivenHypotheses:
    """What an object with a ``predict_proba_samples`` method predicts, checked.

    Parameters
    ----------
    source : object
        See :class:`Hypotheses` for what it must be.

    Raises
    ------
    ValueError
        From ``predict_proba_samples``, if the predictions are no probabilities of the shape
        (S, n, C), with at least two hypotheses.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.hypotheses.protocol import GivenHypotheses
    >>> class Coin:
    ...     def predict_proba_samples(self, X):
    ...         return np.full((2, len(X), 2), 0.5)
    >>> GivenHypotheses(Coin()).predict_proba_samples(np.ones((7, 1))).shape
    torch.Size([2, 7, 2])
    """

    complete = True

    def __init__(self, source: Any) -> None:
        self.source = source
        classes = getattr(source, "classes_", None)
        self.classes_ = None if classes is None else np.asarray(classes)

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array-like
            n rows of whatever the object takes.

        Returns
        -------
        Tensor of shape (S, n, C)
        """
        proba = torch.as_tensor(self.source.predict_proba_samples(X)).detach()
        if proba.dtype not in (torch.float32, torch.float64):
            proba = proba.float()
        name = f"What {type(self.source).__name__}.predict_proba_samples returned"
        check_probabilities(
            proba,
            name=name,
            cause="It must return probabilities of the shape (hypotheses, rows, classes).",
        )
        if len(proba) < 2:
            raise ValueError(f"{name} holds 1 hypothesis. Expected at least 2, to be compared.")
        if proba.shape[1] != n_rows(X):
            raise ValueError(
                f"{name} has the shape {tuple(proba.shape)} for {n_rows(X)} rows. Expected "
                "(hypotheses, rows, classes)."
            )
        if self.classes_ is not None and len(self.classes_) != proba.shape[2]:
            raise ValueError(
                f"{name} has {proba.shape[2]} classes but classes_ has {len(self.classes_)}. "
                "Return one column for each of classes_."
            )
        return proba
