"""The classifier inside pipelines, searches and frozen estimators, and the way to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sklearn.pipeline import Pipeline

from ..sklearn_compat import FrozenEstimator


class Unwrapped(NamedTuple):
    """A classifier out of its wrappers.

    ``transforms`` are to be applied to the input one after the other before ``estimator`` sees it.
    """

    estimator: Any
    transforms: tuple[Callable[[Any], Any], ...]

    def transform(self, X: Any) -> Any:
        """Return what the classifier itself is given for the input X of its wrappers."""
        for transform in self.transforms:
            X = transform(X)
        return X


def unwrap(estimator: Any) -> Unwrapped:
    """Take a fitted classifier out of pipelines, searches and frozen estimators, however nested.

    Parameters
    ----------
    estimator : estimator
        A Pipeline (its last step counts), a search such as GridSearchCV (its
        ``best_estimator_`` counts), a FrozenEstimator, or any other estimator, which is returned
        as it is.

    Returns
    -------
    Unwrapped
        The classifier, and the transformations of the input on the way to it.

    Raises
    ------
    ValueError
        If a search has kept no best estimator.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance.hypotheses.unwrapping import unwrap
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> classifier, transforms = unwrap(pipeline.fit([[0.0], [1.0]], [0, 1]))
    >>> classifier, len(transforms)
    (LogisticRegression(), 1)
    """
    transforms: list[Callable[[Any], Any]] = []
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "draw_hypotheses") or hasattr(estimator, "predict_proba_samples"):
            break
        elif isinstance(estimator, Pipeline):
            # Step by step: as a pipeline of their own, steps without attributes learnt in fit
            # would not pass for fitted.
            steps = [step for _, step in estimator.steps[:-1]]
            transforms += [s.transform for s in steps if s not in (None, "passthrough")]
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "cv_results_"):
            raise ValueError(
                f"This {type(estimator).__name__} has no best_estimator_, because it was made "
                "with refit=False. Use refit=True, so that there is one classifier to query with."
            )
        else:
            break
    return Unwrapped(estimator, tuple(transforms))
