"""Choose diverse low-margin points.

S: hypotheses    N: points of the pool    M: pending points    C: classes
"""

from __future__ import annotations

from typing import Any

import torch

from .._utils.arguments import RandomState
from ..acquisition.greedy import TieOrder
from ..acquisition.low_margin import diverse_low_margin
from ..acquisition.predictions import alone
from ..acquisition.uncertainty import margin_scores
from .pool import held_or_sharded
from .query import Callback, Query


def clustered_margin_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose diverse low-margin points, one from each cluster of similar predictions.

    The points with the lowest margins are often near-copies of each other. This strategy takes
    five times as many low-margin points as are asked for, clusters them by the predictions of the
    hypotheses, and chooses the least certain point of each cluster. With ``n_instances=1`` it is
    :func:`~modal_balance.margin_query`.

    Takes any fitted classifier with ``predict_proba``. One that has no hypotheses counts as a
    single hypothesis.

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    n_samples : int, default=100
        Number of hypotheses to draw, at least 1.
    memory_limit : int, str or None, default=None
        Memory that predictions may take, for example "4GB". None: half of what is free.
    X_pending : like X_pool, optional
        Points awaiting labels, not in ``X_pool``. The batch takes them into account.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, the lowest margins first.
    scores : ndarray of shape (n_instances,), float64
        One minus the margin between the two most probable classes.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If all points have the same margin.

    References
    ----------
    Zhdanov, *Diverse mini-batch Active Learning*, 2019, arXiv 1901.05954: clusters points by
    their inputs.

    Citovsky, DeSalvo, Gentile, Karydas, Rajagopalan, Rostamizadeh, Kumar, *Batch Active Learning
    at Scale*, NeurIPS 2021: clusters them by the features of a network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, clustered_margin_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = clustered_margin_query(clf, X, n_instances=3, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="predictions",
        n_samples=n_samples,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    return query_low_margins(query)


def query_low_margins(query: Query) -> Any:
    """Return the result of a query for diverse low-margin points.

    Its report says that the objective chose none of them, if the strategy has one.
    """
    hypotheses = query.draw()
    proba = query.predict(hypotheses, query.X_pool)  # (S, N, C), or (S, 1, C) of a large pool
    pending = None if query.X_pending is None else query.predict(hypotheses, query.X_pending)
    order = TieOrder(query.n_points, random_state=query.random_state)
    with held_or_sharded(query, hypotheses, alone, proba) as pool:
        points = diverse_low_margin(
            pool, query.n_instances, [], order, pending=pending, random_state=query.random_state
        )
        scores = margin_scores(pool.rows(points))
    has_objective = query.radius is not None
    from_objective = torch.zeros(len(points), dtype=torch.bool) if has_objective else None
    return query.result(torch.tensor(points), scores, from_objective=from_objective)
