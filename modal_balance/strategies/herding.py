"""Strategies that cover the pool: MaxHerding and uncertainty herding, and their coordinates.

N: points of the pool    n: rows    M: reference points    D: features    C: classes
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted
from skorch.dataset import get_len, unpack_data
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from .._utils.arguments import RandomState, check_positive, draw_seed, n_rows
from .._utils.torch_state import seeded
from ..acquisition.herding import herding_batch
from ..acquisition.temperature import calibrated_temperature, tempered
from ..pools.sources import RowsInMemory
from .pool import gathered, pool_features
from .query import SMALL_POOL, Callback, Query

BOUND = 3.0  # standard deviations
MAX_DENSE = 2**27  # numbers of a sparse matrix that is made dense: 1 GiB
MAX_NAMES = 5  # columns that an error message names


@dataclass(frozen=True)
class InputFeatures:
    """From rows of a pool to coordinates, as a function that can go to another process.

    Columns are standardised and squashed, as in :class:`~modal_balance.MCDropoutClassifier`: a
    value becomes ``3 tanh(z / 3)``, where z is its distance from the mean in standard deviations.
    So no outlier is far from everything. A missing value counts as the mean.

    Parameters
    ----------
    transforms : tuple of callable
        The steps of the learner's pipeline before its classifier.
    mean, factor : ndarray of shape (D,)
        ``z = (x - mean) * factor``.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.strategies.herding import InputFeatures
    >>> features = InputFeatures((), np.array([1.0]), np.array([2.0]))
    >>> features(np.array([[1.0], [1e9]])).tolist()
    [[0.0], [3.0]]
    """

    transforms: tuple[Callable[[Any], Any], ...]
    mean: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def of(cls, transforms: tuple[Callable[[Any], Any], ...], X: Any) -> InputFeatures:
        """Learn from rows how to scale the columns.

        Steps of a pipeline that have not been fitted are fitted on the rows, in a copy.

        Parameters
        ----------
        transforms : tuple of callable
            The steps of the learner's pipeline before its classifier.
        X : array-like with n rows
            The pool, or a random part of it.

        Returns
        -------
        InputFeatures

        Raises
        ------
        TypeError, ValueError
            If a step needs labels, or what comes out of them is no table of numbers.
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
        # Rounding of equal numbers is no variation.
        varies = deviation > 8 * np.finfo(np.float32).eps * np.abs(mean)
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
    """Coordinates in the form of predictions, as shards of a pool hold them.

    Parameters
    ----------
    features : InputFeatures
        From rows to coordinates.
    """

    features: InputFeatures

    def __call__(self, X: Any) -> Tensor:
        """Return the coordinates of n rows, (1, n, D)."""
        return self.features(X)[None]


def pool_input_features(query: Query) -> tuple[Tensor, InputFeatures]:
    """Return the coordinates of the pool of a query, and the way to those of other rows.

    Columns are scaled by the rows of the pool; of more than 10,000, by a random 10,000.

    Parameters
    ----------
    query : Query
        The query. Its learner need not be fitted.

    Returns
    -------
    features : Tensor of shape (N, D), float32
    of_rows : InputFeatures

    Raises
    ------
    TypeError, ValueError
        If the rows are no numbers, or the coordinates do not fit into the memory that they may
        take.
    """
    transforms = query.unwrapped.voters[0].transforms
    if query.source is None:
        of_rows = InputFeatures.of(transforms, query.X_pool)
        return of_rows(query.X_pool), of_rows
    of_rows = InputFeatures.of(transforms, query.some_rows(SMALL_POOL)[1])
    return gathered(query, AsBlock(of_rows), "This strategy", "inputs", "")[0], of_rows


def _fitted(transform: Callable[[Any], Any], X: Any) -> Callable[[Any], Any]:
    """Return a step of a pipeline as it is, or fitted on rows without labels."""
    step = getattr(transform, "__self__", None)
    if step is None:
        return transform
    try:
        check_is_fitted(step)
    except NotFittedError:
        name = type(step).__name__
        try:
            fitted: Callable[[Any], Any] = clone(step).fit(X).transform
        except Exception as error:
            raise ValueError(
                f"The learner has not been fitted, and its {name} cannot be fitted on the pool "
                f"without labels: {error} Fit the learner, or pass encoded columns."
            ) from error
        return fitted
    return transform


