"""Repairs of modAL under newer scikit-learn and pandas.

modAL has had no release since 2023, and the two libraries below it have since removed what its
learners call:

===========================================  =======================  =========================
modAL (0.4.1 and 0.4.2.x) calls              removed in               so this fails
===========================================  =======================  =========================
``check_X_y(..., force_all_finite=...)``     scikit-learn 1.8         ``fit`` and ``teach``
``DataFrame.append``                         pandas 2.0               ``teach`` with a DataFrame
===========================================  =======================  =========================

After ``import modal_balance``, :func:`repair_modal` is called: at once if modAL has been imported,
else as soon as it is. It replaces these two functions inside modAL's own modules, each only where
it is broken, so that modAL does what it did with the older versions. scikit-learn and pandas
themselves are not touched. Set the environment variable ``MODAL_BALANCE_NO_COMPAT=1`` to leave
modAL as it is.

Not repaired are modAL's own faults, and the modules ``modAL.expected_error`` and
``modAL.cluster``, which can no longer be imported and which no learner needs.
"""

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["repair_modal", "repair_modal_when_imported"]

_Function = Callable[..., Any]


def repair_modal() -> tuple[str, ...]:
    """Make modAL's learners work under the installed scikit-learn and pandas.

    After ``import modal_balance`` this is called once, as soon as modAL is imported. Call it again
    if modAL was reloaded; what is already repaired stays as it is.

    Returns
    -------
    tuple of str
        The full names of all functions in modAL that are repaired now, in alphabetical order.
        Empty if nothing is broken, if modAL is not installed, or if the environment variable
        ``MODAL_BALANCE_NO_COMPAT`` is set (to anything but ``0``).

    Examples
    --------
    >>> from modal_balance.compat import repair_modal
    >>> repaired = repair_modal()
    >>> repair_modal() == repaired  # the second call finds nothing left to do
    True

    modAL can now teach a learner, whichever scikit-learn is installed:

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
        # Only now, and pandas only after modAL, which cannot be imported without it: neither is
        # a requirement of this package.
        import modAL.models  # noqa: F401
        import pandas as pd
    except ImportError:
        return ()

    repairs: dict[str, Callable[[_Function], _Function]] = {"check_X_y": _rename_finite_argument}
    if not hasattr(pd.DataFrame, "append"):
        repairs["data_vstack"] = _concatenate_frames

    # modAL's modules import functions by name, so each holds its own reference. Those that are
    # imported later take theirs from modules that are repaired here.
    repaired = []
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] != "modAL":
            continue
        for name, repair in repairs.items():
            function = vars(module).get(name)
            if function is None:
                continue
            if function.__module__ != __name__:  # else it has been replaced already
                function = repair(function)
                setattr(module, name, function)
            if function.__module__ == __name__:
                repaired.append(f"{module_name}.{name}")
    return tuple(sorted(repaired))


def repair_modal_when_imported() -> None:
    """Call :func:`repair_modal` now if modAL has been imported, and else when it is.

    modAL and pandas take seconds to import, and not everybody who imports this package needs them.

    Examples
    --------
    >>> from modal_balance.compat import repair_modal_when_imported
    >>> repair_modal_when_imported()
    """
    if "modAL.models" in sys.modules:
        repair_modal()
    elif not any(isinstance(finder, _RepairsModal) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RepairsModal())


class _RepairsModal(MetaPathFinder):
    """Finds no modules itself, but sees when modAL's are imported."""

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "modAL.models":
            return None
        sys.meta_path.remove(self)  # its task ends here, and the other finders are asked below
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_repair(module: ModuleType) -> None:
                execute(module)
                repair_modal()

            spec.loader.exec_module = execute_and_repair  # type: ignore[method-assign]
        return spec


def _rename_finite_argument(check_X_y: _Function) -> _Function:
    # scikit-learn 1.6 renamed the argument, and took both names until 1.8.
    if "force_all_finite" in inspect.signature(check_X_y).parameters:
        return check_X_y

    def check_X_y_repaired(*args: Any, force_all_finite: bool | str = True, **kwargs: Any) -> Any:
        return check_X_y(*args, ensure_all_finite=force_all_finite, **kwargs)

    return check_X_y_repaired


def _concatenate_frames(data_vstack: _Function) -> _Function:
    import pandas as pd
    from scipy.sparse import issparse

    def data_vstack_repaired(blocks: Sequence[Any]) -> Any:
        if not isinstance(blocks[0], pd.DataFrame) or any(issparse(block) for block in blocks):
            return data_vstack(blocks)
        # A Series is one row here (modAL's add_row), which pd.concat would take for a column.
        return pd.concat([pd.DataFrame([b]) if isinstance(b, pd.Series) else b for b in blocks])

    return data_vstack_repaired
