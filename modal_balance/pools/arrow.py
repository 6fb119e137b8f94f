"""Pools in Parquet files, or in any other data set that pyarrow reads.

Needs pyarrow: the extra ``arrow``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

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

    Raises
    ------
    ValueError
        If a file lacks a column.
    """
    from pyarrow.dataset import get_partition_keys

    wanted = dataset.schema.names if columns is None else list(columns)
    check_columns(wanted, dataset.schema.names)
    parts: list[Any] = []
    lengths: list[int] = []
    names: list[str] = []
    schemas: list[Any] = []
    for fragment in dataset.get_fragments():
        path = getattr(fragment, "path", "a part in memory")
        is_parquet = hasattr(fragment, "split_by_row_group")
        groups = fragment.split_by_row_group() if is_parquet else [fragment]
        n_before = len(parts)
        for number, group in enumerate(groups):
            n_rows = group.row_groups[0].num_rows if is_parquet else group.count_rows()
            if n_rows:
                parts.append(group)
                lengths.append(n_rows)
                names.append(f"row group {number} of {path}" if is_parquet else path)
        if len(parts) > n_before:
            # pyarrow would fill a column that is missing here with nulls.
            from_path = get_partition_keys(fragment.partition_expression)
            check_columns(wanted, [*fragment.physical_schema.names, *from_path], path)
            schemas.append(fragment.physical_schema)
    reader = _Reader(parts, _unified(dataset.schema, schemas, wanted), columns)
    return PartsSource(lengths, reader, names.__getitem__)


def _unified(declared: Any, schemas: Sequence[Any], names: Sequence[str]) -> Any:
    """Return the schema of a data set with types that hold the values of all files.

    pyarrow takes the types of the first file, where a column may be empty or hold integers only.
    """
    import pyarrow

    fields = []
    for name in names:
        here = [pyarrow.schema([declared.field(name)])]
        here += [pyarrow.schema([s.field(name)]) for s in schemas if name in s.names]
        try:
            fields.append(pyarrow.unify_schemas(here, promote_options="permissive").field(0))
        except pyarrow.ArrowException:  # numbers here and words there: reading says where
            fields.append(declared.field(name))
    return pyarrow.schema(fields)


class _Reader:
    """Reads one part of a data set."""

    def __init__(self, parts: list[Any], schema: Any, columns: Sequence[str] | None) -> None:
        self.parts, self.schema, self.columns = parts, schema, columns

    def __call__(self, number: int) -> Any:
        from pyarrow import types

        names = None if self.columns is None else list(self.columns)
        table = self.parts[number].to_table(schema=self.schema, columns=names, use_threads=False)
        if self.columns is not None:
            return table_rows(table.to_pandas(), self.columns)
        for field in table.schema:
            if not (types.is_integer(field.type) or types.is_floating(field.type)):
                raise ValueError(
                    f"Column {field.name!r} holds {field.type}, and the estimator was fitted with "
                    "an array of numbers. Leave the column out, or fit it with a DataFrame."
                )
        return np.column_stack([column.to_numpy() for column in table.columns])
