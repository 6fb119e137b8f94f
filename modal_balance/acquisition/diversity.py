"""Diverse batches from last-layer features: BADGE and core-set selection.

N: points of the pool    C: classes    D: features    M: labelled points    b: points of a batch

BADGE runs k-means++ seeding on the gradient, with respect to the weights of the output layer, of
the loss that a point would have if its most probable label were true:

    y(x) = argmax_c p(c|x)
    g(x) = (p(.|x) - onehot(y(x))) h(x)^T        p (C,), h (D,), g (C, D)

|g| is large where the model is uncertain, and distances between gradients measure diversity.
Core-set selection needs no predictions. It covers the pool with balls around the chosen and the
labelled points:

    next = argmax_x d(x),    d(x) = min over the points c chosen or labelled of |h(x) - h(c)|
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .._utils.arguments import RandomState, as_random_state
from .arguments import check_features, check_n_instances
from .greedy import TieOrder, as_tensors, best_of, greedy
from .predictions import check_probabilities

# Number of values in a block of distances: 32 MiB in float64.
BLOCK_VALUES = 2**22
# Largest number of gradient values held in memory: 256 MiB in float64.
HELD_VALUES = 2**25


def gradient_embedding(features: Tensor, proba: Tensor) -> Tensor:
    """Return the gradient of each point's hypothetical loss in the weights of the output layer.

    With y = argmax p, the gradient of the cross-entropy -log p(y) is (p - onehot(y)) h^T. As in
    the authors' code, the gradient of the bias, p - onehot(y), is left out.

    Parameters
    ----------
    features : Tensor of shape (N, D)
        Inputs of the output layer.
    proba : Tensor of shape (N, C)
        Softmax of the output layer's logits. If several classes are most
        probable, the first counts.

    Returns
    -------
    Tensor of shape (N, C * D)
        The gradients, each of shape (C, D) like ``nn.Linear.weight``, flattened.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Ash, Zhang, Krishnamurthy, Langford, Agarwal, *Deep Batch Active Learning by Diverse, Uncertain
    Gradient Lower Bounds*, ICLR 2020, Eq. 1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.diversity import gradient_embedding
    >>> gradient_embedding(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.75, 0.25]]))
    tensor([[-0.2500, -0.5000,  0.2500,  0.5000]])
    """
    check_features(features, "features")
    _check_proba(proba, len(features))
    residual = proba - one_hot(proba.argmax(1), proba.shape[1])  # (N, C)
    return (residual[:, :, None] * features[:, None, :]).flatten(1)  # (N, C*D)


def badge_batch(
    features: Tensor,
    proba: Tensor,
    n_instances: int,
    *,
    pending_features: Tensor | None = None,
    pending_proba: Tensor | None = None,
    random_state: RandomState = None,
) -> tuple[Tensor, Tensor]:
    """Choose a batch by BADGE: k-means++ seeding on the gradient embedding.

    As in the authors' code, the first point is the one with the largest gradient. Every further
    point is drawn with a probability proportional to the squared distance of its gradient from the
    nearest chosen one. If points are pending, their gradients count as chosen, and the first point
    is drawn like the others. Gradients of up to 256 MB in float64 are held on the CPU, for instance
    those of 50,000 points, 10 classes and 64 features. Larger ones are recomputed for every pick,
    which takes twice as long.

    Parameters
    ----------
    features : Tensor of shape (N, D)
        Inputs of the output layer, such as the first result of
        :func:`~modal_balance.hypotheses.last_layer.last_layer_features`.
    proba : Tensor of shape (N, C)
        The network's prediction from these features: the second result.
    n_instances : int
        Size of the batch b, 1 to N.
    pending_features : Tensor of shape (M, D) or None, default=None
        Inputs of the output layer at points whose labels are pending.
    pending_proba : Tensor of shape (M, C) or None, default=None
        The network's prediction from these.
    random_state : int, RandomState, Generator or None, default=None
        Draws the points. With the same seed, a smaller batch is the start of a larger one.

    Returns
    -------
    indices : Tensor of shape (b,), int64
        The chosen points, all different, in the order of choice.
    scores : Tensor of shape (b,), float64
        Distance of each gradient from the nearest one that was pending or chosen before. For the
        first point, if none is pending, the length of its gradient. 0 for points chosen at
        random, after every distinct gradient of the pool has been chosen.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Ash, Zhang, Krishnamurthy, Langford, Agarwal, *Deep Batch Active Learning by Diverse, Uncertain
    Gradient Lower Bounds*, ICLR 2020, Algorithm 1. Arthur & Vassilvitskii, *k-means++: The
    Advantages of Careful Seeding*, SODA 2007.

    Examples
    --------
    The model is certain of the first point; the others form two pairs of equal points:

    >>> import torch
    >>> from modal_balance.acquisition.diversity import badge_batch
    >>> features = torch.tensor([[3.0, 3.0], [2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> proba = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    >>> indices, scores = badge_batch(features, proba, 2, random_state=0)
    >>> indices[0].item() in (1, 2), indices[1].item() in (0, 3, 4)
    (True, True)
    """
    check_features(features, "features")
    _check_proba(proba, len(features))
    gradients = _Gradients(_on_cpu(features), _on_cpu(proba))
    n_instances = check_n_instances(n_instances, len(features), name="features")
    rng = as_random_state(random_state)
    order = torch.from_numpy(rng.permutation(len(features)))  # breaks ties
    nearest = _NearestCentre(gradients)
    chosen: list[int] = []
    scores: list[float] = []
    pending = _pending_gradients(pending_features, pending_proba, features, proba)  # (M, C*D)
    if len(pending):
        nearest.add_centres(pending)
    else:
        norms = torch.cat([rows.norm(dim=1) for _, rows in gradients.blocks()])  # (N,)
        chosen.append(int(order[norms[order].argmax()]))
        scores.append(norms[chosen[0]].item())
        nearest.add(chosen[0])
    while len(chosen) < n_instances and nearest.nearest.max() > 0:
        share = (nearest.nearest / nearest.nearest.max()) ** 2  # (N,), exactly 0 for points chosen
        chosen.append(int(rng.choice(len(share), p=(share / share.sum()).numpy())))
        scores.append(nearest.nearest[chosen[-1]].item())
        nearest.add(chosen[-1])
    indices = torch.tensor(chosen, dtype=torch.int64)
    spare = order[~torch.isin(order, indices)][: n_instances - len(chosen)]
    return torch.cat([indices, spare]), torch.tensor(
        scores + [0.0] * len(spare), dtype=torch.float64
    )


def _pending_gradients(
    pending_features: Tensor | None, pending_proba: Tensor | None, features: Tensor, proba: Tensor
) -> Tensor:
    """Return the gradients of the pending points, (M, C*D), after checking them."""
    if (pending_features is None) != (pending_proba is None):
        raise ValueError(
            "pending_features and pending_proba must be given together: one of them is None."
        )
    if pending_features is None or pending_proba is None:
        return torch.zeros(0, proba.shape[1] * features.shape[1], dtype=torch.float64)
    check_features(pending_features, "pending_features")
    _check_same_width(pending_features, features, "pending_features", "features")
    _check_proba(pending_proba, len(pending_features), "pending_proba", "pending_features")
    _check_same_width(pending_proba, proba, "pending_proba", "proba")
    return gradient_embedding(_on_cpu(pending_features).double(), _on_cpu(pending_proba).double())


def coreset_batch(
    features: Tensor,
    n_instances: int,
    *,
    labelled_features: Tensor | None = None,
    random_state: RandomState = None,
) -> tuple[Tensor, Tensor]:
    """Choose a batch by greedy k-centre: always the point furthest from the chosen ones.

    The largest distance of a point of the pool from the nearest chosen or labelled one is then at
    most twice what the best batch of this size would achieve (Gonzalez 1985). Distances are
    computed in float64 and without inner products, so that those of duplicates are exactly 0.

    Parameters
    ----------
    features : Tensor of shape (N, D)
        Coordinates of the points of the pool, such as the first result of
        :func:`~modal_balance.hypotheses.last_layer.last_layer_features`.
    n_instances : int
        Size of the batch b, 1 to N.
    labelled_features : Tensor of shape (M, D) or None, default=None
        Coordinates of the labelled and the pending points, which are centres from the start.
    random_state : int, RandomState, Generator or None, default=None
        Draws the first point if none is labelled, and breaks ties.

    Returns
    -------
    indices : Tensor of shape (b,), int64
        The chosen points, all different, in the order of choice.
    distances : Tensor of shape (b,), float64
        Distance of each point from the nearest one that was labelled or chosen before; never
        increases. Infinite for the first point if none is labelled; 0 for points chosen at
        random, when only duplicates remain.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Sener & Savarese, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*,
    ICLR 2018, Algorithm 1. Gonzalez, *Clustering to minimize the maximum intercluster distance*,
    1985.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.diversity import coreset_batch
    >>> features = torch.tensor([[0.0], [1.0], [4.0], [10.0]])
    >>> coreset_batch(features, 2, labelled_features=torch.tensor([[0.0]]))
    (tensor([3, 2]), tensor([10.,  4.], dtype=torch.float64))
    """
    check_features(features, "features")
    n_instances = check_n_instances(n_instances, len(features), name="features")
    nearest = _NearestCentre(_Features(features.detach()))
    if labelled_features is not None:
        check_features(labelled_features, "labelled_features")
        _check_same_width(labelled_features, features, "labelled_features", "features")
        nearest.add_centres(labelled_features.detach().to(features.device).double())
    return as_tensors(greedy(nearest, n_instances, random_state=random_state))


class _Features:
    """Coordinates of the points of a pool, converted to float64 block by block."""

    def __init__(self, features: Tensor) -> None:
        self.features = features  # (N, D)
        self.n_values = features.shape[1]

    def rows(self, start: int, stop: int) -> Tensor:
        return self.features[start:stop].double()

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield ranges of points and their coordinates."""
        n_block = max(1, BLOCK_VALUES // self.n_values)
        for start in range(0, len(self.features), n_block):
            stop = min(start + n_block, len(self.features))
            yield slice(start, stop), self.rows(start, stop)


class _Gradients(_Features):
    """Gradients of the points of a pool, held in memory or computed on demand."""

    def __init__(self, features: Tensor, proba: Tensor) -> None:
        super().__init__(features)
        self.proba = proba
        self.n_values = features.shape[1] * proba.shape[1]
        is_small = len(features) * self.n_values <= HELD_VALUES
        self.held: Tensor | None = None  # (N, C*D)
        if is_small:
            self.held = gradient_embedding(features.double(), proba.double())

    def rows(self, start: int, stop: int) -> Tensor:
        if self.held is not None:
            return self.held[start:stop]
        return gradient_embedding(
            self.features[start:stop].double(), self.proba[start:stop].double()
        )


class _NearestCentre:
    """Distance of each point of a pool from its nearest centre, as an objective to maximise."""

    def __init__(self, points: _Features) -> None:
        self.points = points
        self.n_points = len(points.features)
        device = points.features.device
        self.nearest = torch.full(
            (self.n_points,), torch.inf, dtype=torch.float64, device=device
        )  # (N,)

    def best(self, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
        return best_of(self.nearest.cpu(), order, chosen, tolerance=1e-12)

    def add(self, point: int) -> None:
        self.add_centres(self.points.rows(point, point + 1))

    def add_centres(self, centres: Tensor) -> None:
        for here, rows in self.points.blocks():
            n_block = max(1, BLOCK_VALUES // len(rows))
            for start in range(0, len(centres), n_block):
                distances = _distances(rows, centres[start : start + n_block])  # (n, n_block)
                self.nearest[here] = torch.minimum(self.nearest[here], distances.amin(1))


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Return the distances between the rows of (N, D) and (M, D), (N, M); exactly 0 if equal."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def _check_same_width(one: Tensor, other: Tensor, name: str, other_name: str) -> None:
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"{name} has {one.shape[1]} columns but {other_name} has {other.shape[1]}. Compute "
            "both with the same network."
        )


def _check_proba(
    proba: Tensor, n_points: int, name: str = "proba", features_name: str = "features"
) -> None:
    if isinstance(proba, Tensor) and (proba.ndim != 2 or len(proba) != n_points):
        raise ValueError(
            f"{name} must have the shape ({n_points}, classes), one row for each row of "
            f"{features_name}, got {tuple(proba.shape)}."
        )
    check_probabilities(proba[None] if isinstance(proba, Tensor) else proba, name=name)
