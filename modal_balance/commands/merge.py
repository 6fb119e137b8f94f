"""``modal-balance merge``: answers of annotators brought back into the table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from .errors import one_sentence
from .options import echo_json, say, table_options

__all__ = ["merge"]


@click.command()
@click.argument("table", type=click.Path())
@click.argument("answers", type=click.Path())
@table_options
@click.option(
    "--output",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="The table with the answers; may be TABLE itself.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Take labels of new classes, and new labels of rows that have one; pass over rows that "
    "the table does not have.",
)
@one_sentence
def merge(
    table: str,
    answers: str,
    target: str,
    id_column: str | None,
    encoding: str | None,
    as_json: bool,
    output: str,
    force: bool,
) -> None:
    """Write TABLE with the labels of ANSWERS filled in.

    ANSWERS is a file of `modal-balance next` whose target is filled in, or any table with the
    target and the id or a column "position". No other cell of TABLE changes, and the output is
    never half-written. An answer of a class that the table does not have yet, for a row that has
    another label, or for a row that is not there, is said, and then nothing is written.

    \b
    modal-balance merge table.csv round1.csv --target label --output table.csv

    Exit code 1: there are such answers.
    """  # noqa: D301
    from ..files import open_table, write_atomically
    from ..table.merging import plan_merge

    if Path(output).suffix.lower() != Path(table).suffix.lower():
        raise ValueError(
            f"{output} ends in {Path(output).suffix!r} but the table in {Path(table).suffix!r}. "
            "The output has the format of the table."
        )
    if not Path(output).parent.is_dir():
        raise ValueError(f"There is no folder {Path(output).parent} to write to.")
    columns = [target, *([id_column] if id_column else [])]
    file = open_table(table, encoding)
    given = _answers(answers, encoding, [*columns, "position"])
    plan = plan_merge(file.frame(columns), given, target, id_column=id_column)
    refused = bool(plan.problems) and not force
    for problem in plan.problems:
        say(problem)
    if not refused:
        write_atomically(output, file.with_cells(target, plan.cells))
    counts = Counter(str(label) for label in plan.cells.values())
    result = {
        "table": table,
        "answers": answers,
        "output": None if refused else output,
        "written": 0 if refused else len(plan.cells),
        "classes": {} if refused else dict(sorted(counts.items())),
        "unchanged": plan.n_unchanged,
        "empty": plan.n_empty,
        "problems": plan.problems,
    }
    if as_json:
        echo_json(result)
    elif not refused:
        classes = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        click.echo(
            f"{len(plan.cells)} labels written to {output}" + (f": {classes}" if classes else "")
        )
    if plan.n_empty:
        say(f"{plan.n_empty} rows of {answers} are not filled in.")
    if plan.n_unchanged:
        say(f"{plan.n_unchanged} answers are in the table already.")
    if refused:
        say(f"Nothing was written: {len(plan.problems)} answers do not fit. Mend them, or --force.")
        raise click.exceptions.Exit(1)


def _answers(path: str, encoding: str | None, as_text: list[str]) -> Any:
    """Return the answers: in UTF-8, or else in the encoding of the table."""
    from ..files import open_table

    try:
        file = open_table(path)
    except ValueError:
        if encoding is None:
            raise
        file = open_table(path, encoding)
    return file.frame(as_text)
