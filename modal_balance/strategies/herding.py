"""Strategies that cover the pool: MaxHerding and uncertainty herding.

N: points of the pool    M: reference points    D: features    C: classes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import RandomState, check_positive
from ..acquisition.herding import herding_batch
from ..acquisition.temperature import tempered
from ..acquisition.uncertainty import margin_scores
from .coordinates import pool_input_features
from .held_out import held_out_temperature
from .pool import pool_features
from .query import Callback, Query, kept_labels, labelled_rows, random_positions

Space = Literal["inputs", "last_layer"]
SPACES = get_args(Space)
# Number of points that represent a larger pool, whose distances would take too much memory.
REFERENCE_POINTS = 5_000
# Number of points from which the median distance is computed.
MEDIAN_POINTS = 1_000
# Kernel width as a multiple of the median distance; chosen in docs/studies/coverage.
RADIUS = 1.4
SAME = 1e-5  # distance of points that differ by rounding only, as a share of the coordinates


def herding_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    X_labelled: Any = None,
    space: Space = "inputs",
    radius: float | None = None,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the batch that covers most of the pool (MaxHerding).

    Use it with few or no labels: it works before the first fit, and without a learner. It chooses
    the points that are most similar (by a Gaussian kernel) to those that no labelled, pending or
    chosen point covers yet. It uses no predictions.

    In a pool of more than 5,000 points, coverage is measured on 5,000 random points.

    The page :doc:`/common_parameters` describes the shared parameters in full.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, estimator or None
        The learner to query for, fitted or not, or None. Unfitted steps of its pipeline are fitted
        on the pool, in a copy. Of a committee, the first member is used.
    X_pool : array-like, DataFrame, CSR matrix, path of a file or other data of N rows
        The unlabelled pool; it may be larger than memory.
    n_instances : int, default=1
        Number of points to choose, at most N.
    X_labelled : like X_pool, optional
        The labelled points. Default: the learner's ``X_training``, and of a committee that of the
        member with the most; a plain estimator keeps none, which is warned about.
    space : {"inputs", "last_layer"}, default="inputs"
        Where distances are measured. "inputs": on the input of the learner's classifier, after
        the other steps of its pipeline, with columns standardised by the pool. "last_layer": on
        the input of the output layer of a fitted network.
    radius : float or None, default=None
        Width of the kernel ``exp(-(d / width) ** 2)`` of the distance d, as a multiple of the
        median distance between points of the pool. None: 1.4.
    memory_limit : int, str or None, default=None
        Memory that the inputs may take, for example "4GB". None: half of what is free.
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
        Coverage that each point adds, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    References
    ----------
    Bae, Noh, Sutherland, *Generalized Coverage for More Robust Low-Budget Active Learning*, ECCV
    2024: objective and greedy selection, on normalised features of a self-supervised network and
    with width 1. The inputs as features and the width relative to the median are ours.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import herding_query
    >>> X, y = load_iris(return_X_y=True)
    >>> indices, gains = herding_query(None, X, n_instances=3, random_state=0)
    >>> sorted(y[indices].tolist())
    [0, 1, 2]
    """
    _check_space(space)
    radius = RADIUS if radius is None else check_positive(radius, "radius")
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="fit" if space == "last_layer" else "inputs",
        X_labelled=labelled_rows(learner, X_labelled),
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    return query_by_herding(query, query.X_labelled, space, radius)


def query_by_herding(
    query: Query, labelled: Any = None, space: Space = "inputs", radius: float = RADIUS
) -> Any:
    """Return the batch that covers most of the pool of a query.

    ``labelled`` are checked rows that cover points from the start. For ``space``, ``radius`` and
    the result, see :func:`herding_query`.
    """
    features, of_rows = _features(query, space)  # (N, D)
    width = radius * _median_distance(features, query.random_state)
    reference = _reference(query)
    return query.result(
        *herding_batch(
            features,
            query.n_instances,
            radius=width,
            reference=None if reference is None else features[reference],
            covered_by=_covered_by(of_rows, labelled, query.X_pending),
            random_state=query.random_state,
        ),
        covers_pool=True,
    )


