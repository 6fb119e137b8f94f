"""The paper's estimators of its objective, for comparison; no strategy uses them.

:mod:`modal_balance.acquisition` computes the same objective in closed form: exactly, faster, and
for batches of any size.

S: hypotheses    N: points    C: classes    E: edges    b: points of a batch    M: configurations

With the likelihood p_h(y_1:b) = prod_i p_h(y_i|x_i), its ratio lambda_h(y_1:b) = p_h(y_1:b) /
max over y'_1:b of p_h(y'_1:b), and pbar the mean of p_h over all hypotheses,

    f(y_1:b)     = sum_e w_e (1 - lambda_k lambda_l)(y_1:b)                      e = {k, l}
    Eq. 3        Delta(x)     = sum over y of  pbar(y) f(y)
    Eq. 4        Delta(x_1:b) = sum over all C^b configurations y_1:b of  pbar(y_1:b) f(y_1:b)

Splitting pbar(y_1:b) = pbar(y_1:b-1) * pbar(y_1:b) / pbar(y_1:b-1) makes Eq. 4 a mean over y_1:b-1,

    Eq. 5        Delta(x_1:b) = E over y_1:b-1 ~ pbar  of
                                    sum over y_b of  pbar(y_1:b) / pbar(y_1:b-1) f(y_1:b)

y_1:b-1 must be drawn from the joint pbar: draw one hypothesis, then all labels from it. Drawing
each label from its marginal makes the labels independent and the estimate biased.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state
from ..acquisition.arguments import check_edges, check_weights
from ..acquisition.predictions import check_probabilities

MAX_CONFIGURATIONS = 1_000_000

# Upper bound of edges x configurations in a block of configurations.
BLOCK = 2**22


def eq3_scores(proba: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the BALanCe score of each point (Eq. 3) by enumerating its labels.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses that lie in different equivalence classes.
    weights : Tensor of shape (E,) or None, default=None
        Non-negative weight of each edge. None: 1 / E each.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores, between 0 and the sum of the weights.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing*, ICLR 2023, Eq. 3 and Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.paper_estimators import eq3_scores
    >>> proba = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    >>> eq3_scores(proba, torch.tensor([[0, 1]]))
    tensor([0., 1.], dtype=torch.float64)
    """
    proba, edges, weights = _check_input(proba, edges, weights)
    largest = proba.amax(-1)  # (S, N)
    scores = proba.new_zeros(proba.shape[1])  # (N,)
    for label in range(proba.shape[2]):
        likelihood = proba[:, :, label]  # (S, N)
        scores += likelihood.mean(0) * _cut(likelihood / largest, edges, weights)
    return scores


def eq4_delta(
    proba: Tensor, edges: Tensor, weights: Tensor | None, batch: Sequence[int] | Tensor
) -> float:
    """Return the objective of a batch (Eq. 4) by enumerating all label configurations.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses that lie in different equivalence classes.
    weights : Tensor of shape (E,) or None
        Non-negative weight of each edge. None: 1 / E each.
    batch : sequence of int, or int64 Tensor of shape (b,)
        Indices of at least one point, with C^b at most 1,000,000.

    Returns
    -------
    float
        Delta, between 0 and the sum of the weights.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, Eq. 4.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.paper_estimators import eq4_delta
    >>> proba = torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.5, 0.5], [0.1, 0.9]]])
    >>> round(eq4_delta(proba, torch.tensor([[0, 1]]), None, batch=[0, 1]), 4)
    0.8889
    """
    proba, edges, weights = _check_input(proba, edges, weights)
    batch = _check_batch(batch, proba.shape[1]).to(proba.device)
    n_configurations = proba.shape[2] ** len(batch)
    if n_configurations > MAX_CONFIGURATIONS:
        raise ValueError(
            f"A batch of {len(batch)} points with {proba.shape[2]} classes has {n_configurations} "
            f"label configurations; at most {MAX_CONFIGURATIONS} are enumerated. Use "
            "balance_batch, whose gains need no enumeration, or eq5_delta."
        )
    likelihood = proba.new_ones(len(proba), 1)  # (S, C^0)
    for point in proba[:, batch].unbind(1):  # (S, C)
        likelihood = (likelihood[:, :, None] * point[:, None]).flatten(1)  # (S, C^i)
    largest = likelihood.amax(1, keepdim=True)  # (S, 1)
    return (likelihood.mean(0) * _cut(likelihood / largest, edges, weights)).sum().item()


