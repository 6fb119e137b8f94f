"""Names of scikit-learn 1.6, with replacements under scikit-learn 1.5.

===================  ======================================================================
name                 replacement under scikit-learn 1.5
===================  ======================================================================
``validate_data``    the method ``BaseEstimator._validate_data``
``ALLOW_NAN``        the argument of ``validate_data`` that lets NaN and infinity pass
``get_tags``         the old tags of an estimator, only as ``input_tags.allow_nan``
``FrozenEstimator``  an empty tuple, so that ``isinstance`` is always False
===================  ======================================================================
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from scipy.sparse import issparse

__all__ = ["ALLOW_NAN", "FrozenEstimator", "get_tags", "validate_data"]

ALLOW_NAN: dict[str, bool]

try:
    from sklearn.frozen import FrozenEstimator
    from sklearn.utils import get_tags
    from sklearn.utils.validation import validate_data as _validate_data

    ALLOW_NAN = {"ensure_all_finite": False}
except ImportError:  # scikit-learn < 1.6
    FrozenEstimator = ()
    ALLOW_NAN = {"force_all_finite": False}

    def _validate_data(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        return estimator._validate_data(*args, **kwargs)

    def get_tags(estimator: Any) -> Any:
        """Return the tags of an estimator about its input."""
        from sklearn.utils._tags import _safe_tags

        allow_nan = bool(_safe_tags(estimator, "allow_nan"))
        return SimpleNamespace(input_tags=SimpleNamespace(allow_nan=allow_nan))


def validate_data(estimator: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
    """Check and convert the input of an estimator, as scikit-learn does."""
    if issparse(X) and not kwargs.get("accept_sparse"):
        raise TypeError(
            f"X is a sparse matrix, but {type(estimator).__name__} needs dense rows. Put a "
            "sklearn.decomposition.TruncatedSVD in front of it, as is usual for text; or pass "
            "X.toarray(), if it has few columns."
        )
    return _validate_data(estimator, X, *args, **kwargs)
