"""BALanCe until most of the edge weight is cut, then diverse low-margin points."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from .._utils.arguments import RandomState, check_integer, check_number
from .._utils.user_warnings import warn_user
from ..acquisition.balance_margin import iter_balance_margin_batch
from .clustered_margin import query_low_margins
from .coordinates import NoDistances
from .edges import Pairing, check_pairing, edges_of, known_tau, pool_of, predict_samples
from .herding import query_by_herding
from .pool import ExceedsMemory
from .query import Callback, Query, Radius, check_has_classes, kept_labels, labelled_rows


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

    This batch rule is ours, not the paper's. It first picks points as
    :func:`~modal_balance.balance_query` does, until they have cut a share ``cut_share`` of the
    edge weight, which takes a few points. It then fills the batch with at least one low-margin
    point: it takes five times as many low-margin points as are left to choose, clusters them by the
    hypotheses' predictions, and chooses the least certain point of each cluster. With
    ``n_instances=1`` and nothing pending, it is :func:`~modal_balance.margin_query`.

    With very few labels, uncertainty is not informative. While a modAL learner has fewer than
    ``min_labels_per_class`` labels per class, or labels of a single class, a batch of several
    points is chosen to cover the pool, as in :func:`~modal_balance.herding_query`.

    tau has no effect if no edges are needed: for a single point, with ``cut_share=0``, or while
    the batch covers the pool. A batch that covers the pool warns if later batches will need
    hypotheses that this learner does not have, or, once it has labels of two classes, a tau.

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
    cut_share : float in [0, 1], default=0.7
        Share of the edge weight to cut before low-margin points fill the batch. 0: all points
        are low-margin points, as in :func:`~modal_balance.clustered_margin_query`. 1: only the
        last point is a low-margin point, unless every edge is cut earlier.
    min_labels_per_class : float or None, default=4
        The batch covers the pool while the learner has fewer labels per known class than this,
        on average, or labels of a single class. The learner, or a member of a committee, must have
        ``y_training``, as modAL's ActiveLearner does. The rows must be numeric, possibly after the
        learner's pipeline, and fit into memory. None or 0: never cover the pool.
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
    scores : ndarray of shape (n_instances,), float64
        For points chosen by the objective, the gain; for low-margin points, one minus the
        margin. ``QueryReport.from_objective`` tells them apart. If the batch covers the pool
        (``QueryReport.covers_pool``), the score is the coverage that each point adds.

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
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via
    Equivalence Class Annealing*, ICLR 2023, Eq. 2-4.

    Zhdanov, *Diverse mini-batch Active Learning*, 2019, arXiv 1901.05954: clusters low-margin
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
        # Herding needs neither hypotheses nor two classes.
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
        with suppress(NoDistances, ExceedsMemory):
            X_labelled = query.other_rows(labelled_rows(learner), "X_labelled")
            batch = query_by_herding(query, X_labelled)
            _warn_of_later_errors(query, cut_share)
            return batch
    check_has_classes(query.unwrapped)
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
        indices, scores, from_objective = zip(*query.with_progress(picks), strict=True)
    return query.result(
        torch.tensor(indices),
        torch.tensor(scores, dtype=torch.float64),
        tau=predictions.tau,
        n_pairs=edges.n_pairs,
        n_edges=len(edges.ends),
        from_objective=torch.tensor(from_objective),
    )


def _warn_of_later_errors(query: Query, cut_share: float) -> None:
    """Warn if a query that covers the pool will fail once there are enough labels."""
    assert query.radius is not None
    try:
        query.unwrapped.check_has_hypotheses()
        # Until there are labels of two classes, a missing validation error means nothing.
        if cut_share > 0 and _n_classes(kept_labels(query.learner)[1]) > 1:
            known_tau(query.unwrapped, query.radius)
    except (TypeError, ValueError) as error:
        warn_user(
            "This batch covers the pool, but later batches of this learner, with more labels, will "
            f"fail: {error}",
            UserWarning,
        )


def _has_few_labels(learner: Any, min_labels_per_class: float | None) -> bool:
    """Return whether a learner has fewer labels per known class than the minimum, or one class."""
    _, labels = kept_labels(learner)
    if min_labels_per_class is None or labels is None:
        return False
    n_classes = _n_classes(labels)
    has_few = len(labels) < min_labels_per_class * n_classes
    return has_few or (n_classes == 1 and min_labels_per_class > 0)


def _n_classes(labels: Any) -> int:
    return len(np.unique(np.asarray(labels)))
