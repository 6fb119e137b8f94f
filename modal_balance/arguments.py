"""Checks of arguments that are used everywhere."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

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


def check_number(
    value: float, name: str, maximum: float = math.inf, *, below_maximum: bool = False
) -> float:
    """Return ``value`` as a float, or raise unless it is a number from 0 to ``maximum``.

    Parameters
    ----------
    value : float
        The value: any real number, but neither a bool nor an array.
    name : str
        What the error message calls it.
    maximum : float, default=inf
        Largest value allowed. With infinity every finite number is.
    below_maximum : bool, default=False
        Whether ``maximum`` itself is refused.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is NaN or outside the range.

    Examples
    --------
    >>> from modal_balance.arguments import check_number
    >>> check_number(1, "tau", 1)
    1.0
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    below_maximum = below_maximum or maximum == math.inf
    if is_number and (0 <= value < maximum or (value == maximum and not below_maximum)):
        return float(value)
    if maximum == math.inf:
        expected = "be a finite number >= 0"
    else:
        where = f"[0, {maximum}{')' if below_maximum else ']'}"
        expected = f"lie in {where}" if is_number else f"be a number in {where}"
    raise (ValueError if is_number else TypeError)(f"{name} must {expected}, got {value!r}.")


def kind_of(value: object) -> str:
    """Return what an error message calls a value of the wrong type.

    Parameters
    ----------
    value : object
        The value.

    Returns
    -------
    str
        The type, and of a tensor the type of its entries.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.arguments import kind_of
    >>> kind_of(torch.zeros(2)), kind_of([0.0, 0.0])
    ('a tensor of torch.float32', 'list')
    """
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
