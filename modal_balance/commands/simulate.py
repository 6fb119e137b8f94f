"""``modal-balance simulate``: compare strategies on labelled data."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from .errors import one_sentence
from .options import MODEL_NAMES

__all__ = ["simulate"]


@click.command()
@click.option(
    "--data", required=True, help="Name of a data set, or a .npz, .csv, .tsv or .parquet file."
)
@click.option("--target", help="Column of the labels. [default: the last one]")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Folder of .npz archives to look for named data sets in.",
)
@click.option(
    "--strategy",
    "chosen",
    multiple=True,
    default=("balance-margin", "balance", "margin", "random"),
    show_default=True,
    help="Name of a strategy; may be given several times.",
)
@click.option("--estimator", type=click.Choice(MODEL_NAMES), default="mcdropout", show_default=True)
@click.option(
    "--seeds", type=click.IntRange(1), default=10, show_default=True, help="Number of paired runs."
)
@click.option(
    "--initial",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Labels of each class at the start; 0, for mcdropout, begins without any.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=10, show_default=True, help="Labels asked at a time."
)
@click.option(
    "--budget", type=click.IntRange(2), default=200, show_default=True, help="Labels at the end."
)
@click.option(
    "--pool", type=click.IntRange(2), help="Rows of the pool that each run takes. [default: all]"
)
@click.option(
    "--results",
    type=click.Path(dir_okay=False),
    required=True,
    help="File to append the rounds to; a run that was cut off goes on.",
)
@click.option("--n-jobs", type=int, default=1, show_default=True, help="Runs at a time.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@one_sentence
def simulate(
    data: str,
    target: str | None,
    data_dir: str | None,
    chosen: tuple[str, ...],
    estimator: str,
    seeds: int,
    initial: int,
    batch: int,
    budget: int,
    pool: int | None,
    results: str,
    n_jobs: int,
    quiet: bool,
) -> None:
    """Compare query strategies on data whose labels are known.

    \b
    modal-balance simulate --data digits --strategy balance --strategy margin --results r.jsonl
    modal-balance simulate --data mine.csv --target label --results r.jsonl
    modal-balance report r.jsonl --output report
    """  # noqa: D301
    import numpy as np

    from ..datasets import dataset_names, load_dataset, read_table
    from ..exceptions import RandomSelectionWarning
    from ..simulation import simulate as run
    from ..simulation.results import normalised_areas
    from ..table.choices import MODELS, strategies_by_name

    known = strategies_by_name()
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(f"There is no strategy {unknown[0]!r}. Known are {', '.join(known)}.")
    if Path(data).suffix:
        X, y = read_table(data, target)
        X_test = y_test = None
        name, source = Path(data).stem, data
    elif data in dataset_names():
        loaded = load_dataset(data, data_dir)
        X, y, X_test, y_test = loaded.X, loaded.y, loaded.X_test, loaded.y_test
        name, source = data, loaded.source
    else:
        raise ValueError(
            f"{data!r} is neither a file that ends in .npz, .csv, .tsv or .parquet nor one of the "
            f"data sets {', '.join(dataset_names())}."
        )
    click.echo(f"{source}: {len(X)} rows, {len(np.unique(y))} classes", err=True)
    with warnings.catch_warnings():
        # What they say is in the results: the rows behind a validation error, and the edges.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RandomSelectionWarning)
        frame = run(
            MODELS[estimator](),
            X,
            y,
            {strategy: known[strategy] for strategy in chosen},
            n_initial=initial,
            n_instances=batch,
            budget=budget,
            seeds=seeds,
            X_test=X_test,
            y_test=y_test,
            pool_size=pool,
            dataset=name,
            estimator_name=estimator,
            results=results,
            n_jobs=n_jobs,
            verbose=0 if quiet else 1,
        )
    means = normalised_areas(frame).groupby("strategy").mean().sort_values(ascending=False)
    click.echo("Mean accuracy over the learning curve:")
    for strategy, value in means.items():
        click.echo(f"  {strategy:<24}{value:.3f}")
