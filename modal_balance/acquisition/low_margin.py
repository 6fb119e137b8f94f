"""Low-margin points of a pool, and diverse ones: one from each cluster of similar predictions.

The points with the lowest margins often lie on the same boundary: each hypothesis predicts the same
for all of them, so their labels are redundant. ``prediction_clusters_batch`` clusters points by the
predictions of all hypotheses and takes the least certain point of each cluster. It needs only
predictions (probabilities or votes), so the inputs can be of any kind.

S: hypotheses    N: points of the pool    m: points    M: pending points    C: classes
t: points already taken
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, check_integer, draw_seed
from .arguments import check_n_instances
from .greedy import TieOrder
from .predictions import PoolPredictions, working_precision
from .top import warn_if_equal
from .uncertainty import margin_scores

# Number of low-margin points to cluster for each point to return.
SHORTLIST = 5


def diverse_low_margin(
    pool: PoolPredictions,
    n_instances: int,
    chosen: Sequence[int],
    order: TieOrder,
    *,
    pending: Tensor | None = None,
    random_state: RandomState = None,
) -> list[int]:
    """Return diverse low-margin points, one from each cluster of similar predictions.

    Takes five times as many points with the lowest margins, clusters them by their predictions, and
    returns the least certain point of each cluster without a chosen or pending point: see
    :func:`~modal_balance.acquisition.low_margin.prediction_clusters_batch`.

    The result is the indices of ``n_instances`` points, the lowest margin first. ``chosen`` are
    points of the pool that have already been chosen, and ``pending`` holds the predictions
    (S, M, C) of the same hypotheses on pending points. ``order`` breaks ties between points of
    equal margin, and ``random_state`` initialises the clusters.

    Examples
    --------
    Every hypothesis predicts the same for points 0 and 1; point 3 is certain:

    >>> import torch
    >>> from modal_balance.acquisition.predictions import HeldPredictions
    >>> from modal_balance.acquisition.low_margin import diverse_low_margin
    >>> from modal_balance.acquisition.greedy import TieOrder
    >>> one = [[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [1.0, 0.0]]
    >>> two = [[0.2, 0.8], [0.2, 0.8], [0.8, 0.2], [1.0, 0.0]]
    >>> pool = HeldPredictions(torch.tensor([one, two]))
    >>> diverse_low_margin(pool, 2, [], TieOrder(4, "first"), random_state=0)
    [0, 2]
    """
    few, scores = least_certain(pool, SHORTLIST * n_instances, chosen, order)
    if n_instances < pool.n_points - len(chosen):
        warn_if_equal(*scores, n_chosen=len(chosen))
    proba = pool.rows([*chosen, *few])  # (S, m, C)
    if pending is not None:
        proba = torch.cat([pending, proba], dim=1)
    n_taken = proba.shape[1] - len(few)
    points = prediction_clusters_batch(
        proba, n_instances, n_taken=n_taken, random_state=random_state
    )
    return [few[point - n_taken] for point in points.tolist()]


def least_certain(
    pool: PoolPredictions, n_instances: int, chosen: Sequence[int], order: TieOrder
) -> tuple[list[int], tuple[float, float]]:
    """Return the points with the lowest margins of the mean prediction, the lowest first.

    There are ``n_instances`` of them, or all if there are fewer; points in ``chosen`` are not
    returned, and ``order`` breaks ties between points of equal margin. The two numbers returned
    with them are the lowest and the highest score (1 minus margin) of all points that are not
    chosen.
    """
    taken = torch.tensor(chosen, dtype=torch.int64)

    def lowest_of_block(start: int, proba: Tensor, *kept: Tensor) -> tuple[np.ndarray, ...]:
        points = torch.arange(start, start + proba.shape[1])
        free = ~torch.isin(points, taken)
        points = points[free]
        certainty = (1 - margin_scores(proba).cpu().double())[free].numpy()
        ranks = order.of(points).numpy()
        first = np.lexsort((ranks, certainty))[:n_instances]
        highest = certainty.max(initial=0.0, keepdims=True)
        return points.numpy()[first], certainty[first], ranks[first], highest

    points, certainty, ranks, highest = map(
        np.concatenate, zip(*pool.map(lowest_of_block), strict=True)
    )
    lowest: list[int] = points[np.lexsort((ranks, certainty))[:n_instances]].tolist()
    return lowest, (1 - highest.max(), 1 - certainty.min())


SMALLEST_WEIGHT = 1e-3  # of a point in k-means, should every margin be 1
# With more clusters than this, k-means++ would dominate the time of a query, which would grow with
# the square of the batch size. So the predictions are reduced to their first principal components,
# the seeds are drawn in rounds, and only a few iterations follow.
MANY_CLUSTERS = 256
N_COMPONENTS = 32
N_ROUNDS = 10  # approximate number of rounds in which the seeds are drawn
MAX_ITER = 3


def prediction_clusters_batch(
    proba: Tensor, n_instances: int, *, n_taken: int = 0, random_state: RandomState = None
) -> Tensor:
    """Return the least certain point of each cluster of similar predictions.

    k-means clusters the points by their predictions, as vectors of length S * C, each weighted by
    ``1 - margin``. There are ``n_taken + n_instances`` clusters; with more than 256 of them,
    k-means uses the first 32 principal components of the vectors and 3 iterations. Of each cluster
    without a taken point, the point with the lowest margin of the mean prediction is returned, the
    lowest margin first. The result holds their indices, int64 (n_instances,); if equal points make
    fewer clusters, the points with the lowest margins fill it up.

    ``proba`` holds the predictions (S, m, C) of S hypotheses on m points, for instance a few times
    ``n_instances`` points of a pool, those with the lowest margins. The first ``n_taken`` of them
    have already been chosen or are pending, so they are never returned. ``random_state``
    initialises the clusters. Raise TypeError or ValueError if an argument is not as described.

    Zhdanov, *Diverse mini-batch Active Learning*, 2019, clusters points by their inputs; Citovsky
    et al., *Batch Active Learning at Scale*, NeurIPS 2021, by a network's features.

    Examples
    --------
    Every hypothesis predicts the same for points 0 and 1; point 3 is certain:

    >>> import torch
    >>> from modal_balance.acquisition.low_margin import prediction_clusters_batch
    >>> one = [[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [1.0, 0.0]]
    >>> two = [[0.2, 0.8], [0.2, 0.8], [0.7, 0.3], [1.0, 0.0]]
    >>> points = prediction_clusters_batch(torch.tensor([one, two]), 2, random_state=0)
    >>> sorted(points.tolist()) in ([0, 2], [1, 2])
    True
    """
    proba = working_precision(proba)
    n_points = proba.shape[1]
    n_taken = check_integer(n_taken, "n_taken", 0)
    n_instances = check_n_instances(n_instances, n_points - n_taken)
    rng = as_random_state(random_state)
    uncertain = margin_scores(proba).cpu().double().numpy()  # (m,)
    uncertain[:n_taken] = -np.inf
    order = np.argsort(-uncertain, kind="stable")[: n_points - n_taken]
    n_clusters = n_taken + n_instances
    if 1 < n_clusters < n_points:
        labels = _clusters(proba, n_clusters, uncertain, rng)
        _, first = np.unique(labels[order], return_index=True)
        own = order[np.sort(first)]  # the least certain of each cluster
        own = own[~np.isin(labels[own], labels[:n_taken])]
        order = np.concatenate([own, order[~np.isin(order, own)]])
    return torch.from_numpy(order[:n_instances])


def _clusters(
    proba: Tensor, n_clusters: int, uncertain: NDArray[np.float64], rng: np.random.RandomState
) -> NDArray[np.int32]:
    predictions = proba.transpose(0, 1).flatten(1).cpu().numpy()  # (m, S*C)
    weights = np.maximum(uncertain, SMALLEST_WEIGHT)
    weights[np.isinf(uncertain)] = 1.0
    seed = draw_seed(rng)
    # With one thread the order of additions, and so the result, is reproducible.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal points make fewer clusters
        if n_clusters <= MANY_CLUSTERS:
            k_means = KMeans(n_clusters, n_init=1, random_state=seed)
        else:
            if predictions.shape[1] > N_COMPONENTS:
                pca = PCA(N_COMPONENTS, svd_solver="randomized", random_state=seed)
                predictions = pca.fit_transform(predictions)
            centres = predictions[_seeds(predictions, n_clusters, weights, rng)]
            k_means = KMeans(len(centres), n_init=1, init=centres, max_iter=MAX_ITER)
        labels: NDArray[np.int32] = k_means.fit(predictions, sample_weight=weights).labels_
    return labels


def _seeds(
    points: NDArray[Any], n_seeds: int, weights: NDArray[np.float64], rng: np.random.RandomState
) -> NDArray[np.int64]:
    """Return the initial centres: points of the pool, at most as many as there are distinct ones.

    As in k-means++, each is drawn with a probability proportional to its squared distance from
    those before. But many are proposed at once by the distances of a round, and each is accepted
    with a probability equal to the share of its squared distance that is left. Thus drawing
    10,000 of 50,000 points takes seconds instead of minutes.
    """
    seeds = [int(rng.choice(len(points), p=weights / weights.sum()))]
    squared = euclidean_distances(points, points[seeds], squared=True)[:, 0]
    rounding = 1e-6 * squared.max()
    while len(seeds) < n_seeds:
        squared[squared <= rounding] = 0
        if not squared.any():
            break
        mass = weights * squared
        proposed = rng.choice(len(points), 1 + n_seeds // N_ROUNDS, p=mass / mass.sum())
        between = euclidean_distances(points[proposed], squared=True)
        before = squared[proposed]
        left = before.copy()
        accepted = []
        for i, chance in enumerate(rng.random_sample(len(proposed))):
            if chance * before[i] < left[i]:
                accepted.append(int(proposed[i]))
                left = np.minimum(left, between[i])
        accepted = accepted[: n_seeds - len(seeds)]
        seeds += accepted
        _, closer = pairwise_distances_argmin_min(points, points[accepted], metric="sqeuclidean")
        squared = np.minimum(squared, closer)
    return np.array(seeds)
