"""tau, the radius of an equivalence class: where a query takes it from."""

from __future__ import annotations

from typing import Any

from ..arguments import check_validation_pair
from ..equivalence.pairs import annealed_tau, check_tau
from ..hypotheses.protocol import Hypotheses
from ..hypotheses.resolved import Resolved
from ..hypotheses.validation import validation_error_of, validation_error_on


def check_tau_arguments(tau: float | None, anneal: float, X_val: Any, y_val: Any) -> None:
    """Raise unless the arguments that decide tau are as described in the strategies."""
    annealed_tau(0.0, anneal)
    check_validation_pair(X_val, y_val)
    if tau is not None:
        check_tau(tau)


def known_tau(
    resolved: Resolved, tau: float | None, anneal: float, X_val: Any, y_val: Any
) -> float | None:
    """Return tau where it is known before anything is predicted.

    Parameters
    ----------
    resolved : Resolved
        The classifier or committee.
    tau : float in [0, 1] or None
        The radius as the user gave it.
    anneal : float
        Ratio of tau to the validation error, >= 0.
    X_val, y_val : array-like or None
        Labelled validation data.

    Returns
    -------
    float or None
        None: the error on the validation data will tell, see :func:`final_tau`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or there is nothing to take tau from.
    """
    check_tau_arguments(tau, anneal, X_val, y_val)
    if tau is not None:
        return float(tau)
    if X_val is not None:
        return None
    error = validation_error_of(resolved)
    if error is None:
        raise ValueError(
            "tau is unknown: the estimator has no validation error from its last fit. Pass tau=, "
            "or X_val= and y_val=, or hold out validation data when the estimator is fitted "
            "(skorch: train_split; a forest: oob_score=True; a committee: all its members)."
        )
    return annealed_tau(error, anneal)


def final_tau(
    tau: float | None, hypotheses: Hypotheses, anneal: float, X_val: Any, y_val: Any
) -> float:
    """Return tau, from the error of the hypotheses on validation data where it is not yet known.

    Parameters
    ----------
    tau : float or None
        What :func:`known_tau` returned.
    hypotheses : Hypotheses
        The hypotheses of the query.
    anneal : float
        Ratio of tau to the validation error, >= 0.
    X_val, y_val : array-like
        Labelled validation data; not needed where tau is known.

    Returns
    -------
    float
    """
    if tau is not None:
        return tau
    return annealed_tau(validation_error_on(hypotheses, X_val, y_val), anneal)
