"""Uncertainty scores of single points, and the entropy that other scores use.

S: hypotheses    N: points    C: classes

All scores are >= 0 and grow with the uncertainty. Three of them depend only on the mean prediction

    pbar(c|x) = (1/S) sum_s p_s(c|x)

so they cannot distinguish noisy labels from disagreement of the hypotheses. ``mean_std_scores``
measures disagreement alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .predictions import working_precision


def plogp(proba: Tensor) -> Tensor:
    """Return p log p of each entry, 0 where p is 0.

    The tensor of probabilities has any shape, and the result the same. Values are in nats and lie
    in [-1/e, 0].

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.uncertainty import plogp
    >>> plogp(torch.tensor([0.0, 0.5, 1.0]))
    tensor([-0.0000, -0.3466,  0.0000])
    """
    # torch.xlogy and torch.special.entr are not vectorised on a CPU: half the speed.
    return proba.clamp(min=torch.finfo(proba.dtype).tiny).log_().mul_(proba)


def entropy(proba: Tensor) -> Tensor:
    """Return the entropy of each distribution.

        H = - sum_c p_c log p_c

    Distributions have the shape (..., C) and entropies the shape (...). Values are in nats and lie
    in [0, log C].

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.uncertainty import entropy
    >>> entropy(torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    tensor([0.6931, 0.0000])
    """
    return (0 - plogp(proba).sum(-1)).clamp_(min=0)  # (...), and no -0.0


def mean_prediction(proba: Tensor) -> Tensor:
    """Return the mean of the predictions of all hypotheses.

        pbar(c|x) = (1/S) sum_s p_s(c|x)

    The predictions are (S, N, C) and their mean is (N, C), in float64.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.uncertainty import mean_prediction
    >>> mean_prediction(torch.tensor([[[0.5, 0.5]], [[0.0, 1.0]]]))
    tensor([[0.2500, 0.7500]], dtype=torch.float64)
    """
    # Sum hypothesis by hypothesis to avoid a float64 copy of all predictions.
    total = torch.zeros(proba.shape[1:], dtype=torch.float64, device=proba.device)  # (N, C)
    for prediction in proba:
        total += prediction
    return total / len(proba)


def entropy_scores(proba: Tensor) -> Tensor:
    """Return the entropy of the mean prediction at each point.

        H(y|x) = - sum_c pbar(c|x) log pbar(c|x)

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in [0, log C], in nats.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities.

    References
    ----------
    Shannon, *A mathematical theory of communication*, 1948.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.uncertainty import entropy_scores
    >>> entropy_scores(torch.tensor([[[0.5, 0.5], [0.0, 1.0]]]))
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    return entropy(mean_prediction(working_precision(proba)))


def margin_scores(proba: Tensor) -> Tensor:
    """Return 1 minus the margin between the two most probable classes of the mean prediction.

        score(x) = 1 - (pbar(c1|x) - pbar(c2|x))        c1, c2: the two most probable classes

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in [0, 1]; 1 where two classes are equally probable.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities.

    References
    ----------
    Scheffer, Decomain, Wrobel, *Active hidden Markov models for information extraction*, 2001.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.uncertainty import margin_scores
    >>> margin_scores(torch.tensor([[[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]]))
    tensor([0.7500, 0.0000], dtype=torch.float64)
    """
    first, second = mean_prediction(working_precision(proba)).topk(2).values.unbind(-1)  # (N,)
    return (1 - (first - second)).clamp_(min=0)


def variation_ratio_scores(proba: Tensor) -> Tensor:
    """Return the variation ratio: 1 minus the largest probability of the mean prediction.

        score(x) = 1 - max_c pbar(c|x)

    Freeman defines it as the share of cases outside the mode. Gal, Islam and Ghahramani apply it to
    the mean prediction, as here, instead of the votes of the hypotheses.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in [0, 1 - 1/C].

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities.

    References
    ----------
    Freeman, *Elementary applied statistics*, 1965.
    Gal, Islam, Ghahramani, *Deep Bayesian active learning with image data*, ICML 2017.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.uncertainty import variation_ratio_scores
    >>> variation_ratio_scores(torch.tensor([[[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]]))
    tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    return (1 - mean_prediction(working_precision(proba)).amax(-1)).clamp_(min=0)


def mean_std_scores(proba: Tensor) -> Tensor:
    """Return the mean over classes of the standard deviation of a class probability.

        score(x) = (1/C) sum_c sqrt( (1/S) sum_s (p_s(c|x) - pbar(c|x))^2 )

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in [0, 1/2]; 0 where all hypotheses predict the same.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities.

    References
    ----------
    Kendall, Badrinarayanan, Cipolla, *Bayesian SegNet*, 2015.
    Gal, Islam, Ghahramani, *Deep Bayesian active learning with image data*, ICML 2017.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.uncertainty import mean_std_scores
    >>> mean_std_scores(torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]))
    tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    proba = working_precision(proba)
    mean = mean_prediction(proba)  # (N, C)
    total = torch.zeros_like(mean)  # (N, C)
    for prediction in proba:
        total += (prediction - mean).square_()
    return (total / len(proba)).sqrt_().mean(-1)  # (N,)
