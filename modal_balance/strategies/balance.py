"""The paper's strategies: BALanCe and Batch-BALanCe."""

from __future__ import annotations

from typing import Any

from .._utils.arguments import RandomState, check_integer
from ..acquisition.balance import iter_balance_batch
from ..acquisition.greedy import as_tensors
from .edges import Pairing, check_pairing, edges_of, pool_of, predict_samples
from .query import Callback, Query, Radius


def balance_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    pairing: Pairing = "auto",
    max_edges: int | None = None,
    tau: float | None = None,
    anneal: float = 0.25,
    X_val: Any = None,
    y_val: Any = None,
    X_reference: Any = None,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the points to label by BALanCe (one point) or Batch-BALanCe (a batch).

    Hypotheses are drawn from the learner's posterior, or are the members of an ensemble or a
    committee. Two hypotheses that predict differently on more than a share tau of the reference
    pool lie in different equivalence classes, and the pair is an edge (Eq. 2). For a single point,
    the one with the largest score is chosen (Eq. 3, Algorithm 1). A batch is chosen greedily by the
    joint objective (Eq. 4, Algorithm 2). A closed form gives the exact value of the sum that the
    paper estimates.

    If hypotheses make hard 0/1 predictions, the chosen points may cut every edge before the batch
    is full. The edge weights are then reset, and selection continues among the other points.

    In our comparisons, :func:`~modal_balance.balance_margin_query` chose better batches.

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
        Number of hypotheses to draw, at least 2.
    pairing : {"auto", "disjoint", "ring", "all", "partition"}, default="auto"
        Which hypotheses to compare.
    max_edges : int or None, default=None
        Largest number of edges. None: no limit.
    tau : float in [0, 1] or None, default=None
        Radius of an equivalence class. None: ``anneal`` times the validation error.
    anneal : float, default=0.25
        Ratio of tau to the validation error, >= 0.
    X_val, y_val : like X_pool with M rows, and array-like of shape (M,), optional
        Validation data from which tau is computed.
    X_reference : like X_pool, optional
        Points on which hypotheses are compared. Default: the pool, or 10,000 rows of it.
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
        Positions of the chosen rows in the pool, in the order of choice.
    gains : ndarray of shape (n_instances,), float64
        Gain of each point: what it adds to the objective.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If points were chosen at random: all of them if no pair is further apart than tau, some of
        them if no other point cuts an edge.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via
    Equivalence Class Annealing*, ICLR 2023, Eq. 2-4, Algorithms 1 and 2, appendix B.3.

    Gonzalez, *Clustering to minimize the maximum intercluster distance*, 1985: the traversal of
    ``pairing="partition"``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, gains = balance_query(clf, X, n_instances=3, tau=0.01, random_state=0)
    >>> indices.shape, gains.shape
    ((3,), (3,))
    """
    max_edges = None if max_edges is None else check_integer(max_edges, "max_edges", 1)
    check_pairing(pairing)
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="hypotheses",
        n_samples=n_samples,
        min_samples=2,
        radius=Radius(tau, anneal, X_val, y_val),
        X_reference=X_reference,
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    predictions = predict_samples(query)
    edges = edges_of(predictions, pairing, max_edges, query.random_state)
    with pool_of(query, predictions, edges) as pool:
        picks = iter_balance_batch(
            pool,
            edges.ends,
            edges.weights,
            query.n_instances,
            pending=predictions.pending,
            random_state=query.random_state,
        )
        indices, gains = as_tensors(query.with_progress(picks))
    return query.result(
        indices,
        gains,
        tau=predictions.tau,
        n_pairs=edges.n_pairs,
        n_edges=len(edges.ends),
        from_objective=gains > 0,
    )
