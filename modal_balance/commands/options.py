"""Options that the commands on tables share, and how they speak."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import click

__all__ = ["MODEL_NAMES", "echo_json", "model_options", "say", "table_options"]

# modal_balance.table.choices.MODELS; that module takes seconds to import.
MODEL_NAMES = ("mcdropout", "ensemble", "forest", "logistic-bootstrap", "boosting-bootstrap")


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a table is to be read.

    Parameters
    ----------
    command : callable
        Takes ``target``, ``id_column``, ``encoding`` and ``as_json``.

    Returns
    -------
    callable
    """
    options = (
        click.option(
            "--target", required=True, metavar="COLUMN", help="Column of the labels; empty: none."
        ),
        click.option(
            "--id",
            "id_column",
            metavar="COLUMN",
            help="Column that names the rows. [default: they are known by their position]",
        ),
        click.option(
            "--encoding",
            metavar="NAME",
            help="Encoding of a CSV file without a byte order mark. [default: utf-8]",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what learns.

    Parameters
    ----------
    command : callable
        Takes ``model`` and ``seed``.

    Returns
    -------
    callable
    """
    options = (
        click.option(
            "--model",
            type=click.Choice(MODEL_NAMES),
            default="mcdropout",
            show_default=True,
            help="What learns from the labels.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            default=0,
            show_default=True,
            help="The same seed and the same table give the same result.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def say(text: str) -> None:
    """Write progress or a remark to stderr.

    Parameters
    ----------
    text : str
        One line.
    """
    click.echo(text, err=True)


def echo_json(value: Any) -> None:
    """Write a value to stdout as JSON, NaN as null.

    Parameters
    ----------
    value : dict
        Of lists, dicts, numbers and text; other objects are written as text.
    """
    click.echo(json.dumps(_plain(value), ensure_ascii=False, indent=2, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
