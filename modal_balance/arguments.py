"""Checks of arguments that are used everywhere."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

RandomState = int | np.random.RandomState | None


def check_integer(value: int, name: str, minimum: int = 1) -> int:
    """Return ``value`` as an int, or raise unless it is an integer of at least ``minimum``.

    Parameters
    ----------
    value : int
        The value.
    name : str
        What the error message calls it.
    minimum : int, default=1
        Smallest value allowed.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is smaller than ``minimum``.

    Examples
    --------
    >>> from modal_balance.arguments import check_integer
    >>> check_integer(3, "n_pairs")
    3
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    return int(value)


def n_rows(X: Any) -> int:
    """Return the number of rows of X.

    Parameters
    ----------
    X : array-like, tensor, dict of arrays, DataFrame or sparse matrix
        Data.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the parts of a dict differ in length.

    Examples
    --------
    >>> from modal_balance.arguments import n_rows
    >>> n_rows({"a": [1, 2, 3], "b": [4, 5, 6]})
    3
    """
    if isinstance(X, Mapping):
        lengths = {key: n_rows(part) for key, part in X.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"The parts of X differ in their number of rows: {lengths}.")
        return next(iter(lengths.values()))
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)
