"""Base code of the estimators: parameter checks, and ``predict`` from ``predict_proba``."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..hypotheses.protocol import TransformedHypotheses


@dataclass(frozen=True)
class Constraint:
    """A condition on the value of a parameter, with its description for error messages.

    ``holds(value)`` returns whether a value meets the condition, and `expected` describes the valid
    values.

    Examples
    --------
    >>> from modal_balance.estimators.base import COUNT
    >>> COUNT.check("patience", 0)
    Traceback (most recent call last):
    ValueError: patience=0. Expected an integer of at least 1.
    """

    holds: Callable[[Any], bool]
    expected: str

    def check(self, name: str, value: Any) -> None:
        """Raise a ValueError unless the value of the named parameter meets the condition."""
        if not self.holds(value):
            raise ValueError(f"{name}={value!r}. Expected {self.expected}.")


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and value is not True and int(value) >= 1


def _is_device(value: Any) -> bool:
    try:
        kind = torch.device(value).type
    except (RuntimeError, TypeError):
        return False
    return kind == "cpu" or (kind == "cuda" and torch.cuda.is_available())


def between(low: float, high: float, expected: str, *, low_itself: bool = False) -> Constraint:
    """Return a constraint to numbers between two bounds, exclusive unless `low_itself`.

    Examples
    --------
    >>> from modal_balance.estimators.base import between
    >>> between(0, 1, "a number in [0, 1)", low_itself=True).check("dropout", 0)
    """

    def holds(value: Any) -> bool:
        if not isinstance(value, (int, float, np.number)):
            return False
        return low < float(value) < high or (low_itself and float(value) == low)

    return Constraint(holds, expected)


def one_of(*choices: str, otherwise: Constraint | None = None) -> Constraint:
    """Return a constraint to a few strings, or to values that `otherwise` accepts.

    Examples
    --------
    >>> from modal_balance.estimators.base import POSITIVE, one_of
    >>> one_of("marglik", otherwise=POSITIVE).expected
    "'marglik' or a number above 0"
    """

    def holds(value: Any) -> bool:
        if isinstance(value, str):
            return value in choices
        return otherwise is not None and otherwise.holds(value)

    *words, last = [*map(repr, choices), *([otherwise.expected] if otherwise else [])]
    return Constraint(holds, f"{', '.join(words)} or {last}")


COUNT = Constraint(_is_count, "an integer of at least 1")
POSITIVE = between(0, math.inf, "a number above 0")
DEVICE = Constraint(_is_device, "'cpu', or 'cuda' if torch finds a CUDA device")


def check_parameters(estimator: Any) -> None:
    """Raise a ValueError unless the parameters of an estimator meet its ``_constraints``.

    Examples
    --------
    >>> from modal_balance.estimators.base import check_parameters
    >>> from modal_balance.estimators.sgmcmc import CyclicalSGLD
    >>> check_parameters(CyclicalSGLD(n_cycles=0))
    Traceback (most recent call last):
    ValueError: n_cycles=0. Expected an integer of at least 1.
    """
    for name, constraint in estimator._constraints.items():
        constraint.check(name, getattr(estimator, name))


def take_feature_names(estimator: Any, fitted: Any) -> None:
    """Give an estimator the number and the names of the features that a fitted one has."""
    for name in ("n_features_in_", "feature_names_in_"):
        vars(estimator).pop(name, None)
        if (value := getattr(fitted, name, None)) is not None:
            setattr(estimator, name, value)


class PredictsMostProbable:
    """Mixin that gives a classifier with ``predict_proba`` a ``predict`` method.

    The class attribute ``_set_last`` is the name of the attribute that ``fit`` removes first and
    sets last. A classifier without it is not fitted, or its last fit failed.
    """

    _set_last: ClassVar[str]
    classes_: NDArray[Any]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probabilities, (n, n_classes), or raise NotFittedError before ``fit``."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : array-like or DataFrame, n rows
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray, shape (n,)
            Labels from `classes_`.
        """
        columns = self.predict_proba(X).argmax(axis=1)  # before classes_, which may be missing
        labels: NDArray[Any] = self.classes_[columns]
        return labels

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether the last fit finished."""
        return hasattr(self, self._set_last)


class FiniteHypotheses(TransformedHypotheses):
    """Hypotheses with preprocessing of their input and a check that predictions are finite."""

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses, (S, n, C), or raise a ValueError."""
        return check_finite(super().predict_proba_samples(X))


def check_finite(proba: Tensor) -> Tensor:
    """Return predictions (..., n, C), or raise a ValueError if any is not finite.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.base import check_finite
    >>> check_finite(torch.tensor([[0.5, 0.5]]))
    tensor([[0.5000, 0.5000]])
    """
    finite = proba.isfinite()
    if not finite.all():
        bad = ~finite.transpose(0, -2).flatten(1).all(dim=1)  # (n,)
        raise ValueError(
            f"The network's predictions are not finite for {int(bad.sum())} of {len(bad)} rows. "
            "Scale X (for example with StandardScaler), both in fit and here. If that does not "
            "help, lower learning_rate, or check module for a logarithm, root or division."
        )
    return proba
