"""Equivalence classes as cells of a partition, by farthest-first traversal of the hypotheses.

S: hypotheses    N: points of the reference pool    M: centres    E: edges

    c_1     = a random hypothesis
    c_{m+1} = argmax_h min_{i<=m} d_H(h, c_i)      until that distance is at most tau
    cell(h) = argmin_i d_H(h, c_i)

Centres are further than tau apart, and each hypothesis lies within tau of its nearest centre.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, check_number, kind_of
from .pairs import all_pairs, check_votes


def farthest_first_cells(
    reference_votes: Tensor, tau: float, *, random_state: RandomState = None
) -> tuple[Tensor, Tensor]:
    """Partition the hypotheses into cells of radius tau.

    Only the distances to centres are computed, S of them for each centre.

    Parameters
    ----------
    reference_votes : Tensor of shape (S, N), int64
        Votes of at least one hypothesis on the reference pool.
    tau : float in [0, 1]
        Radius of a cell: share of the reference pool on which a hypothesis may differ from the
        centre of its cell. Two hypotheses of one cell may be up to 2 tau apart.
    random_state : int, RandomState, Generator or None, default=None
        Draws the first centre, which determines the others: of several equally distant hypotheses
        the one with the lowest index becomes a centre.

    Returns
    -------
    cells : Tensor of shape (S,), int64
        Cell of each hypothesis: the position in ``centres`` of its nearest centre; the first of
        several equally near ones.
    centres : Tensor of shape (M,), int64
        Indices of the centres, in the order in which they were chosen. Any two are further than
        tau apart, so no partition into cells of diameter tau has fewer than M cells.

    Raises
    ------
    TypeError, ValueError
        If the votes are not as described, the reference pool is empty, or tau is outside [0, 1].

    References
    ----------
    Gonzalez, *Clustering to minimize the maximum intercluster distance*, 1985.

    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing*, ICLR 2023, appendix B.3 (BALanCe-Partition).

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.partition import farthest_first_cells
    >>> reference_votes = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]])
    >>> cells, centres = farthest_first_cells(reference_votes, tau=0.25, random_state=0)
    >>> cells, centres
    (tensor([0, 0, 1]), tensor([0, 2]))
    """
    tau = check_number(tau, "tau", 1)
    check_votes(reference_votes)
    # Use the smallest integer type: the traversal is limited by reading the votes.
    short = reference_votes.cpu().numpy().astype(np.min_scalar_type(int(reference_votes.max())))
    n_hypotheses, n_points = short.shape
    centre = as_random_state(random_state).randint(n_hypotheses)
    centres: list[int] = []
    cells = np.zeros(n_hypotheses, dtype=np.int64)
    nearest = np.full(n_hypotheses, np.inf)
    while True:
        differing = [np.count_nonzero(one != short[centre]) for one in short]
        distances = np.array(differing) / n_points  # (S,)
        cells[distances < nearest] = len(centres)
        nearest = np.minimum(nearest, distances)  # (S,)
        centres.append(centre)
        centre = int(nearest.argmax())
        if nearest[centre] <= tau:
            return torch.from_numpy(cells), torch.tensor(centres)


def partition_edges(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of hypotheses that lie in different cells, and their weights.

    Parameters
    ----------
    cells : Tensor of shape (S,), int64
        Cell of each of at least two hypotheses.

    Returns
    -------
    edges : Tensor of shape (E, 2), int64
        The pairs in different cells; none if there is only one cell.
    weights : Tensor of shape (E,), float64
        1 / (number of all pairs) each: pairs within a cell count as pairs that no label can cut.

    Raises
    ------
    TypeError, ValueError
        If ``cells`` is not as described.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, appendix B.3 (BALanCe-Partition).

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.partition import partition_edges
    >>> edges, weights = partition_edges(torch.tensor([0, 0, 1]))
    >>> edges
    tensor([[0, 2],
            [1, 2]])
    >>> weights
    tensor([0.3333, 0.3333], dtype=torch.float64)
    """
    check_cells(cells)
    pairs = all_pairs(len(cells))
    cells = cells.cpu()
    edges = pairs[cells[pairs[:, 0]] != cells[pairs[:, 1]]]
    return edges, torch.full((len(edges),), 1 / len(pairs), dtype=torch.float64)


def check_cells(cells: Tensor, n_hypotheses: int | None = None) -> None:
    """Raise unless ``cells`` has one cell for each hypothesis.

    Cells are any int64 numbers (S,), since only their equality matters. ``n_hypotheses`` is the
    expected S; None allows any. Raise TypeError if they are not an int64 tensor, and ValueError if
    there is not one entry for each hypothesis.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.equivalence.partition import check_cells
    >>> check_cells(torch.tensor([0, 0, 1]), n_hypotheses=3)
    """
    if not isinstance(cells, Tensor) or cells.dtype != torch.int64:
        raise TypeError(f"cells must be an int64 torch tensor, got {kind_of(cells)}.")
    if cells.ndim != 1 or n_hypotheses not in (None, len(cells)):
        expected = "(hypotheses,)" if n_hypotheses is None else f"({n_hypotheses},)"
        raise ValueError(
            f"cells must have the shape {expected}, one cell for each hypothesis, got "
            f"{tuple(cells.shape)}."
        )
