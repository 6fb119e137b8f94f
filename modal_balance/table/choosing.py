"""The rows of a table to label next."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import RandomState, as_random_state, check_integer
from ..estimators.training import smoothed_error
from ..exceptions import RandomSelectionWarning
from ..hypotheses.validation import validation_error
from .choices import fit_quietly, model_by_name, strategy_by_name
from .first_batch import diverse_batch
from .labelled import POSITION, LabelledTable, positions_in
from .preparation import prepare

__all__ = ["GUESSES", "next_rows"]

# Columns about a row besides its position, its id and its empty target.
GUESSES = ("likeliest", "probability", "second", "second_probability", "gain")


class Batch(NamedTuple):
    """The rows chosen, and what a model says of them."""

    positions: NDArray[np.intp]
    gains: NDArray[np.float64]
    guesses: list[tuple[Any, float, Any, float]]  # empty: there is no model


def next_rows(
    frame: Any,
    target: str,
    n: int = 20,
    *,
    id_column: str | None = None,
    model: Any = "mcdropout",
    strategy: Any = "balance-margin",
    pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose the rows of a table whose labels would teach a model most.

    Rows whose target is empty are the pool; the others are the labels. Columns of numbers, words,
    dates and free text, with or without gaps, are prepared by skrub. Where labels of two classes
    are still missing, there is nothing to learn from: the batch then covers the pool
    (:func:`~modal_balance.herding_query` on the prepared columns), and a warning says so.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table. It is not changed.
    target : str
        Column of the labels, numbers or words. 1 and 1.0 are one class.
    n : int, default=20
        Rows to choose, at least 1; fewer where the pool has fewer.
    id_column : str or None, default=None
        Column that names the rows. It is not learned from.
    model : str or estimator, default="mcdropout"
        "mcdropout", "ensemble", "forest", "logistic-bootstrap" or "boosting-bootstrap", or any
        classifier that the strategy takes; it gets the prepared columns.
    strategy : str or callable, default="balance-margin"
        Name of a strategy of this package without "_query", such as "margin" or "power-bald", or
        a function with modAL's signature.
    pending : DataFrame, array-like or None, default=None
        Rows that are out with annotators: a frame as this function returns it, or their positions
        (with ``id_column``, their ids). They are not chosen again, and what their labels will tell
        is not asked for twice.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random.
    verbose : int, default=0
        1 or more shows progress bars.

    Returns
    -------
    DataFrame
        A row for each row chosen, in the order of choice, with the index labels of ``frame``:
        "position", counted from 0; the id; the target, empty, to be filled in; "likeliest",
        "probability", "second" and "second_probability", the model's two likeliest classes; and
        "gain", what the strategy returns: for "balance-margin" what each row adds to the objective,
        or one minus its margin. Its ``attrs`` say in "reason" why no model chose the batch,
        or "" where it is not. It
        has no rows where the pool is empty.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the table has no such column, no column to learn
        from, or a target that looks like numbers or names and not like classes.

    Warns
    -----
    UserWarning
        If labels of two classes are still missing, so that no model chose the batch.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from modal_balance.table import next_rows
    >>> rng = np.random.default_rng(0)
    >>> size = rng.normal(size=60)
    >>> frame = pd.DataFrame({"size": size, "colour": rng.choice(["red", "blue"], 60)})
    >>> frame["kind"] = np.where(size > 0, "large", "small")
    >>> frame.loc[10:, "kind"] = None
    >>> rows = next_rows(frame, "kind", n=3, random_state=0)
    >>> list(rows.columns)[:3], len(rows)
    (['position', 'kind', 'likeliest'], 3)
    """
    n = check_integer(n, "n")
    rng = as_random_state(random_state)
    choose = strategy_by_name(strategy)
    estimator = model_by_name(model, rng)
    table = LabelledTable.of(frame, target, id_column)
    _check_names(table)
    columns = table.columns
    out = _pending_positions(table, pending)
    pool = np.setdiff1d(table.unlabelled, out)
    n = min(n, len(pool))
    if n == 0:
        return _as_frame(table, Batch(pool, np.zeros(0), []), "")
    reason = _why_no_model(table.counts)
    features = prepare(columns, rng)
    if reason:
        warnings.warn(reason, UserWarning, stacklevel=2)
        known = features[np.union1d(table.labelled, out)]
        picks, gains = diverse_batch(features[pool], n, known=known, random_state=rng)
        return _as_frame(table, Batch(pool[picks], gains, []), reason)
    fit_quietly(estimator, features[table.labelled], table.labels_of(table.labelled))
    picks, gains = _query(
        choose,
        estimator,
        features[pool],
        n,
        X_pending=features[out] if len(out) else None,
        X_labelled=features[table.labelled],
        random_state=rng,
        verbose=verbose,
    )
    guesses = _two_likeliest(estimator, features[pool[picks]], table.spelling)
    return _as_frame(table, Batch(pool[picks], gains, guesses), "")


