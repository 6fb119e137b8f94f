"""Edges of the BALanCe objective: votes, pairs, distances on the reference pool, and tau.

S: hypotheses    N: points of the reference pool    C: classes    K, P: pairs    E: edges
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, check_integer, check_number, kind_of


def votes(proba: Tensor) -> Tensor:
    """Return the most probable class of each point under each hypothesis.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions.

    Returns
    -------
    Tensor of shape (S, N), int64
        Column index of the largest probability; the lowest index in case of ties.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.pairs import votes
    >>> votes(torch.tensor([[[0.2, 0.8], [0.9, 0.1]]]))
    tensor([[1, 0]])
    """
    return proba.argmax(-1)


def check_votes(reference_votes: Tensor) -> None:
    """Raise an error unless these are predicted classes, (S, M), of hypotheses on a reference pool.

    Predicted classes are column indices. Raise TypeError if they are not a tensor of integers, and
    ValueError if the shape is wrong, there is no hypothesis, the reference pool is empty, or an
    index is negative.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.pairs import check_votes
    >>> check_votes(torch.tensor([[0, 0, 1], [1, 0, 1]]))
    """
    if not isinstance(reference_votes, Tensor) or reference_votes.is_floating_point():
        raise TypeError(
            f"reference_votes must be a tensor of integers, got {kind_of(reference_votes)}. Pass "
            "votes(proba) for predictions proba of shape (S, N, C)."
        )
    if reference_votes.ndim != 2 or len(reference_votes) == 0:
        raise ValueError(
            "reference_votes must have the shape (hypotheses, points) with at least one "
            f"hypothesis, got {tuple(reference_votes.shape)}."
        )
    if reference_votes.shape[1] == 0:
        raise ValueError("The reference pool is empty. Pass at least one row of reference data.")
    if reference_votes.min() < 0:
        raise ValueError(
            "reference_votes must hold column indices of classes, which are >= 0, got "
            f"{int(reference_votes.min())}."
        )


def hamming_distances(reference_votes: Tensor, pairs: Tensor) -> Tensor:
    """Return the Hamming distance of each pair, d_H in Eq. 2.

        d_H(k, l) = share of the reference points on which the votes of k and l differ

    Parameters
    ----------
    reference_votes : Tensor of shape (S, N), int64
        Votes on the reference pool.
    pairs : Tensor of shape (P, 2), int64
        Pairs of hypotheses.

    Returns
    -------
    Tensor of shape (P,), float64
        Distances in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If ``reference_votes`` are not integers of this shape, or the reference pool is empty.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, Eq. 2.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.pairs import all_pairs, hamming_distances
    >>> reference_votes = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]])
    >>> hamming_distances(reference_votes, all_pairs(3))
    tensor([0.2500, 1.0000, 0.7500], dtype=torch.float64)
    """
    check_votes(reference_votes)
    n_points = reference_votes.shape[1]
    short = reference_votes.to(torch.int32)  # half the memory traffic of int64
    # Eq. 2, pair by pair: memory does not grow with the number of pairs.
    differing = [(short[k] != short[l]).sum() for k, l in pairs.tolist()]
    if not differing:
        return torch.zeros(0, dtype=torch.float64)
    return torch.stack(differing).cpu().double() / n_points


def disjoint_pairs(n_hypotheses: int) -> Tensor:
    """Return the pairs {k, K + k} of 2K hypotheses: each hypothesis is in exactly one pair.

    Parameters
    ----------
    n_hypotheses : int
        2K, an even number of independent draws.

    Returns
    -------
    Tensor of shape (K, 2), int64

    Raises
    ------
    ValueError
        If ``n_hypotheses`` is odd or smaller than 2.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, Algorithm 1.

    Examples
    --------
    >>> from modal_balance.equivalence.pairs import disjoint_pairs
    >>> disjoint_pairs(4)
    tensor([[0, 2],
            [1, 3]])
    """
    if n_hypotheses < 2 or n_hypotheses % 2:
        raise ValueError(
            f"n_hypotheses={n_hypotheses} cannot be split into disjoint pairs. Use an even number."
        )
    # Algorithm 1: the draws w_k are compared with further draws w'_k
    return torch.arange(n_hypotheses).view(2, -1).T.contiguous()


def all_pairs(n_hypotheses: int) -> Tensor:
    """Return all pairs of distinct hypotheses.

    Parameters
    ----------
    n_hypotheses : int
        S, at least 2.

    Returns
    -------
    Tensor of shape (S * (S - 1) / 2, 2), int64

    Raises
    ------
    ValueError
        If ``n_hypotheses`` is smaller than 2.

    Examples
    --------
    >>> from modal_balance.equivalence.pairs import all_pairs
    >>> all_pairs(3)
    tensor([[0, 1],
            [0, 2],
            [1, 2]])
    """
    if n_hypotheses < 2:
        raise ValueError(f"n_hypotheses={n_hypotheses}: a pair needs at least 2.")
    return torch.triu_indices(n_hypotheses, n_hypotheses, offset=1).T.contiguous()


def ring_pairs(n_hypotheses: int, n_neighbours: int = 1) -> Tensor:
    """Return the pairs of each hypothesis with its next neighbours on a ring.

        {i, (i + d) mod S}        d = 1..n_neighbours

    Each hypothesis is in 2 * n_neighbours pairs if S is larger than that. There are more pairs than
    :func:`disjoint_pairs` returns and fewer than :func:`all_pairs`; from ``n_neighbours`` = S // 2
    on these are all pairs.

    Parameters
    ----------
    n_hypotheses : int
        S, at least 2.
    n_neighbours : int, default=1
        Number of following hypotheses that each is paired with, at least 1.

    Returns
    -------
    Tensor of shape (P, 2), int64
        Distinct pairs, the smaller index first, in lexicographic order: S * n_neighbours of them
        if S > 2 * n_neighbours.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is too small.

    Examples
    --------
    >>> from modal_balance.equivalence.pairs import ring_pairs
    >>> ring_pairs(4)
    tensor([[0, 1],
            [0, 3],
            [1, 2],
            [2, 3]])
    """
    n_neighbours = check_integer(n_neighbours, "n_neighbours")
    pairs = all_pairs(check_integer(n_hypotheses, "n_hypotheses"))
    apart = pairs[:, 1] - pairs[:, 0]  # (P,), distance in one direction
    return pairs[torch.minimum(apart, n_hypotheses - apart) <= n_neighbours]


def edges_beyond(reference_votes: Tensor, pairs: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Return the pairs whose distance on the reference pool exceeds tau, and their weights.

    Parameters
    ----------
    reference_votes : Tensor of shape (S, N), int64
        Votes on the reference pool.
    pairs : Tensor of shape (P, 2), int64
        Pairs of hypotheses.
    tau : float in [0, 1]
        Radius of an equivalence class.

    Returns
    -------
    edges : Tensor of shape (E, 2), int64
        The pairs in different equivalence classes, in the order given.
    weights : Tensor of shape (E,), float64
        1 / P each: pairs within a class count as pairs that no label can cut.

    Raises
    ------
    TypeError, ValueError
        If tau is not a number in [0, 1], ``reference_votes`` are not integers of this shape, or
        the reference pool or ``pairs`` is empty.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, Eq. 3: the indicator 1[d_H > tau].

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.pairs import all_pairs, edges_beyond
    >>> reference_votes = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]])
    >>> edges, weights = edges_beyond(reference_votes, all_pairs(3), tau=0.5)
    >>> edges
    tensor([[0, 2],
            [1, 2]])
    >>> weights
    tensor([0.3333, 0.3333], dtype=torch.float64)
    """
    tau = check_number(tau, "tau", 1)
    if len(pairs) == 0:
        raise ValueError("pairs is empty. Pass at least one pair of hypotheses.")
    edges = pairs[hamming_distances(reference_votes, pairs) > tau]  # Eq. 3: 1[d_H > tau]
    return edges, torch.full((len(edges),), 1 / len(pairs), dtype=torch.float64)


