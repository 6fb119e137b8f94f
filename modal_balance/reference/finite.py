"""Active learning with a known, finite set of hypotheses: ECED, EC2, BALD, and policies.

S: hypotheses    N: points    C: classes    R: cells (equivalence classes of hypotheses)

An edge joins two hypotheses of different cells and has the weight p(h) p(h'). With lambda_h(y) =
p(y|x, h) / max_y' p(y'|x, h), observing y at x leaves the share lambda_h(y) lambda_h'(y) of that
weight, so

    ECED(x) = E_y [ sum_{edges} p(h) p(h') ((1 - lambda_h lambda_h') - (1 - max_g lambda_g^2))(y) ]
            = sum_y p(y|x) ( max_g lambda_g(y)^2 w(1) - w(lambda(y)) )

where w(a) = sum_{edges} p(h) a_h p(h') a_h' reduces to a sum over pairs of cells:

    w(a) = sum_{r<s} A_r A_s = sum_s A_s (A_1 + ... + A_{s-1}),    A_r = sum_{h in r} p(h) a_h

The offset 1 - max_g lambda_g^2 is the cut of a point on which all hypotheses agree. Without noise
lambda_h(y) is 1 if h predicts y and 0 otherwise, the offset vanishes, and ECED equals EC2.

A policy queries the point with the highest score under the posterior

    p(h | y at x) = p(h) p(y|x, h) / sum_g p(g) p(y|x, g)

until one cell has all posterior probability.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import kind_of
from ..acquisition.predictions import check_probabilities
from ..equivalence.partition import check_cells


def eced_scores(
    proba: Tensor, cells: Tensor, prior: Tensor | None = None, *, offset: bool = True
) -> Tensor:
    """Return the ECED score of each point: the edge weight that its label cuts in expectation.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    cells : Tensor of shape (S,), int64
        Equivalence class of each hypothesis.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis. None: 1 / S each.
    offset : bool, default=True
        Whether to subtract the offset. With it, a point for which all hypotheses predict the same
        scores 0, however noisy it is. BALanCe has no offset.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores, between 0 and the total weight of the edges.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Chen, Hassani, Krause, *Near-optimal Bayesian active learning with correlated and noisy tests*,
    AISTATS 2017.

    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing*, ICLR 2023, section 2.2 and Eq. 1.

    Examples
    --------
    The hypotheses are equally uncertain of the first point and contradict each other on the second:

    >>> import torch
    >>> from modal_balance.reference.finite import eced_scores
    >>> proba = torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]])
    >>> eced_scores(proba, cells=torch.tensor([0, 1]))
    tensor([0.0000, 0.2500], dtype=torch.float64)
    """
    proba, cells, prior = check_table(proba, cells, prior)
    ratio = proba / proba.amax(-1, keepdim=True)  # (S, N, C), lambda
    mean = torch.tensordot(prior, proba, dims=1)  # (N, C), p(y|x)
    whole = _cross_weight(cell_sums(prior, cells))  # (), w(1)
    left = _cross_weight(cell_sums(prior.view(-1, 1, 1) * ratio, cells))  # (N, C), w(lambda)
    best = ratio[prior > 0].amax(0) if offset else torch.ones_like(mean)  # (N, C), max_g lambda_g
    scores: Tensor = (mean * (best**2 * whole - left)).sum(-1)  # (N,)
    return scores.clamp_(min=0)


def ec2_scores(proba: Tensor, cells: Tensor, prior: Tensor | None = None) -> Tensor:
    """Return the EC2 score of each point: as ECED, for hypotheses without noise.

    A label removes the hypotheses that predict another label, and their edges.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses, all of them 0 or 1.
    cells : Tensor of shape (S,), int64
        Equivalence class of each hypothesis.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis. None: 1 / S each.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores, between 0 and the total weight of the edges.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Golovin, Krause, Ray, *Near-optimal Bayesian active learning with noisy observations*,
    NIPS 2010.

    Zhang, Khan, Grossman, Chen, ICLR 2023, appendix A.1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.finite import ec2_scores
    >>> proba = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    >>> ec2_scores(proba, cells=torch.tensor([0, 1]))
    tensor([0.0000, 0.2500], dtype=torch.float64)
    """
    check_noise_free(proba, hint="Use eced_scores.")
    return eced_scores(proba, cells, prior, offset=False)


def information_gain_scores(
    proba: Tensor, cells: Tensor | None = None, prior: Tensor | None = None
) -> Tensor:
    """Return the BALD score of each point: the mutual information of label and hypothesis.

    Without noise this is the entropy of the label: the point that splits the hypotheses most
    evenly scores highest (generalised binary search).

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    cells : Tensor of shape (S,), int64, or None, default=None
        Ignored; present for the common signature of the scores.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis. None: 1 / S each.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in nats, >= 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Houlsby, Huszar, Ghahramani, Lengyel, *Bayesian active learning for classification and
    preference learning*, 2011.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.finite import information_gain_scores
    >>> proba = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    >>> information_gain_scores(proba)
    tensor([0.0000, 0.6931], dtype=torch.float64)
    """
    proba, _, prior = check_table(proba, cells, prior)
    mean = torch.tensordot(prior, proba, dims=1)  # (N, C)
    noise = torch.tensordot(prior, torch.special.entr(proba).sum(-1), dims=1)  # (N,)
    scores: Tensor = torch.special.entr(mean).sum(-1) - noise  # (N,)
    return scores.clamp_(min=0)


def cell_sums(values: Tensor, cells: Tensor) -> Tensor:
    """Return the sum of values over the hypotheses of each cell.

    Values (S, ...) become sums (R, ...). ``cells``, int64 (S,), are numbered 0..R-1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.finite import cell_sums
    >>> cell_sums(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0, 1, 1]))
    tensor([0.5000, 0.5000])
    """
    n_cells = int(cells.max()) + 1
    return values.new_zeros(n_cells, *values.shape[1:]).index_add_(0, cells, values)


def check_noise_free(proba: Tensor, *, hint: str) -> None:
    """Raise a ValueError unless every prediction is 0 or 1.

    ``proba`` has the shape (S, N, C), and ``hint`` is a remedy, appended to the error message.
    Raise as :func:`check_probabilities` does if ``proba`` does not hold probabilities.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.finite import check_noise_free
    >>> check_noise_free(torch.tensor([[[1.0, 0.0]]]), hint="Round them.")
    """
    check_probabilities(proba)
    noisy = (proba != 0) & (proba != 1)
    if bool(noisy.any()):
        raise ValueError(
            f"proba has a prediction of {proba[noisy][0].item():.4g}, but only hypotheses "
            f"without noise, which predict 0 or 1, are supported here. {hint}"
        )


def check_table(
    proba: Tensor, cells: Tensor | None, prior: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return checked predictions, cells and prior, in the form that the scores use.

    These are the predictions, float64 (S, N, C), the cells, int64 (S,), renumbered 0..R-1, and the
    prior, float64 (S,). If ``cells`` is None, there is a single one; if ``prior`` is None, each
    hypothesis has the probability 1 / S. Raise TypeError or ValueError if the predictions are not
    probabilities, ``cells`` is not an int64 tensor of S numbers, or ``prior`` is not a tensor of S
    non-negative numbers that sum to 1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.reference.finite import check_table
    >>> check_table(torch.full((2, 3, 2), 0.5), torch.tensor([7, 5]), None)[1:]
    (tensor([1, 0]), tensor([0.5000, 0.5000], dtype=torch.float64))
    """
    check_probabilities(proba)
    n_hypotheses = len(proba)
    if cells is None:
        cells = torch.zeros(n_hypotheses, dtype=torch.int64)
    check_cells(cells, n_hypotheses)
    if prior is None:
        prior = torch.full((n_hypotheses,), 1 / n_hypotheses, dtype=torch.float64)
    if not isinstance(prior, Tensor) or prior.shape != (n_hypotheses,):
        shape = tuple(prior.shape) if isinstance(prior, Tensor) else type(prior).__name__
        raise ValueError(f"prior must be a tensor of shape ({n_hypotheses},), got {shape}.")
    prior = prior.to(proba.device, torch.float64)
    if not (bool((prior >= 0).all()) and abs(prior.sum().item() - 1) <= 1e-5):
        raise ValueError("prior must hold probabilities: non-negative numbers that sum to 1.")
    numbers = torch.from_numpy(np.unique(cells.cpu().numpy(), return_inverse=True)[1])
    return proba.double(), numbers.to(proba.device), prior


