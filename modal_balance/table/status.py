"""How far the labelling of a table has come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..arguments import RandomState, as_random_state
from ..estimators.labels import stratified_folds
from ..stopping import PredictionsStable
from .choices import fit_quietly, model_by_name
from .labelled import LabelledTable, positions_in
from .preparation import prepare

__all__ = ["Accuracy", "TableStatus", "table_status"]

N_FOLDS = 5
# Rows, at most, on which predictions are compared between rounds.
N_STOP = 2000


@dataclass(frozen=True)
class Accuracy:
    """Cross-validated accuracy on the labelled rows.

    Parameters
    ----------
    n_right, n_tested : int
        Rows that models fitted without them predict rightly, and rows predicted: those of classes
        with two labels or more.
    value : float
        Their ratio.
    low, high : float
        Its 95 % confidence interval (Wilson's).
    most_frequent : float
        What predicting the most frequent class always would reach on these rows.

    Examples
    --------
    >>> from modal_balance.table.status import Accuracy
    >>> Accuracy(8, 10, 0.8, 0.49, 0.94, 0.5).value
    0.8
    """

    n_right: int
    n_tested: int
    value: float
    low: float
    high: float
    most_frequent: float


@dataclass(frozen=True)
class TableStatus:
    """How far the labelling of a table has come.

    Parameters
    ----------
    n_rows, n_labelled, n_unlabelled : int
        Rows of the table.
    counts : dict
        Class -> number of its labels.
    accuracy : Accuracy or None
        None: too few labels to say.
    kappas : tuple of float
        For each round named, the agreement (Cohen's kappa) of the predictions before it and after
        it; NaN where that is undefined.
    settled : bool or None
        Whether the last of these is at least the threshold. None: no round was named.
    threshold : float
        Smallest agreement that counts as settled.
    notes : tuple of str
        Why something is not known.

    Examples
    --------
    >>> from modal_balance.table.status import TableStatus
    >>> TableStatus(10, 3, 7, {"a": 3}, None).settled is None
    True
    """

    n_rows: int
    n_labelled: int
    n_unlabelled: int
    counts: dict[str, int]
    accuracy: Accuracy | None
    kappas: tuple[float, ...] = ()
    settled: bool | None = None
    threshold: float = 0.99
    notes: tuple[str, ...] = field(default=())


def table_status(
    frame: Any,
    target: str,
    *,
    id_column: str | None = None,
    model: Any = "mcdropout",
    rounds: Sequence[Any] = (),
    threshold: float = 0.99,
    random_state: RandomState = None,
) -> TableStatus:
    """Return how far the labelling of a table has come.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table.
    target : str
        Column of the labels.
    id_column : str or None, default=None
        Column that names the rows.
    model : str or estimator, default="mcdropout"
        As in :func:`~modal_balance.table.next_rows`.
    rounds : sequence of DataFrame or array-like, default=()
        The answers of the last rounds, the oldest first: frames as
        :func:`~modal_balance.table.merge_answers` takes them, or positions (with ``id_column``,
        ids). Models are fitted without the labels of the last rounds and with them, and compared
        on rows that have no label. Nothing is kept from one call to the next.
    threshold : float in [0, 1], default=0.99
        Smallest agreement of two rounds that counts as settled.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds and the models.

    Returns
    -------
    TableStatus

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Rows chosen for what they teach are harder than others: the accuracy on them is mostly lower
    than that on a random sample.

    References
    ----------
    Bloodgood, Vijay-Shanker, *A method for stopping active learning based on stabilizing
    predictions and the need for user-adjustable stopping*, CoNLL 2009.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.table import table_status
    >>> frame = pd.DataFrame({"size": range(8), "kind": ["a", "a", None, None, "b", "b", "b", ""]})
    >>> status = table_status(frame, "kind", random_state=0)
    >>> status.counts, status.n_unlabelled
    ({'a': 2, 'b': 3}, 3)
    """
    rng = as_random_state(random_state)
    estimator = model_by_name(model, rng)
    table = LabelledTable.of(frame, target, id_column)
    taught = [_taught(table, answers, number) for number, answers in enumerate(rounds, 1)]
    notes: list[str] = []
    accuracy = None
    kappas: tuple[float, ...] = ()
    if len(table.counts) < 2:
        notes.append("Accuracy is not known before there are labels of two classes.")
    else:
        features = prepare(table.columns, rng)
        accuracy = _accuracy(estimator, features, table, rng)
        if accuracy is None:
            notes.append("Accuracy is not known before two classes have two labels.")
        if taught:
            kappas, note = _kappas(estimator, features, table, taught, threshold, rng)
            notes.extend(note)
    if not taught:
        notes.append(
            "Whether predictions have settled is not known: name the answers of the last round."
        )
    settled = bool(kappas[-1] >= threshold) if kappas else None
    return TableStatus(
        n_rows=len(table.frame),
        n_labelled=len(table.labelled),
        n_unlabelled=len(table.unlabelled),
        counts={str(table.spelling[name]): count for name, count in table.counts.items()},
        accuracy=accuracy,
        kappas=kappas,
        settled=settled,
        threshold=threshold,
        notes=tuple(notes),
    )


def _accuracy(
    estimator: Any, features: NDArray[np.float32], table: LabelledTable, rng: np.random.RandomState
) -> Accuracy | None:
    X, y = features[table.labelled], table.labels_of(table.labelled)
    _, codes = np.unique(y, return_inverse=True)
    tested = np.flatnonzero(np.bincount(codes)[codes] >= 2)
    if len(np.unique(codes[tested])) < 2:
        return None
    n_right = 0
    for fold in stratified_folds(codes, N_FOLDS, rng):
        others = np.setdiff1d(np.arange(len(y)), fold)
        fitted = fit_quietly(estimator, X[others], y[others])
        n_right += int(np.sum(fitted.predict(X[fold]) == y[fold]))
    low, high = binomtest(n_right, len(tested)).proportion_ci(method="wilson")
    return Accuracy(
        n_right=n_right,
        n_tested=len(tested),
        value=n_right / len(tested),
        low=float(low),
        high=float(high),
        most_frequent=float(np.bincount(codes[tested]).max() / len(tested)),
    )


def _taught(table: LabelledTable, answers: Any, number: int) -> NDArray[np.intp]:
    """Return the labelled rows among those that a round has asked for."""
    positions, _ = positions_in(table, answers, "the answers of a round")
    found = np.array([at for at in positions if at is not None], dtype=np.intp)
    taught = np.intersect1d(found, table.labelled)
    if not len(taught):
        raise ValueError(
            f"No row of round {number} has a label in the table. Merge its answers first."
        )
    return taught


def _kappas(
    estimator: Any,
    features: NDArray[np.float32],
    table: LabelledTable,
    taught: list[NDArray[np.intp]],
    threshold: float,
    rng: np.random.RandomState,
) -> tuple[tuple[float, ...], list[str]]:
    """Return the agreement of predictions before and after each round."""
    stop = table.unlabelled if len(table.unlabelled) else np.arange(len(features))
    if len(stop) > N_STOP:
        stop = np.sort(rng.choice(stop, N_STOP, replace=False))
    until = PredictionsStable(features[stop], threshold=threshold)
    kappas = []
    for number in range(len(taught) + 1):
        later = np.concatenate([np.zeros(0, dtype=np.intp), *taught[number:]])
        rows = np.setdiff1d(table.labelled, later)
        y = table.labels_of(rows)
        if len(np.unique(y)) < 2:
            return (), [
                "Whether predictions have settled is not known: before the rounds named there "
                "were no labels of two classes."
            ]
        until(fit_quietly(estimator, features[rows], y))
        kappas.append(until.kappa_)
    return tuple(kappas[1:]), [] if not any(map(math.isnan, kappas[1:])) else [
        "A round has no agreement, since all rows are predicted alike."
    ]