def _numbers(X: Any) -> NDArray[np.float64]:
    """Return rows as numbers, (n, D): several axes in one, several inputs side by side."""
    if isinstance(X, Dataset):
        return _numbers(unpack_data(default_collate([X[row] for row in range(get_len(X))]))[0])
    if isinstance(X, Mapping):
        return np.hstack([_numbers(X[name]) for name in sorted(X)])
    if sparse.issparse(X):
        if math.prod(X.shape) > MAX_DENSE:
            raise ValueError(
                f"X_pool is sparse, {X.shape[0]} x {X.shape[1]}, and distances need it dense. Put "
                "TruncatedSVD into the learner's Pipeline, or pass fewer columns."
            )
        X = X.toarray()
    elif hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"X_pool has values that are no numbers{_wordy(X)}. Pass a learner whose Pipeline "
            "encodes them, or encoded columns."
        ) from error
    if values.ndim < 2:
        raise ValueError(
            f"X_pool has the shape {values.shape}. Pass an array of shape (rows, columns)."
        )
    return values.reshape(len(values), -1)


def _wordy(X: Any) -> str:
    """Return the names of the columns that hold no numbers, as a part of a message."""
    if not hasattr(X, "select_dtypes"):
        return ""
    names = list(X.select_dtypes(exclude=["number", "bool"]).columns)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f", in {names[:MAX_NAMES]}{more}"


