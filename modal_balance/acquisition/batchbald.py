"""BatchBALD: batches with a large mutual information between their labels and the hypothesis.

S: hypotheses    N: points of the pool    C: classes    M: configurations

A configuration m is one label for each point chosen so far. Given a hypothesis, the labels of
different points are independent, so p(m|h_s) is a product; p(s|m) is the posterior of the
hypotheses after observing m. By the chain rule, choosing x next adds to the mutual information

    gain(x) = I(y_x; h | labels so far) = sum_m p(m) ( H(y_x|m) - sum_s p(s|m) H(y_x|h_s) )
    with        p(y_x|m) = sum_s p(s|m) p_s(y_x|x)

The only state is J[m, s] = p(m, s). It begins as a single row of 1/S; choosing x splits every row
into C rows: J[(m, y), s] = J[m, s] p_s(y|x). For all points at once, p(y_x|m) is a matrix product,
(M x S) by (S x N*C).

There are C^b configurations. Gains are exact as long as there are at most ``max_configurations``.
Beyond that, rows are sampled and rescaled such that the expectation of J stays the same:

    a row of weight w_m = sum_s J[m, s] above c is kept unchanged,
    any other row is drawn w_m / c times on average, and each copy gets the weight c

where c is chosen such that ``max_configurations`` rows remain. Among unbiased schemes this one
minimises the expected squared error of the weights (Fearnhead and Clifford). A gain is linear in
the weights, so its estimate is unbiased; each term is a mutual information, so no estimate is
negative. The paper draws configurations independently from p(m), which repeats the probable ones:
for the same number of rows, its estimates have several times the error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, check_integer
from .._utils.user_warnings import warn_user
from ..exceptions import RandomSelectionWarning
from .arguments import Ties, check_n_instances
from .greedy import TieOrder, as_tensors, best_of, greedy
from .information import bald_scores
from .predictions import check_same_hypotheses, working_precision
from .uncertainty import entropy, plogp

# Number of configurations in a block, small enough for the products to stay in cache.
CONFIGURATION_BLOCK = 256


def batchbald_batch(
    proba: Tensor,
    n_instances: int = 1,
    *,
    pending: Tensor | None = None,
    max_configurations: int = 10_000,
    ties: Ties = "random",
    random_state: RandomState = None,
    chunk_size: int = 512,
) -> tuple[Tensor, Tensor]:
    """Choose a batch by BatchBALD: greedily, by joint mutual information.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points, float32 or float64.
    n_instances : int, default=1
        Size of the batch, at most N.
    pending : Tensor of shape (S, M, C) or None, default=None
        Predictions of the same hypotheses on points whose labels are pending. They
        count as chosen before the first pick.
    max_configurations : int, default=10000
        Largest number of label configurations of the points chosen so far. Gains are exact while
        all configurations fit, that is at least up to pick 1 + log(max_configurations) / log C,
        and unbiased estimates from then on.
    ties : {"random", "first"}, default="random"
        Which of several points with the same gain, up to rounding, is chosen.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties, and draws configurations.
    chunk_size : int, default=512
        Number of points treated at once; does not change the result.

    Returns
    -------
    indices : Tensor of shape (n_instances,), int64
        The chosen points, in the order in which they were chosen.
    gains : Tensor of shape (n_instances,), float64
        Mutual information that each point adds, in nats. The gains sum to that of the batch, in
        expectation over the labels of the pending points; it cannot exceed log S.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Warns
    -----
    RandomSelectionWarning
        If some of the chosen points add nothing, up to rounding.

    References
    ----------
    Kirsch, van Amersfoort, Gal, *BatchBALD: efficient and diverse batch acquisition for deep
    Bayesian active learning*, NeurIPS 2019, arXiv 1906.08158.
    Fearnhead, Clifford, *On-line inference for hidden Markov models via particle filters*, 2003.

    Examples
    --------
    The labels of the first two points carry the same information, so the second pick is the third
    point, although it is less informative on its own:

    >>> import torch
    >>> from modal_balance.acquisition.batchbald import batchbald_batch
    >>> yes, no, perhaps = [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]
    >>> proba = torch.tensor(
    ...     [[yes, yes, yes], [yes, yes, perhaps], [no, no, yes], [no, no, perhaps]]
    ... )
    >>> batchbald_batch(proba, 2, ties="first")
    (tensor([0, 2]), tensor([0.6931, 0.2158], dtype=torch.float64))
    """
    return as_tensors(
        iter_batchbald_batch(
            proba,
            n_instances,
            pending=pending,
            max_configurations=max_configurations,
            ties=ties,
            random_state=random_state,
            chunk_size=chunk_size,
        )
    )


def iter_batchbald_batch(
    proba: Tensor,
    n_instances: int = 1,
    *,
    pending: Tensor | None = None,
    max_configurations: int = 10_000,
    ties: Ties = "random",
    random_state: RandomState = None,
    chunk_size: int = 512,
) -> Iterator[tuple[int, float]]:
    """Yield the picks of :func:`batchbald_batch` one by one, as (index, gain).

    Parameters, errors and warnings are those of :func:`batchbald_batch`; the arguments are
    checked at the call, before the first pick.
    """
    generator = as_random_state(random_state)
    objective = JointInformation(
        proba, max_configurations=max_configurations, random_state=generator, chunk_size=chunk_size
    )
    n_instances = check_n_instances(n_instances, objective.n_points)
    objective.add_pending(pending)
    picks = greedy(objective, n_instances, ties=ties, random_state=generator)
    return _warn_where_nothing_was_gained(picks, objective.rounding)


def conditional_bald_scores(
    proba: Tensor,
    pending: Tensor | None,
    *,
    max_configurations: int = 10_000,
    random_state: RandomState = None,
    chunk_size: int = 512,
) -> Tensor:
    """Return the BALD score of each point, in expectation over the labels of pending points.

        score(x) = I(y_x; h | labels of the pending points)

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points, float32 or float64.
    pending : Tensor of shape (S, M, C) or None
        Predictions of the same hypotheses on points whose labels are pending. None: the
        scores are those of :func:`~modal_balance.acquisition.information.bald_scores`.
    max_configurations : int, default=10000
        Largest number of label configurations of the pending points. The scores are exact if all
        configurations fit, and unbiased estimates otherwise.
    random_state : int, RandomState, Generator or None, default=None
        Draws configurations.
    chunk_size : int, default=512
        Number of points treated at once; does not change the result.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in nats, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    The pending point equals the first one, so once it has a label the first adds nothing:

    >>> import torch
    >>> from modal_balance.acquisition.batchbald import conditional_bald_scores
    >>> proba = torch.eye(2)[torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])]
    >>> conditional_bald_scores(proba, pending=proba[:, :1])
    tensor([0.0000, 0.6931], dtype=torch.float64)
    """
    if pending is None:
        return bald_scores(proba)
    objective = JointInformation(
        proba,
        max_configurations=max_configurations,
        random_state=random_state,
        chunk_size=chunk_size,
    )
    objective.add_pending(pending)
    return objective.gains()


def _warn_where_nothing_was_gained(
    picks: Iterator[tuple[int, float]], rounding: float
) -> Iterator[tuple[int, float]]:
    """Yield the picks, then warn if some gains are 0 up to rounding."""
    n_idle = 0
    for index, gain in picks:
        n_idle += gain <= rounding
        yield index, gain
    if n_idle:
        warn_user(
            f"{n_idle} points were chosen though they add no information on the hypotheses, so "
            "they are no better than random points. Use more hypotheses, or ask for fewer points.",
            RandomSelectionWarning,
        )


class JointInformation:
    """Mutual information between the hypothesis and the labels of the points chosen so far.

    ``proba`` holds the predictions (S, N, C) of S hypotheses on N points, and ``n_points`` is N.
    For ``max_configurations`` see :func:`batchbald_batch`; ``random_state`` draws configurations,
    and ``chunk_size`` points are computed at once. Two gains count as equal if they differ by at
    most ``rounding``: a gain is a difference of entropies, so its rounding error is absolute.
    """

    def __init__(
        self,
        proba: Tensor,
        *,
        max_configurations: int = 10_000,
        random_state: RandomState = None,
        chunk_size: int = 512,
    ) -> None:
        self.proba = working_precision(proba).contiguous()
        self.max_configurations = check_integer(max_configurations, "max_configurations")
        self.chunk_size = check_integer(chunk_size, "chunk_size")
        self.random_state = as_random_state(random_state)
        n_hypotheses, self.n_points, self.n_classes = proba.shape
        self.rounding = 1e-6 if self.proba.dtype == torch.float32 else 1e-13
        self.noise = torch.stack([entropy(p.double()) for p in self.proba])  # (S, N), H(y_x|h_s)
        self.joint = torch.full((1, n_hypotheses), 1 / n_hypotheses, dtype=torch.float64)  # (M, S)

    def gains(self) -> Tensor:
        """Return what each point would add to the mutual information, (N,) float64 on the CPU."""
        weight = self.joint.sum(1)  # (M,), p(m)
        posterior = (self.joint / weight[:, None]).to(self.proba)  # (M, S), p(s|m)
        # With sampled configurations the mean posterior is not exactly uniform. Weighting the
        # hypotheses by it instead of 1/S pairs each H(y_x|m) with its own noise.
        gains = self.joint.sum(0).to(self.noise) @ self.noise.neg()  # (N,)
        weight = weight.to(self.proba)
        for start in range(0, self.n_points, self.chunk_size):
            chunk = slice(start, start + self.chunk_size)
            gains[chunk] -= self._chunk_negentropy(
                self.proba[:, chunk].flatten(1), posterior, weight
            )
        return gains.clamp_(min=0).cpu()

    def best(self, order: TieOrder, chosen: Sequence[int]) -> tuple[int, float]:
        """Return the point that would add most to the mutual information, and how much.

        ``order`` breaks ties between points whose gains are equal up to ``rounding``. Points
        already ``chosen`` are not returned.
        """
        gains = self.gains()
        largest = gains.max().item()
        return best_of(gains, order, chosen, self.rounding / largest if largest > 0 else 0.0)

    def _chunk_negentropy(self, proba: Tensor, posterior: Tensor, weight: Tensor) -> Tensor:
        """Return - sum_m p(m) H(y_x|m) for n points given as an (S, n*C) matrix."""
        total = torch.zeros(proba.shape[1], dtype=torch.float64, device=proba.device)  # (n*C,)
        for start in range(0, len(posterior), CONFIGURATION_BLOCK):
            block = slice(start, start + CONFIGURATION_BLOCK)
            total += weight[block] @ plogp(posterior[block] @ proba)  # of (M, n*C)
        return total.view(-1, self.n_classes).sum(1)  # (n,)

    def add(self, point: int) -> None:
        """Choose the point of the pool with this index."""
        self._split(self.proba[:, point])

    def add_pending(self, pending: Tensor | None) -> None:
        """Choose points that are not in the pool.

        ``pending`` holds the predictions (S, M, C) of the same hypotheses on them; None adds no
        points.
        """
        if pending is None:
            return
        pending = working_precision(pending, name="pending")
        check_same_hypotheses(pending, self.proba)
        for proba in pending.unbind(1):
            self._split(proba)

    def _split(self, proba: Tensor) -> None:
        """Split every row of J by the label of a point with predictions (S, C)."""
        proba = proba.cpu().double()
        weights = (self.joint @ proba).flatten()  # (M*C,), those of the next configurations
        chosen, factor = _thin(weights, self.max_configurations, self.random_state)  # (M',), (M',)
        row, label = chosen // self.n_classes, chosen % self.n_classes
        self.joint = self.joint[row] * proba.T[label] * factor[:, None]  # (M', S)


def _thin(weights: Tensor, size: int, random_state: np.random.RandomState) -> tuple[Tensor, Tensor]:
    """Return the indices of up to ``size`` positive weights, and a factor for each."""
    possible = weights.nonzero().flatten()
    if len(possible) <= size:
        return possible, torch.ones(len(possible), dtype=weights.dtype)
    # If the k largest are kept, the others share size - k draws of weight tail / (size - k).
    # Keep those that weigh more than a draw.
    falling = weights[possible].sort(descending=True).values
    tail = falling.flip(0).cumsum(0).flip(0)[:size]
    level = tail / torch.arange(size, 0, -1)
    n_kept = int((falling[:size] <= level).nonzero()[0])
    common = level[n_kept].item()
    # Systematic sampling: one draw from each of size - k equal slices of the light weights.
    # Siblings are neighbours, so few configurations lose all of their C continuations.
    kept = possible[weights[possible] > common]
    light = possible[weights[possible] <= common]
    n_draws = size - len(kept)
    cumulative = weights[light].cumsum(0)
    positions = torch.arange(n_draws) + torch.from_numpy(random_state.uniform(size=n_draws))
    positions *= cumulative[-1] / n_draws
    drawn = light[torch.searchsorted(cumulative, positions).clamp_(max=len(light) - 1)]
    factor = torch.cat([torch.ones(len(kept), dtype=weights.dtype), common / weights[drawn]])
    return torch.cat([kept, drawn]), factor