def _cross_weight(sums: Tensor) -> Tensor:
    """Return the sum of A_r A_s over pairs of cells, without cancellation: (R, ...) to (...)."""
    return (sums[1:] * sums.cumsum(0)[:-1]).sum(0)


# score(proba, cells, prior) -> (N,)
Score = Callable[[Tensor, Tensor, Tensor], Tensor]


class QueryPath(NamedTuple):
    """Queries of a policy and the posterior after them.

    Attributes
    ----------
    queries : list of int
        The queried points, in order.
    posterior : Tensor of shape (S,), float64
        Probability of each hypothesis given the labels.
    solved : bool
        Whether one cell has all posterior probability, up to the tolerance.

    Examples
    --------
    >>> from modal_balance.reference.finite import ec2_scores
    >>> from modal_balance.reference.finite import halving_thresholds, query_until_solved
    >>> proba, cells = halving_thresholds(4, sigma=0.5)
    >>> query_until_solved(proba, cells, proba[0].argmax(-1), ec2_scores)._asdict()
    {'queries': [0], 'posterior': tensor([1., 0., 0., 0.], dtype=torch.float64), 'solved': True}
    """

    queries: list[int]
    posterior: Tensor
    solved: bool


def query_until_solved(
    proba: Tensor,
    cells: Tensor,
    labels: Tensor,
    score: Score,
    prior: Tensor | None = None,
    *,
    tolerance: float = 0.0,
) -> QueryPath:
    """Query one label after another until only one cell of hypotheses is left.

    Each query is the point with the highest score; ties go to the lowest index. A point is queried
    at most once, and only if the remaining hypotheses differ on it.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    cells : Tensor of shape (S,), int64
        Equivalence class of each hypothesis.
    labels : Tensor of shape (N,), int64
        The label of each point, for instance ``votes(proba)[truth]``.
    score : callable
        ``score(proba, cells, prior)`` returns the scores (N,), for instance
        :func:`~modal_balance.reference.finite.eced_scores`. It is called with the remaining
        hypotheses and points, and the posterior as prior.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis. None: 1 / S each.
    tolerance : float in [0, 1), default=0.0
        Posterior probability that may remain outside the most probable cell. Must exceed 0 for
        noisy predictions, which never exclude a hypothesis completely.

    Returns
    -------
    QueryPath
        Not solved if no remaining point scores more than 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or if the labels have probability 0.

    Examples
    --------
    >>> from modal_balance.reference.finite import information_gain_scores
    >>> from modal_balance.reference.finite import halving_thresholds, query_until_solved
    >>> proba, cells = halving_thresholds(8, sigma=0)
    >>> labels = proba[5].argmax(-1)
    >>> query_until_solved(proba, cells, labels, information_gain_scores).queries
    [3, 5, 4]
    """
    proba, cells, posterior = check_table(proba, cells, prior)
    _check_labels(labels, *proba.shape[1:])
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must lie in [0, 1), got {tolerance}.")
    queries: list[int] = []
    while (point := _next_query(proba, cells, posterior, score, queries, tolerance)) is not None:
        queries.append(point)
        posterior = posterior * proba[:, point, labels[point]]  # (S,)
        if posterior.sum() == 0:
            raise ValueError(
                f"No hypothesis predicts the label {int(labels[point])} at point {point} together "
                "with the labels before it: labels must be possible under the prior."
            )
        posterior = posterior / posterior.sum()
    return QueryPath(queries, posterior, _is_solved(posterior, cells, tolerance))


