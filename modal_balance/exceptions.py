"""Warnings of the package."""

from __future__ import annotations


class RandomSelectionWarning(UserWarning):
    """Points were chosen at random, because nothing told them apart.

    Examples
    --------
    >>> import warnings
    >>> from modal_balance import RandomSelectionWarning
    >>> warnings.filterwarnings("ignore", category=RandomSelectionWarning)
    """


class UnseenDropoutWarning(UserWarning):
    """The dropout of a module cannot be sampled, so it is off in the hypotheses.

    Examples
    --------
    >>> import warnings
    >>> from modal_balance import UnseenDropoutWarning
    >>> warnings.filterwarnings("ignore", category=UnseenDropoutWarning)
    """
