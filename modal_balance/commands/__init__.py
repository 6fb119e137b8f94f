"""Commands of the command line, one module each."""

from __future__ import annotations

import click

from ..versions import __version__
from .report import report
from .simulate import simulate

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="modal-balance")
def main() -> None:
    """Ask for the labels that matter: active learning by equivalence classes."""


main.add_command(simulate)
main.add_command(report)
