"""Random selection, the baseline for all strategies."""

from __future__ import annotations

from typing import Any

import torch

from .._utils.arguments import RandomState
from ..acquisition.top import top_batch
from .query import Callback, Query


def random_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose points at random.

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, estimator or None
        The learner to query for, fitted or not, or None: no predictions are needed.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. They have no effect here.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, in random order.
    scores : ndarray of shape (n_instances,), float64
        Zeros.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, random_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = random_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="inputs",
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    scores = torch.zeros(query.n_points, dtype=torch.float64)
    return query.result(*top_batch(scores, query.n_instances, random_state=query.random_state))
