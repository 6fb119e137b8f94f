"""A committee of clones of any scikit-learn classifier, each fitted on a bootstrap resample.

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
from sklearn.utils.validation import check_is_fitted, column_or_1d
from skorch import NeuralNet, NeuralNetBinaryClassifier
from torch import Tensor

from .._utils.arguments import (
    RandomState,
    as_indexable,
    as_random_state,
    check_labels,
    draw_seed,
    set_seeds,
)
from .._utils.sklearn_compat import get_tags
from .._utils.torch_state import seeded
from .._utils.user_warnings import warn_user
from ..hypotheses.protocol import undisturbed_proba
from ..hypotheses.unwrap import unwrap
from .base import COUNT, PredictsMostProbable, take_feature_names
from .labels import encode, find_classes
from .training import smoothed_error


class BootstrapCommittee(PredictsMostProbable, ClassifierMixin, BaseEstimator):
    """Committee of classifiers fitted on bootstrap resamples: a fixed set of hypotheses.

    Each member is fitted on n rows drawn with replacement *within each class*, and with different
    seeds. So every member knows every class, in the proportions of ``y``; a member without a rare
    class would give it the probability 0.

    scikit-learn's ``BaggingClassifier`` ignores the classes when it resamples, and converts a
    DataFrame to an array, which a pipeline that selects columns by name cannot use. If neither
    matters, it works as well: the query strategies accept it directly.

    Parameters
    ----------
    estimator : estimator, default=None
        Any scikit-learn classifier, for example a Pipeline or gradient boosting. By default a
        ``LogisticRegression()``. A member without ``predict_proba`` predicts its class with
        probability 1. Labels are encoded as 0, 1, ... for a skorch net, which needs one output for
        each class, and for a classifier that rejects the original labels, such as XGBoost's.
    n_members : int, default=20
        Number of members S.
    classes : array-like, default=None
        All labels that may occur, if some of them are not in ``y`` yet. A class without rows has a
        column of zeros in ``predict_proba``. By default the labels in ``y``.
    n_jobs : int, default=None
        Number of members fitted in parallel, as in joblib. The result does not depend on it.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the resamples and of every ``random_state`` parameter of the members, including
        nested ones. A skorch net has none, so torch is seeded while it is fitted.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        The labels, sorted.
    estimators_ : list of estimators
        The fitted members.
    validation_error_ : float
        Out-of-bag error: share of wrong predictions, where a row is predicted by the mean of the
        members that were not fitted on it. Rows without such members are left out. 0.5 if there is
        no other row, as with one row of each class.
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
        """Fit the members on bootstrap resamples of the rows.

        Parameters
        ----------
        X : array, DataFrame, CSR matrix or list
            n rows in any form that the members accept.
        y : array-like, shape (n,)
            Labels of any kind.

        Returns
        -------
        BootstrapCommittee
            The fitted committee.

        Raises
        ------
        ValueError
            If a parameter is invalid, if there is only one class, if a label is not
            among `classes`, or if the members reject `X` or `y`.

        Warns
        -----
        UserWarning
            If no row was left out of any resample, so that `validation_error_` is a guess.
        """
        self.__dict__.pop("estimators_", None)  # a failed fit leaves the committee unfitted
        COUNT.check("n_members", self.n_members)
        if y is None:
            raise ValueError(
                "BootstrapCommittee requires y to be passed, but the target y is None."
            )
        check_labels(y, "y")
        labels = column_or_1d(y, warn=True)
        X, labels = indexable(as_indexable(X), labels)
        self.classes_ = find_classes(labels, self.classes)
        codes = encode(labels, self.classes_, "y")
        rng = as_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_members)
        base = LogisticRegression() if self.estimator is None else self.estimator
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_member)(clone(base), X, labels, codes, self.classes_, int(seed))
            for seed in seeds
        )
        members, bags, self._codes = (list(part) for part in zip(*fitted, strict=True))
        take_feature_names(self, members[0])
        error = _out_of_bag_error(members, self._codes, bags, X, codes, self.classes_)
        if error is None:
            error = smoothed_error(0, 0)
            warn_user(
                f"None of the {len(codes)} rows was left out of any resample, because each is the "
                f"only row of its class: validation_error_ is a guess, {error}, and the members "
                "differ at most by their seeds. Label more rows; choose them at random until then.",
                UserWarning,
            )
        self.validation_error_ = error
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
        members = [
            _member_proba(member, codes, X, self.classes_)
            for member, codes in zip(self.estimators_, self._codes, strict=True)
        ]
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
        for member, codes in zip(self.estimators_, self._codes, strict=True):
            total = total + _member_proba(member, codes, X, self.classes_)  # (n, C)
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


