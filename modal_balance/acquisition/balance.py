"""BALanCe (Eq. 3, Algorithm 1) and Batch-BALanCe (Eq. 4, Algorithm 2), in closed form.

S: hypotheses    N: points of the pool    C: classes    E: edges    b: points of a batch

An edge e = {k, l} joins two hypotheses that are further apart than tau; its weight is w_e. With
the likelihood ratio lambda_k(c|x) = p_k(c|x) / max_c' p_k(c'|x), the paper's objective
(Eq. 4, Batch-BALanCe; for b = 1 it is Eq. 3, BALanCe) is

    Delta(x_1..x_b) = sum over y_1..y_b of pbar(y_1..y_b) sum_e w_e (1 - lambda_k lambda_l)(y)

where y stands for y_1..y_b. pbar is the mean over the hypotheses j. Given a hypothesis the labels
are independent, so the sum over the C^b configurations factorises:

    G_x[j, e]       = sum_c p_j(c|x) lambda_k(c|x) lambda_l(c|x)
    Delta(x_1..x_b) = sum_e w_e (1 - (1/S) sum_j prod_i G_{x_i}[j, e])

Let W[j, e] be w_e / S times the product of G_x[j, e] over the points chosen so far. Adding x gains

    gain(x) = sum_{j,e} W[j, e] (1 - G_x[j, e])
            = sum_{c,e} (W^T p)[e, c] (1 - lambda_k lambda_l)(c|x)

which is a matrix product and a sum of terms that are all >= 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from .._utils.arguments import RandomState, as_random_state
from .._utils.user_warnings import warn_user
from ..exceptions import RandomSelectionWarning
from .arguments import Ties, check_n_instances
from .greedy import as_tensors, greedy
from .objective import BalanceObjective
from .predictions import PoolPredictions


def balance_scores(
    proba: Tensor,
    edges: Tensor,
    weights: Tensor | None = None,
    *,
    pending: Tensor | None = None,
    chunk_size: int = 512,
) -> Tensor:
    """Return the BALanCe score of each point: the gain of choosing it alone (Eq. 3).

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses that lie in different equivalence classes.
    weights : Tensor of shape (E,) or None, default=None
        Non-negative weight of each edge. None: 1 / E each.
    pending : Tensor of shape (S, M, C) or None, default=None
        Predictions on points whose labels are pending. The scores are gains given these points.
    chunk_size : int, default=512
        Number of points computed at once; does not change the result.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores, between 0 and the sum of the weights.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities, or if edges or weights do not fit it.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing*, ICLR 2023, Eq. 3.

    Examples
    --------
    Two hypotheses that agree on the first point and contradict each other on the second:

    >>> import torch
    >>> from modal_balance import balance_scores
    >>> proba = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    >>> balance_scores(proba, torch.tensor([[0, 1]]))
    tensor([0., 1.], dtype=torch.float64)
    """
    objective = BalanceObjective(proba, edges, weights, chunk_size=chunk_size)
    objective.add_pending(pending)
    return objective.gains()


def balance_batch(
    proba: Tensor,
    edges: Tensor,
    weights: Tensor | None = None,
    n_instances: int = 1,
    *,
    pending: Tensor | None = None,
    ties: Ties = "random",
    random_state: RandomState = None,
    chunk_size: int = 512,
) -> tuple[Tensor, Tensor]:
    """Choose a batch of any size by Batch-BALanCe: greedily, with gains in closed form.

    Each pick is the point that adds most to the objective Delta (Eq. 4) given the picks before it.
    For one point this is Algorithm 1: the largest score (Eq. 3). For more it is Algorithm 2, but
    without enumeration or importance samples. Hard 0/1 predictions can cut every edge completely;
    selection then restarts with the full weights.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points, float32 or float64.
    edges : Tensor of shape (E, 2), int64
        Pairs of hypotheses that lie in different equivalence classes.
    weights : Tensor of shape (E,) or None, default=None
        Non-negative weight of each edge. None: 1 / E each.
    n_instances : int, default=1
        Size of the batch, at most N.
    pending : Tensor of shape (S, M, C) or None, default=None
        Predictions of the same hypotheses on points whose labels are pending. They count as
        chosen before the first pick.
    ties : {"random", "first"}, default="random"
        Which of several points with the same gain, up to rounding, is chosen.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties, and draws the points if there are no edges.
    chunk_size : int, default=512
        Number of points computed at once; does not change the result.

    Returns
    -------
    indices : Tensor of shape (n_instances,), int64
        The chosen points, in the order in which they were chosen.
    gains : Tensor of shape (n_instances,), float64
        What each point adds to the objective, in the units of ``weights``. Without a restart, the
        gains sum to the objective Delta of the batch.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Warns
    -----
    RandomSelectionWarning
        If there are no edges, so that the batch is random, or if some points were chosen at random
        because no remaining point distinguishes the two hypotheses of any edge.

    References
    ----------
    Zhang, Khan, Grossman, Chen, *Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing*, ICLR 2023, Eq. 4, Algorithms 1 and 2.

    Examples
    --------
    >>> import torch
    >>> from modal_balance import balance_batch
    >>> proba = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    >>> indices, gains = balance_batch(proba, torch.tensor([[0, 1]]), n_instances=1)
    >>> indices, gains
    (tensor([1]), tensor([1.], dtype=torch.float64))
    """
    return as_tensors(
        iter_balance_batch(
            proba,
            edges,
            weights,
            n_instances,
            pending=pending,
            ties=ties,
            random_state=random_state,
            chunk_size=chunk_size,
        )
    )


def iter_balance_batch(
    proba: Tensor | PoolPredictions,
    edges: Tensor,
    weights: Tensor | None = None,
    n_instances: int = 1,
    *,
    pending: Tensor | None = None,
    ties: Ties = "random",
    random_state: RandomState = None,
    chunk_size: int = 512,
) -> Iterator[tuple[int, float]]:
    """Yield the picks of :func:`balance_batch` one by one, as (index, gain).

    Parameters, errors and warnings are those of :func:`balance_batch`, but the predictions need not
    be in memory. The arguments are checked at the call, before the first pick.
    """
    objective = BalanceObjective(proba, edges, weights, chunk_size=chunk_size)
    n_instances = check_n_instances(n_instances, objective.n_points)
    objective.add_pending(pending)
    if len(edges) == 0:
        warn_of_random_picks(0, n_instances)
        chosen = as_random_state(random_state).permutation(objective.n_points)[:n_instances]
        return iter([(int(index), 0.0) for index in chosen])
    # Algorithm 2: greedily choose the point with the largest gain given the picks so far
    return _warn_where_random(greedy(objective, n_instances, ties=ties, random_state=random_state))


def _warn_where_random(picks: Iterator[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Yield the picks, then warn if any has a gain of 0, which means it was random."""
    n_random = 0
    for index, gain in picks:
        n_random += gain == 0
        yield index, gain
    warn_of_random_picks(None, n_random)


def warn_of_random_picks(n_edges: int | None, n_random: int) -> None:
    """Warn that points were chosen at random.

    The message says that there are no edges if ``n_edges`` is 0; None means that this number is not
    applicable. Otherwise it says how many points were chosen at random, ``n_random``, and there is
    no warning if that is 0.
    """
    if n_edges == 0:
        message = (
            "There are no edges: no two of the hypotheses compared are further apart than tau, so "
            "every point scores 0 and the batch is chosen at random. Use more hypotheses or a "
            "smaller tau (a smaller annealing ratio), or stop labelling: the hypotheses agree."
        )
    elif n_random:
        message = (
            f"{n_random} points were chosen at random: no remaining point of the pool "
            "distinguishes the two hypotheses of any edge. Ask for fewer points, or pass a pool "
            "that resembles the reference pool."
        )
    else:
        return
    warn_user(message, RandomSelectionWarning)
