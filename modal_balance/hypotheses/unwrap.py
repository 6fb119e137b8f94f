"""Unwrap a learner into its classifier, the transformations of its input, and its members.

:func:`unwrap_learner` does this once for each query. :func:`unwrap` takes a classifier out of
pipelines, searches and frozen estimators. Members are those of a modAL Committee, of a list or
tuple of fitted classifiers, or of a scikit-learn ensemble.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_regressor
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
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from torch import nn

from .._utils.sklearn_compat import ALLOW_NAN, FrozenEstimator, validate_data
from .dropout_calls import has_dropout


def has_samples(estimator: Any) -> bool:
    """Return whether an estimator draws or holds hypotheses itself."""
    return hasattr(estimator, "draw_hypotheses") or hasattr(estimator, "predict_proba_samples")


def unwrap(estimator: Any) -> UnwrappedLearner:
    """Take a classifier out of pipelines, searches and frozen estimators, however nested.

    Of a Pipeline of scikit-learn or imbalanced-learn the last step is used; of a search such as
    GridSearchCV its ``best_estimator_``, or before it is fitted its ``estimator``; and of a
    FrozenEstimator its ``estimator``. Any other estimator is itself the classifier. The result has
    the classifier and the transformations of its input, but not its members. Raise ValueError if a
    fitted search has no ``best_estimator_``.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance.hypotheses.unwrap import unwrap
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> unwrapped = unwrap(pipeline.fit([[0.0], [1.0]], [0, 1]))
    >>> unwrapped.classifier, len(unwrapped.steps)
    (LogisticRegression(), 1)
    """
    classifier = estimator
    before: list[Any] = []
    while True:
        if isinstance(classifier, FrozenEstimator):
            classifier = classifier.estimator
        elif has_samples(classifier):
            break
        elif isinstance(classifier, Pipeline):
            # Step by step: a pipeline of these steps would not count as fitted if they have no
            # fitted attributes. Samplers of imbalanced-learn act only in fit.
            steps = [step for _, step in classifier.steps[:-1]]
            steps = [s for s in steps if s not in (None, "passthrough")]
            before += [s for s in steps if not hasattr(s, "fit_resample")]
            classifier = classifier.steps[-1][1]
        elif hasattr(classifier, "best_estimator_"):
            classifier = classifier.best_estimator_
        elif hasattr(classifier, "cv_results_") and not getattr(classifier, "refit", True):
            raise ValueError(
                f"This {type(classifier).__name__} has no best_estimator_, because it was created "
                "with refit=False. Use refit=True to get a classifier to query with."
            )
        elif hasattr(classifier, "param_grid") or hasattr(classifier, "param_distributions"):
            classifier = classifier.estimator
        else:
            break
    return UnwrappedLearner(estimator, classifier, tuple(before))


def check_labels_of_net(estimator: Any, y: Any) -> None:
    """Raise a TypeError if a skorch net is to be fitted on labels that are not numbers.

    The estimator has not been fitted yet. The error is raised if it is or contains a skorch net,
    and the labels ``y`` (n,) are strings or other objects.

    Examples
    --------
    >>> import torch
    >>> from skorch import NeuralNetClassifier
    >>> from modal_balance.hypotheses.unwrap import check_labels_of_net
    >>> check_labels_of_net(NeuralNetClassifier(torch.nn.Linear(2, 2)), [0, 1, 1])
    """
    labels = np.asarray(y)
    if labels.dtype.kind in "OSUT" and isinstance(unwrap(estimator).classifier, NeuralNet):
        raise TypeError(
            f"A skorch net needs the numbers 0, 1, ... as labels, but a label is "
            f"{labels.tolist()[0]!r}. "
            "Use MCDropoutClassifier(module=...) or BootstrapCommittee(net), which accept "
            "strings, or encode the labels with sklearn.preprocessing.LabelEncoder."
        )


FORESTS = (RandomForestClassifier, ExtraTreesClassifier)
ENSEMBLES = (*FORESTS, BaggingClassifier, VotingClassifier)
# Why the members of an ensemble cannot be hypotheses.
REFUSAL_REASONS: tuple[tuple[tuple[type, ...], str], ...] = (
    (
        (GradientBoostingClassifier, HistGradientBoostingClassifier, AdaBoostClassifier),
        "Its stages are partial sums of one model, each fitted to the errors of the previous ones, "
        "not draws from a posterior.",
    ),
    (
        (CalibratedClassifierCV,),
        "Its members, if there are several, are fits that leave out one fold each: they differ by "
        "far less than draws from a posterior.",
    ),
    (
        (StackingClassifier,),
        "Its members are inputs of its final estimator, not alternative predictions.",
    ),
)


def committee_members(learner: Any) -> list[Any] | None:
    """Return the learners in a committee, or None for any other object.

    A committee is a modAL Committee, or a list or tuple of estimators or modAL learners.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from modal_balance.hypotheses.unwrap import committee_members
    >>> committee_members([LogisticRegression(), GaussianNB()])
    [LogisticRegression(), GaussianNB()]
    """
    if hasattr(learner, "learner_list"):
        return list(learner.learner_list)
    return list(learner) if isinstance(learner, (list, tuple)) else None


def ensemble_members(estimator: Any) -> tuple[Member, ...] | None:
    """Return the unwrapped members of a fitted scikit-learn ensemble, or None.

    Ensembles are RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier and
    VotingClassifier; the result is None for any other estimator. Raise ValueError if the ensemble
    predicts several outputs, or a member has more classes than the ensemble.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from modal_balance.hypotheses.unwrap import ensemble_members
    >>> X, y = load_iris(return_X_y=True)
    >>> len(ensemble_members(RandomForestClassifier(30).fit(X, y)))
    30
    """
    if not isinstance(estimator, ENSEMBLES):
        return None
    labels = estimator.classes_
    if isinstance(labels, list):
        raise ValueError(
            f"This {type(estimator).__name__} predicts {len(labels)} outputs. Expected one: fit an "
            "ensemble for each output."
        )
    transforms: list[Callable[[Any], Any] | None] = [None] * len(estimator.estimators_)
    if isinstance(estimator, FORESTS):
        to_trees = partial(_checked, estimator, dtype=np.float32, accept_sparse="csr")
        transforms = [to_trees] * len(transforms)
    elif isinstance(estimator, BaggingClassifier):
        transforms = [partial(_columns, estimator, own) for own in estimator.estimators_features_]
    return tuple(
        Member(_unwrap_fitted(member), transform, _labels_of(member, labels))
        for member, transform in zip(estimator.estimators_, transforms, strict=True)
    )


def _labels_of(member: Any, labels: np.ndarray) -> np.ndarray | None:
    """Return the labels of a member's class numbers, or None if it predicts labels itself."""
    last = member
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    own = getattr(last, "classes_", None)
    # The ensemble did not fit a frozen member, which has the labels of its own fit.
    if own is not None and isinstance(last, FrozenEstimator) and np.isin(own, labels).all():
        return None
    if own is not None and len(own) > len(labels):
        raise ValueError(
            f"This {type(last).__name__} has {len(own)} classes, but the ensemble around it was "
            f"fitted on {len(labels)}, and numbers them itself. Leave out classes= in its members, "
            "and fit a frozen member on the same classes. To declare classes that have no label "
            "yet, fit the members one by one, and pass them as a list or a modAL Committee."
        )
    return labels


