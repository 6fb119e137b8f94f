"""Committees and scikit-learn ensembles: which hypotheses they are made of.

A committee is a modAL Committee, or a list or tuple of fitted classifiers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)

from ..sklearn_compat import ALLOW_NAN, validate_data

FORESTS = (RandomForestClassifier, ExtraTreesClassifier)
ENSEMBLES = (*FORESTS, BaggingClassifier, VotingClassifier)
REFUSAL_REASONS: tuple[tuple[tuple[type, ...], str], ...] = (
    (
        (GradientBoostingClassifier, HistGradientBoostingClassifier, AdaBoostClassifier),
        "Its stages are partial sums of one model, each fitted to what the ones before it got "
        "wrong: they are no draws from a posterior.",
    ),
    (
        (CalibratedClassifierCV,),
        "Its members, where it has more than one, are the same fit without one fold each: they "
        "differ by far less than draws from a posterior.",
    ),
    (
        (StackingClassifier,),
        "Its members are inputs of its final estimator, none of which predicts on its own.",
    ),
)


class Member(NamedTuple):
    """A member of a committee or an ensemble."""

    estimator: Any
    transform: Callable[[Any], Any] | None = None  # input of the ensemble -> that of the member
    labels: np.ndarray | None = None  # what the member's classes, numbers 0, 1, ..., stand for


def committee_members(learner: Any) -> list[Member] | None:
    """Return the members of a committee, None for anything else.

    Parameters
    ----------
    learner : object
        A modAL Committee, a list or tuple of estimators or modAL learners, or anything else.

    Returns
    -------
    list of Member, or None

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from modal_balance.hypotheses.ensembles import committee_members
    >>> [member.estimator for member in committee_members([LogisticRegression(), GaussianNB()])]
    [LogisticRegression(), GaussianNB()]
    """
    learners = learner if isinstance(learner, (list, tuple)) else None
    if hasattr(learner, "learner_list"):
        learners = learner.learner_list
    if learners is None:
        return None
    return [Member(member) for member in learners]


def ensemble_members(estimator: Any) -> list[Member] | None:
    """Return the members of a fitted scikit-learn ensemble, None for anything else.

    Parameters
    ----------
    estimator : estimator
        RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier, VotingClassifier, or any
        other.

    Returns
    -------
    list of Member, or None

    Raises
    ------
    ValueError
        If the ensemble predicts several outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from modal_balance.hypotheses.ensembles import ensemble_members
    >>> X, y = load_iris(return_X_y=True)
    >>> len(ensemble_members(RandomForestClassifier(30).fit(X, y)))
    30
    """
    if not isinstance(estimator, ENSEMBLES):
        return None
    labels = estimator.classes_
    if isinstance(labels, list):
        raise ValueError(
            f"This {type(estimator).__name__} predicts {len(labels)} outputs. Expected one: use an "
            "ensemble for each."
        )
    if isinstance(estimator, VotingClassifier):
        return [Member(member, None, labels) for member in estimator.estimators_]
    if isinstance(estimator, FORESTS):
        to_trees = partial(_checked, estimator, dtype=np.float32, accept_sparse="csr")
        return [Member(tree, to_trees, labels) for tree in estimator.estimators_]
    return [
        Member(member, partial(_columns, estimator, features), labels)
        for member, features in zip(
            estimator.estimators_, estimator.estimators_features_, strict=True
        )
    ]


def out_of_bag_error(estimator: Any) -> float | None:
    """Return the out-of-bag error of a forest or a bagging ensemble, where it is known.

    Parameters
    ----------
    estimator : estimator
        Any estimator.

    Returns
    -------
    float or None
        1 minus ``oob_score_``, where that is an accuracy, as with ``oob_score=True``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from modal_balance.hypotheses.ensembles import out_of_bag_error
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(oob_score=True, random_state=0).fit(X, y)
    >>> round(out_of_bag_error(forest), 3)
    0.047
    """
    if not isinstance(estimator, (*FORESTS, BaggingClassifier)):
        return None
    # Any other metric than the accuracy, which is the default, is given as a callable.
    if callable(estimator.oob_score) or not hasattr(estimator, "oob_score_"):
        return None
    return 1.0 - float(estimator.oob_score_)


def refusal_reason(estimator: Any) -> str:
    """Return why an ensemble's members are no hypotheses, or an empty string.

    Parameters
    ----------
    estimator : estimator
        Any estimator.

    Returns
    -------
    str

    Examples
    --------
    >>> from sklearn.ensemble import AdaBoostClassifier
    >>> from modal_balance.hypotheses.ensembles import refusal_reason
    >>> refusal_reason(AdaBoostClassifier())[:40]
    'Its stages are partial sums of one model'
    """
    reasons = [reason for types, reason in REFUSAL_REASONS if isinstance(estimator, types)]
    return reasons[0] if reasons else ""


def _checked(ensemble: Any, X: Any, **rules: Any) -> Any:
    """Return X as an array that the ensemble's members take, in the columns of its fit."""
    # NaN is for the members to take or to refuse.
    return validate_data(ensemble, X, reset=False, **ALLOW_NAN, **rules)


def _columns(ensemble: Any, features: np.ndarray, X: Any) -> Any:
    """Return the columns of X that a member of a bagging ensemble was fitted on."""
    return _checked(ensemble, X, dtype=None, accept_sparse=["csr", "csc"])[:, features]