def uncertainty_herding_query(
    learner: Any,
    X_pool: Any,
    n_instances: int = 1,
    *,
    X_labelled: Any = None,
    y_labelled: Any = None,
    n_samples: int = 100,
    space: Space = "inputs",
    radius: float | None = None,
    temperature: float | None = None,
    memory_limit: int | str | None = None,
    X_pending: Any = None,
    random_state: RandomState = None,
    verbose: int = 0,
    callback: Callback | None = None,
) -> Any:
    """Choose the batch that covers most of the uncertain points (uncertainty herding).

    Like :func:`herding_query`, but uncertain points count more: the weight of a point is one minus
    its margin, after the predictions are calibrated by a temperature. The kernel narrows as labels
    come in: its width is the smallest distance between two labelled points. With few labels the
    batch is close to that of herding, with many to that of margin selection.

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
    X_labelled : like X_pool, optional
        The labelled points. Default: the learner's ``X_training``, and of a committee that of the
        member with the most; a plain estimator keeps none, which is warned about.
    y_labelled : array-like, optional
        Their labels. Default: the learner's ``y_training``.
    n_samples : int, default=100
        Number of hypotheses to draw, at least 1.
    space : {"inputs", "last_layer"}, default="inputs"
        Where distances are measured. "inputs": on the input of the learner's classifier, after
        the other steps of its pipeline, with columns standardised by the pool. "last_layer": on
        the input of the output layer of a fitted network.
    radius : float or None, default=None
        Width of the kernel, as in :func:`herding_query`. None: the width is the smallest distance
        between two different labelled points or, if there are none, 1.4 times the median distance.
    temperature : float or None, default=None
        Temperature of the predictions, above 0; 1 does not change them. None: a copy of the
        estimator is fitted on four fifths of the labelled points, and the temperature is the one
        with the smallest expected calibration error on the others. It is 1 for committees and
        estimators without ``predict_proba``, and if the copy raises a ValueError because the labels
        are too few.
    memory_limit : int, str or None, default=None
        Memory that the inputs may take, for example "4GB". None: half of what is free.
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
        Weighted coverage that each point adds.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; raised before any expensive work.

    References
    ----------
    Bae, Oliveira, Sutherland, *Uncertainty Herding: One Active Learning Method for All Label
    Budgets*, ICLR 2025: the objective, the temperature and the width. The inputs as features and
    the mean over hypotheses are ours.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, uncertainty_herding_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> indices, gains = uncertainty_herding_query(
    ...     clf, X, n_instances=3, X_labelled=X[::5], y_labelled=y[::5], random_state=0
    ... )
    >>> indices.shape, gains.shape
    ((3,), (3,))
    """
    _check_space(space)
    if radius is not None:
        radius = check_positive(radius, "radius")
    if temperature is not None:
        temperature = check_positive(temperature, "temperature")
    query = Query.of(
        learner,
        X_pool,
        n_instances,
        needs="predictions",
        n_samples=n_samples,
        X_labelled=labelled_rows(learner, X_labelled),
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    labelled = query.X_labelled
    if y_labelled is None:
        _, y_labelled = kept_labels(learner)
    if temperature is None:
        temperature = held_out_temperature(query, labelled, y_labelled)
    features, of_rows = _features(query, space)  # (N, D)
    width = None
    if radius is None and labelled is not None:
        width = _smallest_distance(of_rows(labelled))
    if width is None:
        share = RADIUS if radius is None else radius
        width = share * _median_distance(features, query.random_state)
    reference = _reference(query)
    proba = _mean_prediction(query, reference)  # (M, C)
    return query.result(
        *herding_batch(
            features,
            query.n_instances,
            radius=width,
            reference=None if reference is None else features[reference],
            weights=margin_scores(tempered(proba, temperature)[None]),  # (M,)
            covered_by=_covered_by(of_rows, labelled, query.X_pending),
            random_state=query.random_state,
        )
    )


def _check_space(space: Space) -> None:
    if space not in SPACES:
        raise ValueError(f"space must be one of {SPACES}, got {space!r}.")


def _features(query: Query, space: Space) -> tuple[Tensor, Callable[[Any], Tensor]]:
    """Return the coordinates (N, D) of the pool, and the function for those of other rows."""
    if space == "inputs":
        return pool_input_features(query)
    return pool_features(query)[0], lambda X: query.features(X)[0]


def _covered_by(of_rows: Callable[[Any], Tensor], *known: Any) -> Tensor | None:
    """Return the coordinates of all labelled and pending rows."""
    parts = [of_rows(X) for X in known if X is not None]
    return torch.cat(parts) if parts else None


def _reference(query: Query) -> Tensor | None:
    """Return the positions (M,) of points that represent a large pool, or None for all points."""
    if query.n_points <= REFERENCE_POINTS:
        return None
    return torch.from_numpy(random_positions(query.n_points, REFERENCE_POINTS, query.random_state))


def _median_distance(features: Tensor, random_state: np.random.RandomState) -> float:
    """Return the median non-zero distance among up to 1,000 points, or 1 if there is none."""
    if len(features) > MEDIAN_POINTS:
        features = features[random_positions(len(features), MEDIAN_POINTS, random_state)]
    distances = torch.pdist(features.double())
    distances = distances[distances > 0]
    return distances.median().item() if len(distances) else 1.0


def _smallest_distance(features: Tensor) -> float | None:
    """Return the smallest distance between different points, or None if there is none."""
    distances = torch.pdist(features.double())
    distances = distances[distances > SAME * features.abs().max()]
    return distances.min().item() if len(distances) else None


def _mean_prediction(query: Query, reference: Tensor | None) -> Tensor:
    """Return the mean prediction on the reference points, (M, C)."""
    hypotheses = query.draw()
    if query.source is not None and reference is not None:
        numbers = reference.numpy()
        with query.names_rows(numbers):
            return query.predict(hypotheses, query.source.rows(numbers)).mean(0)
    proba = query.predict(hypotheses, query.X_pool).mean(0)  # (N, C)
    return proba if reference is None else proba[reference]
