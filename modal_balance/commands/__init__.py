"""Commands of the command line, one module each."""

from __future__ import annotations

import click

from .merge import merge
from .next import next_command
from .report import report
from .simulate import simulate
from .status import status

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modal-balance")
def main() -> None:
    """Ask for the labels that matter: active learning by equivalence classes.

    \b
    Your own table:  next, merge, status
    Simulations:     simulate, report
    """  # noqa: D301


for command in (next_command, merge, status, simulate, report):
    main.add_command(command)
