"""Strategies that cover the pool: MaxHerding and uncertainty herding, and their coordinates.

N: points of the pool    n: rows    M: reference points    D: features    C: classes
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import column_or_1d
from skorch.dataset import get_len, unpack_data
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from .._utils.arguments import (
    RandomState,
    check_labels,
    check_positive,
    draw_seed,
    n_rows,
    nan_for_na,
    set_seeds,
)
from .._utils.torch_state import seeded
from ..acquisition.herding import herding_batch
from ..acquisition.temperature import calibrated_temperature, tempered
from ..hypotheses.protocol import SingleHypothesis
from ..hypotheses.unwrap import check_labels_of_net
from ..pools.sources import RowsInMemory
from .pool import gathered, pool_features
from .query import SMALL_POOL, Callback, Query, is_fitted, labelled_rows

BOUND = 3.0  # standard deviations
MAX_DENSE = 2**27  # cells of the largest sparse matrix that is made dense: 1 GiB
MAX_NAMES = 5  # columns named in an error message


class NoDistances(ValueError):
    """Rows have no coordinates, so no distances between them."""


@dataclass(frozen=True)
class InputFeatures:
    """Coordinates of rows, as a picklable function.

    Columns are standardised and squashed, as in :class:`~modal_balance.MCDropoutClassifier`: a
    value becomes ``3 tanh(z / 3)``, where z is its distance from the mean in standard deviations,
    so an outlier is not far from everything else. A missing value counts as the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.strategies.herding import InputFeatures
    >>> features = InputFeatures((), np.array([1.0]), np.array([2.0]))
    >>> features(np.array([[1.0], [1e9]])).tolist()
    [[0.0], [3.0]]
    """

    transforms: tuple[Callable[[Any], Any], ...]  # steps of the pipeline before its classifier
    mean: NDArray[np.float64]  # (D,)
    factor: NDArray[np.float64]  # (D,): z = (x - mean) * factor

    @classmethod
    def of(cls, transforms: tuple[Callable[[Any], Any], ...], X: Any) -> InputFeatures:
        """Return the coordinates, with columns scaled by rows of the pool.

        Unfitted steps of a pipeline are fitted on these rows, in a copy. Raises NoDistances if a
        step needs labels, or its output is not a table of numbers.
        """
        fitted = []
        for transform in transforms:
            fitted.append(_fitted(transform, X))
            X = fitted[-1](X)
        values = _numbers(X)  # (n, D)
        known = np.isfinite(values)
        n_known = np.maximum(known.sum(0), 1)
        values = np.where(known, values, 0.0)
        mean = values.sum(0) / n_known
        deviation = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(0) / n_known)
        # Rounding errors are not variation: those of float32 values, or of a sum of n float64.
        with np.errstate(over="ignore"):
            is_float32 = (values == values.astype(np.float32)).all(0)
        eps = np.where(is_float32, np.finfo(np.float32).eps, len(values) * np.finfo(np.float64).eps)
        varies = deviation > 8 * eps * np.abs(mean)
        return cls(tuple(fitted), mean, varies / np.where(varies, deviation, 1.0))

    def __call__(self, X: Any) -> Tensor:
        """Return the coordinates of n rows, (n, D) float32."""
        for transform in self.transforms:
            X = transform(X)
        values = _numbers(X)
        z = np.nan_to_num((values - self.mean) * self.factor, nan=0.0)
        return torch.from_numpy((BOUND * np.tanh(z / BOUND)).astype(np.float32))


@dataclass(frozen=True)
class AsBlock:
    """Coordinates in the shape of predictions, which the shards of a pool hold."""

    features: InputFeatures

    def __call__(self, X: Any) -> Tensor:
        """Return the coordinates of n rows, (1, n, D)."""
        return self.features(X)[None]


def pool_input_features(query: Query) -> tuple[Tensor, InputFeatures]:
    """Return the coordinates (N, D) of the pool, and the function for those of other rows.

    Columns are scaled by the rows of the pool, or by 10,000 random rows of a larger pool. The
    learner need not be fitted. Raises NoDistances if the rows are not numbers, and ExceedsMemory if
    the coordinates exceed the memory limit.
    """
    transforms = query.unwrapped.voters[0].transforms
    if query.source is None:
        of_rows = InputFeatures.of(transforms, query.X_pool)
        return of_rows(query.X_pool), of_rows
    of_rows = InputFeatures.of(transforms, query.some_rows(SMALL_POOL)[1])
    return gathered(query, AsBlock(of_rows), "This strategy", "inputs", "")[0], of_rows


def _fitted(transform: Callable[[Any], Any], X: Any) -> Callable[[Any], Any]:
    """Return a pipeline step unchanged if it is fitted, otherwise a copy fitted on the rows."""
    step = getattr(transform, "__self__", None)
    if step is None or is_fitted(step):
        return transform
    try:
        fitted: Callable[[Any], Any] = clone(step).fit(X).transform
    except Exception as error:
        raise NoDistances(
            f"The learner has not been fitted, and its {type(step).__name__} cannot be fitted on "
            f"the pool without labels: {error} Fit the learner, or pass encoded columns."
        ) from error
    return fitted


def _numbers(X: Any, part_of_row: bool = False) -> NDArray[np.float64]:
    """Return rows as numbers, (n, D): axes flattened, and several inputs side by side.

    A part of a row may be one number, such as the word of an embedding.
    """
    if isinstance(X, Dataset):
        try:
            batch = default_collate([X[row] for row in range(get_len(X))])
        except (RuntimeError, TypeError) as error:
            raise NoDistances(f"The rows of X_pool cannot be stacked: {error}") from error
        return _numbers(unpack_data(batch)[0])
    if isinstance(X, Mapping):
        return np.hstack([_numbers(X[name], part_of_row=True) for name in sorted(X)])
    if sparse.issparse(X):
        if math.prod(X.shape) > MAX_DENSE:
            raise NoDistances(
                f"X_pool is sparse, {X.shape[0]} x {X.shape[1]}, too large to be made dense. Put "
                "TruncatedSVD into the learner's Pipeline, or pass fewer columns."
            )
        X = X.toarray()
    elif hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    elif hasattr(X, "select_dtypes"):
        X = nan_for_na(X)
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NoDistances(
            f"X_pool has values that are not numbers{_wordy(X)}. Pass a learner whose Pipeline "
            "encodes them, or encoded columns."
        ) from error
    if values.ndim < 2 and not part_of_row:
        raise NoDistances(
            f"X_pool has the shape {values.shape}. Pass an array of shape (rows, columns)."
        )
    return values.reshape(len(values), -1)


def _wordy(X: Any) -> str:
    """Return the names of the non-numeric columns, as part of a message."""
    if not hasattr(X, "select_dtypes"):
        return ""
    names = list(X.select_dtypes(exclude=["number", "bool"]).columns)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f", in {names[:MAX_NAMES]}{more}"


Space = Literal["inputs", "last_layer"]
SPACES = ("inputs", "last_layer")
# Number of points that represent a larger pool, whose distances would take too much memory.
REFERENCE_POINTS = 5_000
# Number of points from which the median distance is computed.
MEDIAN_POINTS = 1_000
# Kernel width as a multiple of the median distance; chosen in docs/studies/coverage.
RADIUS = 1.4
HELD_OUT = 0.2  # share of the labelled rows used to find the temperature


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
        The labelled points. Default: the learner's ``X_training``; a plain estimator keeps
        none, which is warned about.
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
        The labelled points. Default: the learner's ``X_training``; a plain estimator keeps
        none, which is warned about.
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
        needs="hypotheses",
        n_samples=n_samples,
        X_labelled=labelled_rows(learner, X_labelled),
        memory_limit=memory_limit,
        X_pending=X_pending,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    labelled = query.X_labelled
    y_labelled = getattr(learner, "y_training", None) if y_labelled is None else y_labelled
    if temperature is None:
        temperature = _held_out_temperature(query, labelled, y_labelled)
    features, of_rows = _features(query, space)  # (N, D)
    width = None
    if radius is None and labelled is not None:
        width = _smallest_distance(of_rows(labelled))
    if width is None:
        share = RADIUS if radius is None else radius
        width = share * _median_distance(features, query.random_state)
    reference = _reference(query)
    proba = _mean_prediction(query, reference)  # (M, C)
    first, second = tempered(proba, temperature).topk(2, dim=1).values.unbind(1)  # (M,) each
    return query.result(
        *herding_batch(
            features,
            query.n_instances,
            radius=width,
            reference=None if reference is None else features[reference],
            weights=1 - (first - second),
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
    numbers = sample_without_replacement(
        query.n_points, REFERENCE_POINTS, random_state=query.random_state
    )
    return torch.from_numpy(np.sort(numbers).astype(np.int64))


def _median_distance(features: Tensor, random_state: np.random.RandomState) -> float:
    """Return the median non-zero distance among up to 1,000 points, or 1 if there is none."""
    if len(features) > MEDIAN_POINTS:
        rows = sample_without_replacement(len(features), MEDIAN_POINTS, random_state=random_state)
        features = features[torch.from_numpy(np.sort(rows).astype(np.int64))]
    distances = torch.pdist(features.double())
    distances = distances[distances > 0]
    return distances.median().item() if len(distances) else 1.0


def _smallest_distance(features: Tensor) -> float | None:
    """Return the smallest non-zero distance between points, or None if there is none."""
    distances = torch.pdist(features.double())
    distances = distances[distances > 0]
    return distances.min().item() if len(distances) else None


def _mean_prediction(query: Query, reference: Tensor | None) -> Tensor:
    """Return the mean prediction on the reference points, (M, C)."""
    hypotheses = query.draw()
    if query.source is not None and reference is not None:
        return query.predict(hypotheses, query.source.rows(reference.numpy())).mean(0)
    proba = query.predict(hypotheses, query.X_pool).mean(0)  # (N, C)
    return proba if reference is None else proba[reference]


def _held_out_temperature(query: Query, X: Any, y: Any) -> float:
    """Return the best temperature of a copy of the estimator on held-out labelled rows."""
    estimator = query.unwrapped.estimator
    needed = ("fit", "get_params", "predict_proba")
    can_refit = all(hasattr(estimator, name) for name in needed)
    if X is None or y is None or query.unwrapped.is_committee or not can_refit:
        return 1.0
    check_labels_of_net(estimator, y)
    check_labels(y, "y_labelled")
    y = column_or_1d(y)
    if len(y) != n_rows(X):
        raise ValueError(
            f"y_labelled has {len(y)} labels but X_labelled has {n_rows(X)} rows. Pass one label "
            "for each row."
        )
    order = query.random_state.permutation(len(y))
    n_held = round(HELD_OUT * len(y))
    held, rest = np.sort(order[:n_held]), np.sort(order[n_held:])
    if n_held == 0 or len(np.unique(y[rest])) < 2:
        return 1.0
    copy = clone(estimator)
    set_seeds(copy, query.random_state)
    rows = RowsInMemory(X)
    with seeded(draw_seed(query.random_state), "cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user has seen those of the learner's own fit
        try:
            copy.fit(rows.rows(rest), y[rest])
            hypothesis = SingleHypothesis(copy)
            proba = hypothesis.predict_proba_samples(rows.rows(held))[0].double()  # (n, C)
        except ValueError:  # too few labels for this estimator
            return 1.0
    labels = proba.argmax(1).numpy()  # (n,)
    if hypothesis.classes_ is not None:
        labels = hypothesis.classes_[labels]
    return calibrated_temperature(proba, torch.from_numpy(labels == y[held]))
