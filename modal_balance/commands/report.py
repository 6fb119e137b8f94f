"""``modal-balance report``: tables, pictures and a page about simulations."""

from __future__ import annotations

import click

from .errors import one_sentence

__all__ = ["report"]


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option(
    "--output", required=True, type=click.Path(file_okay=False), help="Folder to write to."
)
@click.option("--baseline", help='Strategy to compare with. [default: "margin" or "random"]')
@one_sentence
def report(results: tuple[str, ...], output: str, baseline: str | None) -> None:
    """Write tables, pictures and one HTML page about RESULTS, files of `simulate`."""
    from ..simulation.report import verdicts, write_report
    from ..simulation.results import read_results

    frame = read_results(*results)
    page = write_report(frame, output, baseline=baseline)
    known = frame["strategy"].unique()
    chosen = baseline or next((name for name in ("margin", "random") if name in known), known[0])
    if len(known) > 1:
        for sentence in verdicts(frame, chosen):
            click.echo(sentence)
    click.echo(str(page))
