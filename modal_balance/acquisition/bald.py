"""BALD: the information that the label of a single point carries about the hypothesis.

S: hypotheses    N: points    C: classes

    BALD(x) = I(y; h | x) = H(y|x) - (1/S) sum_s H(y|x, h_s)
            = (1/S) sum_s KL( p_s(.|x) || pbar(.|x) )

The entropy of the mean prediction, less the mean entropy of the predictions: what is left is the
uncertainty that comes from not knowing the hypothesis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .probabilities import working_precision
from .uncertainty import entropy, mean_prediction


def bald_scores(proba: Tensor) -> Tensor:
    """Return the mutual information between label and hypothesis at every point.

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
    Two hypotheses are equally unsure of the first point and contradict each other on the second:

    >>> import torch
    >>> from modal_balance.acquisition.bald import bald_scores
    >>> bald_scores(torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]))
    tensor([0.0000, 0.6931], dtype=torch.float64)
    """
    proba = working_precision(proba)
    scores = entropy(mean_prediction(proba))  # (N,)
    noise = torch.zeros_like(scores)  # (N,)
    for prediction in proba:
        noise += entropy(prediction.double())
    return (scores - noise / len(proba)).clamp_(min=0)