def _why_no_model(counts: dict[str, int]) -> str:
    """Return why there is nothing to learn from, or nothing."""
    if len(counts) >= 2:
        return ""
    if not counts:
        have = "There are no labels yet"
    else:
        ((name, count),) = counts.items()
        have = f"All labels so far ({count}) are of one class, {name!r}"
    return (
        f"{have}, so there is nothing for a model to tell apart. The rows are those that "
        "cover most of the table (herding), by its columns."
    )


def _pending_positions(table: LabelledTable, pending: Any) -> NDArray[np.intp]:
    """Return the sorted positions of the unlabelled rows that are out with annotators."""
    if pending is None:
        return np.zeros(0, dtype=np.intp)
    positions, names = positions_in(table, pending, "the pending rows")
    lost = [name for name, at in zip(names, positions, strict=True) if at is None]
    if lost:
        more = f", and {len(lost) - 1} more pending rows are not" if len(lost) > 1 else ""
        raise ValueError(f"A pending row is not in the table: {lost[0]}{more}.")
    found = np.array([at for at in positions if at is not None], dtype=np.intp)
    return np.intersect1d(found, table.unlabelled)  # what has come back is no longer out


def _query(
    choose: Any, estimator: Any, X_pool: NDArray[np.float32], n: int, **options: Any
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return what the strategy chooses: positions in the pool, and gains."""
    parameters = inspect.signature(choose).parameters
    if "tau" in parameters:
        try:
            unknown = validation_error(estimator) is None
        except TypeError:
            unknown = False  # the strategy says what is wrong with the estimator
        if unknown:  # no label could be held out: a guess, as MCDropoutClassifier's
            options["tau"] = parameters["anneal"].default * smoothed_error(0, 0)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = {name: value for name, value in options.items() if takes_any or name in parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomSelectionWarning)
        result = choose(estimator, X_pool, n, **taken)
    indices, gains = result if isinstance(result, tuple) else (result, np.full(n, np.nan))
    return np.asarray(indices, dtype=np.intp), np.asarray(gains, dtype=np.float64)


def _two_likeliest(
    estimator: Any, X: NDArray[np.float32], spelling: dict[str, Any]
) -> list[tuple[Any, float, Any, float]]:
    proba = np.asarray(estimator.predict_proba(X), dtype=np.float64)  # (n, C)
    order = np.argsort(-proba, axis=1, kind="stable")[:, :2]  # (n, 2)
    names = [spelling[str(name)] for name in estimator.classes_]
    return [
        (names[i], float(row[i]), names[j], float(row[j]))
        for row, (i, j) in zip(proba, order, strict=True)
    ]


def _check_names(table: LabelledTable) -> None:
    ours = (POSITION, *GUESSES)
    for role, name in (("target", table.target), ("id", table.id_column)):
        if name in ours:
            raise ValueError(
                f"The {role} column cannot be called {name!r}, which is a column of the result. "
                "Rename it."
            )


def _as_frame(table: LabelledTable, batch: Batch, reason: str) -> Any:
    import pandas as pd

    columns: dict[str, Sequence[Any] | NDArray[Any]] = {POSITION: batch.positions}
    if table.id_column is not None:
        columns[table.id_column] = table.frame[table.id_column].iloc[batch.positions].tolist()
    n = len(batch.positions)
    columns[table.target] = pd.array([None] * n, dtype=object)
    guesses = batch.guesses or [(None, np.nan, None, np.nan)] * n
    for name, values in zip(GUESSES[:-1], zip(*guesses, strict=True), strict=False):
        columns[name] = list(values)
    columns[GUESSES[-1]] = batch.gains
    rows = pd.DataFrame(columns, index=table.frame.index[batch.positions])
    rows.attrs["reason"] = reason
    return rows
