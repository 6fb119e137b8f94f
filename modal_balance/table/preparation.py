"""Convert columns of all kinds to numbers, with skrub."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from .._utils.arguments import RandomState, as_random_state, draw_seed
from .._utils.user_warnings import warn_user
from .values import ERRORS, MISSING, cell_text, is_missing

N_FITTED = 20_000  # largest number of rows on which the encoders are fitted
N_AT_ONCE = 20_000  # rows per block
MOSTLY = 0.9  # smallest share of numbers at which the other cells of a column become gaps
# Codes with a leading zero, 007, are not numbers.
PLAIN = r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
THOUSANDS = r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?"
DECIMAL_COMMA = r"[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+|0|[1-9]\d*)(?:,\d+)?"
ERRORS_SAID = "are spreadsheet errors, and count as gaps"
CODE = r"[+-]?0\d.*"


def prepare(
    columns: Any, random_state: RandomState = None, row: Callable[[int], str] = "position {}".format
) -> NDArray[np.float32]:
    """Return the columns of a table as features, float32 (N, n_features).

    skrub's ``TableVectorizer`` converts each column: numbers are scaled so that outliers count no
    more than large values, categories become indicators, dates become their parts, and free text
    becomes 30 components of its character n-grams. Missing numbers and dates are filled with the
    mean. Indicators of missing values are left out: with few labels they are noise, and they make
    rows with gaps look the most diverse. Labels are not used, so all rows of the table can be
    prepared at once.

    ``columns`` is a DataFrame of N rows with the columns to learn from, as text or values.
    ``random_state`` is the seed of the components of free text, and ``row`` returns the name of a
    row in messages. Raise ImportError if skrub is not installed, and ValueError if every column is
    empty or constant, or a column holds lists. Warn with a UserWarning if cells of a numeric column
    are not numbers, or have thousands separators.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.table.preparation import prepare
    >>> columns = pd.DataFrame({"size": ["1.0", "", "3.0"], "colour": ["red", "blue", "red"]})
    >>> prepare(columns, random_state=0).shape
    (3, 2)
    """
    try:
        from skrub import DatetimeEncoder, SquashingScaler, StringEncoder, TableVectorizer
    except ImportError as error:
        raise ImportError(
            "Tables need skrub: python -m pip install 'modal-balance[table]'"
        ) from error
    import pandas as pd

    rng = as_random_state(random_state)
    vectorizer = make_pipeline(
        TableVectorizer(
            numeric=SquashingScaler(),
            datetime=make_pipeline(DatetimeEncoder(), SquashingScaler()),
            high_cardinality=StringEncoder(random_state=draw_seed(rng)),
            drop_if_constant=True,
        ),
        SimpleImputer(keep_empty_features=True),
    )
    frame = typed(columns, row)
    n = len(frame)

    def rows_at(at: Any) -> Any:
        # Before pandas 3, skrub finds dates only in pandas' default type of text. That takes more
        # memory than Arrow's, so convert block by block.
        texts = [c for c in frame if isinstance(frame[c].dtype, pd.StringDtype)]
        return frame.iloc[at].astype(dict.fromkeys(texts, pd.StringDtype()))

    fitted = np.sort(rng.permutation(n)[:N_FITTED]) if n > N_FITTED else np.arange(n)
    vectorizer[0].fit(rows_at(fitted))
    if not vectorizer[0].all_outputs_:
        raise ValueError(
            "There is nothing to learn from: every column besides the target is empty or constant."
        )
    vectorizer[1].fit(vectorizer[0].transform(rows_at(fitted)))
    blocks = (rows_at(slice(start, start + N_AT_ONCE)) for start in range(0, n, N_AT_ONCE))
    return np.concatenate([np.asarray(vectorizer.transform(b), dtype=np.float32) for b in blocks])


def typed(columns: Any, row: Callable[[int], str] = "position {}".format) -> Any:
    """Return columns of text and mixed values as numbers, dates or text, with gaps as missing."""
    import pandas as pd

    done = {}
    for name in columns.columns:
        column = columns[name]
        if column.dtype == object:
            column = _of_one_kind(column, row)
        if isinstance(column.dtype, pd.StringDtype):
            column = _from_text(column, row)
        done[name] = column
    return pd.DataFrame(done)


def _of_one_kind(column: Any, row: Callable[[int], str]) -> Any:
    """Return a column of objects as numbers or dates if all are, otherwise as text."""
    import pandas as pd

    values = column.tolist()
    for at, value in enumerate(values):
        if isinstance(value, list | tuple | dict | set | np.ndarray):
            kind = type(value).__name__.replace("ndarray", "list")
            raise ValueError(
                f"Column {column.name!r} holds a {kind} at {row(at)}, which no "
                "model can learn from. Split it into columns of single values, or leave it out."
            )
    errors = pd.Series([isinstance(v, str) and v.strip() in ERRORS for v in values])
    _say_cells(column, errors, ERRORS_SAID, row)
    kinds = {type(value) for value in values if not is_missing(value)}
    if kinds and all(issubclass(kind, Number) and not issubclass(kind, bool) for kind in kinds):
        return pd.Series([np.nan if is_missing(v) else float(v) for v in values], column.index,
                         dtype=np.float64, name=column.name)  # fmt: skip
    if kinds and all(issubclass(kind, date) for kind in kinds):  # times, too
        return pd.to_datetime(column, errors="coerce", utc=True)
    texts = [value if isinstance(value, str) else cell_text(value) for value in values]
    return pd.Series(texts, column.index, dtype="string", name=column.name)


def _from_text(column: Any, row: Callable[[int], str]) -> Any:
    """Return a column of text as numbers if most cells are numbers, with gaps as missing."""
    import pandas as pd

    text = column.str.strip()
    _say_cells(column, text.isin(ERRORS), ERRORS_SAID, row)
    text = text.mask(text.isin(MISSING))
    filled = text.dropna()
    if not len(filled) or filled.str.fullmatch(CODE).any():
        return text
    styles = (PLAIN, THOUSANDS, DECIMAL_COMMA)
    fits = [filled.str.fullmatch(style).fillna(False).astype(bool) for style in styles]
    counts = [int(fit.sum()) for fit in fits]
    best = int(np.argmax(counts))  # the first where two fit equally well
    if counts[best] < MOSTLY * len(filled):
        return text
    words = text.notna() & ~fits[best].reindex(text.index, fill_value=False)
    _say_cells(column, words, "are not numbers, and count as gaps", row)
    numbers = text.mask(words)
    if best == 1:
        marked = filled[fits[1] & filled.str.contains(",", regex=False)]
        example = marked.iloc[0]
        warn_user(
            f"Column {column.name!r}: commas separate thousands: {example} is read as "
            f"{example.replace(',', '')}.",
            UserWarning,
        )
        numbers = numbers.str.replace(",", "", regex=False)
    elif best == 2:
        numbers = numbers.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return pd.to_numeric(numbers, errors="coerce").astype("Float64").astype(np.float64)


def _say_cells(column: Any, which: Any, what: str, row: Callable[[int], str]) -> None:
    at = np.flatnonzero(which.fillna(False).to_numpy(dtype=bool))
    if len(at):
        some = ", ".join(f"{column.iloc[i]!r} ({row(i)})" for i in at[:3])
        more = f" and {len(at) - 3} more" if len(at) > 3 else ""
        warn_user(
            f"Column {column.name!r}: {len(at)} cell(s) {what}: {some}{more}.",
            UserWarning,
        )
