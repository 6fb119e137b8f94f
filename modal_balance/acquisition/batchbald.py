"""BatchBALD: the information that the labels of a batch carry together about the hypothesis.

S: hypotheses    N: points of the pool    C: classes    M: configurations

A configuration m is one label for every point chosen so far. Given a hypothesis, the labels of
different points are independent, so p(m|h_s) is a product, and the hypotheses have the posterior
p(s|m) after it. By the chain rule, choosing x next adds to the mutual information of the batch

    gain(x) = I(y_x; h | labels so far) = sum_m p(m) ( H(y_x|m) - sum_s p(s|m) H(y_x|h_s) )
    with        p(y_x|m) = sum_s p(s|m) p_s(y_x|x)

The only state is J[m, s] = p(m, s). It begins with a single row of 1/S, and choosing x splits
every row in C: J[(m, y), s] = J[m, s] p_s(y|x). For all points at once, p(y_x|m) is a matrix
product, (M x S) by (S x N*C).

There are C^b configurations. Up to ``max_configurations`` of them the gains are exact. When there
are more, some are drawn and their rows scaled up, such that the expectation of J stays the same:

    rows of weight w_m = sum_s J[m, s] above c are kept as they are,
    of the others m is drawn w_m / c times on average, and each copy gets the weight c

where c is such that ``max_configurations`` rows come out. Of all such choices this one makes the
expected squared error of the weights least (Fearnhead and Clifford). A gain is linear in the
weights, so every gain is estimated without bias; and as each term is itself a mutual information,
no estimate is negative. The paper draws configurations independently from p(m), so that the
probable ones come again and again: for as many rows, its estimates err several times as much.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .._utils.arguments import RandomState, as_random_state, check_integer
from ..exceptions import RandomSelectionWarning
from .arguments import Ties, check_n_instances
from .greedy import as_tensors, greedy
from .information import bald_scores
from .predictions import check_same_hypotheses, working_precision
from .uncertainty import entropy, plogp

# Configurations are taken in blocks of this size, so that the products stay in cache.
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
    """Choose a batch of points by BatchBALD: greedily, by the joint mutual information.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points, float32 or float64.
    n_instances : int, default=1
        Size of the batch, at most N.
    pending : Tensor of shape (S, M, C) or None, default=None
        Predictions of the same hypotheses on points whose labels are pending. They
        count as chosen before the batch begins.
    max_configurations : int, default=10000
        Number of label configurations of the points chosen so far that are looked at. Gains are
        exact while there are no more of them, that is up to pick
        1 + log(max_configurations) / log C at least, and unbiased estimates from then on.
    ties : {"random", "first"}, default="random"
        Which of several points with the same gain, up to rounding, is chosen.
    random_state : int, RandomState, Generator or None, default=None
        Breaks ties, and draws configurations.
    chunk_size : int, default=512
        Number of points treated at once; does not change the result.

    Returns
    -------
    indices : Tensor of shape (n_instances,), int64
        The chosen points, in the order of choice.
    gains : Tensor of shape (n_instances,), float64
        The information that each adds, in nats. They sum to that of the batch, given
        the labels of the pending points in expectation, which cannot exceed log S.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Warns
    -----
    RandomSelectionWarning
        If some points were chosen though they add nothing, up to rounding.

    References
    ----------
    Kirsch, van Amersfoort, Gal, *BatchBALD: efficient and diverse batch acquisition for deep
    Bayesian active learning*, NeurIPS 2019, arXiv 1906.08158.
    Fearnhead, Clifford, *On-line inference for hidden Markov models via particle filters*, 2003.

    Examples
    --------
    The first two points ask the same question; so the third joins the batch, though it tells
    less than either:

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
    checked before the first pick is asked for.
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
    """Return the BALD score of every point, given the labels of pending points in expectation.

        score(x) = I(y_x; h | labels of the pending points)

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points, float32 or float64.
    pending : Tensor of shape (S, M, C) or None
        Predictions of the same hypotheses on points whose labels are pending. None: the
        scores are those of :func:`~modal_balance.acquisition.information.bald_scores`.
    max_configurations : int, default=10000
        Number of label configurations of the pending points that are looked at. The scores are
        exact while there are no more of them, and unbiased estimates otherwise.
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
    What the first point would tell is known once the pending one, which is like it, has a label:

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
    """Pass the picks on, and warn at the end if some have no gain but rounding."""
    n_idle = 0
    for index, gain in picks:
        n_idle += gain <= rounding
        yield index, gain
    if n_idle:
        warnings.warn(
            f"{n_idle} points were chosen though their labels tell nothing more about which "
            "hypothesis holds, so they are as good as random. Use more hypotheses, or ask for "
            "fewer points.",
            RandomSelectionWarning,
            stacklevel=2,
        )


class JointInformation:
    """The mutual information of hypothesis and labels of the points chosen, ready for the next.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.
    max_configurations : int, default=10000
        See :func:`batchbald_batch`.
    random_state : int, RandomState, Generator or None, default=None
        Draws configurations.
    chunk_size : int, default=512
        Number of points treated at once.

    Attributes
    ----------
    n_points : int
        N.
    rounding : float
        Difference under which two gains are equal up to rounding: a gain is a difference of
        entropies, so its rounding error is absolute.
    tie_tolerance : float
        The same relative to the largest of the gains last returned.
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
        self.tie_tolerance = 0.0
        self.noise = torch.stack([entropy(p.double()) for p in self.proba])  # (S, N), H(y_x|h_s)
        self.joint = torch.full((1, n_hypotheses), 1 / n_hypotheses, dtype=torch.float64)  # (M, S)

    def gains(self) -> Tensor:
        """Return what each point of the pool would add to the mutual information.

        Returns
        -------
        Tensor of shape (N,), float64, on the CPU
        """
        weight = self.joint.sum(1)  # (M,), p(m)
        posterior = (self.joint / weight[:, None]).to(self.proba)  # (M, S), p(s|m)
        # Over configurations drawn, the mean posterior is not exactly uniform. Weighting the
        # hypotheses by it, and not by 1/S, pairs each H(y_x|m) with its own noise.
        gains = self.joint.sum(0).to(self.noise) @ self.noise.neg()  # (N,)
        weight = weight.to(self.proba)
        for start in range(0, self.n_points, self.chunk_size):
            chunk = slice(start, start + self.chunk_size)
            gains[chunk] -= self._chunk_negentropy(
                self.proba[:, chunk].flatten(1), posterior, weight
            )
        gains = gains.clamp_(min=0).cpu()
        largest = gains.max().item()
        self.tie_tolerance = self.rounding / largest if largest > 0 else 0.0
        return gains

    def _chunk_negentropy(self, proba: Tensor, posterior: Tensor, weight: Tensor) -> Tensor:
        """Return - sum_m p(m) H(y_x|m) of n points given as an (S, n*C) matrix."""
        total = torch.zeros(proba.shape[1], dtype=torch.float64, device=proba.device)  # (n*C,)
        for start in range(0, len(posterior), CONFIGURATION_BLOCK):
            block = slice(start, start + CONFIGURATION_BLOCK)
            total += weight[block] @ plogp(posterior[block] @ proba)  # of (M, n*C)
        return total.view(-1, self.n_classes).sum(1)  # (n,)

    def add(self, point: int) -> None:
        """Choose a point of the pool.

        Parameters
        ----------
        point : int
            Its index.
        """
        self._split(self.proba[:, point])

    def add_pending(self, pending: Tensor | None) -> None:
        """Choose points that are not in the pool.

        Parameters
        ----------
        pending : Tensor of shape (S, M, C) or None
            Predictions of the same hypotheses on them.
        """
        if pending is None:
            return
        pending = working_precision(pending, name="pending")
        check_same_hypotheses(pending, self.proba)
        for proba in pending.unbind(1):
            self._split(proba)

    def _split(self, proba: Tensor) -> None:
        """Split every row of J by the label of a point, given as (S, C)."""
        proba = proba.cpu().double()
        weights = (self.joint @ proba).flatten()  # (M*C,), those of the next configurations
        chosen, factor = _thin(weights, self.max_configurations, self.random_state)  # (M',), (M',)
        row, label = chosen // self.n_classes, chosen % self.n_classes
        self.joint = self.joint[row] * proba.T[label] * factor[:, None]  # (M', S)


