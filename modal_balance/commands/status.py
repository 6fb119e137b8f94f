"""``modal-balance status``: how far the labelling of a table has come."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .errors import one_sentence
from .options import echo_json, model_options, table_options

if TYPE_CHECKING:
    from ..table.status import TableStatus

__all__ = ["status"]


@click.command()
@click.argument("table", type=click.Path())
@table_options
@model_options
@click.option(
    "--round",
    "rounds",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="Answers that were merged in a past round, the oldest first. The model is fitted without "
    "and with them: have its predictions settled?",
)
@one_sentence
def status(
    table: str,
    target: str,
    id_column: str | None,
    encoding: str | None,
    as_json: bool,
    model: str,
    seed: int,
    rounds: tuple[str, ...],
) -> None:
    """Say how many rows of TABLE are labelled, and how well a model does with them.

    Accuracy is cross-validated on the labelled rows. Nothing is stored between calls: whether
    predictions have settled is found by fitting the model without the answers of the last rounds
    and with them, so name these files.

    \b
    modal-balance status table.csv --target label --round round1.csv --round round2.csv
    """  # noqa: D301
    from ..files import open_table
    from ..table import table_status

    columns = [target, *([id_column] if id_column else [])]
    found = table_status(
        open_table(table, encoding).frame(columns),
        target,
        id_column=id_column,
        model=model,
        rounds=[open_table(path, encoding).frame([*columns, "position"]) for path in rounds],
        random_state=seed,
    )
    if as_json:
        echo_json({"table": table, "target": target, "model": model, **asdict(found)})
    else:
        for line in _lines(found, rounds):
            click.echo(line)


def _lines(found: TableStatus, rounds: tuple[str, ...]) -> list[str]:
    lines = [f"{found.n_rows} rows: {found.n_labelled} labelled, {found.n_unlabelled} not"]
    width = max(map(len, found.counts), default=0)
    lines += [f"  {name:<{width}}  {count}" for name, count in found.counts.items()]
    if found.accuracy is not None:
        a = found.accuracy
        lines.append(
            f"Cross-validated accuracy: {a.value:.2f}, 95 % interval {a.low:.2f} to {a.high:.2f} "
            f"({a.n_right} of {a.n_tested} labelled rows)"
        )
        lines.append(f"The most frequent class always: {a.most_frequent:.2f}")
    for path, kappa in zip(rounds, found.kappas, strict=False):
        value = "undefined" if math.isnan(kappa) else f"{kappa:.2f}"
        lines.append(f"Agreement (kappa) of the predictions without {path} and with it: {value}")
    if found.settled is not None:
        lines.append(
            f"Predictions {'have' if found.settled else 'have not'} settled: "
            f"{found.threshold:g} or more in three rounds in a row is a good reason to stop."
        )
    return [*lines, *found.notes]
