"""Warnings that point at the line of the user's code that caused them."""

from __future__ import annotations

import sys
import warnings

# Packages between the user's code and a warning of this package.
BETWEEN = {"modal_balance", "modAL", "sklearn", "skorch", "tqdm", "joblib", "contextlib"}


def warn_user(message: str, category: type[Warning]) -> None:
    """Issue a warning at the innermost line outside of this package and its dependencies.

    A fixed ``stacklevel`` cannot do this: a strategy is called directly or by a modAL learner, and
    generators and progress bars lie in between.

    Examples
    --------
    >>> import warnings
    >>> from modal_balance._utils.user_warnings import warn_user
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_user("few labels", UserWarning)
    >>> str(caught[0].message)
    'few labels'
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