def _thin(weights: Tensor, size: int, random_state: np.random.RandomState) -> tuple[Tensor, Tensor]:
    """Return the indices of ``size`` positive weights, or of all, and what to multiply each by."""
    possible = weights.nonzero().flatten()
    if len(possible) <= size:
        return possible, torch.ones(len(possible), dtype=weights.dtype)
    # With the k largest kept, the others share size - k draws: a draw stands for tail / (size - k).
    # Keep as many as weigh more than such a draw.
    falling = weights[possible].sort(descending=True).values
    tail = falling.flip(0).cumsum(0).flip(0)[:size]
    level = tail / torch.arange(size, 0, -1)
    n_kept = int((falling[:size] <= level).nonzero()[0])
    common = level[n_kept].item()
    # One draw from each of size - k equal slices of the light ones, lined up: siblings are
    # neighbours there, so that few configurations lose all of their C continuations.
    kept = possible[weights[possible] > common]
    light = possible[weights[possible] <= common]
    n_draws = size - len(kept)
    cumulative = weights[light].cumsum(0)
    positions = torch.arange(n_draws) + torch.from_numpy(random_state.uniform(size=n_draws))
    positions *= cumulative[-1] / n_draws
    drawn = light[torch.searchsorted(cumulative, positions).clamp_(max=len(light) - 1)]
    factor = torch.cat([torch.ones(len(kept), dtype=weights.dtype), common / weights[drawn]])
    return torch.cat([kept, drawn]), factor