Space = Literal["inputs", "last_layer"]
SPACES = ("inputs", "last_layer")
# Points that stand for the pool where it is larger: its distances to all would be too many.
REFERENCE_POINTS = 5_000
# Points whose distances give the median.
MEDIAN_POINTS = 1_000
# Width of the kernel as a multiple of the median distance: see docs/studies/coverage.
RADIUS = 1.4
HELD_OUT = 0.2  # share of the labelled rows on which the temperature is found


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

    For few labels, and for none: it works before the first fit, and without a learner. A labelled,
    pending or chosen point covers those that a Gaussian kernel calls alike, and each pick adds the
    most coverage. Predictions play no part.

    Coverage is that of all points; where the pool has more than 5,000, of a random 5,000.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee, list of these, estimator or None
        The learner to query for, fitted or not, or None. Steps of its pipeline that have not been
        fitted are fitted on the pool, in a copy; of a committee, the first member counts.
    X_pool : array-like, tensor, dict of arrays, DataFrame or CSR matrix with N rows
        The unlabelled pool. It may be larger than the memory: a memory-mapped array, the path
        of an ``.npy`` file, a Parquet file or a folder of these, a ``pyarrow.dataset.Dataset``,
        a zarr array, a Dask array or DataFrame.
    n_instances : int, default=1
        Size of the batch, 1 to N.
    X_labelled : like X_pool, optional
        The labelled points. Default: the learner's ``X_training``; a plain estimator has
        none.
    space : {"inputs", "last_layer"}, default="inputs"
        Where distances are measured. "inputs": in what the learner's classifier is given, behind
        the other steps of its pipeline, with columns standardised by the pool. "last_layer": in
        what the output layer of a fitted network sees.
    radius : float or None, default=None
        Width of the kernel, ``exp(-(d / width) ** 2)``, as a multiple of the median distance d
        between points of the pool. None: 1.4; in uncertainty herding, instead, the smallest
        distance between two labelled points, where there are two that differ.
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
        Coverage that each adds, a share of 1. Left out for learners of modAL 0.4.1, whose
        strategies return indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Bae, Noh, Sutherland, *Generalized Coverage for More Robust Low-Budget Active Learning*, ECCV
    2024: objective and greedy selection. There, features are those of a self-supervised network,
    of length 1, and the width is 1; the inputs and the width relative to the median are ours.

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

    Parameters
    ----------
    query : Query
        The query.
    labelled : array-like or None
        Checked rows that cover from the start.
    space, radius
        See :func:`herding_query`.

    Returns
    -------
    ndarray or tuple of ndarray
        See :func:`herding_query`.
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
        )
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
    """Choose the batch that covers most of what is uncertain (uncertainty herding).

    As :func:`herding_query`, but a point counts as much as its label is uncertain: 1 minus the
    margin between the two most probable classes, at a temperature at which the predictions are
    calibrated. The kernel narrows as labels come in: its width is the smallest distance between
    two labelled points. With few labels this is close to herding, with many to margin selection.

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
    X_labelled : like X_pool, optional
        The labelled points. Default: the learner's ``X_training``; a plain estimator has
        none.
    y_labelled : array-like, optional
        Their labels, from which the temperature is found. Default: the learner's
        ``y_training``.
    n_samples : int, default=100
        Number of hypotheses, at least 1. Of an ensemble or a committee with fewer members,
        all are used.
    space : {"inputs", "last_layer"}, default="inputs"
        Where distances are measured. "inputs": in what the learner's classifier is given, behind
        the other steps of its pipeline, with columns standardised by the pool. "last_layer": in
        what the output layer of a fitted network sees.
    radius : float or None, default=None
        Width of the kernel, ``exp(-(d / width) ** 2)``, as a multiple of the median distance d
        between points of the pool. None: 1.4; in uncertainty herding, instead, the smallest
        distance between two labelled points, where there are two that differ.
    temperature : float or None, default=None
        Temperature of the predictions, above 0; 1 leaves them as they are. None: that of the
        smallest expected calibration error on a fifth of the labelled points, of a copy of the
        estimator fitted on the others; 1 where labels are not known or too few, and for
        committees.
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
        Coverage that each adds. Left out for learners of modAL 0.4.1, whose strategies return
        indices alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; before any expensive work.

    References
    ----------
    Bae, Oliveira, Sutherland, *Uncertainty Herding: One Active Learning Method for All Label
    Budgets*, ICLR 2025: the objective, the temperature and the width. The inputs as features are
    ours; so is the mean over hypotheses.

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


def labelled_rows(learner: Any, X_labelled: Any = None) -> Any:
    """Return the labelled rows, by default those that a modAL learner knows. None: none."""
    if X_labelled is None:
        X_labelled = getattr(learner, "X_training", None)
    return None if X_labelled is None or n_rows(X_labelled) == 0 else X_labelled


def _features(query: Query, space: Space) -> tuple[Tensor, Callable[[Any], Tensor]]:
    """Return the coordinates (N, D) of the pool, and the way to those of other rows."""
    if space == "inputs":
        return pool_input_features(query)
    return pool_features(query)[0], lambda X: query.features(X)[0]


def _covered_by(of_rows: Callable[[Any], Tensor], *known: Any) -> Tensor | None:
    """Return the coordinates of all rows that are labelled or pending."""
    parts = [of_rows(X) for X in known if X is not None]
    return torch.cat(parts) if parts else None


def _reference(query: Query) -> Tensor | None:
    """Return the numbers (M,) of points that stand for a larger pool. None: all do."""
    if query.n_points <= REFERENCE_POINTS:
        return None
    numbers = sample_without_replacement(
        query.n_points, REFERENCE_POINTS, random_state=query.random_state
    )
    return torch.from_numpy(np.sort(numbers).astype(np.int64))


def _median_distance(features: Tensor, random_state: np.random.RandomState) -> float:
    """Return the median distance of points that differ, of at most 1,000; 1 where none do."""
    if len(features) > MEDIAN_POINTS:
        rows = sample_without_replacement(len(features), MEDIAN_POINTS, random_state=random_state)
        features = features[torch.from_numpy(np.sort(rows).astype(np.int64))]
    distances = torch.pdist(features.double())
    distances = distances[distances > 0]
    return distances.median().item() if len(distances) else 1.0


def _smallest_distance(features: Tensor) -> float | None:
    """Return the smallest distance of points that differ; None where no two do."""
    distances = torch.pdist(features.double())
    distances = distances[distances > 0]
    return distances.min().item() if len(distances) else None


def _mean_prediction(query: Query, reference: Tensor | None) -> Tensor:
    """Return the mean prediction of hypotheses on the reference points, (M, C)."""
    hypotheses = query.draw()
    if query.source is not None and reference is not None:
        return query.predict(hypotheses, query.source.rows(reference.numpy())).mean(0)
    proba = query.predict(hypotheses, query.X_pool).mean(0)  # (N, C)
    return proba if reference is None else proba[reference]


def _held_out_temperature(query: Query, X: Any, y: Any) -> float:
    """Return the temperature of a copy of the estimator that was not shown a fifth of the rows."""
    estimator = query.unwrapped.estimator
    if X is None or y is None or query.unwrapped.is_committee or not hasattr(estimator, "fit"):
        return 1.0
    y = np.asarray(y)
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
    seeds = sorted(name for name in copy.get_params() if name.endswith("random_state"))
    copy.set_params(**{name: draw_seed(query.random_state) for name in seeds})
    rows = RowsInMemory(X)
    with seeded(draw_seed(query.random_state), "cpu"):
        copy.fit(rows.rows(rest), y[rest])
        proba = np.asarray(copy.predict_proba(rows.rows(held)), dtype=np.float64)  # (n, C)
    is_right = np.asarray(copy.classes_)[proba.argmax(1)] == y[held]
    return calibrated_temperature(torch.from_numpy(proba), torch.from_numpy(is_right))
