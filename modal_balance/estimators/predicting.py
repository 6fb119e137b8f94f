"""Methods that the estimators share: predictions out of probabilities, and whether fit finished."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

__all__ = ["PredictsMostProbable"]


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
            Labels out of `classes_`.
        """
        columns = self.predict_proba(X).argmax(axis=1)  # before classes_, which may be missing
        labels: NDArray[Any] = self.classes_[columns]
        return labels

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn whether the last fit finished."""
        return hasattr(self, self._set_last)
