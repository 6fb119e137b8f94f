"""Report the progress of labelling a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from .._utils.arguments import RandomState, as_random_state
from ..estimators.labels import stratified_folds
from .answers import join_answers
from .choices import fit_quietly, model_by_name
from .labelled import LabelledTable
from .preparation import prepare
from .values import cell_text

N_FOLDS = 5
# Largest number of rows on which predictions are compared between rounds.
N_STOP = 2000
# Number of last rounds whose effect on predictions is measured.
N_ROUNDS = 3


@dataclass(frozen=True)
class Accuracy:
    """Cross-validated accuracy on the labelled rows.

    Parameters
    ----------
    n_right, n_tested : int
        Number of rows predicted correctly by a model fitted without them, and number of rows
        predicted (those of classes with at least two labels).
    value : float
        The accuracy, ``n_right / n_tested``.
    low, high : float
        Its 95 % confidence interval (Wilson's).
    most_frequent : float
        Accuracy of always predicting the most frequent class of these rows.

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
    """Progress of labelling a table.

    Parameters
    ----------
    n_rows, n_labelled, n_unlabelled, n_unsure : int
        Numbers of all rows, labelled rows, rows to label, and rows answered as unsure.
    counts : dict
        Class -> number of its labels.
    accuracy : Accuracy or None
        None: there are too few labels.
    kappas : tuple of float, default=()
        For each of the last three rounds, the agreement (Cohen's kappa) of the predictions before
        and after it; NaN if undefined.
    settled : bool or None, default=None
        Whether there are three of these, all at least the threshold. None: it is unknown; see
        ``notes``.
    threshold : float, default=0.99
        Smallest agreement that counts as settled.
    notes : tuple of str, default=()
        Reasons why a value is unknown.

    Examples
    --------
    >>> from modal_balance.table.status import TableStatus
    >>> TableStatus(10, 3, 7, 0, {"a": 3}, None).settled is None
    True
    """

    n_rows: int
    n_labelled: int
    n_unlabelled: int
    n_unsure: int
    counts: dict[str, int]
    accuracy: Accuracy | None
    kappas: tuple[float, ...] = ()
    settled: bool | None = None
    threshold: float = 0.99
    notes: tuple[str, ...] = ()


def table_status(
    frame: Any,
    target: str,
    *,
    answers: Sequence[Any] = (),
    id_column: str | None = None,
    unsure: str | None = "?",
    model: Any = "network-and-trees",
    threshold: float = 0.99,
    random_state: RandomState = None,
) -> TableStatus:
    """Return the progress of labelling a table.

    Parameters
    ----------
    frame : DataFrame with N rows
        The table.
    target : str
        Column of the labels.
    answers : sequence of DataFrame, default=()
        Answers as :func:`~modal_balance.table.merge_answers` takes them, one frame per round, the
        oldest first, including those that the table already has. Models fitted with and without
        the labels of each of the last three rounds are compared on unlabelled rows. No state is
        kept between calls.
    id_column : str or None, default=None
        Column that identifies the rows.
    unsure : str or None, default="?"
        Answer for "I do not know".
    model : str or estimator, default="network-and-trees"
        As in :func:`~modal_balance.table.next_rows`.
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
        If an argument is invalid.

    Notes
    -----
    Rows chosen by active learning are harder than others, so the accuracy on them is usually lower
    than on a random sample.

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
    table = join_answers(LabelledTable.of(frame, target, id_column, unsure=unsure), answers)
    return status_of(table, model=model, threshold=threshold, random_state=random_state)


def status_of(
    table: LabelledTable,
    *,
    model: Any,
    threshold: float = 0.99,
    random_state: RandomState = None,
) -> TableStatus:
    """Return the progress of labelling a checked table; see :func:`table_status`."""
    rng = as_random_state(random_state)
    estimator = model_by_name(model, rng)
    taught: list[NDArray[np.intp]] = []
    new = table.labelled
    for rows in table.rounds:  # a row counts in the first file that has it
        taught.append(np.intersect1d(rows, new))
        new = np.setdiff1d(new, rows)
    taught = [rows for rows in taught if len(rows)][-N_ROUNDS:]
    notes: list[str] = []
    accuracy = None
    kappas: tuple[float, ...] = ()
    if len(table.counts) < 2:
        notes.append("Accuracy is unknown until there are labels of two classes.")
    else:
        features = prepare(table.columns, rng, table.row)
        accuracy = _accuracy(estimator, features, table, rng)
        if accuracy is None:
            notes.append("Accuracy is unknown until two classes have two labels.")
        if taught:
            kappas, note = _kappas(estimator, features, table, taught, rng)
            notes.extend(note)
    if not taught:
        notes.append(
            "Whether predictions have settled is unknown: name the answers of the last rounds."
        )
    settled = None
    if kappas:
        settled = len(kappas) == N_ROUNDS and all(kappa >= threshold for kappa in kappas)
    return TableStatus(
        n_rows=len(table.frame),
        n_labelled=len(table.labelled),
        n_unlabelled=len(table.unlabelled),
        n_unsure=table.n_unsure,
        counts={
            cell_text(table.spelling[name]).strip(): count for name, count in table.counts.items()
        },
        accuracy=accuracy,
        kappas=kappas,
        settled=settled,
        threshold=threshold,
        notes=tuple(notes),
    )


def _accuracy(
    estimator: Any, features: NDArray[np.float32], table: LabelledTable, rng: np.random.RandomState
) -> Accuracy | None:
    X, codes = features[table.labelled], table.codes_of(table.labelled)
    tested = np.flatnonzero(np.bincount(codes)[codes] >= 2)
    if len(np.unique(codes[tested])) < 2:
        return None
    n_right = 0
    for fold in stratified_folds(codes, N_FOLDS, rng):
        others = np.setdiff1d(np.arange(len(codes)), fold)
        predicted = _predictions(estimator, X[others], codes[others], X[fold], features)
        n_right += int(np.sum(predicted == codes[fold]))
    low, high = binomtest(n_right, len(tested)).proportion_ci(method="wilson")
    return Accuracy(
        n_right=n_right,
        n_tested=len(tested),
        value=n_right / len(tested),
        low=float(low),
        high=float(high),
        most_frequent=float(np.bincount(codes[tested]).max() / len(tested)),
    )


def _kappas(
    estimator: Any,
    features: NDArray[np.float32],
    table: LabelledTable,
    taught: list[NDArray[np.intp]],
    rng: np.random.RandomState,
) -> tuple[tuple[float, ...], list[str]]:
    """Return the agreement of predictions before and after each round, and notes."""
    stop = table.unlabelled if len(table.unlabelled) else np.arange(len(features))
    if len(stop) > N_STOP:
        stop = np.sort(rng.choice(stop, N_STOP, replace=False))
    predictions = []
    for number in range(len(taught) + 1):
        later = np.concatenate([np.zeros(0, dtype=np.intp), *taught[number:]])
        rows = np.setdiff1d(table.labelled, later)
        codes = table.codes_of(rows)
        if len(np.unique(codes)) < 2:  # no model before this round
            continue
        predictions.append(_predictions(estimator, features[rows], codes, features[stop], features))
    kappas = tuple(
        # If all rows get the same prediction, kappa is undefined.
        float(cohen_kappa_score(a, b)) if len(np.union1d(a, b)) > 1 else math.nan
        for a, b in pairwise(predictions)
    )
    if not kappas:
        return (), ["Whether predictions have settled is unknown before a round with a model."]
    if any(map(math.isnan, kappas)):
        return kappas, [
            "The agreement of a round is undefined, because all rows get the same prediction."
        ]
    return kappas, []


def _predictions(
    estimator: Any,
    X: NDArray[np.float32],
    codes: NDArray[np.intp],
    X_new: NDArray[np.float32],
    X_all: NDArray[np.float32],
) -> NDArray[np.intp]:
    """Return predicted classes; the model is fitted on classes numbered from 0 without gaps."""
    classes, y = np.unique(codes, return_inverse=True)
    predicted = fit_quietly(estimator, X, y, X_all).predict(X_new)
    return np.asarray(classes[np.asarray(predicted, dtype=np.intp)])
