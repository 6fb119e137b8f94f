"""Repairs of modAL under newer scikit-learn and pandas.

modAL has had no release since 2023. Since then, scikit-learn and pandas have removed functions that
its learners call:

===========================================  =======================  =========================
modAL (0.4.1 and 0.4.2.x) calls              removed in               what fails
===========================================  =======================  =========================
``check_X_y(..., force_all_finite=...)``     scikit-learn 1.8         ``fit`` and ``teach``
``DataFrame.append``                         pandas 2.0               ``teach`` with a DataFrame
===========================================  =======================  =========================

In addition, modAL cannot stack labels given as a pandas Series or extension array, such as the
column of a table, so ``teach`` fails with these. And scikit-learn's check refuses tables with
numbers in a dtype of pandas or Arrow beside categories or words of Arrow.

Importing :mod:`modal_balance.strategies`, or any public name of ``modal_balance``, calls
:func:`repair_modal`. It replaces ``check_X_y`` and ``data_vstack`` only inside modAL's modules;
scikit-learn and pandas are not changed. Set the environment variable
``MODAL_BALANCE_NO_COMPAT=1`` to leave modAL unchanged.

Other faults of modAL are not repaired. This includes the modules ``modAL.expected_error`` and
``modAL.cluster``, which can no longer be imported; no learner needs them.
"""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .arguments import nan_for_na

_Function = Callable[..., Any]


def repair_modal() -> tuple[str, ...]:
    """Make modAL's learners work under the installed scikit-learn and pandas.

    Importing a strategy calls this. Call it again if modAL was reloaded; functions that are already
    repaired are left unchanged.

    Returns
    -------
    tuple of str
        The full names of all repaired functions in modAL, in alphabetical order.
        Empty if modAL is not installed or cannot be imported, or if the environment variable
        ``MODAL_BALANCE_NO_COMPAT`` is set (to anything but ``0``).

    Examples
    --------
    >>> from modal_balance._utils.modal_compat import repair_modal
    >>> repaired = repair_modal()
    >>> repair_modal() == repaired  # the second call changes nothing
    True

    modAL can now teach a learner with any supported version of scikit-learn:

    >>> import numpy as np
    >>> from modAL.models import ActiveLearner
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> learner = ActiveLearner(LogisticRegression(), X_training=X[[0, 3]], y_training=y[[0, 3]])
    >>> learner.teach(X[[1, 2]], y[[1, 2]])
    >>> len(learner.X_training)
    4
    """
    if os.environ.get("MODAL_BALANCE_NO_COMPAT", "0") not in ("", "0"):
        return ()
    try:
        import modAL.models  # noqa: F401
    except Exception:  # not installed or broken: importing modAL directly shows the error
        return ()

    repairs = {"check_X_y": _rename_finite_argument, "data_vstack": _stack_pandas}
    # modAL's modules import functions by name, so each module has its own reference. Modules
    # imported later get theirs from modules repaired here.
    repaired = []
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] != "modAL":
            continue
        for name, repair in repairs.items():
            function = vars(module).get(name)
            if function is None:
                continue
            if function.__module__ != __name__:  # otherwise it is already replaced
                function = repair(function)
                setattr(module, name, function)
            if function.__module__ == __name__:
                repaired.append(f"{module_name}.{name}")
    return tuple(sorted(repaired))


def _rename_finite_argument(check_X_y: _Function) -> _Function:
    # scikit-learn 1.6 renamed the argument, and accepted both names until 1.8.
    if "force_all_finite" in inspect.signature(check_X_y).parameters:
        return check_X_y

    def check_X_y_repaired(
        X: Any, *args: Any, force_all_finite: bool | str = True, **kwargs: Any
    ) -> Any:
        # Beside words, scikit-learn does not convert numbers in a dtype of pandas or Arrow.
        X = nan_for_na(X) if hasattr(X, "iloc") and X.ndim == 2 else X
        return check_X_y(X, *args, ensure_all_finite=force_all_finite, **kwargs)

    return check_X_y_repaired


def _stack_pandas(data_vstack: _Function) -> _Function:
    import pandas as pd
    from scipy.sparse import issparse

    def data_vstack_repaired(blocks: Sequence[Any]) -> Any:
        first = blocks[0]
        if isinstance(first, pd.DataFrame) and not any(issparse(block) for block in blocks):
            # A Series is a row here (modAL's add_row), which pd.concat would treat as a column.
            return pd.concat([pd.DataFrame([b]) if isinstance(b, pd.Series) else b for b in blocks])
        if isinstance(first, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):  # labels
            return pd.concat([b if isinstance(b, pd.Series) else pd.Series(b) for b in blocks])
        return data_vstack(blocks)

    return data_vstack_repaired
