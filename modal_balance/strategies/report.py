"""The report of a query, for callbacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class QueryReport:
    """How a query went.

    Parameters
    ----------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen points in the pool, in the order of choice. Like the other
        arrays a copy, so that writing into it changes nothing.
    scores : ndarray of shape (n_instances,), float64
        What the strategy returns beside the indices: scores, gains or distances.
    seconds : float
        Duration of the query.
    inference_seconds : float
        Share of it spent on drawing hypotheses and predicting.
    tau : float or None
        Radius of an equivalence class. None, as the two below, where the strategy has no
        equivalence classes.
    n_pairs : int or None
        Number of pairs of hypotheses compared.
    n_edges : int or None
        How many of them lie in different equivalence classes.
    from_objective : ndarray of shape (n_instances,), bool, or None
        Which points were chosen by the BALanCe objective. The others are low-margin points, or
        random ones where nothing was left to cut. None where the strategy has no such objective.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> reports = []
    >>> _ = balance_query(clf, X, 3, tau=0.01, random_state=0, callback=reports.append)
    >>> reports[0].n_pairs
    50
    """

    indices: np.ndarray
    scores: np.ndarray
    seconds: float
    inference_seconds: float
    tau: float | None = None
    n_pairs: int | None = None
    n_edges: int | None = None
    from_objective: np.ndarray | None = None
