"""Active learning with a finite set of hypotheses, all of them known: ECED, EC2 and BALD.

S: hypotheses    N: points    C: classes    R: cells (equivalence classes of hypotheses)

An edge joins two hypotheses of different cells and weighs p(h) p(h'). With lambda_h(y) =
p(y|x, h) / max_y' p(y'|x, h), observing y at x leaves the share lambda_h(y) lambda_h'(y) of it, so

    ECED(x) = E_y [ sum_{edges} p(h) p(h') ((1 - lambda_h lambda_h') - (1 - max_g lambda_g^2))(y) ]
            = sum_y p(y|x) ( max_g lambda_g(y)^2 w(1) - w(lambda(y)) )

where w(a) = sum_{edges} p(h) a_h p(h') a_h' is a sum over pairs of cells, not of hypotheses:

    w(a) = sum_{r<s} A_r A_s = sum_s A_s (A_1 + ... + A_{s-1}),    A_r = sum_{h in r} p(h) a_h

The offset 1 - max_g lambda_g^2 is what a point would cut on which all hypotheses agree. Without
noise lambda_h is 1 where h says y and 0 elsewhere, the offset vanishes, and ECED is EC2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..acquisition.probabilities import check_probabilities
from ..equivalence.partition import check_cells


def eced_scores(
    proba: Tensor, cells: Tensor, prior: Tensor | None = None, *, offset: bool = True
) -> Tensor:
    """Return the expected edge weight that a label discounts (ECED).

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    cells : Tensor of shape (S,), int64
        Equivalence class of each hypothesis.
    prior : Tensor of shape (S,) or None, default=None
        Probability of each hypothesis. None: 1 / S each.
    offset : bool, default=True
        Whether to subtract the offset, so that a point which all hypotheses predict alike scores
        0 however noisy it is. BALanCe leaves it out.

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
    The hypotheses agree that the first point is a coin toss, and contradict each other on the next:

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
    """Return the expected edge weight that a label cuts, where the hypotheses have no noise (EC2).

    A label removes the hypotheses that predict another one, and their edges.

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
    """Return the mutual information between the label and the hypothesis (BALD).

    Without noise this is the entropy of the label: the point that splits the hypotheses most
    evenly scores highest (generalised binary search).

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    cells : Tensor of shape (S,), int64, or None, default=None
        Not used: BALD asks which hypothesis is true, and not only which cell it is in. Here so
        that all scores are called alike.
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
    """Sum over the hypotheses of each cell.

    Parameters
    ----------
    values : Tensor of shape (S, ...)
        What is summed.
    cells : Tensor of shape (S,), int64
        Cell of each hypothesis, 0..R-1.

    Returns
    -------
    Tensor of shape (R, ...)

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
    """Raise unless every prediction is 0 or 1.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    hint : str
        What to do, appended to the error message.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities, or one of them is neither 0 nor 1.

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
            f"without noise, which predict 0 or 1, are provided for here. {hint}"
        )


def check_table(
    proba: Tensor, cells: Tensor | None, prior: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Check a table of hypotheses, and return it in the form that the scores work with.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of the hypotheses.
    cells : Tensor of shape (S,), int64, or None
        Equivalence class of each hypothesis. None: one for all.
    prior : Tensor of shape (S,) or None
        Probability of each hypothesis. None: 1 / S each.

    Returns
    -------
    proba : Tensor of shape (S, N, C), float64
        The predictions.
    cells : Tensor of shape (S,), int64
        The cells, numbered 0..R-1.
    prior : Tensor of shape (S,), float64
        The prior.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

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
        raise ValueError("prior must hold probabilities: none negative, and their sum 1.")
    numbers = torch.from_numpy(np.unique(cells.cpu().numpy(), return_inverse=True)[1])
    return proba.double(), numbers.to(proba.device), prior


def _cross_weight(sums: Tensor) -> Tensor:
    """Sum A_r A_s over the pairs of cells, free of cancellation: (R, ...) to (...)."""
    return (sums[1:] * sums.cumsum(0)[:-1]).sum(0)