def random_edges(
    edges: Tensor, weights: Tensor, max_edges: int, random_state: RandomState = None
) -> tuple[Tensor, Tensor]:
    """Return a random subset of edges, reweighted to represent all of them.

    The weights are scaled up by the share of edges dropped, so that for edges of equal weight the
    objective over the subset is an unbiased estimate of the objective over all edges.

    Parameters
    ----------
    edges : Tensor of shape (E, 2), int64
        Edges.
    weights : Tensor of shape (E,)
        Their weights.
    max_edges : int
        Largest number of edges to keep, at least 1. Fewer edges are returned unchanged.
    random_state : int, RandomState, Generator or None, default=None
        Draws the subset.

    Returns
    -------
    edges : Tensor of shape (min(E, max_edges), 2), int64
    weights : Tensor of shape (min(E, max_edges),)

    Raises
    ------
    TypeError, ValueError
        If ``max_edges`` is not an integer of at least 1.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.pairs import all_pairs, random_edges
    >>> edges, weights = random_edges(all_pairs(4), torch.full((6,), 0.5), 3, random_state=0)
    >>> weights
    tensor([1., 1., 1.])
    """
    max_edges = check_integer(max_edges, "max_edges")
    if len(edges) <= max_edges:
        return edges, weights
    kept = as_random_state(random_state).permutation(len(edges))[:max_edges]
    index = torch.from_numpy(kept).sort().values
    return edges[index], weights[index] * (len(edges) / max_edges)


def annealed_tau(validation_error: float, anneal: float = 0.25) -> float:
    """Return tau for a model with a given validation error: the error times the annealing ratio.

    Parameters
    ----------
    validation_error : float in [0, 1]
        Share of wrong predictions on validation data.
    anneal : float, default=0.25
        Ratio of tau to the error, >= 0. The paper uses 1/4, and 1/2 on MNIST.

    Returns
    -------
    float
        tau, at most 1.

    Raises
    ------
    TypeError
        If an argument is not a number.
    ValueError
        If an argument is outside its range.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, section 4.1.

    Examples
    --------
    >>> from modal_balance.equivalence.pairs import annealed_tau
    >>> annealed_tau(0.2)
    0.05
    """
    validation_error = check_number(validation_error, "validation_error", 1)
    return min(1.0, check_number(anneal, "anneal") * validation_error)  # tau
