"""Compare strategies on a table, or on a data set by name."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .._utils.user_warnings import warn_user
from ..simulation import simulate
from ..simulation.datasets import Dataset, dataset_names, load_dataset, read_archive
from ..simulation.results import normalised_areas
from .choices import MODELS, strategy_by_name
from .files import FORMATS
from .labelled import LabelledTable
from .preparation import prepare


def labelled_data(
    name: str, table: LabelledTable | None, target: str | None, data_dir: str | None
) -> Dataset:
    """Return the labelled rows of a table or an archive, or a data set by name."""
    if table is not None:
        rows = table.labelled
        if len(table.counts) < 2:
            raise ValueError(f"{name} has labels of {len(table.counts)} class(es). Expected two.")
        X = prepare(table.columns, 0, table.row)[rows]
        if len(rows) < len(table.frame):
            left = len(table.frame) - len(rows)
            warn_user(f"{left} row(s) without a label are left out.", UserWarning)
        y = np.array(list(table.counts))[table.codes_of(rows)]
        return Dataset(Path(name).stem, X, y, None, None, name)
    if Path(name).suffix == ".npz":
        X, y = read_archive(name, target)
        return Dataset(Path(name).stem, X, y, None, None, name)
    if name in dataset_names():
        return load_dataset(name, data_dir)
    raise ValueError(
        f"{name!r} is neither a file that ends in .npz, {', '.join(FORMATS)}, nor one of the data "
        f"sets {', '.join(dataset_names())}."
    )


def run_strategies(
    data: Dataset, chosen: tuple[str, ...], model: str, results: str, **settings: Any
) -> dict[str, float]:
    """Return the mean accuracy of each strategy over its learning curves, best first."""
    strategies = {name: strategy_by_name(name) for name in chosen}
    with warnings.catch_warnings():
        # These warnings repeat facts of the results: validation rows and numbers of edges.
        warnings.simplefilter("ignore", UserWarning)
        frame = simulate(
            MODELS[model](), data.X, data.y, strategies, X_test=data.X_test, y_test=data.y_test,
            dataset=data.name, estimator_name=model, results=results, **settings,
        )  # fmt: skip
    means = normalised_areas(frame).groupby("strategy").mean().sort_values(ascending=False)
    return {str(name): float(value) for name, value in means.items()}