def _checked(ensemble: Any, X: Any, **rules: Any) -> Any:
    """Return X as an array for the members, with the columns of the ensemble's fit."""
    # The members decide whether to accept NaN.
    return validate_data(ensemble, X, reset=False, **ALLOW_NAN, **rules)


def _columns(ensemble: Any, features: np.ndarray, X: Any) -> Any:
    """Return the columns of X that a member of a bagging ensemble was fitted on."""
    return _checked(ensemble, X, dtype=None, accept_sparse=["csr", "csc"])[:, features]


class Member(NamedTuple):
    """An unwrapped member of a committee or an ensemble."""

    unwrapped: UnwrappedLearner
    transform: Callable[[Any], Any] | None = None  # input of the ensemble -> that of the member
    labels: np.ndarray | None = None  # of the member's classes 0, 1, ...; None: its own labels


@dataclass(frozen=True)
class UnwrappedLearner:
    """An unwrapped learner: a fitted classifier or committee without its wrappers.

    Parameters
    ----------
    estimator : estimator or committee
        The estimator of the learner, without the modAL learner around it.
    classifier : estimator or committee
        The same without pipelines, searches and frozen estimators.
    steps : tuple of estimator
        Steps of pipelines that transform the input of ``classifier``, in order.
    members : tuple of Member or None
        Members of a committee or an ensemble. None for any other classifier, and from
        :func:`unwrap` and :func:`unwrap_inputs`.
    is_committee : bool
        Whether it is a committee, whose members each take the untransformed input.
    """

    estimator: Any
    classifier: Any
    steps: tuple[Any, ...] = ()
    members: tuple[Member, ...] | None = None
    is_committee: bool = False

    @property
    def name(self) -> str:
        """Name for messages."""
        return type(self.estimator).__name__

    @property
    def voters(self) -> list[UnwrappedLearner]:
        """The members of a committee, otherwise only itself."""
        if self.is_committee and self.members is not None:
            return [member.unwrapped for member in self.members]
        return [self]

    @property
    def can_draw(self) -> bool:
        """Whether hypotheses can be drawn from it; otherwise it has only a single prediction."""
        classifier = self.classifier
        if isinstance(classifier, NeuralNet):
            return has_dropout(classifier.module_)
        net = getattr(classifier, "net_", None)
        if isinstance(net, NeuralNet) and getattr(classifier, "posterior", None) == "dropout":
            return has_dropout(net.module_)
        return has_samples(classifier)

    def transform(self, X: Any) -> Any:
        """Return the input of the classifier for the input X of the learner."""
        for step in self.steps:
            X = step.transform(X)
        return X

    @property
    def has_hypotheses(self) -> bool:
        """Whether it has members, or is of a kind from which hypotheses can be drawn."""
        classifier = self.classifier
        return (
            self.members is not None or isinstance(classifier, NeuralNet) or has_samples(classifier)
        )

    def check_has_hypotheses(self) -> None:
        """Raise a TypeError unless hypotheses can be drawn from it."""
        if self.has_hypotheses:
            return
        classifier = self.classifier
        reasons = [f"{why} " for types, why in REFUSAL_REASONS if isinstance(classifier, types)]
        raise TypeError(
            f"Cannot draw hypotheses from a {type(classifier).__name__}. "
            + "".join(reasons)
            + "Put it into a BootstrapCommittee or a modAL Committee, or use a random forest, "
            "MCDropoutClassifier, a skorch classifier whose module has dropout, an "
            "object with predict_proba_samples, or a Pipeline that ends in one of these. "
            "margin_query and clustered_margin_query need only predict_proba."
        )


