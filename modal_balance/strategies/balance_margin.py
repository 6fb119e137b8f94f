"""BALanCe until most of the edge weight is cut, then diverse low-margin points."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from .._utils.arguments import RandomState, check_integer, check_number
from ..acquisition.balance_margin import iter_balance_margin_batch
from .clustered_margin import query_low_margins
from .edges import (
    Pairing,
    check_pairing,
    edges_of,
    pool_of,
    predict_samples,
    with_progress,
)
from .herding import labelled_rows, query_by_herding
from .query import Callback, Query, Radius


def balance_margin_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    n_samples: int = 100,
    cut_share: float = 0.7,
    min_labels_per_class: float | None = 4,
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
    """Choose the points to label by BALanCe first, then by low margins.

    Our own batch rule, not the paper's. The batch begins as that of
    :func:`~modal_balance.balance_query`, until its points have cut a share ``cut_share`` of the
    edge weight, which takes a few points. The remaining points, at least one, are diverse
    low-margin points: of five times as many points of the lowest margins, the least certain of
    each cluster on which the hypotheses predict alike. With ``n_instances=1`` and nothing
    pending, it is :func:`~modal_balance.margin_query`.

    With very few labels, uncertainty is no guide. While one of modAL's learners has fewer than
    four labels for each class seen so far, a batch of several points covers the pool instead, as
    that of :func:`~modal_balance.herding_query`.

    tau and the data that it is computed from matter only where edges do: not for a single
    point, and not with ``cut_share=0``. There the arguments are checked and not used.

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
    cut_share : float in [0, 1], default=0.7
        Share of the edge weight to cut before low-margin points fill the batch. 0: low-margin
        points only, as :func:`~modal_balance.clustered_margin_query`. 1: low-margin points only
        once every edge is cut, except for the last point of the batch.
    min_labels_per_class : float or None, default=4
        Average number of labels for each class seen, from which on predictions choose. With
        fewer, the batch covers the pool. It applies to learners with ``y_training``, such as
        modAL's ActiveLearner, and to numeric inputs whose distances fit into the memory; for
        others, predictions always choose. None: predictions always choose.
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
    scores : ndarray of shape (n_instances,), float64
        What each point chosen by the objective adds to it; for the others, one minus the
        difference of the two largest probabilities. ``QueryReport.from_objective`` tells them
        apart; it is None where the batch covers the pool, and scores are the coverage that each
        point adds. Left out for learners of modAL 0.4.1, whose strategies return indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via
    Equivalence Class Annealing*, ICLR 2023, Eq. 2-4.

    Zhdanov, *Diverse mini-batch Active Learning*, 2019, arXiv 1901.05954, clusters low-margin
    points by their inputs.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_margin_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, scores = balance_margin_query(clf, X, n_instances=3, tau=0.01, random_state=0)
    >>> indices.shape, scores.shape
    ((3,), (3,))
    """
    max_edges = None if max_edges is None else check_integer(max_edges, "max_edges", 1)
    check_pairing(pairing)
    cut_share = check_number(cut_share, "cut_share", 1)
    if min_labels_per_class is not None:
        min_labels_per_class = check_number(min_labels_per_class, "min_labels_per_class")
    has_few_labels = _has_few_labels(learner, min_labels_per_class)
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        # Herding needs no hypotheses.
        needs="fit" if has_few_labels else "hypotheses",
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
    if has_few_labels and query.n_instances > 1:
        with suppress(ValueError):  # of inputs that have no distances, or too many coordinates
            return query_by_herding(query, query.other_rows(labelled_rows(learner), "X_labelled"))
    if query.n_instances == 1 or cut_share == 0:
        return query_low_margins(query)
    predictions = predict_samples(query)
    edges = edges_of(predictions, pairing, max_edges, query.random_state)
    with pool_of(query, predictions, edges) as pool:
        picks = iter_balance_margin_batch(
            pool,
            edges.ends,
            edges.weights,
            query.n_instances,
            cut_share=cut_share,
            pending=predictions.pending,
            random_state=query.random_state,
        )
        indices, scores, from_objective = zip(*with_progress(picks, query), strict=True)
    return query.result(
        torch.tensor(indices),
        torch.tensor(scores, dtype=torch.float64),
        tau=predictions.tau,
        n_pairs=edges.n_pairs,
        n_edges=len(edges.ends),
        from_objective=torch.tensor(from_objective),
    )


def _has_few_labels(learner: Any, min_labels_per_class: float | None) -> bool:
    """Tell whether a learner has fewer labels than so many for each class among them."""
    labels = getattr(learner, "y_training", None)
    if min_labels_per_class is None or labels is None:
        return False
    labels = np.asarray(labels)
    return len(labels) < min_labels_per_class * len(np.unique(labels))