def eq5_delta(
    proba: Tensor,
    edges: Tensor,
    weights: Tensor | None,
    batch: Sequence[int] | Tensor,
    n_configurations: int = 10_000,
    random_state: RandomState = None,
) -> float:
    """Return an estimate of the objective of a batch by importance sampling (Eq. 5).

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses that lie in different equivalence classes.
    weights : Tensor of shape (E,) or None
        Non-negative weight of each edge. None: 1 / E each.
    batch : sequence of int, or int64 Tensor of shape (b,)
        Indices of at least one point. The labels of the last point are enumerated, those of the
        others are drawn.
    n_configurations : int, default=10_000
        Number M of configurations y_1:b-1 to draw. The error decreases as 1 / sqrt(M).
    random_state : int, RandomState, Generator or None, default=None
        Draws the configurations.

    Returns
    -------
    float
        An unbiased estimate of Delta.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, Eq. 5.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.paper_estimators import eq5_delta
    >>> proba = torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.5, 0.5], [0.1, 0.9]]])
    >>> round(eq5_delta(proba, torch.tensor([[0, 1]]), None, batch=[0, 1], random_state=0), 4)
    0.8889
    """
    proba, edges, weights = _check_input(proba, edges, weights)
    batch = _check_batch(batch, proba.shape[1]).to(proba.device)
    if n_configurations < 1:
        raise ValueError(f"n_configurations must be at least 1, got {n_configurations}.")
    labels = _draw_labels(proba[:, batch[:-1]], n_configurations, random_state)
    return _importance_estimate(proba[:, batch], edges, weights, labels)


def _draw_labels(proba: Tensor, n_configurations: int, random_state: RandomState) -> Tensor:
    """Draw M labels of all points of ``proba`` from their joint distribution, (M, N)."""
    seed = as_random_state(random_state).randint(2**31 - 1)
    generator = torch.Generator(device=proba.device).manual_seed(int(seed))
    n_hypotheses, n_points, n_classes = proba.shape
    drawn = torch.randint(
        n_hypotheses, (n_configurations,), generator=generator, device=proba.device
    )  # (M,), one hypothesis for all labels of a configuration
    if n_points == 0:
        return drawn.new_empty(n_configurations, 0)
    rows = proba[drawn].view(-1, n_classes)  # (M * N, C)
    return torch.multinomial(rows, 1, generator=generator).view(n_configurations, n_points)


def _importance_estimate(proba: Tensor, edges: Tensor, weights: Tensor, labels: Tensor) -> float:
    """Return the mean in Eq. 5 over configurations y_1:b-1 (M, b - 1) of a batch (S, b, C)."""
    before = proba.new_ones(len(proba), len(labels))  # (S, M), p_h(y_1:b-1)
    for point, label in zip(proba[:, :-1].unbind(1), labels.unbind(1), strict=True):
        before = before * point[:, label]  # (S, M)
    likelihood = before[:, :, None] * proba[:, None, -1]  # (S, M, C), p_h(y_1:b)
    # Given a hypothesis the labels are independent: the maximum is a product of maxima.
    largest = proba.amax(-1).prod(1).view(-1, 1, 1)  # (S, 1, 1)
    cut = _cut((likelihood / largest).flatten(1), edges, weights).view(likelihood.shape[1:])
    conditional = likelihood.mean(0) / before.mean(0)[:, None]  # (M, C), pbar(y_b|y_1:b-1)
    return (conditional * cut).sum(1).mean().item()


def _cut(ratio: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
    """Return f = sum_e w_e (1 - lambda_k lambda_l) for M configurations: lambda (S, M) to (M,)."""
    first, second = edges.unbind(1)
    cut = ratio.new_empty(ratio.shape[1])  # (M,)
    size = max(1, BLOCK // max(1, len(edges)))
    for start in range(0, len(cut), size):
        block = ratio[:, start : start + size]
        cut[start : start + size] = weights @ (1 - block[first] * block[second])
    return cut


def _check_input(
    proba: Tensor, edges: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    check_probabilities(proba)
    edges = check_edges(edges, len(proba)).to(proba.device)
    weights = check_weights(weights, len(edges)).to(proba.device, torch.float64)
    return proba.double(), edges, weights


def _check_batch(batch: Sequence[int] | Tensor, n_points: int) -> Tensor:
    batch = torch.as_tensor(batch)
    if batch.ndim != 1 or len(batch) == 0:
        raise ValueError(
            f"batch must hold the indices of at least one point, got shape {tuple(batch.shape)}."
        )
    if batch.dtype != torch.int64:
        raise TypeError(f"batch must hold int64 indices of points, got {batch.dtype}.")
    if not (0 <= batch.min() and batch.max() < n_points):
        raise ValueError(
            f"batch has indices from {int(batch.min())} to {int(batch.max())}, but proba has "
            f"{n_points} points: indices must lie in 0..{n_points - 1}."
        )
    return batch