def estimator_of(learner: Any) -> Any:
    """Return the estimator of a modAL learner; anything else is returned unchanged.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from modal_balance.hypotheses.unwrap import estimator_of
    >>> estimator_of(GaussianNB())
    GaussianNB()
    """
    return learner.estimator if hasattr(learner, "query_strategy") else learner


def unwrap_learner(learner: Any) -> UnwrappedLearner:
    """Return the fitted classifier inside a learner, its input transformations and its members.

    The learner is the first argument of a query strategy: an ActiveLearner, DeepActiveLearner or
    Committee, a list of these, or a fitted estimator. Raise TypeError if it is a regressor or not
    an estimator, NotFittedError (also a ValueError) if it has not been fitted, and ValueError if a
    committee is empty, a search has no ``best_estimator_``, an ensemble predicts several outputs,
    or a member of it has more classes than it.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance.hypotheses.unwrap import unwrap_learner
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> unwrapped = unwrap_learner(pipeline.fit([[0.0], [1.0]], [0, 1]))
    >>> unwrapped.classifier, len(unwrapped.steps)
    (LogisticRegression(), 1)
    """
    members = committee_members(learner)
    if members is not None:
        if not members:
            raise ValueError(f"{type(learner).__name__} is empty. Pass fitted classifiers in it.")
        parts = tuple(Member(unwrap_learner(member)) for member in members)
        return UnwrappedLearner(learner, learner, members=parts, is_committee=True)
    estimator = estimator_of(learner)
    _check_is_fitted_classifier(estimator)
    return _unwrap_fitted(estimator)


