"""One point from each cluster of points on which the hypotheses predict alike.

Points with the lowest margins often lie on one boundary, and each hypothesis predicts the same for
all of them, so that their labels teach the same thing. This module clusters points by the
predictions of all hypotheses and takes the least certain of each cluster. Only predictions are
needed, probabilities or votes, whatever the inputs look like.

S: hypotheses    m: points    C: classes    t: points taken already
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from ..arguments import RandomState, as_random_state, check_integer, draw_seed
from .arguments import check_n_instances
from .probabilities import working_precision
from .uncertainty import margin_scores

__all__ = ["prediction_clusters_batch"]

SMALLEST_WEIGHT = 1e-3  # of a point in its cluster, where every margin is 1


def prediction_clusters_batch(
    proba: Tensor, n_instances: int, *, n_taken: int = 0, random_state: RandomState = None
) -> Tensor:
    """Return the least certain point of each cluster of similar predictions.

    k-means puts the points into as many clusters as there are points to be taken, those that are
    taken already included, by their predictions as vectors of length S * C, each weighted by
    ``1 - margin``. Clusters that have a point already are left out; of each other one the point of
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
    k_means = KMeans(n_clusters, n_init=1, random_state=draw_seed(rng))
    # One thread: several add up in the order in which they finish.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="openmp"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters, of equal points
        labels: NDArray[np.int32] = k_means.fit(predictions, sample_weight=weights).labels_
    return labels
