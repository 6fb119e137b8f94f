"""Choose the rows of a table to label next."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.arguments import RandomState, as_random_state, check_integer
from .._utils.user_warnings import warn_user
from ..estimators.training import smoothed_error
from ..exceptions import RandomSelectionWarning
from ..hypotheses.validation import validation_error
from ..simulation.loop import Learner, ask
from ..strategies import balance_query, herding_query, power_balance_query, random_query
from ..strategies.query import QueryReport
from .answers import join_answers
from .choices import fit_quietly, model_by_name, strategy_by_name
from .labelled import LabelledTable
from .preparation import prepare
from .values import cell_text

MEMORY_LIMIT = "500MB"  # for the predictions that a strategy caches
# Columns of the result after the position, the id and the empty target.
GUESSES = ("likeliest", "probability", "second", "second_probability", "doubt", "why")


def next_rows(
    frame: Any,
    target: str,
    n: int = 20,
    *,
    answers: Sequence[Any] = (),
    id_column: str | None = None,
    unsure: str | None = "?",
    model: Any = "network-and-trees",
    strategy: Any = "balance-margin",
    pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose the rows of a table whose labels would teach a model most.

    The pool is the rows without a label in the table or in the answers. Columns of numbers,
    categories, dates and free text, with or without gaps, are prepared by skrub. With labels of
    fewer than two classes no model can be fitted: the batch then covers the pool
    (:func:`~modal_balance.herding_query` on the prepared columns), with a warning.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table, as text or as values. It is not changed.
    target : str
        Column of the labels, numbers or words. 1 and 1.0 are the same class.
    n : int, default=20
        Rows to choose, at least 1. A smaller pool is returned whole.
    answers : sequence of DataFrame, default=()
        Labels that are not in the table, as :func:`~modal_balance.table.merge_answers` takes them.
    id_column : str or None, default=None
        Column that identifies the rows. It is not used for learning.
    unsure : str or None, default="?"
        Answer for "I do not know". Its row is not chosen again.
    model : str or estimator, default="network-and-trees"
        "network-and-trees" (the mean of "mcdropout" and extremely randomised trees), "mcdropout"
        (:class:`~modal_balance.MCDropoutClassifier`), "ensemble" (ten such networks), "forest",
        "logistic-bootstrap" or "boosting-bootstrap", or any classifier that the strategy takes. It
        is fitted on the prepared columns, with classes numbered from 0 in the order of their
        names.
    strategy : str or callable, default="balance-margin"
        Name of a strategy of this package without "_query", for example "margin" or
        "power-bald", or a function with modAL's signature.
    pending : DataFrame, array-like or None, default=None
        Rows whose labels are pending: a frame that this function returned, or their positions
        (with ``id_column``, their ids). They are not chosen again, and the batch takes them into
        account.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random.
    verbose : int, default=0
        1 or more shows progress bars.

    Returns
    -------
    DataFrame
        The chosen rows, in the order of choice, with the index labels of ``frame``. Columns:
        "position", counted from 0; the id; the empty target, to be filled in; "likeliest",
        "probability", "second" and "second_probability", the two most probable classes;
        "doubt", from 0 (the model is certain) to 100 (these two are equally probable); and
        "why", in words. If the table has a column "position", the first column is called
        "position (2)". ``attrs["reason"]`` says why no model chose the batch; it is "" if one
        did. If the pool is empty, there are no rows.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, or the table lacks a column, has no column to learn from, or
        has a target that looks like numbers or names and not like classes.

    Warns
    -----
    UserWarning
        If there are labels of fewer than two classes, so that no model chose the batch, or if
        cells of a column do not have the type of the others.

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
    table = join_answers(LabelledTable.of(frame, target, id_column, unsure=unsure), answers)
    return choose_rows(
        table,
        n,
        model=model,
        strategy=strategy,
        pending=() if pending is None else table.pending_at(pending, "the pending rows"),
        random_state=random_state,
        verbose=verbose,
    )


def choose_rows(
    table: LabelledTable,
    n: int,
    *,
    model: Any,
    strategy: Any,
    pending: Any = (),
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose rows of a checked table, except those at the positions ``pending``."""
    n = check_integer(n, "n")
    rng = as_random_state(random_state)
    choose = strategy_by_name(strategy)
    estimator = model_by_name(model, rng)
    for role, name in (("target", table.target), ("id", table.id_column)):
        if name in GUESSES:
            raise ValueError(
                f"The {role} column cannot be called {name!r}, which is a column of the result. "
                "Rename it."
            )
    columns = table.columns
    # Rows that have a label by now are no longer pending.
    pending = np.intersect1d(np.array(pending, dtype=np.intp), table.unlabelled)
    pool = np.setdiff1d(table.unlabelled, pending)
    n = min(n, len(pool))
    if n == 0:
        return _as_frame(table, pool, [], "")
    features = prepare(columns, rng, table.row)
    if len(table.counts) < 2:
        have = "There are no labels yet"
        for name, count in table.counts.items():
            have = f"All labels so far ({count}) are of one class, {name!r}"
        reason = (
            f"{have}, so no model can be fitted. The rows are those that cover most of the table "
            "(herding), by its columns."
        )
        warn_user(reason, UserWarning)
        known = features[np.union1d(table.labelled, pending)]
        picks, _ = herding_query(None, features[pool], n, X_labelled=known, random_state=rng)
        return _as_frame(table, pool[picks], [], reason)
    X_labelled, X_pending, X_pool = (features[at] for at in (table.labelled, pending, pool))
    y_labelled = table.codes_of(table.labelled)
    fit_quietly(estimator, X_labelled, y_labelled, features)
    del features  # avoid a second copy of a large table
    reports: list[QueryReport] = []
    picks = _query(
        choose,
        Learner(estimator, X_labelled, y_labelled),
        X_pool,
        n,
        X_pending=X_pending if len(pending) else None,
        memory_limit=MEMORY_LIMIT,
        random_state=rng,
        verbose=verbose,
        callback=reports.append,
    )
    proba = np.asarray(estimator.predict_proba(X_pool[picks]), dtype=np.float64)  # (n, C)
    names = [table.spelling[name] for name in table.counts]
    splits, without_model = _reasons(getattr(choose, "func", choose), reports, n)
    return _as_frame(table, pool[picks], _guesses(proba, names, splits, without_model), "")


