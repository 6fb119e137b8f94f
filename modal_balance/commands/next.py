"""``modal-balance next``: the rows of a table to label next."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import one_sentence
from .options import echo_json, model_options, say, table_options

if TYPE_CHECKING:
    from ..files import TableFile

__all__ = ["next_command"]


@click.command("next")
@click.argument("table", type=click.Path())
@table_options
@click.option(
    "-n", "n", type=click.IntRange(1), default=20, show_default=True, help="Rows to choose."
)
@model_options
@click.option(
    "--strategy",
    default="balance-margin",
    show_default=True,
    metavar="NAME",
    help="How rows are chosen: balance-margin, balance, margin, entropy, bald, batchbald, "
    "badge, coreset, random or any other strategy of the package.",
)
@click.option(
    "--pending",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="A file of this command that is out with annotators: its rows are not chosen again. May "
    "be given several times.",
)
@click.option(
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Write the rows to a .csv, .tsv, .xlsx or .parquet file, with an empty target to fill in.",
)
@click.option(
    "--force", is_flag=True, help="Replace an output file that has answers not merged yet."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@one_sentence
def next_command(
    table: str,
    target: str,
    id_column: str | None,
    encoding: str | None,
    as_json: bool,
    n: int,
    model: str,
    seed: int,
    strategy: str,
    pending: tuple[str, ...],
    output: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Choose the rows of TABLE to label next.

    Rows whose target is empty are the pool, the others are the labels. Each row is printed with
    its position (0 is the first below the header), the model's two likeliest classes, and the gain
    that the strategy gives it.

    \b
    modal-balance next table.csv --target label -n 20 --output round1.csv
    modal-balance merge table.csv round1.csv --target label --output table.csv

    Exit code 1: no row is left to label.
    """  # noqa: D301
    from ..files import open_table, write_frame
    from ..table.labelled import LabelledTable

    file = open_table(table, encoding)
    as_text = [target, *([id_column] if id_column else [])]
    frame = file.frame(as_text)
    known = LabelledTable.of(frame, target, id_column)
    if output is not None:
        _check_output(output, file, frame, target, id_column, force)
    out = _pending(pending, encoding, id_column)
    if not quiet:
        unnamed = sum(not name.strip() for name in file.header)
        say(
            f"{table}: {len(frame)} rows, {len(known.labelled)} labelled"
            + (f", {len(out)} out with annotators" if out is not None else "")
            + (f"; {unnamed} column(s) without a name are left out" if unnamed else "")
        )
    from ..table import next_rows  # takes seconds, which a broken table need not

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        rows = next_rows(
            frame,
            target,
            n,
            id_column=id_column,
            model=model,
            strategy=strategy,
            pending=out,
            random_state=seed,
            verbose=0 if quiet else 1,
        )
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        say(message)
    if len(rows) < n:
        say(
            f"Only {len(rows)} rows are left to label." if len(rows) else "No row is left to label."
        )
    if output is not None and len(rows):
        others = [name for name in frame.columns if name not in rows.columns and name.strip()]
        # What there is to look at, but not what the model thinks: that would sway who answers.
        chosen = frame[others].iloc[rows["position"]].reset_index(drop=True)
        asked = rows[["position", *as_text[1:], target]].reset_index(drop=True)
        write_frame(asked.join(chosen), output, like=file)
        say(f"Wrote {len(rows)} rows to {output}. Fill in the column {target!r}.")
    if as_json:
        echo_json(
            {
                "table": table,
                "target": target,
                "id": id_column,
                "rows_total": len(frame),
                "labelled": len(known.labelled),
                "model": model,
                "strategy": "herding" if rows.attrs["reason"] else strategy,
                "reason": rows.attrs["reason"] or None,
                "output": output,
                "rows": [
                    {name: _null(row[name]) for name in rows.columns if name != target}
                    for row in rows.to_dict("records")
                ],
            }
        )
    elif len(rows):
        click.echo(_as_text(rows, target))
    if not len(rows):
        raise click.exceptions.Exit(1)


def _pending(paths: tuple[str, ...], encoding: str | None, id_column: str | None) -> Any:
    """Return the rows that are out, of all files one below the other."""
    import pandas as pd

    from ..files import open_table

    if not paths:
        return None
    column = id_column or "position"
    rows: list[Any] = []
    for path in paths:
        file = open_table(path, encoding)
        if column not in file.header:
            raise ValueError(
                f"{path} has no column {column!r}, to say which rows are out. Its columns are "
                f"{', '.join(map(repr, file.header))}."
            )
        rows += file.frame([column])[column].tolist()
    return pd.DataFrame({column: rows})


def _check_output(
    output: str, file: TableFile, frame: Any, target: str, id_column: str | None, force: bool
) -> None:
    """Raise rather than let a file with answers be replaced, or the table itself."""
    from ..files import open_table, table_format
    from ..table.merging import plan_merge

    table_format(output)
    path = Path(output)
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} to write {path.name} to.")
    if not path.exists():
        return
    if os.path.samefile(path, file.path):
        raise ValueError(f"{output} is the table itself. Name another file for the rows.")
    if force:
        return
    try:
        columns = [target, *([id_column] if id_column else [])]
        old = plan_merge(frame, open_table(path).frame(columns), target, id_column=id_column)
    except ValueError as error:
        raise ValueError(
            f"{output} is there already, and is no file of this command ({error}) Name another, "
            "or replace it with --force."
        ) from None
    left = len(old.cells) + len(old.problems)
    if left:
        raise ValueError(
            f"{output} is there already and has {left} answers that the table does not have. Merge "
            "them first, name another file, or replace it with --force."
        )


def _null(value: Any) -> Any:
    return None if value != value else value


def _as_text(rows: Any, target: str) -> str:
    shown = rows.drop(columns=target)
    if rows.attrs["reason"]:
        shown = shown.drop(columns=["likeliest", "probability", "second", "second_probability"])
    formats = {
        "probability": "{:.2f}".format,
        "second_probability": "{:.2f}".format,
        "gain": "{:.3g}".format,
    }
    text: str = shown.to_string(index=False, formatters=formats)
    return text
