"""Chunks of rows, so that the predictions of all hypotheses on a chunk stay in cache."""

from __future__ import annotations

# Values of a layer's output for all hypotheses on one chunk: 16 MiB in float32.
CHUNK_VALUES = 2**22


def rows_per_chunk(n_hypotheses: int, row_size: int) -> int:
    """Return how many rows to predict at once.

    Parameters
    ----------
    n_hypotheses : int
        S.
    row_size : int
        Number of values of one row in the widest layer.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> from modal_balance.hypotheses.chunks import rows_per_chunk
    >>> rows_per_chunk(n_hypotheses=100, row_size=64)
    655
    """
    return max(1, CHUNK_VALUES // (n_hypotheses * row_size))
