"""Errors of the command line: one sentence and an exit code, or with --debug a traceback.

Exit code 2: something that the user can mend, in the command or in a file. 1: the command ended
without doing what it is for, such as a merge that was refused, or one of our own faults.
"""

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
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            sentence = " ".join(str(error).split())
            if isinstance(error, ValueError | TypeError | ImportError | OSError) and sentence:
                raise UserError(sentence) from None
            raise click.ClickException(
                f"{type(error).__name__}: {sentence} This should not happen. Run it again with "
                "--debug, and report what that shows."
            ) from None

    return wrapped