def count_queries(
    proba: Tensor, cells: Tensor, score: Score, prior: Tensor | None = None
) -> Tensor:
    """Return, for each hypothesis as the truth, the number of queries that find its cell.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses, all of them 0 or 1.
    cells : Tensor of shape (S,), int64
        Equivalence class of each hypothesis.
    score : callable
        See :func:`query_until_solved`.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis, above 0. None: 1 / S each.

    Returns
    -------
    Tensor of shape (S,), int64
        Number of queries of :func:`query_until_solved` with the labels of each hypothesis.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from modal_balance.reference.finite import ec2_scores
    >>> from modal_balance.reference.finite import count_queries, halving_thresholds
    >>> proba, cells = halving_thresholds(8, sigma=0.3)
    >>> count_queries(proba, cells, ec2_scores)
    tensor([2, 2, 1, 1, 1, 1, 1, 1])
    """
    check_noise_free(proba, hint="Use query_until_solved with labels drawn at random.")
    proba, cells, prior = check_table(proba, cells, prior)
    if bool((prior == 0).any()):
        raise ValueError(
            "prior must be positive: a hypothesis of probability 0 cannot be the truth."
        )
    counts = torch.zeros(len(proba), dtype=torch.int64)
    nodes: list[tuple[Tensor, list[int]]] = [(prior, [])]  # of the decision tree
    while nodes:
        posterior, queries = nodes.pop()
        point = _next_query(proba, cells, posterior, score, queries, tolerance=0)
        if point is None:
            counts[(posterior > 0).cpu()] = len(queries)
            continue
        for label in range(proba.shape[2]):
            joint = posterior * proba[:, point, label]  # (S,)
            if joint.sum() > 0:
                nodes.append((joint / joint.sum(), [*queries, point]))
    return counts


