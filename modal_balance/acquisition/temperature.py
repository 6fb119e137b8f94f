"""Temperature scaling: find the temperature at which predictions are calibrated.

n: rows    C: classes

Dividing logits by a temperature T > 1 makes predictions less confident, without changing the most
probable class:

    p_T(c|x) ~ p(c|x)^(1/T)
"""

from __future__ import annotations

import torch
from torch import Tensor

N_BINS = 15
# Networks trained on few labels are overconfident, so nothing below 1 is tried, as published.
TEMPERATURES = tuple(1 + tenth / 10 for tenth in range(190))


def tempered(proba: Tensor, temperature: float) -> Tensor:
    """Return the predictions after dividing the logits by a temperature.

    Predictions ``proba`` (n, C) become float64 (n, C). The temperature is positive; above 1 the
    predictions become less confident.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.temperature import tempered
    >>> tempered(torch.tensor([[0.9, 0.1]]), 2.0)
    tensor([[0.7500, 0.2500]], dtype=torch.float64)
    """
    return torch.softmax(proba.double().log() / temperature, dim=1)


def expected_calibration_error(proba: Tensor, is_right: Tensor) -> float:
    """Return the expected calibration error with 15 bins: the mean gap of confidence and accuracy.

    The error lies in [0, 1], and each bin is weighted by its number of rows. ``proba`` holds
    predictions (n, C), and ``is_right``, bool (n,), says whether the most probable class is the
    label.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.acquisition.temperature import expected_calibration_error
    >>> expected_calibration_error(torch.tensor([[0.75, 0.25]] * 2), torch.tensor([True, False]))
    0.25
    """
    confidence = proba.double().amax(1)  # (n,)
    bins = (confidence * N_BINS).long().clamp(max=N_BINS - 1)
    excess = torch.zeros(N_BINS, dtype=torch.float64)
    excess.index_add_(0, bins, confidence - is_right.double())
    return float(excess.abs().sum() / len(proba))


def calibrated_temperature(proba: Tensor, is_right: Tensor) -> float:
    """Return the temperature, 1 to 19.9, with the smallest expected calibration error.

    ``proba`` holds predictions (n, C) on rows that were held out of the fit, and ``is_right``, bool
    (n,), says whether the most probable class is the label. The lowest of several temperatures with
    the same error is returned. The method is that of Guo, Pleiss, Sun, Weinberger, *On Calibration
    of Modern Neural Networks*, ICML 2017.

    Examples
    --------
    Half of the confident predictions are wrong, so they should be less confident:

    >>> import torch
    >>> from modal_balance.acquisition.temperature import calibrated_temperature
    >>> proba = torch.tensor([[0.999, 0.001]] * 4)
    >>> calibrated_temperature(proba, torch.tensor([True, True, True, True]))
    1.0
    >>> calibrated_temperature(proba, torch.tensor([True, False, True, False])) > 5
    True
    """
    errors = [expected_calibration_error(tempered(proba, t), is_right) for t in TEMPERATURES]
    return TEMPERATURES[errors.index(min(errors))]
