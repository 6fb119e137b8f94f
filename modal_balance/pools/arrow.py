"""Pools in Parquet files, or in any other data set that pyarrow reads.

Needs pyarrow: the extra ``arrow``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .parts import PartsSource, check_columns, table_rows

__all__ = ["arrow_source", "dataset_at"]


def dataset_at(path: str) -> Any:
    """Return the data set in a file or a folder.

    Parameters
    ----------
    path : str
        A Parquet file, or a folder of them; of other formats, a file whose name says so.

    Returns
    -------
    pyarrow.dataset.Dataset
    """
    try:
        from pyarrow import dataset
    except ImportError as error:
        raise ImportError(
            'Reading Parquet needs pyarrow: pip install "modal-balance[arrow]".'
        ) from error
    suffix = os.path.splitext(path)[1].lower().lstrip(".")
    kind = suffix if suffix in ("feather", "arrow", "ipc", "orc", "csv", "json") else "parquet"
    return dataset.dataset(path, format="feather" if kind == "arrow" else kind)


def arrow_source(dataset: Any, columns: Sequence[str] | None) -> PartsSource:
    """Return a data set as a source of rows; its parts are the row groups.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
        The pool.
    columns : sequence of str or None
        The columns that the estimator was fitted with. None: all, as an array.

    Returns
    -------
    PartsSource
    """
    if columns is not None:
        check_columns(columns, dataset.schema.names)
    parts, lengths, names = [], [], []
    for fragment in dataset.get_fragments():
        path = getattr(fragment, "path", "a part in memory")
        is_parquet = hasattr(fragment, "split_by_row_group")
        groups = fragment.split_by_row_group() if is_parquet else [fragment]
        for number, group in enumerate(groups):
            n_rows = group.row_groups[0].num_rows if is_parquet else group.count_rows()
            if n_rows:
                parts.append(group)
                lengths.append(n_rows)
                names.append(f"row group {number} of {path}" if is_parquet else path)
    reader = _Reader(parts, dataset.schema, columns)
    return PartsSource(lengths, reader, names.__getitem__)


class _Reader:
    """Reads one part of a data set."""

    def __init__(self, parts: list[Any], schema: Any, columns: Sequence[str] | None) -> None:
        self.parts, self.schema, self.columns = parts, schema, columns

    def __call__(self, number: int) -> Any:
        names = None if self.columns is None else list(self.columns)
        table = self.parts[number].to_table(schema=self.schema, columns=names, use_threads=False)
        return table_rows(table.to_pandas(), self.columns)