def halving_thresholds(n_hypotheses: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Return the paper's stylised example: thresholds that accumulate at 0.

    Hypothesis i = 1..n labels 1 the first 2^(1-i) of a uniform pool, so that two hypotheses are
    d_H = abs(2^(1-i) - 2^(1-j)) apart. One point represents all points between
    two neighbouring thresholds.

    Parameters
    ----------
    n_hypotheses : int
        n, at least 2.
    sigma : float in [0, 1]
        The hypotheses with 2^(1-i) <= sigma, which differ by less than sigma, form one cell; each
        other hypothesis forms a separate cell.

    Returns
    -------
    proba : Tensor of shape (n, n - 1, 2), float64
        Predictions, all of them 0 or 1.
    cells : Tensor of shape (n,), int64
        Equivalence class of each hypothesis.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, Figure 2.

    Examples
    --------
    >>> from modal_balance.reference.finite import halving_thresholds
    >>> proba, cells = halving_thresholds(5, sigma=0.3)
    >>> proba.argmax(-1)
    tensor([[1, 1, 1, 1],
            [0, 1, 1, 1],
            [0, 0, 1, 1],
            [0, 0, 0, 1],
            [0, 0, 0, 0]])
    >>> cells
    tensor([0, 1, 2, 2, 2])
    """
    if n_hypotheses < 2:
        raise ValueError(f"n_hypotheses={n_hypotheses}: the example needs at least 2.")
    if not 0 <= sigma <= 1:
        raise ValueError(f"sigma must lie in [0, 1], got {sigma}: it is a Hamming distance.")
    index = torch.arange(n_hypotheses)
    predictions = (index[:, None] <= index[:-1]).long()  # (n, n - 1)
    # In logarithms, because 2^(1-i) underflows.
    n_apart = int((index < -torch.tensor(sigma, dtype=torch.float64).log2()).sum())
    return torch.nn.functional.one_hot(predictions, 2).double(), index.clamp(max=n_apart)


def _is_solved(posterior: Tensor, cells: Tensor, tolerance: float) -> bool:
    mass = cell_sums(posterior, cells)  # (R,)
    mass[mass.argmax()] = 0
    return mass.sum().item() <= tolerance


def _next_query(
    proba: Tensor,
    cells: Tensor,
    posterior: Tensor,
    score: Score,
    asked: list[int],
    tolerance: float,
) -> int | None:
    """Return the next point to query, or None if there is none or the cell is known."""
    if _is_solved(posterior, cells, tolerance):
        return None
    left = posterior > 0  # (S,)
    table = proba[left]
    differing = (table != table[:1]).any(0).any(-1)  # (N,)
    differing[asked] = False
    candidates = differing.nonzero().flatten()
    if len(candidates) == 0:
        return None
    scores = score(table[:, candidates], cells[left], posterior[left])
    # NumPy's argmax guarantees the lowest index in case of ties.
    best = int(scores.cpu().numpy().argmax())
    return int(candidates[best]) if scores[best] > 0 else None


def _check_labels(labels: Tensor, n_points: int, n_classes: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"labels must be an int64 torch tensor, got {kind_of(labels)}.")
    if labels.shape != (n_points,):
        raise ValueError(
            f"labels must have the shape ({n_points},), one label for each point, got "
            f"{tuple(labels.shape)}."
        )
    if n_points and not (0 <= labels.min() and labels.max() < n_classes):
        raise ValueError(
            f"labels must lie in 0..{n_classes - 1}, the columns of proba, got "
            f"{int(labels.min())} to {int(labels.max())}."
        )
