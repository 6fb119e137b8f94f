"""tau, the radius of an equivalence class."""

from __future__ import annotations

from ..arguments import check_number


def annealed_tau(validation_error: float, anneal: float = 0.25) -> float:
    """Return the radius of an equivalence class for a model with this validation error.

    Parameters
    ----------
    validation_error : float in [0, 1]
        Share of validation points that the model gets wrong.
    anneal : float, default=0.25
        Ratio of tau to the error, >= 0. The paper uses 1/4, and 1/2 on MNIST.

    Returns
    -------
    float
        tau, at most 1.

    Raises
    ------
    TypeError
        If an argument is not a number.
    ValueError
        If an argument is outside its range.

    References
    ----------
    Zhang, Khan, Grossman, Chen, ICLR 2023, section 4.1.

    Examples
    --------
    >>> from modal_balance.equivalence.tau import annealed_tau
    >>> annealed_tau(0.2)
    0.05
    """
    validation_error = check_number(validation_error, "validation_error", 1)
    return min(1.0, check_number(anneal, "anneal") * validation_error)  # tau


def check_tau(tau: float) -> float:
    """Return tau as a float, or raise unless it is a number in [0, 1].

    Parameters
    ----------
    tau : float
        Radius of an equivalence class: the share of the reference pool on which two hypotheses of
        one class may differ.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If tau is not a number.
    ValueError
        If tau lies outside [0, 1].

    Examples
    --------
    >>> from modal_balance.equivalence.tau import check_tau
    >>> check_tau(0.1)
    0.1
    """
    return check_number(tau, "tau", 1)
