"""tau, the radius of an equivalence class."""

from __future__ import annotations


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
    if not 0 <= validation_error <= 1:
        raise ValueError(f"validation_error must lie in [0, 1], got {validation_error}.")
    if not 0 <= anneal < float("inf"):
        raise ValueError(f"anneal must be a finite number >= 0, got {anneal}.")
    return min(1.0, anneal * validation_error)


def check_tau(tau: float) -> None:
    """Raise unless tau is a distance.

    Parameters
    ----------
    tau : float
        Radius of an equivalence class.

    Raises
    ------
    ValueError
        If tau lies outside [0, 1].

    Examples
    --------
    >>> from modal_balance.equivalence.tau import check_tau
    >>> check_tau(0.1)
    """
    if not 0 <= tau <= 1:
        raise ValueError(
            f"tau must lie in [0, 1], got {tau}: it is the share of the reference pool on which "
            "two hypotheses of one class may differ."
        )
