"""BALD and EPIG: the information in the label of a point, about hypotheses or about predictions.

S: hypotheses    N: points of the pool    M: target points    C: classes

BALD, the information about the hypothesis: the entropy of the mean prediction minus the mean
entropy of the predictions.

    BALD(x) = I(y; h | x) = H(y|x) - (1/S) sum_s H(y|x, h_s)
            = (1/S) sum_s KL( p_s(.|x) || pbar(.|x) )

EPIG, the information about the labels of target points:

    EPIG(x) = (1/M) sum over targets x* of  I(y; y* | x, x*)
            = (1/M) sum over targets x* of  H(y|x) + H(y*|x*) - H(y, y*|x, x*)

Given a hypothesis, the labels of two points are independent, so their joint distribution

    p(y, y* | x, x*) = (1/S) sum_s p_s(y|x) p_s(y*|x*)

is a matrix product over the hypotheses, for many points and many targets at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._utils.arguments import check_integer
from .predictions import check_same_hypotheses, working_precision
from .uncertainty import entropy, mean_prediction, plogp

# Number of joint probabilities computed at once, small enough to stay in cache.
BLOCK_ENTRIES = 2**20


def bald_scores(proba: Tensor) -> Tensor:
    """Return the BALD score of each point: the mutual information of label and hypothesis.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on N points.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in nats, between 0 and the smaller of log C and log S.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` does not hold probabilities.

    References
    ----------
    Houlsby, Huszar, Ghahramani, Lengyel, *Bayesian active learning for classification and
    preference learning*, 2011, arXiv 1112.5745.

    Examples
    --------
    The two hypotheses are equally uncertain of the first point and contradict each other on the
    second:

    >>> import torch
    >>> from modal_balance.acquisition.information import bald_scores
    >>> bald_scores(torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]))
    tensor([0.0000, 0.6931], dtype=torch.float64)
    """
    proba = working_precision(proba)
    scores = entropy(mean_prediction(proba))  # (N,)
    noise = torch.zeros_like(scores)  # (N,)
    for prediction in proba:
        noise += entropy(prediction.double())
    return (scores - noise / len(proba)).clamp_(min=0)


def epig_scores(proba: Tensor, proba_target: Tensor, *, chunk_size: int = 64) -> Tensor:
    """Return the expected predictive information gain (EPIG) of each point.

    Parameters
    ----------
    proba : Tensor of shape (S, N, C)
        Predictions of S hypotheses on the N points of the pool.
    proba_target : Tensor of shape (S, M, C)
        Predictions of the same hypotheses on M points from the distribution on which the model
        will be used.
    chunk_size : int, default=64
        Largest number of points computed at once; does not change the result. There are fewer
        if there are hundreds of classes, so that memory stays below some 30 MB up to 1,000.

    Returns
    -------
    Tensor of shape (N,), float64
        Scores in nats, at least 0 and at most the point's BALD score.

    Raises
    ------
    TypeError, ValueError
        If ``proba`` or ``proba_target`` does not hold probabilities, if they do not fit each other,
        or if there are no targets.

    References
    ----------
    Bickford Smith, Kirsch, Farquhar, Gal, Foster, Rainforth, *Prediction-oriented Bayesian active
    learning*, AISTATS 2023, arXiv 2304.08151.

    Examples
    --------
    The hypotheses contradict each other on both points. The label of the first determines that of
    the target; the label of the second is independent of it.

    >>> import torch
    >>> from modal_balance.acquisition.information import epig_scores
    >>> sure = torch.eye(2)
    >>> proba = torch.stack([sure[[0, 0]], sure[[0, 1]], sure[[1, 0]], sure[[1, 1]]])
    >>> epig_scores(proba, proba_target=proba[:, :1])
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    chunk_size = check_integer(chunk_size, "chunk_size")
    proba = working_precision(proba)
    target = working_precision(proba_target, name="proba_target").to(proba)
    n_hypotheses, n_points, n_classes = proba.shape
    n_targets = target.shape[1]
    check_same_hypotheses(target, proba, name="proba_target")
    if n_targets == 0:
        raise ValueError(
            "proba_target has no points, so there is no prediction to improve. Pass "
            "predictions on points like those the model will be used on."
        )
    # Three large entropies nearly cancel, so rows that do not sum to 1 would distort the scores.
    proba = proba / proba.sum(-1, keepdim=True)
    target = target / target.sum(-1, keepdim=True)
    scores = entropy(mean_prediction(proba))  # (N,)
    scores += entropy(mean_prediction(target)).mean()
    targets = (target / n_hypotheses).flatten(1)  # (S, M*C)
    chunk_size = max(1, min(chunk_size, BLOCK_ENTRIES // n_classes**2))
    block_size = n_classes * max(1, BLOCK_ENTRIES // (chunk_size * n_classes**2))
    for start in range(0, n_points, chunk_size):
        chunk = slice(start, start + chunk_size)
        points = proba[:, chunk].flatten(1).T  # (n*C, S)
        negentropy = torch.zeros(len(points), dtype=torch.float64, device=proba.device)  # (n*C,)
        for block in torch.split(targets, block_size, dim=1):
            negentropy += plogp(points @ block).sum(1)  # of (n*C, m*C)
        scores[chunk] += negentropy.view(-1, n_classes).sum(1) / n_targets
    return scores.clamp_(min=0)
