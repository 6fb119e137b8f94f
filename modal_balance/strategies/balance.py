"""BALanCe and Batch-BALanCe, the paper's strategies."""

from __future__ import annotations

from typing import Any

from .._utils.arguments import RandomState, check_integer
from ..acquisition.balance import iter_balance_batch
from ..acquisition.greedy import as_tensors
from .edges import Pairing, check_pairing, edges_of, pool_of, predict_samples, with_progress
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
    committee, and compared on the reference pool. Pairs that differ on more than a share tau of
    it lie in different equivalence classes and become edges (Eq. 2). One point is the one with
    the largest score (Eq. 3, Algorithm 1); a batch is chosen greedily by the closed form of the
    joint objective, to its last point (Eq. 4, Algorithm 2). The closed form replaces the paper's
    enumeration and importance samples and gives their exact value.

    Where hypotheses predict hard 0/1 probabilities, a few points can cut every edge exactly. The
    edge weights are then put back, and selection goes on among the other points.

    For batches, :func:`~modal_balance.balance_margin_query` learned more per label in our
    comparisons (see the evidence).

    The estimator's own validation error, where tau is taken from it, is that of the last fit:
    on held-out rows, out of bag for a forest, the mean of the members' errors for a committee.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
        The learner to query for. See :func:`~modal_balance.draw_hypotheses` for the
        estimators whose hypotheses can be drawn.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    n_samples : int, default=100
        Number of hypotheses, at least 2. Of an ensemble or a committee with fewer members,
        all are used.
    pairing : {"auto", "disjoint", "ring", "all", "partition"}, default="auto"
        Which hypotheses to compare. "disjoint": each with one other, as in the paper.
        "ring": each with the next of them. "all": each with every other. "partition": build
        the equivalence classes explicitly, by a farthest-first traversal of the hypotheses with
        radius tau, and compare hypotheses of different classes (appendix B.3). The predictions
        needed are the same; more pairs make the scores vary less and selection slower.
        "auto": disjoint pairs of hypotheses drawn from a posterior; all pairs of hypotheses
        that are the complete set, such as the trees of a forest.
    max_edges : int or None, default=None
        Largest number of edges; of more, a random subset is kept. None: no limit.
    tau : float in [0, 1] or None, default=None
        Radius of an equivalence class: the share of the reference pool on which two
        hypotheses of one class may differ. None: ``anneal`` times the error on ``X_val,
        y_val``, or else ``anneal`` times the estimator's own validation error.
    anneal : float, default=0.25
        Ratio of tau to the validation error, >= 0.
    X_val : like X_pool with M rows, optional
        Labelled validation data, from which tau is computed.
    y_val : array-like of shape (M,), optional
        Labels of ``X_val``.
    X_reference : like X_pool, optional
        Points on which hypotheses are compared. Default: the pool; of a pool of more than
        10,000 rows, a random subset of 10,000.
    memory_limit : int, str or None, default=None
        Memory that the predictions on a pool of more than 10,000 rows may take: bytes, or a
        text such as "4GB"; on a Dask cluster, of each worker. None: half of what is free.
    X_pending : like X_pool, optional
        Points whose labels are pending, left out of ``X_pool``. The batch does not ask again
        for what their labels will tell.
    random_state : int, RandomState, Generator or None, default=None
        Seed of everything random in the query: the hypotheses and the order among equal
        scores. None: NumPy's global state.
    verbose : int, default=0
        1 or more shows progress bars.
    callback : callable or None, default=None
        Called with the :class:`~modal_balance.QueryReport` of the query, for instance a
        list's ``append``.

    Returns
    -------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen rows in the pool, never DataFrame labels; in the order of
        choice.
    gains : ndarray of shape (n_instances,), float64
        What each adds to the objective. Left out for learners of modAL 0.4.1, whose
        strategies return indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    Warns
    -----
    RandomSelectionWarning
        If no pair is further apart than tau, so that the batch is random, or part of it is.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via
    Equivalence Class Annealing*, ICLR 2023, Eq. 2-4, Algorithms 1 and 2, appendix B.3.

    Gonzalez, *Clustering to minimize the maximum intercluster distance*, 1985, the traversal of
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
        indices, gains = as_tensors(with_progress(picks, query))
    return query.result(
        indices,
        gains,
        tau=predictions.tau,
        n_pairs=edges.n_pairs,
        n_edges=len(edges.ends),
        from_objective=gains > 0,
    )