def _is_net(estimator: Any) -> bool:
    return isinstance(unwrap(estimator).classifier, NeuralNet)


def _fit_member(
    member: Any,
    X: Any,
    labels: NDArray[Any],
    codes: NDArray[np.int64],
    classes: NDArray[Any],
    seed: int,
) -> tuple[Any, NDArray[np.intp], NDArray[np.int64] | None]:
    """Return a fitted member, the rows of its resample, and the meaning of its classes.

    The last are positions in `classes` if the member was fitted on numbers 0, 1, ..., otherwise
    None.
    """
    rng = np.random.RandomState(seed)
    rows = np.arange(len(codes))
    bag = np.concatenate(
        [rng.choice(rows[codes == code], size=np.sum(codes == code)) for code in np.unique(codes)]
    )
    rng.shuffle(bag)  # some learners depend on the order of rows
    set_seeds(member, rng)
    X = _safe_indexing(X, bag)
    if _is_net(member):  # its outputs are numbered
        net = unwrap(member).classifier
        targets = codes[bag]
        if isinstance(net, NeuralNetBinaryClassifier):  # binary cross-entropy takes floats
            targets = targets.astype(np.float32)
        with seeded(draw_seed(rng), net.device or "cpu"):
            return member.fit(X, targets), bag, np.arange(len(classes))
    try:
        return clone(member).fit(X, labels[bag]), bag, None
    except (TypeError, ValueError) as error:
        # Some classifiers accept only labels 0, 1, ..., k - 1 that all occur.
        present, numbers = np.unique(codes, return_inverse=True)
        try:
            return member.fit(X, numbers[bag]), bag, present
        except (TypeError, ValueError):
            raise error from None


def _member_proba(
    member: Any, codes: NDArray[np.int64] | None, X: Any, classes: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the prediction of a member, (n, C), with zeros for classes it does not know."""

    def columns(labels: Any) -> Any:
        if codes is None:
            return np.searchsorted(classes, labels)
        return codes[np.asarray(labels).astype(int)]

    if not hasattr(member, "predict_proba"):
        certain: NDArray[np.float64] = np.eye(len(classes))[columns(member.predict(X))]
        return certain
    known = np.asarray(undisturbed_proba(member, X), dtype=np.float64)  # (n, classes of the member)
    # The classes_ of a skorch net are the labels of its last fit, not its outputs.
    own = range(len(classes)) if _is_net(member) else member.classes_
    if known.shape[1] != len(own):
        raise ValueError(
            f"A member, {type(member).__name__}, predicts {known.shape[1]} classes, but the "
            f"committee has {len(own)}: {classes.tolist()}. Declare all classes with classes=, and "
            "give a network one output for each."
        )
    proba = np.zeros((len(known), len(classes)))
    proba[:, columns(own)] = known
    return proba


def _out_of_bag_error(
    members: list[Any],
    codes_of: list[NDArray[np.int64] | None],
    bags: list[NDArray[np.intp]],
    X: Any,
    codes: NDArray[np.int64],
    classes: NDArray[Any],
) -> float | None:
    """Return the out-of-bag error, see ``validation_error_``."""
    total = np.zeros((len(codes), len(classes)))
    for member, own, bag in zip(members, codes_of, bags, strict=True):
        out = np.setdiff1d(np.arange(len(codes)), bag)
        if len(out):
            total[out] += _member_proba(member, own, _safe_indexing(X, out), classes)
    judged = total.sum(axis=1) > 0
    if not judged.any():
        return None
    return float(np.mean(total[judged].argmax(axis=1) != codes[judged]))
