"""The protocol of frozen hypotheses, and classes that check, transform and stack them.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor

from .._utils.arguments import n_rows
from .._utils.torch_state import undisturbed
from ..acquisition.predictions import (
    at_least_float32,
    check_one_for_each_row,
    check_probabilities,
)
from .unwrap import unwrap


class Hypotheses(Protocol):
    """Posterior samples of a classifier, each a fixed function of the input.

    Any object with a method ``predict_proba_samples`` can be queried: pass it in place of a
    learner, or as the estimator of one. The method may return a NumPy array. Every call must use
    the same hypotheses in the same order. The attributes are optional.

    Attributes
    ----------
    classes_ : ndarray of shape (C,) or None
        Labels of the columns. None: the labels are 0..C-1.
    fixed : bool, optional
        Whether the hypotheses are members of a fixed set, such as the trees of a forest, and not
        draws from a posterior. If missing, False for the result of ``draw_hypotheses``.
    validation_error_ : float, optional
        Share of wrong predictions on held-out data. Sets tau if no other argument does.

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
    """Hypotheses with a transformation of their input, such as the first steps of a pipeline.

    Parameters
    ----------
    transform : callable
        Maps X to the input of the hypotheses.
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
        self.fixed: bool = getattr(hypotheses, "fixed", False)

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
    """Checked predictions of an object with a ``predict_proba_samples`` method.

    Parameters
    ----------
    source : object
        An object as described in :class:`Hypotheses`.

    Raises
    ------
    ValueError
        From ``predict_proba_samples``, if the predictions are not probabilities of the shape
        (S, n, C) with at least two hypotheses.

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

    fixed = True

    def __init__(self, source: Any) -> None:
        self.source = source
        classes = getattr(source, "classes_", None)
        self.classes_ = None if classes is None else np.asarray(classes)

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array-like
            n rows that the object accepts.

        Returns
        -------
        Tensor of shape (S, n, C)
        """
        given = self.source.predict_proba_samples(X)
        if isinstance(given, np.ndarray):
            runs_backwards = any(stride < 0 for stride in given.strides)
            if runs_backwards or not given.flags.writeable:  # which torch does not take
                given = given.copy()
        proba = at_least_float32(torch.as_tensor(given).detach())
        name = f"The result of {type(self.source).__name__}.predict_proba_samples"
        check_probabilities(
            proba,
            name=name,
            cause="Return probabilities of the shape (hypotheses, rows, classes).",
        )
        if len(proba) < 2:
            raise ValueError(f"{name} holds 1 hypothesis. Expected at least 2 to compare.")
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


CAUSE = (
    "Check predict_proba: it must return one distribution per row. In float32, that of GaussianNB "
    "and of some others may not: pass X in float64."
)


class Part(NamedTuple):
    """A set of hypotheses that becomes part of :class:`StackedHypotheses`.

    Parameters
    ----------
    hypotheses : Hypotheses
        The set.
    classes : ndarray or None
        Labels of the columns of its predictions. None: the labels are 0, 1, ...
    transform : callable or None, default=None
        Maps the input of the larger set to that of this one. None: they are the same.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from modal_balance.hypotheses import Part, SingleHypothesis
    >>> one = SingleHypothesis(GaussianNB().fit([[0.0], [1.0]], ["a", "b"]))
    >>> Part(one, one.classes_).classes.tolist()
    ['a', 'b']
    """

    hypotheses: Hypotheses
    classes: np.ndarray | None
    transform: Callable[[Any], Any] | None = None


class SingleHypothesis:
    """The ``predict_proba`` of a fitted classifier, as one hypothesis.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier. The dropout of a skorch net is off.

    Raises
    ------
    TypeError
        If it has no ``predict_proba``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from modal_balance.hypotheses.protocol import SingleHypothesis
    >>> X, y = load_iris(return_X_y=True)
    >>> SingleHypothesis(GaussianNB().fit(X, y)).predict_proba_samples(X).shape
    torch.Size([1, 150, 3])
    """

    fixed = True

    def __init__(self, estimator: Any) -> None:
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(
                f"{type(estimator).__name__} has no predict_proba, which a hypothesis needs. Use a "
                "classifier that predicts probabilities, for example CalibratedClassifierCV(SVC())."
            )
        self.estimator = estimator
        # The classes_ of a skorch net are the labels of its last fit, not its columns.
        is_net = isinstance(unwrap(estimator).classifier, NeuralNet)
        classes = None if is_net else getattr(estimator, "classes_", None)
        self.classes_ = None if classes is None else np.asarray(classes)

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the prediction as that of a single hypothesis.

        Parameters
        ----------
        X : array-like
            n rows that the classifier accepts.

        Returns
        -------
        Tensor of shape (1, n, C), float32
        """
        given = undisturbed_proba(self.estimator, X)
        # A copy: torch takes neither negative strides nor read-only arrays.
        proba = np.array(given, dtype=np.float32, order="C")  # (n, C)
        if proba.ndim != 2:
            raise ValueError(
                f"predict_proba of {type(self.estimator).__name__} has the shape {proba.shape}. "
                "Expected (rows, classes): use one classifier for each output."
            )
        check_one_for_each_row(len(proba), n_rows(X))
        return torch.from_numpy(proba)[None]


