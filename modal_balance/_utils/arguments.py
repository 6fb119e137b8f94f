"""Argument checks used by the whole package."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state
from torch import Tensor

RandomState = int | np.random.RandomState | np.random.Generator | None


def check_integer(value: int, name: str, minimum: int = 1) -> int:
    """Return ``value`` as an int, or raise unless it is an integer of at least ``minimum``.

    ``name`` is that of the argument, for the error message: TypeError if it is not an integer,
    ValueError if it is too small.

    Examples
    --------
    >>> from modal_balance._utils.arguments import check_integer
    >>> check_integer(3, "n_samples")
    3
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    return int(value)


def check_number(value: float, name: str, maximum: float = math.inf) -> float:
    """Return ``value`` as a float, or raise unless it is a number from 0 to ``maximum``.

    Any real number counts, but neither a bool nor an array; infinity is never allowed. ``name`` is
    that of the argument, for the error message: TypeError if it is not a number, ValueError if it
    is NaN or out of range.

    Examples
    --------
    >>> from modal_balance._utils.arguments import check_number
    >>> check_number(1, "tau", 1)
    1.0
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if is_number and 0 <= value <= maximum and value < math.inf:
        return float(value)
    if maximum == math.inf:
        expected = "be a finite number >= 0"
    else:
        where = f"[0, {maximum}]"
        expected = f"lie in {where}" if is_number else f"be a number in {where}"
    raise (ValueError if is_number else TypeError)(f"{name} must {expected}, got {value!r}.")


def check_positive(value: float, name: str) -> float:
    """Return ``value`` as a float, or raise unless it is a finite number above 0.

    ``name`` is that of the argument, for the error message: TypeError if it is not a number,
    ValueError if it is NaN or out of range.

    Examples
    --------
    >>> from modal_balance._utils.arguments import check_positive
    >>> check_positive(2, "radius")
    2.0
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}.")
    return float(value)


def n_rows(X: Any) -> int:
    """Return the number of rows of X.

    X is array-like, a tensor, a table, a sparse matrix, or a dict of these: ValueError if its
    values differ in length.

    Examples
    --------
    >>> from modal_balance._utils.arguments import n_rows
    >>> n_rows({"a": [1, 2, 3], "b": [4, 5, 6]})
    3
    """
    if isinstance(X, Mapping) and not sparse.issparse(X):  # a matrix of keys is both
        lengths = {key: n_rows(part) for key, part in X.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"The values of the dict X differ in their number of rows: {lengths}.")
        return next(iter(lengths.values()))
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def as_indexable(X: Any) -> Any:
    """Return X in a form that scikit-learn can index by rows.

    Extension arrays of pandas (``Series.values`` of text) become NumPy arrays.

    Examples
    --------
    >>> from modal_balance._utils.arguments import as_indexable
    >>> as_indexable(["red dog", "blue cat"])  # a list is returned unchanged
    ['red dog', 'blue cat']
    """
    # Detect them by their methods, because pandas is optional.
    is_extension = hasattr(X, "_from_sequence") and hasattr(X, "to_numpy")
    return X.to_numpy(dtype=object) if is_extension else X


def nan_for_na(frame: Any) -> Any:
    """Return a DataFrame with NaN instead of pandas' NA in columns of numbers.

    Columns of numbers and truth values in a dtype of pandas or Arrow (``Float64``, ``Int64``,
    ``boolean``, ``double[pyarrow]``) become ``float64``; the others are unchanged.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance._utils.arguments import nan_for_na
    >>> nan_for_na(pd.DataFrame({"size": pd.array([3, None])})).to_numpy().tolist()
    [[3.0], [nan]]
    """
    may_hold_na = [
        name
        for name, kind in frame.dtypes.items()
        # Sparse columns, which have a subtype, mark missing values by NaN.
        if kind.kind in "biuf" and not isinstance(kind, np.dtype) and not hasattr(kind, "subtype")
    ]
    return frame.astype(dict.fromkeys(may_hold_na, np.float64)) if may_hold_na else frame


