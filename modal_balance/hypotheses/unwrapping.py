"""The classifier inside pipelines, searches and frozen estimators, and the way to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from skorch import NeuralNet

from ..sklearn_compat import FrozenEstimator


class Unwrapped(NamedTuple):
    """A classifier out of its wrappers.

    ``transforms`` are to be applied to the input one after the other before ``estimator`` sees it.
    """

    estimator: Any
    transforms: tuple[Callable[[Any], Any], ...]

    def transform(self, X: Any) -> Any:
        """Return what the classifier itself is given for the input X of its wrappers."""
        for transform in self.transforms:
            X = transform(X)
        return X


def unwrap(estimator: Any) -> Unwrapped:
    """Take a fitted classifier out of pipelines, searches and frozen estimators, however nested.

    Parameters
    ----------
    estimator : estimator
        A Pipeline, of scikit-learn or imbalanced-learn (its last step counts), a search such as
        GridSearchCV (its ``best_estimator_`` counts), a FrozenEstimator, or any other estimator,
        which is returned as it is.

    Returns
    -------
    Unwrapped
        The classifier, and the transformations of the input on the way to it.

    Raises
    ------
    ValueError
        If a search has kept no best estimator.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance.hypotheses.unwrapping import unwrap
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> classifier, transforms = unwrap(pipeline.fit([[0.0], [1.0]], [0, 1]))
    >>> classifier, len(transforms)
    (LogisticRegression(), 1)
    """
    transforms: list[Callable[[Any], Any]] = []
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "draw_hypotheses") or hasattr(estimator, "predict_proba_samples"):
            break
        elif isinstance(estimator, Pipeline):
            # Step by step: as a pipeline of their own, steps without attributes learnt in fit
            # would not pass for fitted. Samplers of imbalanced-learn act in fit alone.
            steps = [step for _, step in estimator.steps[:-1]]
            steps = [s for s in steps if s not in (None, "passthrough")]
            transforms += [s.transform for s in steps if not hasattr(s, "fit_resample")]
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "cv_results_"):
            raise ValueError(
                f"This {type(estimator).__name__} has no best_estimator_, because it was made "
                "with refit=False. Use refit=True, so that there is one classifier to query with."
            )
        else:
            break
    return Unwrapped(estimator, tuple(transforms))


def check_labels_of_net(estimator: Any, y: Any) -> None:
    """Raise where a skorch net is to learn labels that are not numbers.

    Parameters
    ----------
    estimator : estimator
        Any estimator, before it is fitted.
    y : array-like of shape (n,)
        Its labels.

    Raises
    ------
    TypeError
        If there is a skorch net in it, and the labels are words or other objects.

    Examples
    --------
    >>> import torch
    >>> from skorch import NeuralNetClassifier
    >>> from modal_balance.hypotheses.unwrapping import check_labels_of_net
    >>> check_labels_of_net(NeuralNetClassifier(torch.nn.Linear(2, 2)), [0, 1, 1])
    """
    labels = np.asarray(y)
    if labels.dtype.kind in "OSUT" and isinstance(unwrap(estimator).estimator, NeuralNet):
        raise TypeError(
            f"A skorch net learns its classes as numbers 0, 1, ..., but a label is {labels[0]!r}. "
            "Use MCDropoutClassifier(module=...), which takes words, BootstrapCommittee(net), or "
            "numbers from sklearn.preprocessing.LabelEncoder."
        )
