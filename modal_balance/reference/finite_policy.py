"""Asking for labels until only one equivalence class of a finite set of hypotheses is left.

S: hypotheses    N: points    C: classes    R: cells (equivalence classes of hypotheses)

    p(h | y at x) = p(h) p(y|x, h) / sum_g p(g) p(y|x, g)

A policy asks for the point of the highest score under the posterior, until one cell holds it all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..arguments import kind_of
from .finite import cell_sums, check_noise_free, check_table

# score(proba, cells, prior) -> (N,)
Score = Callable[[Tensor, Tensor, Tensor], Tensor]


class QueryPath(NamedTuple):
    """What was asked of one oracle, and what is known then.

    Attributes
    ----------
    queries : list of int
        The points asked, in order.
    posterior : Tensor of shape (S,), float64
        Probability of each hypothesis given the answers.
    solved : bool
        Whether one cell holds all of the posterior, up to the tolerance.

    Examples
    --------
    >>> from modal_balance.reference.finite import ec2_scores
    >>> from modal_balance.reference.finite_policy import halving_thresholds, query_until_solved
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
    """Ask for one label after another until only one cell of hypotheses is left.

    Each query is the point of the highest score, the lowest index among equals. A point is asked
    at most once, and only if the hypotheses left differ on it.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    cells : Tensor of shape (S,), int64
        Equivalence class of each hypothesis.
    labels : Tensor of shape (N,), int64
        The answer at each point, such as ``votes(proba)[truth]``.
    score : callable
        ``score(proba, cells, prior)`` gives the scores (N,), such as
        :func:`~modal_balance.reference.finite.eced_scores`; it is called with the hypotheses left,
        their posterior, and the points still to be asked.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis. None: 1 / S each.
    tolerance : float in [0, 1), default=0.0
        Posterior probability that may remain outside the most probable cell. Noisy predictions
        exclude no hypothesis for certain, so with them it must exceed 0 to be reached.

    Returns
    -------
    QueryPath
        Unsolved if no point is left that scores more than 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or if no hypothesis allows the answers.

    Examples
    --------
    >>> from modal_balance.reference.finite import information_gain_scores
    >>> from modal_balance.reference.finite_policy import halving_thresholds, query_until_solved
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
                f"No hypothesis gives the label {int(labels[point])} at point {point} together "
                "with the labels before it: labels must be possible under the prior."
            )
        posterior = posterior / posterior.sum()
    return QueryPath(queries, posterior, _is_solved(posterior, cells, tolerance))


def count_queries(
    proba: Tensor, cells: Tensor, score: Score, prior: Tensor | None = None
) -> Tensor:
    """Return how many queries find the cell of each hypothesis, were it the true one.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses, all of them 0 or 1.
    cells : Tensor of shape (S,), int64
        Equivalence class of each hypothesis.
    score : callable
        See :func:`query_until_solved`.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis, more than 0. None: 1 / S each.

    Returns
    -------
    Tensor of shape (S,), int64
        Length of the path that :func:`query_until_solved` takes with the labels of each.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from modal_balance.reference.finite import ec2_scores
    >>> from modal_balance.reference.finite_policy import count_queries, halving_thresholds
    >>> proba, cells = halving_thresholds(8, sigma=0.3)
    >>> count_queries(proba, cells, ec2_scores)
    tensor([2, 2, 1, 1, 1, 1, 1, 1])
    """
    check_noise_free(proba, hint="Use query_until_solved with labels drawn at random.")
    proba, cells, prior = check_table(proba, cells, prior)
    if bool((prior == 0).any()):
        raise ValueError(
            "prior must be positive: a hypothesis of probability 0 is never the truth."
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
    """Return the paper's stylised example: thresholds that crowd towards 0.

    Hypothesis i = 1..n labels 1 the first 2^(1-i) of a uniform pool, so that two hypotheses are
    d_H = abs(2^(1-i) - 2^(1-j)) apart. One point between every two neighbours stands for all points
    there.

    Parameters
    ----------
    n_hypotheses : int
        n, at least 2.
    sigma : float in [0, 1]
        The hypotheses with 2^(1-i) <= sigma, which differ by less than sigma, form one cell; every
        other is a cell of its own.

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
    >>> from modal_balance.reference.finite_policy import halving_thresholds
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
    """Return the point to ask next, None if there is none or the cell is known."""
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
    # NumPy's argmax promises the lowest index among equals.
    best = int(scores.cpu().numpy().argmax())
    return int(candidates[best]) if scores[best] > 0 else None


def _check_labels(labels: Tensor, n_points: int, n_classes: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"labels must be an int64 torch tensor, got {kind_of(labels)}.")
    if labels.shape != (n_points,):
        raise ValueError(
            f"labels must have the shape ({n_points},), one answer for each point, got "
            f"{tuple(labels.shape)}."
        )
    if n_points and not (0 <= labels.min() and labels.max() < n_classes):
        raise ValueError(
            f"labels must lie in 0..{n_classes - 1}, the columns of proba, got "
            f"{int(labels.min())} to {int(labels.max())}."
        )
