"""A learner taken apart, once: its classifier, the way of the input to it, and its members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sklearn.base import is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet

from .ensembles import Member, committee_members, ensemble_members, refusal_reason
from .masks import has_dropout
from .unwrapping import unwrap


class ResolvedMember(NamedTuple):
    """A member of a committee or an ensemble, taken apart."""

    resolved: Resolved
    transform: Callable[[Any], Any] | None  # input of the ensemble -> that of the member
    labels: Any  # what the member's classes, numbers 0, 1, ..., stand for; None: themselves


@dataclass(frozen=True)
class Resolved:
    """A fitted classifier or committee, taken apart.

    Parameters
    ----------
    estimator : estimator or committee
        As it came, without the modAL learner around it.
    classifier : estimator or committee
        What is left without pipelines, searches and frozen estimators around it.
    transforms : tuple of callable
        To be applied to the input, one after the other, before ``classifier`` sees it.
    members : tuple of ResolvedMember or None
        Members of a committee or an ensemble. None: it is neither.
    is_committee : bool
        Whether it is a committee, whose members each take the input as it is.
    """

    estimator: Any
    classifier: Any
    transforms: tuple[Callable[[Any], Any], ...] = ()
    members: tuple[ResolvedMember, ...] | None = None
    is_committee: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self.estimator).__name__

    @property
    def voters(self) -> list[Resolved]:
        """The members of a committee, or else only itself."""
        if self.is_committee and self.members is not None:
            return [member.resolved for member in self.members]
        return [self]

    @property
    def can_draw(self) -> bool:
        """Whether hypotheses can be drawn from it, and not only its one prediction be taken."""
        classifier = self.classifier
        if isinstance(classifier, NeuralNet):
            return has_dropout(classifier.module_)
        net = getattr(classifier, "net_", None)
        if isinstance(net, NeuralNet) and getattr(classifier, "posterior", None) == "dropout":
            return has_dropout(net.module_)
        return hasattr(classifier, "draw_hypotheses") or hasattr(
            classifier, "predict_proba_samples"
        )

    def transform(self, X: Any) -> Any:
        """Return what the classifier is given for the input X."""
        for transform in self.transforms:
            X = transform(X)
        return X

    def check_has_hypotheses(self) -> None:
        """Raise a TypeError unless it is known how to get hypotheses from it."""
        classifier = self.classifier
        if (
            self.members is not None
            or isinstance(classifier, NeuralNet)
            or hasattr(classifier, "draw_hypotheses")
            or hasattr(classifier, "predict_proba_samples")
        ):
            return
        reason = refusal_reason(classifier)
        raise TypeError(
            f"It is not known how to draw hypotheses from a {type(classifier).__name__}. "
            + (f"{reason} " if reason else "")
            + "Put it into a BootstrapCommittee or a modAL Committee, or use a random forest, "
            "MCDropoutClassifier, a skorch classifier whose module has dropout, an "
            "object with predict_proba_samples, or a Pipeline that ends in one of these."
        )


def resolve(learner: Any) -> Resolved:
    """Take a learner apart: out of modAL, pipelines, searches and frozen estimators.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        What a query strategy is called with.

    Returns
    -------
    Resolved

    Raises
    ------
    TypeError
        If it is a regressor, or no estimator at all.
    NotFittedError
        If it has not been fitted; also a ValueError.
    ValueError
        If a committee is empty, a search has kept no best estimator, or an ensemble predicts
        several outputs.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance.hypotheses.resolved import resolve
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> resolved = resolve(pipeline.fit([[0.0], [1.0]], [0, 1]))
    >>> resolved.classifier, len(resolved.transforms)
    (LogisticRegression(), 1)
    """
    members = committee_members(learner)
    if members is not None:
        if not members:
            raise ValueError(f"{type(learner).__name__} is empty. Pass fitted classifiers in it.")
        parts = tuple(ResolvedMember(resolve(m.estimator), None, None) for m in members)
        return Resolved(learner, learner, members=parts, is_committee=True)
    estimator = learner.estimator if hasattr(learner, "query_strategy") else learner
    _check_is_fitted_classifier(estimator)
    return _resolve_fitted(estimator)


def resolve_inputs(learner: Any) -> Resolved:
    """Take a learner apart as far as its inputs go: it need not be fitted.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, estimator or None
        What a query strategy that needs no predictions is called with. Of a committee the first
        member counts.

    Returns
    -------
    Resolved
        Its ``transforms`` belong to steps that may not be fitted.

    Raises
    ------
    TypeError, ValueError
        If it is no estimator at all, or an empty list.

    Examples
    --------
    >>> from modal_balance.hypotheses.resolved import resolve_inputs
    >>> resolve_inputs(None).transforms
    ()
    """
    members = committee_members(learner)
    if members:
        learner = members[0].estimator
    estimator = learner.estimator if hasattr(learner, "query_strategy") else learner
    classifier, transforms = unwrap(estimator)
    is_estimator = hasattr(classifier, "fit") or hasattr(classifier, "predict_proba_samples")
    if classifier is not None and (not is_estimator or isinstance(classifier, type)):
        if isinstance(learner, list) and not learner:
            raise ValueError("learner is an empty list. Pass its members, an estimator or None.")
        raise TypeError(
            "learner must be a modAL learner, an estimator or None, got a "
            f"{type(classifier).__name__}."
        )
    return Resolved(estimator, classifier, transforms)


def _resolve_fitted(estimator: Any) -> Resolved:
    classifier, transforms = unwrap(estimator)
    has_samples = any(hasattr(classifier, n) for n in ("draw_hypotheses", "predict_proba_samples"))
    members: list[Member] | None = None if has_samples else ensemble_members(classifier)
    parts = None
    if members is not None:
        parts = tuple(
            ResolvedMember(_resolve_fitted(m.estimator), m.transform, m.labels) for m in members
        )
    return Resolved(estimator, classifier, transforms, parts)


def _check_is_fitted_classifier(estimator: Any) -> None:
    name = type(estimator).__name__
    classifier = unwrap(estimator).estimator
    is_given = hasattr(classifier, "predict_proba_samples")
    if is_given and not hasattr(classifier, "__sklearn_is_fitted__"):
        return  # used as it is, whatever else it can do
    if not hasattr(estimator, "fit") or isinstance(estimator, type):
        raise TypeError(f"learner must be a modAL learner or a fitted estimator, got a {name}.")
    if is_regressor(estimator):
        raise TypeError(f"{name} is a regressor. BALanCe compares class votes: pass a classifier.")
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise NotFittedError(
            f"This {name} has not been fitted, so it has no posterior to query with. Fit it on "
            "the labels at hand, or give the learner X_training and y_training."
        ) from error
