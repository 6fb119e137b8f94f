"""Pools made harder: repeated with noise, or with rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import RandomState, as_random_state, check_integer, check_number

__all__ = ["imbalanced", "repeated"]


def imbalanced(
    y: NDArray[Any], rare_classes: Sequence[Any], share: float, random_state: RandomState = None
) -> NDArray[np.intp]:
    """Return the rows that are left when classes are thinned.

    Parameters
    ----------
    y : array of shape (n,)
        Labels.
    rare_classes : sequence
        The classes to be thinned.
    share : float in [0, 1]
        Share of their rows that is left, at random; of each class one row at least.
    random_state : int, RandomState, Generator or None, default=None
        Decides which.

    Returns
    -------
    ndarray of int
        Row numbers, sorted.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.datasets import imbalanced
    >>> y = np.repeat([0, 1, 2], 50)
    >>> np.bincount(y[imbalanced(y, [1, 2], 0.1, random_state=0)]).tolist()
    [50, 5, 5]
    """
    check_number(share, "share", 1)
    rng = as_random_state(random_state)
    kept = np.ones(len(y), dtype=bool)
    for label in rare_classes:
        rows = rng.permutation(np.flatnonzero(y == label))
        if not len(rows):
            raise ValueError(f"rare_classes has {label!r}, which is not a label of y.")
        kept[rows[max(1, round(share * len(rows))) :]] = False
    return np.flatnonzero(kept)


def repeated(
    X: NDArray[Any],
    y: NDArray[Any],
    n_repeats: int,
    *,
    noise: float = 0.1,
    random_state: RandomState = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a pool in which every row occurs several times, with noise: as Repeated-MNIST.

    Parameters
    ----------
    X : array of shape (n, ...)
        Rows.
    y : array of shape (n,)
        Labels.
    n_repeats : int, at least 0
        How often a row comes again: there are ``(1 + n_repeats) n`` rows.
    noise : float, default=0.1
        Standard deviation of the Gaussian noise on the repeated rows.
    random_state : int, RandomState, Generator or None, default=None
        Source of the noise.

    Returns
    -------
    X, y : arrays of shape ((1 + n_repeats) n, ...) and ((1 + n_repeats) n,)
        The rows as they are, then the repetitions.

    References
    ----------
    Kirsch, van Amersfoort, Gal, *BatchBALD*, NeurIPS 2019, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.datasets import repeated
    >>> X, y = repeated(np.zeros((3, 2)), np.arange(3), 2, random_state=0)
    >>> X.shape, y.tolist()
    ((9, 2), [0, 1, 2, 0, 1, 2, 0, 1, 2])
    """
    check_integer(n_repeats, "n_repeats", 0)
    check_number(noise, "noise")
    rng = as_random_state(random_state)
    copies = [X]
    for _ in range(n_repeats):
        copies.append((X + rng.normal(scale=noise, size=X.shape)).astype(X.dtype))
    return np.concatenate(copies), np.tile(y, 1 + n_repeats)