def undisturbed_proba(estimator: Any, X: Any) -> Any:
    """Return the ``predict_proba`` of a classifier without any effect on torch's global state."""
    # The data loader of a skorch net draws from torch's global random state.
    net = unwrap(estimator).classifier
    with undisturbed(net.module_) if isinstance(net, NeuralNet) else nullcontext():
        return estimator.predict_proba(X)


class StackedHypotheses:
    """Several sets of hypotheses as one, over the union of their classes.

    A class that a set does not know has probability 0 in its predictions. If one of the sets has
    no class labels, as with skorch nets, all labels are column numbers.

    Parameters
    ----------
    parts : sequence of Part
        The sets.
    seed : int or None, default=None
        Seed for shuffling the hypotheses, so that those of a part are not all neighbours. None: no
        shuffling.

    Attributes
    ----------
    classes_ : ndarray of shape (C,) or None
        The union of the classes. None: the labels are 0..C-1.
    fixed : bool
        Whether the hypotheses of all parts are members of fixed sets.

    Raises
    ------
    ValueError
        If the labels of the parts are of different kinds.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from modal_balance.hypotheses.protocol import StackedHypotheses, Part, SingleHypothesis
    >>> X = [[0.0], [1.0], [2.0]]
    >>> one = SingleHypothesis(GaussianNB().fit(X, ["a", "a", "b"]))
    >>> two = SingleHypothesis(GaussianNB().fit(X, ["a", "c", "c"]))
    >>> both = StackedHypotheses([Part(one, one.classes_), Part(two, two.classes_)])
    >>> both.classes_.tolist(), both.predict_proba_samples(X).shape
    (['a', 'b', 'c'], torch.Size([2, 3, 3]))
    """

    def __init__(self, parts: Sequence[Part], *, seed: int | None = None) -> None:
        self.parts = list(parts)
        self.seed = seed
        self.classes_ = union_of_classes([part.classes for part in self.parts])
        self.fixed = all(getattr(part.hypotheses, "fixed", False) for part in self.parts)

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array-like
            n rows that all parts accept.

        Returns
        -------
        Tensor of shape (S, n, C)

        Raises
        ------
        ValueError
            If a prediction is not a distribution, or if its number of columns differs from the
            number of classes of its part.
        """
        samples = self._samples(X)
        columns = [
            self._columns(part.classes, proba.shape[2])
            for part, proba in zip(self.parts, samples, strict=True)
        ]
        n_hypotheses = sum(len(proba) for proba in samples)
        n_classes = len(self.classes_) if self.classes_ is not None else 1 + max(map(max, columns))
        places = np.arange(n_hypotheses)
        if self.seed is not None:
            np.random.RandomState(self.seed).shuffle(places)
        dtype = torch.float64 if any(p.dtype == torch.float64 for p in samples) else torch.float32
        stacked = samples[0].new_zeros(n_hypotheses, samples[0].shape[1], n_classes, dtype=dtype)
        start = 0
        for proba, own in zip(samples, columns, strict=True):
            for place, row in zip(places[start : start + len(proba)], proba, strict=True):
                stacked[place][:, own] = row.to(stacked)  # (n, C of the part)
            start += len(proba)
        check_probabilities(stacked, name="The prediction of a classifier", cause=CAUSE)
        return stacked

    def _samples(self, X: Any) -> list[Tensor]:
        """Return the predictions of each part, (S, n, C) each."""
        samples = []
        before, transformed = None, X
        for part in self.parts:
            if part.transform is not before:  # trees of a forest share the transformation
                before = part.transform
                transformed = X if before is None else before(X)
            samples.append(part.hypotheses.predict_proba_samples(transformed))
        return samples

    def _columns(self, classes: np.ndarray | None, n_columns: int) -> list[int]:
        """Return the positions of a part's columns in the union of the classes."""
        if classes is None:
            return list(range(n_columns))
        if len(classes) != n_columns:
            raise ValueError(
                f"A member predicts {n_columns} columns but has {len(classes)} classes. Expected "
                "one column for each class."
            )
        if self.classes_ is None:
            return [int(label) for label in classes]
        columns: list[int] = np.searchsorted(self.classes_, classes).tolist()
        return columns


def union_of_classes(sets: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return the sorted union of the labels of several classifiers, (C,).

    None in ``sets`` stands for a classifier whose labels are the column numbers 0, 1, ...; the
    result is then None, because all labels are column numbers. Raise ValueError if the labels are
    of different kinds.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.hypotheses.protocol import union_of_classes
    >>> union_of_classes([np.array(["b", "c"]), np.array(["a", "c"])]).tolist()
    ['a', 'b', 'c']
    """
    labels = {label for classes in sets if classes is not None for label in classes.tolist()}
    if any(classes is None for classes in sets):
        for label in sorted(labels, key=str):
            if isinstance(label, str) or label != int(label) or label < 0:
                raise ValueError(
                    f"One member is a skorch net, which numbers its classes 0, 1, ..., but another "
                    f"has the label {label!r}. Fit all members on the same labels, or use "
                    "MCDropoutClassifier instead of the net."
                )
        return None
    try:
        return np.array(sorted(labels))
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in labels})
        raise ValueError(
            f"The members' labels are of different kinds: {', '.join(kinds)}. Fit all members "
            "on the same labels."
        ) from error
