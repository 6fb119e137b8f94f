"""One point from each cluster of points on which the hypotheses predict alike.

Points with the lowest margins often lie on one boundary, and each hypothesis predicts the same for
all of them, so that their labels teach the same thing. This module clusters points by the
predictions of all hypotheses and takes the least certain of each cluster. Only predictions are
needed, probabilities or votes, whatever the inputs look like.

S: hypotheses    m: points    C: classes    t: points taken already
"""

from __future__ import annotations

import warnings
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

from ..arguments import RandomState, as_random_state, check_integer, draw_seed
from .arguments import check_n_instances
from .probabilities import working_precision
from .uncertainty import margin_scores

__all__ = ["prediction_clusters_batch"]

SMALLEST_WEIGHT = 1e-3  # of a point in its cluster, where every margin is 1
# From so many clusters on, k-means++ takes longer than all else, and the time of a query would grow
# with the square of the batch. Then the predictions are reduced to their first principal
# components, clusters begin at seeds that are drawn in rounds, and few iterations follow.
MANY_CLUSTERS = 256
N_COMPONENTS = 32
N_ROUNDS = 10  # about, in which the seeds are drawn
MAX_ITER = 3


def prediction_clusters_batch(
    proba: Tensor, n_instances: int, *, n_taken: int = 0, random_state: RandomState = None
) -> Tensor:
    """Return the least certain point of each cluster of similar predictions.

    k-means puts the points into as many clusters as there are points to be taken, those that are
    taken already included, by their predictions as vectors of length S * C, each weighted by
    ``1 - margin``; more than 256 clusters, in 3 iterations by the first 32 principal components of
    these vectors. Clusters that have a point already are left out; of each other one the point of
    the lowest margin in the mean prediction is returned, the lowest margins first.

    Parameters
    ----------
    proba : Tensor of shape (S, m, C)
        Predictions of S hypotheses on m points, such as a few times as many points of a pool as are
        wanted, those of its lowest margins.
    n_instances : int
        How many points to return.
    n_taken : int, default=0
        The first t of the points are taken: chosen before, or pending. They are never
        returned.
    random_state : int, RandomState, Generator or None, default=None
        Initialises the clusters.

    Returns
    -------
    Tensor of shape (n_instances,), int64
        Indices of points. Where equal points make fewer clusters, the others are those of the
        lowest margins.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Zhdanov, *Diverse mini-batch Active Learning*, 2019, clusters points by their inputs; Citovsky
    et al., *Batch Active Learning at Scale*, NeurIPS 2021, by a network's features.

    Examples
    --------
    Every hypothesis predicts the same for points 0 and 1; point 3 is certain:

    >>> import torch
    >>> from modal_balance.acquisition.prediction_clusters import prediction_clusters_batch
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
    # One thread: several add up in the order in which they finish.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters, of equal points
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
    """Return the points that clusters begin with: fewer, where there are fewer unlike points.

    They are drawn one after the other in proportion to their squared distance from those before, as
    in k-means++. But many are proposed at once, by the distances at that time, and each of them is
    accepted by the share of it that is left. So 10,000 of 50,000 take seconds instead of minutes.
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
