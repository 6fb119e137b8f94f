"""Columns of all kinds as numbers, by skrub."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from ..arguments import RandomState, draw_seed

__all__ = ["prepare"]


def prepare(columns: Any, random_state: RandomState = None) -> NDArray[np.float32]:
    """Return the columns of a table as features.

    skrub's ``TableVectorizer`` looks at each column: numbers are scaled, so that extreme values
    count no more than large ones; few different words become indicators; dates become their parts;
    free text becomes 30 components of its character n-grams. What is missing in a number or a date
    is filled with the mean. (Indicators of where it was missing would be many columns of noise to
    few labels, and make rows with gaps look like the most diverse ones.) No label is looked at, so
    that all rows of the table can be prepared at once.

    Parameters
    ----------
    columns : DataFrame with N rows
        Columns to learn from.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the components of free text.

    Returns
    -------
    ndarray of float32, shape (N, n_features)

    Raises
    ------
    ImportError
        If skrub is not installed.
    ValueError
        If nothing is left to learn from.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.table.preparation import prepare
    >>> columns = pd.DataFrame({"size": [1.0, None, 3.0], "colour": ["red", "blue", "red"]})
    >>> prepare(columns, random_state=0).shape
    (3, 2)
    """
    try:
        from skrub import DatetimeEncoder, SquashingScaler, StringEncoder, TableVectorizer
    except ImportError as error:
        raise ImportError(
            "Tables need skrub: python -m pip install 'modal-balance[table]'"
        ) from error
    vectorizer = TableVectorizer(
        numeric=SquashingScaler(),
        datetime=make_pipeline(DatetimeEncoder(), SquashingScaler()),
        high_cardinality=StringEncoder(random_state=draw_seed(random_state)),
        drop_if_constant=True,
    )
    prepared = vectorizer.fit_transform(columns)
    if prepared.shape[1] == 0:
        raise ValueError(
            "There is nothing to learn from: every column beside the target is empty, or has one "
            "value throughout."
        )
    filled = SimpleImputer(keep_empty_features=True).fit_transform(prepared)
    return np.ascontiguousarray(filled, dtype=np.float32)
