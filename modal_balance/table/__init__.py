"""The next rows of a table to label, and the way of the answers back into it.

In a notebook::

    rows = next_rows(frame, "label", n=20)
    rows["label"] = [...]  # ask your annotators
    frame = merge_answers(frame, rows, "label")
"""

from .merging import AnswersRefused, merge_answers
from .next_rows import next_rows
from .status import TableStatus, table_status

__all__ = ["AnswersRefused", "TableStatus", "merge_answers", "next_rows", "table_status"]