def _query(
    choose: Any, learner: Learner, X_pool: NDArray[np.float32], n: int, **options: Any
) -> NDArray[np.intp]:
    """Return the positions in the pool that the strategy chooses."""
    parameters = inspect.signature(choose).parameters
    if "tau" in parameters:
        try:
            unknown = validation_error(learner.estimator) is None
        except TypeError:
            unknown = False  # the strategy raises an error about the estimator
        if unknown:  # no label could be held out: guess the error as MCDropoutClassifier does
            options["tau"] = parameters["anneal"].default * smoothed_error(0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomSelectionWarning)
        return ask(choose, learner, X_pool, n, options)


def _reasons(
    strategy: Any, reports: Sequence[QueryReport], n: int
) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which rows rule out models, and why others were chosen, if not by the model."""
    chosen_by = reports[0].from_objective if reports else None
    splits = np.zeros(n, dtype=bool) if chosen_by is None else chosen_by
    if strategy is random_query:
        return splits, ["drawn at random"] * n
    if reports and reports[0].covers_pool:
        return splits, ["similar to many rows, but not to those with a label"] * n
    # These draw at random if there are no edges, or none that a point of the pool cuts.
    why = "drawn at random: no row is left that tells models apart"
    if strategy is balance_query:
        return splits, ["" if split else why for split in splits]
    no_edges = bool(reports) and reports[0].n_edges == 0
    return splits, [why if strategy is power_balance_query and no_edges else ""] * n


def _guesses(
    proba: NDArray[np.float64],
    names: list[Any],
    splits: NDArray[np.bool_],
    without_model: Sequence[str],
) -> list[tuple[Any, ...]]:
    """Return the columns GUESSES of each row, from its class probabilities (n, C).

    ``without_model`` says why a row was chosen, if not by the model.
    """
    order = np.argsort(-proba, axis=1, kind="stable")[:, :2]  # (n, 2)
    guesses = []
    for row, (i, j), split, reason in zip(proba, order, splits, without_model, strict=True):
        doubt = round(100 * (1 - float(row[i] - row[j])))
        one, other = cell_text(names[i]), cell_text(names[j])
        if reason:
            why = reason
        elif split:
            why = f"its label rules out most models: {one} or {other}"
        elif doubt >= 80:
            why = f"torn between {one} and {other}"
        elif doubt >= 40:
            why = f"rather {one}, but maybe {other}"
        else:
            why = f"probably {one}"
        guesses.append((names[i], float(row[i]), names[j], float(row[j]), doubt, why))
    return guesses


def _as_frame(
    table: LabelledTable, positions: NDArray[np.intp], guesses: list[tuple[Any, ...]], reason: str
) -> Any:
    import pandas as pd

    columns: dict[str, Any] = {table.rows.column: positions + table.rows.first}
    if table.id_column is not None:
        columns[table.id_column] = table.frame[table.id_column].iloc[positions].tolist()
    n = len(positions)
    columns[table.target] = pd.array([None] * n, dtype=object)
    guesses = guesses or [(None, np.nan, None, np.nan, np.nan, None)] * n
    columns |= {name: [guess[i] for guess in guesses] for i, name in enumerate(GUESSES)}
    rows = pd.DataFrame(columns, index=table.frame.index[positions])
    rows.attrs["reason"] = reason
    return rows