def unwrap_inputs(learner: Any) -> UnwrappedLearner:
    """Unwrap a learner that need not be fitted, for strategies that only need its inputs.

    The learner is the first argument of a query strategy that needs no predictions: an
    ActiveLearner, DeepActiveLearner or Committee, a list of these, an estimator or None. Of a
    committee, the first member is used. The ``steps`` of the result may not be fitted.
    Raise TypeError if it is none of these, and ValueError if it is an empty list.

    Examples
    --------
    >>> from modal_balance.hypotheses.unwrap import unwrap_inputs
    >>> unwrap_inputs(None).steps
    ()
    """
    members = committee_members(learner)
    if members:
        learner = members[0]
    unwrapped = unwrap(estimator_of(learner))
    classifier = unwrapped.classifier
    is_estimator = hasattr(classifier, "fit") or hasattr(classifier, "predict_proba_samples")
    if classifier is not None and (not is_estimator or isinstance(classifier, type)):
        if isinstance(learner, list) and not learner:
            raise ValueError("learner is an empty list. Pass its members, an estimator or None.")
        raise TypeError(
            f"learner must be a modAL learner, an estimator or None, got {_described(classifier)}."
        )
    return unwrapped


def _described(thing: Any) -> str:
    """Return a description of what is no estimator, with advice if there is any."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}. Create an object of it, and fit it"
    name = f"a {type(thing).__name__}"
    if isinstance(thing, nn.Module):
        name += (
            ", a torch module. Fit it as MCDropoutClassifier(module=...), or in a skorch "
            "NeuralNetClassifier, and pass that"
        )
    return name


def _unwrap_fitted(estimator: Any) -> UnwrappedLearner:
    unwrapped = unwrap(estimator)
    classifier = unwrapped.classifier
    members = None if has_samples(classifier) else ensemble_members(classifier)
    return replace(unwrapped, members=members)


def is_fitted(estimator: Any) -> bool:
    """Return whether an estimator is fitted; None is not, and what is no estimator is."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except TypeError:
        return estimator is not None
    except AttributeError:  # an estimator that is not scikit-learn's has no tags
        if hasattr(estimator, "__sklearn_tags__"):
            raise
    return True


def _is_regressor(estimator: Any) -> bool:
    try:
        return bool(is_regressor(estimator))
    except AttributeError:  # an estimator that is not scikit-learn's has no tags
        return False


def _check_is_fitted_classifier(estimator: Any) -> None:
    name = type(estimator).__name__
    classifier = unwrap(estimator).classifier
    is_given = hasattr(classifier, "predict_proba_samples")
    if is_given and not hasattr(classifier, "__sklearn_is_fitted__"):
        return  # used directly, even if it is no estimator
    if not hasattr(estimator, "fit") or isinstance(estimator, type):
        raise TypeError(
            f"learner must be a modAL learner or a fitted estimator, got {_described(estimator)}."
        )
    if _is_regressor(estimator):
        raise TypeError(f"{name} is a regressor. Pass a classifier, whose votes BALanCe compares.")
    if not is_fitted(estimator):
        raise NotFittedError(
            f"This {name} has not been fitted, so it has no posterior to query. Fit it on the "
            "available labels, or pass X_training and y_training to the learner."
        )
