"""Predictions out of probabilities, shared by the estimators."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from ..hypotheses.protocol import TransformedHypotheses

__all__ = ["FiniteHypotheses", "PredictsMostProbable", "check_finite"]


class PredictsMostProbable:
    """Mixin: ``predict`` for a classifier with ``predict_proba``.

    The class names, in ``_set_last``, the attribute that its ``fit`` removes first and sets last:
    a classifier without it has not been fitted, or its last fit has failed.
    """

    _set_last: ClassVar[str]
    classes_: NDArray[Any]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probabilities, (n, n_classes); raise NotFittedError before ``fit``."""
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
        """Tell scikit-learn whether the last fit finished."""
        return hasattr(self, self._set_last)


class FiniteHypotheses(TransformedHypotheses):
    """Hypotheses of a network behind its preprocessing, whose predictions must be finite."""

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses, (S, n, C), or raise a ValueError."""
        return check_finite(super().predict_proba_samples(X))


def check_finite(proba: Tensor) -> Tensor:
    """Return predictions (..., n, C), or raise a ValueError unless all are finite.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.estimators.predicting import check_finite
    >>> check_finite(torch.tensor([[0.5, 0.5]]))
    tensor([[0.5000, 0.5000]])
    """
    finite = proba.isfinite()
    if not finite.all():
        bad = ~finite.transpose(0, -2).flatten(1).all(dim=1)  # (n,)
        raise ValueError(
            f"The network's predictions are not finite for {int(bad.sum())} of {len(bad)} rows. "
            "Scale X (for example with StandardScaler), in fit and here alike. If that does not "
            "help, lower learning_rate, or look for a logarithm, root or division in module."
        )
    return proba
