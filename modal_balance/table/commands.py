"""The command line: ``modal-balance next``, ``merge``, ``status``, ``simulate`` and ``report``."""

from __future__ import annotations

import functools
import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .files import TableFile
    from .labelled import LabelledTable
    from .status import TableStatus

# The names in modal_balance.table.choices.MODELS, which takes seconds to import.
MODEL_NAMES = (
    "network-and-trees", "mcdropout", "ensemble", "forest", "logistic-bootstrap",
    "boosting-bootstrap",
)  # fmt: skip
ROW_NUMBER = "row number"
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class ManyWords(click.Command):
    """A command whose repeatable options take several words: a shell expands ``round*.csv``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write each repeatable option before each of its words, and parse."""
        repeatable = {
            name
            for option in self.params
            if isinstance(option, click.Option) and option.multiple
            for name in option.opts
        }
        words: list[str] = []
        current = None  # the repeatable option that the words belong to
        for at, word in enumerate(args):
            if word == "--":
                words += args[at:]
                break
            if word.startswith("-"):
                name = word.partition("=")[0]
                current = name if name in repeatable else None
            elif current is not None and words[-1] != current:
                words.append(current)
            words.append(word)
        return super().parse_args(ctx, words)


class Commands(click.Group):
    """A group of such commands."""

    command_class = ManyWords


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modal-balance")
def main() -> None:
    """Choose the rows whose labels help a model most: active learning by equivalence classes.

    \b
    Your own table:  next, merge, status
    Simulations:     simulate, report

    TABLE and the answers are never changed. Exit code 0: success. 1: no row is left to label, merge
    found answers that do not fit, or an internal error. 2: a mistake in the command or in a file.
    """  # noqa: D301


# --- shared by the commands ----------------------------------------------------------------------


class UserError(click.ClickException):
    """An error that the user can correct."""

    exit_code = 2


def one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    """Report an error in one sentence, without a traceback, unless ``--debug`` is given."""

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
                f"Internal error of modal-balance, {type(error).__name__}: {sentence} Please "
                "report the output of the same command with --debug."
            ) from None

    return wrapped


@dataclass(frozen=True)
class Source:
    """A table and its answers, as named by the options."""

    table: str
    answers: tuple[str, ...]
    target: str | None
    id_column: str | None
    unsure: str
    encoding: str | None

    def read(self) -> tuple[TableFile, LabelledTable]:
        """Return the file and the joined table, and report the notes."""
        from .answers import join_answers
        from .files import read_table
        from .labelled import LabelledTable, Rows

        file = read_table(self.table, self.encoding)
        files = [read_table(path, or_else=self.encoding) for path in self.answers]
        names = [str(name) for name in file.frame.columns]
        known = LabelledTable.of(
            file.frame,
            self.target or names[-1],
            self.id_column,
            unsure=self.unsure or None,
            rows=Rows.of(names, ROW_NUMBER, file.first),
        )
        with warnings_said():
            known = join_answers(known, [other.frame for other in files], self.answers)
        for note in dict.fromkeys([n for f in (file, *files) for n in f.notes] + [*known.notes]):
            say(note)
        return file, known


def options(*added: Decorator) -> Decorator:
    """Return a decorator that adds options in the order in which the help shows them."""
    return lambda command: functools.reduce(lambda c, option: option(c), reversed(added), command)


