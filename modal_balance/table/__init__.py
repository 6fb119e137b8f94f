"""Choose the next rows of a partly labelled table, and merge the answers; the command line.

In a notebook::

    rows = next_rows(frame, "label", n=20)
    rows["label"] = [...]  # ask your annotators
    frame = merge_answers(frame, rows, "label")
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from .answers import AnswersRefused, merge_answers

if TYPE_CHECKING:
    from .choosing import next_rows
    from .status import Accuracy, TableStatus, table_status

__all__ = [
    "Accuracy",
    "AnswersRefused",
    "TableStatus",
    "merge_answers",
    "next_rows",
    "table_status",
]

# These need torch, which takes seconds to import; merging does not need it.
_LATER = {
    "Accuracy": "status",
    "TableStatus": "status",
    "next_rows": "choosing",
    "table_status": "status",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f".{_LATER[name]}", __name__), name)
