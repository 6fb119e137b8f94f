"""Validation error of a fitted estimator, or of hypotheses on validation data."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import BaggingClassifier
from skorch import NeuralNet

from .._utils.arguments import check_validation_pair
from .protocol import Hypotheses
from .unwrap import FORESTS, UnwrappedLearner, unwrap_learner


def validation_error(estimator: Any) -> float | None:
    """Return the validation error that an estimator recorded in its last fit.

    Parameters
    ----------
    estimator : estimator or committee
        Fitted. The last step of a Pipeline and the best estimator of a search are used.

    Returns
    -------
    float or None
        ``validation_error_`` if the estimator has it; for a skorch net, 1 minus the best
        ``valid_acc`` in the last ``max_epochs`` epochs of its history; for a forest or a bagging
        ensemble, the out-of-bag error; for a committee or an ensemble, the mean over the members,
        if all have one. Otherwise None.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.hypotheses.validation import validation_error
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> validation_error(clf) == clf.validation_error_
    True
    """
    return validation_error_of(unwrap_learner(estimator))


def validation_error_of(unwrapped: UnwrappedLearner) -> float | None:
    """Return :func:`validation_error` of an unwrapped estimator or committee."""
    if not unwrapped.is_committee:
        classifier = unwrapped.classifier
        error = getattr(classifier, "validation_error_", None)
        if error is None and isinstance(classifier, NeuralNet):
            # partial_fit appends to the history of earlier fits.
            epochs = classifier.history[-classifier.max_epochs :]
            accuracies = [epoch["valid_acc"] for epoch in epochs if "valid_acc" in epoch]
            error = 1 - max(accuracies) if accuracies else None
        if error is None:
            error = _out_of_bag_error(classifier)
        if error is not None:
            return float(error)
    errors = [validation_error_of(member.unwrapped) for member in unwrapped.members or ()]
    known = [error for error in errors if error is not None]
    return float(np.mean(known)) if known and len(known) == len(errors) else None


def _out_of_bag_error(classifier: Any) -> float | None:
    """Return the out-of-bag error of a forest or a bagging ensemble, or None if it is unknown."""
    if not isinstance(classifier, (*FORESTS, BaggingClassifier)):
        return None
    # A callable is a metric other than accuracy.
    if callable(classifier.oob_score) or not hasattr(classifier, "oob_score_"):
        return None
    return 1.0 - float(classifier.oob_score_)


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
        If the numbers of rows and labels differ, or if the hypotheses know none of the labels.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> from modal_balance.hypotheses.validation import validation_error_on
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> hypotheses = draw_hypotheses(clf, 50, random_state=0)
    >>> validation_error_on(hypotheses, X, y) < 0.2
    True
    """
    check_validation_pair(X_val, y_val)
    mean = hypotheses.predict_proba_samples(X_val).mean(0).cpu().numpy()  # (m, C)
    labels = np.asarray(y_val).reshape(-1)
    known = getattr(hypotheses, "classes_", None)
    classes = np.arange(mean.shape[1]) if known is None else known
    if not np.isin(labels, classes).any():
        raise ValueError(
            f"No label of y_val is a class of the estimator: y_val holds {labels[:3].tolist()}..., "
            f"the classes are {classes[:3].tolist()}..."
        )
    return float(np.mean(classes[mean.argmax(1)] != labels))
