"""Errors of the command line: one sentence and exit code 2, or with --debug a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

__all__ = ["one_sentence"]


class UserError(click.ClickException):
    """What the user can mend."""

    exit_code = 2


def one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    """Make errors that a user can mend one sentence, unless the option ``--debug`` is given.

    Parameters
    ----------
    command : callable
        Body of a command.

    Returns
    -------
    callable
        Takes the option ``debug`` besides.

    Examples
    --------
    >>> from modal_balance.commands.errors import one_sentence
    >>> one_sentence(lambda: 3)(debug=False)
    3
    """

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapped(*args: Any, debug: bool, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except (ValueError, TypeError, ImportError, OSError) as error:
            if debug:
                raise
            raise UserError(str(error)) from None

    return wrapped