def from_source(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pass the options about the table to a command as one Source."""

    @functools.wraps(command)
    def wrapped(
        *, table: str, answers: tuple[str, ...], more_answers: tuple[str, ...], target: str | None,
        id_column: str | None, unsure: str, encoding: str | None, **others: Any,
    ) -> Any:  # fmt: skip
        source = Source(table, answers + more_answers, target, id_column, unsure, encoding)
        return command(source, **others)

    return wrapped


_READING = options(
    click.argument("more_answers", metavar="[ANSWERS]...", nargs=-1, type=click.Path()),
    click.option("--answers", multiple=True, type=click.Path(), metavar="FILE ...",
                 help="Files written by `next`, filled in by annotators, oldest first."),
    click.option("--id", "id_column", metavar="COLUMN",
                 help="Column that identifies the rows. [default: row numbers]"),
    click.option("--unsure", default="?", show_default=True, metavar="TEXT",
                 help='Answer for "I do not know". Not a class; the row is not asked again.'),
    click.option("--encoding", metavar="NAME",
                 help="Encoding of a CSV file. [default: UTF-8, or else a reported guess]"),
    one_sentence,
    from_source,
)  # fmt: skip
_TABLE = options(
    click.argument("table", type=click.Path()),
    click.option("--target", required=True, metavar="COLUMN", help="Column of the labels."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    _READING,
)
_MODEL = options(
    click.option("--model", type=click.Choice(MODEL_NAMES), default="network-and-trees",
                 show_default=True, help="Model that learns from the labels."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
                 help="The same seed and the same table give the same result."),
)  # fmt: skip
_CHOOSING = options(
    click.option("-n", "n", type=click.IntRange(1), default=20, show_default=True,
                 help="Rows to choose."),
    click.option("--strategy", default="balance-margin", show_default=True, metavar="NAME",
                 help="Any strategy of the package: balance, margin, entropy, bald, batchbald, "
                 "badge, random ..."),
    click.option("--pending", type=click.Path(), multiple=True, metavar="FILE ...",
                 help="Files written by `next` that are being labelled now: their rows are not "
                 "chosen again."),
    click.option("--output", type=click.Path(), metavar="FILE",
                 help="Write the rows to a new .csv, .xlsx or .parquet file, to be filled in."),
    click.option("--quiet", is_flag=True, help="Show no progress."),
)  # fmt: skip
_FORCE = click.option("--force", is_flag=True, help="Replace an existing output file.")
_SIMULATION = options(
    click.option("--data", "table", required=True, metavar="NAME",
                 help="Name of a data set, a table as for `next`, or an .npz archive."),
    click.option("--target", help="Column of the labels. [default: the last one]"),
    click.option("--data-dir", type=click.Path(file_okay=False),
                 help="Folder with .npz archives of the named data sets."),
    click.option("--strategy", "chosen", multiple=True, show_default=True,
                 default=("balance-margin", "balance", "margin", "random"),
                 help="Names of strategies."),
    click.option("--model", type=click.Choice(MODEL_NAMES), default="network-and-trees",
                 show_default=True, help="Model that learns from the labels."),
    click.option("--seeds", type=click.IntRange(1), default=10, show_default=True,
                 help="Number of paired runs."),
    click.option("--initial", "n_initial", type=click.IntRange(0), default=1, show_default=True,
                 help="Labels per class at the start. With 0, herding chooses the first batch."),
    click.option("--batch", "n_instances", type=click.IntRange(1), default=10, show_default=True,
                 help="Labels per batch."),
    click.option("--budget", type=click.IntRange(2), default=200, show_default=True,
                 help="Total number of labels at the end."),
    click.option("--pool", "pool_size", type=click.IntRange(2),
                 help="Rows of the pool in each run. [default: all]"),
    click.option("--results", type=click.Path(), required=True,
                 help="File to append the rounds to; an interrupted run resumes from it."),
    click.option("--n-jobs", type=int, default=1, show_default=True, help="Parallel runs."),
    click.option("--quiet", is_flag=True, help="Show no progress bar."),
)  # fmt: skip


def say(text: str) -> None:
    """Write a message to stderr."""
    click.echo(text, err=True)


@contextmanager
def warnings_said() -> Iterator[None]:
    """Write warnings to stderr as messages, without file names and line numbers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        say(message)


def echo_json(value: Any) -> None:
    """Write a value to stdout as JSON, NaN as null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        value = value.item() if hasattr(value, "item") else value
        return None if isinstance(value, float) and not math.isfinite(value) else value

    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2, default=str))


# --- commands -------------------------------------------------------------------------------------


@main.command("next")
@_MODEL
@_CHOOSING
@_FORCE
@_TABLE
def next_command(
    source: Source, as_json: bool, n: int, model: str, seed: int, strategy: str,
    pending: tuple[str, ...], output: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Choose the rows of TABLE to label next.

    The pool is the rows without a label in TABLE or in the answers. Each chosen row is printed with
    its two most probable classes and the model's doubt, from 0 (certain) to 100 (both classes are
    equally probable).

    \b
    modal-balance next table.csv --target label --output round1.csv
    modal-balance next table.csv --target label --answers round1.csv --output round2.csv

    Exit code 1: no row is left to label.
    """  # noqa: D301
    from .files import check_output, read_table, table_format, write_rows

    if output is not None:
        table_format(output)
        check_output(output, [source.table, *source.answers, *pending], force)
    file, known = source.read()
    out: list[int] = []
    for path in pending:
        frame = read_table(path, or_else=source.encoding).frame
        out += known.pending_at(frame, path).tolist()
    if not quiet:
        say(f"{source.table}: {len(known.frame)} rows, {len(known.labelled)} labelled")
    from .choosing import GUESSES, choose_rows  # takes seconds to import: read the table first

    with warnings_said():
        rows = choose_rows(
            known, n, model=model, strategy=strategy, pending=out, random_state=seed,
            verbose=0 if quiet else 1,
        )  # fmt: skip
    if len(rows) < n:
        say(f"Only {len(rows)} row(s) are left to label." if len(rows) else "No row is left.")
        if known.n_unsure:
            say(
                f"{known.n_unsure} row(s) are marked {known.unsure!r} and not asked again. Clear "
                "these cells to be asked about them."
            )
    reason = rows.attrs["reason"]
    if len(rows) and not (quiet or reason):
        say(f"Chosen by the strategy {strategy!r} with the model {model!r}.")
    number, target = known.rows.column, known.target
    if output is not None and len(rows):
        first = [number, *filter(None, [source.id_column]), target]
        others = [name for name in known.frame.columns if name not in first and name.strip()]
        # Show annotators the data, but not the model's guess, which would bias them.
        chosen = known.frame[others].iloc[rows[number].to_numpy() - known.rows.first]
        asked = rows[first].reset_index(drop=True).join(chosen.reset_index(drop=True))
        write_rows(asked, output, file.delimiter)
        say(f"Wrote {len(rows)} rows to {output}. Fill in the column {target!r}.")
    if as_json:
        records = rows.drop(columns=target).to_dict("records")
        about = {"table": source.table, "target": target, "strategy": strategy, "model": model,
                 "seed": seed, "labelled": len(known.labelled), "reason": reason or None,
                 "output": output if len(rows) else None}  # fmt: skip
        echo_json(about | {"rows": records})
    elif len(rows):
        shown = rows.drop(columns=[target, *GUESSES] if reason else target)
        formats = dict.fromkeys(("probability", "second_probability"), "{:.2f}".format)
        click.echo(shown.to_string(index=False, formatters=formats))
    if not len(rows):
        raise click.exceptions.Exit(1)


@main.command()
@click.option("--output", type=click.Path(), metavar="FILE", required=True,
              help="The new file: TABLE with the answers filled in.")  # fmt: skip
@_FORCE
@_TABLE
def merge(source: Source, as_json: bool, output: str, force: bool) -> None:
    """Write a new file: TABLE with the labels of ANSWERS filled in.

    ANSWERS are files written by `modal-balance next` with the target filled in, or any tables with
    the target and the id. If an answer is for a row that has another label or does not exist, it
    is reported, and nothing is written.

    \b
    modal-balance merge table.csv round1.csv round2.csv --target label --output labelled.csv

    Exit code 1: an answer does not fit.
    """  # noqa: D301
    from .answers import AnswersRefused, cells_to_fill
    from .files import check_output, write_filled
    from .values import cell_text

    if not source.answers:
        raise click.UsageError("Name at least one file of answers.")
    check_output(output, [source.table, *source.answers], force)
    result: dict[str, Any] = {"table": source.table, "answers": source.answers, "output": None,
                              "written": 0, "classes": {}, "unsure": 0, "problems": []}  # fmt: skip
    try:
        file, known = source.read()
    except AnswersRefused as refused:
        if as_json:
            echo_json(result | {"problems": refused.problems})
        say("\n".join([*refused.problems, "Nothing was written."]))
        raise click.exceptions.Exit(1) from None
    cells = cells_to_fill(known)
    notes = write_filled(file, known.target, cells, output)
    labels = [cell_text(label).strip() for label in cells.values() if label != known.unsure]
    counts, n_unsure = dict(sorted(Counter(labels).items())), len(cells) - len(labels)
    if as_json:
        result |= {"output": output, "written": len(labels), "classes": counts}
        echo_json(result | {"unsure": n_unsure})
    else:
        classes = ", ".join(f"{name} {count}" for name, count in counts.items())
        click.echo(f"Wrote {output} with {len(labels)} new label(s){': ' * bool(counts)}{classes}")
        if n_unsure:
            click.echo(f"{n_unsure} row(s) are marked {known.unsure!r}, without a label.")
    for note in notes:
        say(note)


@main.command()
@_MODEL
@_TABLE
def status(source: Source, as_json: bool, model: str, seed: int) -> None:
    """Report how many rows of TABLE are labelled, and how accurate a model fitted to them is.

    Accuracy is cross-validated on the labelled rows. To see whether predictions have settled, the
    model is fitted with and without the answers of each of the last three files.

    \b
    modal-balance status table.csv --target label --answers round1.csv round2.csv
    """  # noqa: D301
    _, known = source.read()
    from .status import status_of

    with warnings_said():
        found = status_of(known, model=model, random_state=seed)
    if as_json:
        about = {"table": source.table, "target": known.target, "model": model}
        echo_json(about | asdict(found))
    else:
        click.echo("\n".join(_lines(found)))


def _lines(found: TableStatus) -> list[str]:
    unsure = f", {found.n_unsure} unsure" if found.n_unsure else ""
    done = f"{found.n_labelled} labelled{unsure}"
    lines = [f"{found.n_rows} rows: {done}, {found.n_unlabelled} to label"]
    width = max(map(len, found.counts), default=0)
    lines += [f"  {name:<{width}}  {count}" for name, count in found.counts.items()]
    if found.accuracy is not None:
        a = found.accuracy
        lines.append(
            f"Cross-validated accuracy: {a.value:.2f}, 95 % interval {a.low:.2f} to {a.high:.2f} "
            f"({a.n_right} of {a.n_tested} labelled rows correct)"
        )
        lines.append(
            f"Accuracy of always predicting the most frequent class: {a.most_frequent:.2f}"
        )
    for kappa in found.kappas:
        value = "undefined" if math.isnan(kappa) else f"{kappa:.2f}"
        lines.append(f"Agreement (kappa) of the predictions before and after a round: {value}")
    if found.settled is not None:
        advice = "have settled. Consider stopping" if found.settled else "have not settled"
        lines.append(
            f"Predictions {advice}: three consecutive rounds with an agreement of "
            f"{found.threshold:g} or more {'are enough' if found.settled else 'are needed'}."
        )
    return [*lines, *found.notes]


@main.command()
@_SIMULATION
@_READING
def simulate(
    source: Source, data_dir: str | None, chosen: tuple[str, ...], model: str, results: str,
    quiet: bool, **settings: Any,
) -> None:  # fmt: skip
    """Compare query strategies on data whose labels are known.

    Rows of a table that have no label are left out.

    \b
    modal-balance simulate --data digits --strategy margin --strategy random --results r.jsonl
    modal-balance simulate --data mine.csv --target label --results r.jsonl
    modal-balance report r.jsonl --output report
    """  # noqa: D301
    from .files import FORMATS, is_same_file

    name = source.table
    if any(is_same_file(path, results) for path in (name, *source.answers)):
        raise ValueError(f"{results} is the data. Name another file for the results.")
    table = source.read()[1] if os.path.splitext(name)[1].lower() in FORMATS else None
    from .simulating import labelled_data, run_strategies

    with warnings_said():
        data = labelled_data(name, table, source.target, data_dir)
    say(f"{data.source}: {len(data.y)} rows, {len(set(data.y.tolist()))} classes")
    means = run_strategies(data, chosen, model, results, verbose=not quiet, **settings)
    click.echo("Mean accuracy over the learning curve:")
    for strategy, value in means.items():
        click.echo(f"  {strategy:<24}{value:.3f}")


@main.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--output", required=True, type=click.Path(file_okay=False),
              help="Folder to write to.")  # fmt: skip
@click.option("--baseline", help='Strategy to compare with. [default: "margin" or "random"]')
@one_sentence
def report(results: tuple[str, ...], output: str, baseline: str | None) -> None:
    """Write tables, figures and an HTML page that summarise the RESULTS of `simulate`."""
    from ..simulation.report import default_baseline, verdicts, write_report
    from ..simulation.results import read_results

    frame = read_results(*results)
    page = write_report(frame, output, baseline=baseline)
    if frame["strategy"].nunique() > 1:
        click.echo("\n".join(verdicts(frame, baseline or default_baseline(frame))))
    click.echo(str(page))
