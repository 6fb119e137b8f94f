"""A committee of any scikit-learn classifier: each member is fitted on its own bootstrap resample.

S: members    n: rows    C: classes
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor

from ..arguments import RandomState, as_random_state, draw_seed
from ..sklearn_compat import get_tags
from .base import COUNT, PredictsMostProbable
from .labels import encode, find_classes

__all__ = ["BootstrapCommittee"]


class BootstrapCommittee(PredictsMostProbable, ClassifierMixin, BaseEstimator):
    """Clones of a classifier on bootstrap resamples, as a fixed set of hypotheses.

    Each member is fitted on as many rows as there are, drawn with replacement *within each class*,
    and with seeds of its own. So every member knows every class, in the proportions of ``y``: a
    member that missed a rare class would give it the probability 0.

    scikit-learn's ``BaggingClassifier`` resamples without regard to the classes, and turns a
    DataFrame into an array, which a pipeline that selects columns by name cannot take. Where
    neither matters it serves as well; the query strategies accept it directly.

    Parameters
    ----------
    estimator : estimator, default=None
        Any scikit-learn classifier, a Pipeline, for example. By default a
        ``LogisticRegression()``. Without a ``predict_proba`` method, a member gives the class that
        it predicts the probability 1.
    n_members : int, default=20
        Number of members S.
    classes : array-like, default=None
        All labels that may occur, where not all of them occur in ``y`` yet. A class without rows
        has a column in ``predict_proba``, of zeros. By default the labels in ``y``.
    n_jobs : int, default=None
        Members fitted at once, in joblib's sense. The result does not depend on it.
    random_state : int, RandomState, Generator or None, default=None
        Decides the resamples, and every ``random_state`` parameter of the members, nested ones
        too. A skorch net has none: it draws from torch's global random state.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        The labels, sorted.
    estimators_ : list of estimators
        The fitted members.
    validation_error_ : float or None
        Out-of-bag error: share of the rows that the other members, those not fitted on the row,
        predict wrongly by their mean. Over the rows that have such members; None without any.
    n_features_in_ : int
        Number of columns of ``X`` in ``fit``, if the members record it.
    feature_names_in_ : ndarray
        Column names of ``X`` in ``fit``, if it had any and the members record them.

    References
    ----------
    Breiman, *Bagging Predictors*, Machine Learning 24, 1996.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance.estimators.bootstrap import BootstrapCommittee
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> committee = BootstrapCommittee(pipeline, n_members=10, random_state=0).fit(X, y)
    >>> committee.predict_proba_samples(X).shape
    torch.Size([10, 150, 3])
    >>> 0 < committee.validation_error_ < 0.1
    True
    """

    _set_last = "estimators_"

    def __init__(
        self,
        estimator: Any = None,
        n_members: int = 20,
        *,
        classes: ArrayLike | None = None,
        n_jobs: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.n_members = n_members
        self.classes = classes
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike) -> BootstrapCommittee:
        """Fit all members.

        Parameters
        ----------
        X : array, DataFrame, CSR matrix or list
            n rows in any form that the members accept.
        y : array-like, shape (n,)
            Labels of any kind.

        Returns
        -------
        BootstrapCommittee
            The committee itself.

        Raises
        ------
        ValueError
            If a parameter is invalid, if there is only one class, if a label is not
            among `classes`, or if the members refuse `X` or `y`.
        """
        self.__dict__.pop("estimators_", None)  # a fit that fails leaves nothing fitted
        COUNT.check("n_members", self.n_members)
        if y is None:
            raise ValueError(
                "BootstrapCommittee requires y to be passed, but the target y is None."
            )
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        X, labels = indexable(X, labels)
        self.classes_ = find_classes(labels, self.classes)
        codes = encode(labels, self.classes_, "y")
        rng = as_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_members)
        base = LogisticRegression() if self.estimator is None else self.estimator
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_member)(clone(base), X, labels, codes, int(seed)) for seed in seeds
        )
        members, bags = (list(part) for part in zip(*fitted, strict=True))
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if (value := getattr(members[0], name, None)) is not None:
                setattr(self, name, value)
        self.validation_error_ = _out_of_bag_error(members, bags, X, codes, self.classes_)
        self.estimators_ = members
        return self

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all members.

        Parameters
        ----------
        X : array, DataFrame, CSR matrix or list
            n rows, as in ``fit``.

        Returns
        -------
        Tensor of float32, shape (S, n, C)
            Columns in the order of `classes_`.
        """
        check_is_fitted(self)
        members = [_member_proba(member, X, self.classes_) for member in self.estimators_]
        return torch.from_numpy(np.stack(members)).float()

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the mean prediction of the members.

        Parameters
        ----------
        X : array, DataFrame, CSR matrix or list
            n rows, as in ``fit``.

        Returns
        -------
        ndarray of float64, shape (n, C)
            Columns in the order of `classes_`.
        """
        check_is_fitted(self)
        total: Any = 0.0
        for member in self.estimators_:
            total = total + _member_proba(member, X, self.classes_)  # (n, C)
        proba: NDArray[np.float64] = total / len(self.estimators_)
        return proba

    def __sklearn_tags__(self) -> Any:
        """Accept the inputs that the members accept."""
        tags = super().__sklearn_tags__()
        if self.estimator is not None:
            tags.input_tags = get_tags(self.estimator).input_tags
        else:
            tags.input_tags.sparse = True
        return tags


def _fit_member(
    member: Any, X: Any, labels: NDArray[Any], codes: NDArray[np.int64], seed: int
) -> tuple[Any, NDArray[np.intp]]:
    """Return a member, fitted on a resample, and the rows of that resample."""
    rng = np.random.RandomState(seed)
    rows = np.arange(len(codes))
    bag = np.concatenate(
        [rng.choice(rows[codes == code], size=np.sum(codes == code)) for code in np.unique(codes)]
    )
    rng.shuffle(bag)  # not class by class: some learners take the rows in their order
    seeds = {
        name: draw_seed(rng)
        for name in sorted(member.get_params(deep=True))
        if name == "random_state" or name.endswith("__random_state")
    }
    member.set_params(**seeds)
    return member.fit(_safe_indexing(X, bag), labels[bag]), bag


def _member_proba(member: Any, X: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the prediction of a member, (n, C), with zeros for the classes it has never seen."""
    if hasattr(member, "predict_proba"):
        known = np.asarray(member.predict_proba(X), dtype=np.float64)  # (n, classes of the member)
        columns = np.searchsorted(classes, member.classes_)
        proba = np.zeros((len(known), len(classes)))
        proba[:, columns] = known
        return proba
    certain: NDArray[np.float64] = np.eye(len(classes))[np.searchsorted(classes, member.predict(X))]
    return certain


def _out_of_bag_error(
    members: list[Any],
    bags: list[NDArray[np.intp]],
    X: Any,
    codes: NDArray[np.int64],
    classes: NDArray[Any],
) -> float | None:
    """Return the error of the mean of the members that were not fitted on a row."""
    total = np.zeros((len(codes), len(classes)))
    for member, bag in zip(members, bags, strict=True):
        out = np.setdiff1d(np.arange(len(codes)), bag)
        if len(out):
            total[out] += _member_proba(member, _safe_indexing(X, out), classes)
    judged = total.sum(axis=1) > 0
    if not judged.any():
        return None
    return float(np.mean(total[judged].argmax(axis=1) != codes[judged]))
