"""Labelled tables in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import open_table

__all__ = ["read_table"]


def read_table(path: str | Path, target: str | None = None) -> tuple[Any, NDArray[Any]]:
    r"""Read a table whose rows are all labelled.

    Parameters
    ----------
    path : path
        A ``.csv``, ``.tsv``, ``.xlsx`` or ``.parquet`` file, or a ``.npz`` archive with the arrays
        X and y.
    target : str, default=None
        Column of the labels; the last one by default. Of an archive: name of the array.

    Returns
    -------
    X : ndarray of float32, shape (n, n_features)
        The other columns.
    y : ndarray of shape (n,)
        The labels.

    Raises
    ------
    ValueError
        If the file is not there, or is no such table: one sentence says what is wrong.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.datasets import read_table
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("width,height,kind\n1,2,a\n3,4,b\n")
    >>> X, y = read_table(path, "kind")
    >>> X.tolist(), y.tolist()
    ([[1.0, 2.0], [3.0, 4.0]], ['a', 'b'])
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is no file.")
    if path.suffix == ".npz":
        X, y = _archive(path, target or "y")
    else:
        X, y = _table(path, target)
    if len(X) != len(y):
        raise ValueError(f"{path} has {len(X)} rows of X but {len(y)} labels.")
    if X.ndim < 2 or X.shape[1] == 0:
        raise ValueError(f"{path} has no column beside the labels.")
    if len(np.unique(y)) < 2:
        raise ValueError(f"{path} has labels of {len(np.unique(y))} class. Expected at least two.")
    bad = ~np.isfinite(X)
    if bad.any():
        raise ValueError(f"{path} has {int(bad.sum())} missing or infinite values. Impute them.")
    return X, y


def _archive(path: Path, target: str) -> tuple[Any, NDArray[Any]]:
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an archive: {error}") from None
    missing = {"X", target} - set(arrays)
    if missing:
        raise ValueError(f"{path} has no array {sorted(missing)}, but {sorted(arrays)}.")
    return arrays["X"].astype(np.float32), arrays[target]


def _table(path: Path, target: str | None) -> tuple[Any, NDArray[Any]]:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "Tables need pandas: python -m pip install 'modal-balance[plot]'"
        ) from error
    frame = open_table(path).frame()
    names = [str(name) for name in frame.columns]
    target = names[-1] if target is None and names else target
    if target not in names:
        raise ValueError(f"{path} has no column {target!r}. Its columns are {names[:20]}.")
    if not len(frame):
        raise ValueError(f"{path} has no rows.")
    at = names.index(target)
    labels, others = frame.iloc[:, at], frame.iloc[:, [i for i in range(len(names)) if i != at]]
    if labels.isna().any():
        raise ValueError(f"{path} has {int(labels.isna().sum())} rows without a {target!r}.")
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in others.dtypes]
    words = [str(c) for c, is_number in zip(others.columns, numeric, strict=True) if not is_number]
    if words:
        raise ValueError(
            f"{path} has columns that are no numbers: {words[:5]}. Encode them, or leave them out."
        )
    return others.to_numpy(dtype=np.float32), labels.to_numpy()