def as_random_state(random_state: RandomState) -> np.random.RandomState:
    """Return a ``RandomState`` for a ``random_state`` argument.

    As in scikit-learn, an int seeds a new one, a ``RandomState`` is returned unchanged, and None is
    NumPy's global one. A ``Generator`` draws the seed of a new one, so each call returns a
    different one.

    Raises TypeError for another type, and ValueError for an int that is not a valid seed.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance._utils.arguments import as_random_state
    >>> int(as_random_state(0).randint(100))
    44
    >>> rng = np.random.default_rng(0)
    >>> bool(as_random_state(rng).rand() == as_random_state(rng).rand())
    False
    """
    if isinstance(random_state, np.random.Generator):
        return np.random.RandomState(int(random_state.integers(2**32 - 1)))
    if isinstance(random_state, numbers.Integral) and not 0 <= random_state < 2**32:
        raise ValueError(f"random_state must be from 0 to 2**32 - 1, got {random_state}.")
    try:
        rng: np.random.RandomState = check_random_state(random_state)
    except ValueError as error:
        raise TypeError(
            "random_state must be an int, a numpy RandomState or Generator, or None, got "
            f"{random_state!r}."
        ) from error
    return rng


def set_seeds(estimator: Any, rng: np.random.RandomState) -> Any:
    """Set each ``random_state`` of an estimator, and of estimators within it, to a drawn seed.

    The estimator is changed in place and returned. Seeds are drawn in the order of the names of
    its parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from modal_balance._utils.arguments import set_seeds
    >>> forest = set_seeds(RandomForestClassifier(), np.random.RandomState(0))
    >>> type(forest.random_state)
    <class 'int'>
    """
    names = sorted(estimator.get_params())
    seeds = {name: draw_seed(rng) for name in names if name.split("__")[-1] == "random_state"}
    return estimator.set_params(**seeds)


def draw_seed(random_state: RandomState) -> int:
    """Draw an int from 0 to 2**31 - 2 that can serve as a seed.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance._utils.arguments import draw_seed
    >>> draw_seed(0) == draw_seed(np.random.RandomState(0))
    True
    >>> rng = np.random.RandomState(0)
    >>> draw_seed(rng) == draw_seed(rng)
    False
    """
    return int(as_random_state(random_state).randint(np.iinfo(np.int32).max))


def check_validation_pair(
    X_val: Any, y_val: Any, names: tuple[str, str] = ("X_val", "y_val")
) -> None:
    """Raise unless validation data are a pair of equal length, with all labels, or both None.

    ``names`` are their names in error messages. Raises ValueError also if a row has several labels.

    Examples
    --------
    >>> from modal_balance._utils.arguments import check_validation_pair
    >>> check_validation_pair([[1.0], [2.0], [3.0]], [0, 1])
    Traceback (most recent call last):
    ValueError: X_val has 3 rows but y_val has 2 labels.
    """
    X_name, y_name = names
    if (X_val is None) != (y_val is None):
        given, missing = names if y_val is None else (y_name, X_name)
        raise ValueError(f"{given} was given without {missing}. Pass both or neither.")
    if X_val is None:
        return
    if n_rows(X_val) != n_rows(y_val):
        raise ValueError(
            f"{X_name} has {n_rows(X_val)} rows but {y_name} has {n_rows(y_val)} labels."
        )
    shape = np.shape(y_val)
    if math.prod(shape[1:]) > 1:
        raise ValueError(f"{y_name} has the shape {shape}. Pass one label for each row.")
    check_labels(y_val, y_name)


def check_labels(y: Any, name: str) -> None:
    """Raise a ValueError if some labels are missing, and a TypeError if they cannot be sorted.

    None is accepted. ``name`` is that of the labels in the message.

    Examples
    --------
    >>> from modal_balance._utils.arguments import check_labels
    >>> check_labels(["cat", None, "dog"], "y")
    Traceback (most recent call last):
    ValueError: y lacks a label in 1 of 3 rows, the first at position 1. Pass labelled rows only.
    """
    if y is None:
        return
    labels = np.asarray(y, dtype=object).ravel()
    missing = [
        at
        for at, label in enumerate(labels)
        if type(label).__name__ in ("NoneType", "NAType", "NaTType")
        or (isinstance(label, float) and math.isnan(label))
    ]
    if missing:
        raise ValueError(
            f"{name} lacks a label in {len(missing)} of {len(labels)} rows, the first at position "
            f"{missing[0]}. Pass labelled rows only."
        )
    words = [isinstance(label, str) for label in labels]
    if any(words) and not all(words):
        word, other = labels[words.index(True)], labels[words.index(False)]
        raise TypeError(
            f"{name} has both text and other labels, for example {word!r} and {other!r}. Pass "
            "labels of one type."
        )


def kind_of(value: object) -> str:
    """Return the type of a value, and the dtype of a tensor, for error messages.

    Examples
    --------
    >>> import torch
    >>> from modal_balance._utils.arguments import kind_of
    >>> kind_of(torch.zeros(2)), kind_of([0.0, 0.0])
    ('a tensor of torch.float32', 'list')
    """
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
