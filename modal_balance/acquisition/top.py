"""Batches from the scores of single points: the highest scores, or a draw that prefers them.

N: points of the pool
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, check_number, kind_of
from .._utils.user_warnings import warn_user
from ..exceptions import RandomSelectionWarning
from .arguments import Ties, check_n_instances
from .greedy import tie_rank

ROUNDING = 1e-7  # of scores of predictions in single precision


def top_batch(
    scores: Tensor,
    n_instances: int,
    *,
    ties: Ties = "random",
    random_state: RandomState = None,
) -> tuple[Tensor, Tensor]:
    """Choose the points with the highest scores.

    Parameters
    ----------
    scores : Tensor of shape (N,)
        Finite scores; higher is better.
    n_instances : int
        Size of the batch, at most N.
    ties : {"random", "first"}, default="random"
        Which of several points with equal scores comes first: a random one, or the one with the
        lowest index. Scores are equal up to a relative difference of 1e-12 (1e-5 below double
        precision).
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties.

    Returns
    -------
    indices : Tensor of shape (n_instances,), int64
        The chosen points, the best first.
    scores : Tensor of shape (n_instances,), float64
        Their scores.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Settles, *Active learning literature survey*, 2009.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.top import top_batch
    >>> top_batch(torch.tensor([0.25, 1.0, 0.5]), 2)
    (tensor([1, 2]), tensor([1.0000, 0.5000], dtype=torch.float64))
    """
    values = _check_scores(scores)  # (N,)
    n_instances = check_n_instances(n_instances, len(values), name="scores")
    rank = tie_rank(len(values), ties, random_state)
    tolerance = 1e-12 if scores.dtype == torch.float64 else 1e-5
    falling, order = values.sort(descending=True, stable=True)  # (N,), (N,)
    # A drop by more than the tolerance starts a new level; within a level the rank decides.
    drops = falling[:-1] - falling[1:] > tolerance * falling[:-1].abs()  # (N - 1,)
    level = torch.cat([torch.zeros(1, dtype=torch.int64), drops.cumsum(0)])  # (N,)
    by_level = np.lexsort((rank[order].numpy(), level.numpy()))[:n_instances]
    indices = order[torch.from_numpy(by_level)]
    return indices, values[indices]


def power_batch(
    scores: Tensor,
    n_instances: int,
    *,
    coldness: float = 1.0,
    random_state: RandomState = None,
) -> tuple[Tensor, Tensor]:
    """Draw points without replacement, with probabilities proportional to a power of the score.

    Each pick is drawn from the remaining points with probability proportional to score(x)^coldness.
    This equals taking the points with the largest

        coldness * log score(x) + G_x        G_x: independent Gumbel(0, 1) variables

    The points with the highest scores are often similar; the points drawn are less so.

    Parameters
    ----------
    scores : Tensor of shape (N,)
        Finite scores >= 0; higher is better. Points with score 0 come after all others, in random
        order.
    n_instances : int
        Size of the batch, at most N.
    coldness : float, default=1.0
        Finite power >= 0. With 0 all points are equally probable, even those with score 0. As it
        grows, the batch approaches that of :func:`top_batch`.
    random_state : int, RandomState, Generator or None, default=None
        Draws the batch.

    Returns
    -------
    indices : Tensor of shape (n_instances,), int64
        The chosen points, in the order in which they were drawn.
    scores : Tensor of shape (n_instances,), float64
        Their scores.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron, Gal, *Stochastic batch acquisition:
    a simple baseline for deep active learning*, TMLR 2023, arXiv 2106.12059.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.top import power_batch
    >>> indices, scores = power_batch(torch.tensor([0.0, 1.0, 0.5]), 2, random_state=0)
    >>> sorted(indices.tolist())
    [1, 2]
    """
    values = _check_scores(scores)  # (N,)
    n_instances = check_n_instances(n_instances, len(values), name="scores")
    coldness = check_number(coldness, "coldness")
    if bool((values < 0).any()):
        raise ValueError(
            f"scores has a negative value ({values.min().item():.4g}). Pass scores >= 0, for "
            "instance those of bald_scores or entropy_scores."
        )
    gumbel = torch.from_numpy(as_random_state(random_state).gumbel(size=len(values)))  # (N,)
    # xlogy makes 0^0 = 1: with coldness 0 a score of 0 is as good as any.
    keys = torch.xlogy(coldness, values) + gumbel  # (N,), -inf where the score is 0
    order = np.lexsort((-gumbel.numpy(), -keys.numpy()))[:n_instances]
    indices = torch.from_numpy(order)
    return indices, values[indices]


def warn_if_equal(lowest: float, highest: float, n_chosen: int = 0) -> None:
    """Warn if the lowest and the highest score of the points not yet chosen are the same."""
    if highest - lowest <= ROUNDING:
        warn_user(
            f"{'The remaining' if n_chosen else 'All'} points of the pool have the same score, up "
            "to rounding, so they are no better than random points. The model may have learnt "
            "nothing yet, or be certain of every point, as a single tree is. Label more points "
            "first, or use a committee. With few labels, boosted trees need a smaller "
            "min_samples_leaf.",
            RandomSelectionWarning,
        )


def _check_scores(scores: Tensor) -> Tensor:
    """Return the scores in float64 on the CPU, or raise unless they are a list of numbers."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        raise TypeError(f"scores must be a floating-point torch tensor, got {kind_of(scores)}.")
    if scores.ndim != 1:
        raise ValueError(f"scores must have the shape (points,), got {tuple(scores.shape)}.")
    if not bool(scores.isfinite().all()):
        raise ValueError("scores contains NaN or infinity. Pass a finite number for every point.")
    return scores.detach().cpu().double()
