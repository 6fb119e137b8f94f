"""Random selection, the baseline."""

from __future__ import annotations

from typing import Any

import torch

from ..acquisition.top import top_batch
from ..arguments import RandomState, n_rows
from .query import Query


def random_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Any:
    """Choose points at random.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner or fitted estimator
        See :func:`~modal_balance.balance_query`.
    X_pool : array-like with N rows
        The unlabelled pool.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    random_state : int, RandomState instance or None, default=None
        Decides the batch. With None, NumPy's global state is used.
    verbose : int, default=0
        Without effect: there is nothing to wait for.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions in the pool, in random order.
    scores : ndarray of shape (n_instances,), float64
        Zeros. Left out for learners of modAL 0.4.1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, random_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = random_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape
    (3,)
    """
    query = Query.of(learner, X_pool, n_instances, random_state, verbose)
    scores = torch.zeros(n_rows(query.X_pool), dtype=torch.float64)
    return query.result(*top_batch(scores, query.n_instances, random_state=query.random_state))
