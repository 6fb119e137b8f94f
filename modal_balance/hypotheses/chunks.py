"""Chunks of rows, so that the predictions of all hypotheses on a chunk stay in cache.

S: hypotheses    n: rows
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from skorch.dataset import get_len
from skorch.utils import multi_indexing
from torch import Tensor
from tqdm.auto import tqdm

# Values of a layer's output for all hypotheses on one chunk: 16 MiB in float32, for a CPU's cache.
CHUNK_VALUES = 2**22
# 512 MiB. A GPU is idle while Python prepares the next chunk.
CHUNK_VALUES_CUDA = 2**27
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def rows_per_chunk(n_hypotheses: int, row_size: int, device: str | torch.device = "cpu") -> int:
    """Return how many rows to predict at once.

    Parameters
    ----------
    n_hypotheses : int
        S.
    row_size : int
        Number of values of one row in the widest layer.
    device : str or torch.device, default="cpu"
        Where they are predicted.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> from modal_balance.hypotheses.chunks import rows_per_chunk
    >>> rows_per_chunk(n_hypotheses=100, row_size=64)
    655
    >>> rows_per_chunk(n_hypotheses=100, row_size=64, device="cuda")
    20971
    """
    n_values = CHUNK_VALUES_CUDA if torch.device(device).type == "cuda" else CHUNK_VALUES
    return max(1, n_values // (n_hypotheses * row_size))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that the memory of a device, or of the machine, is spent.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.chunks import is_out_of_memory
    >>> is_out_of_memory(torch.cuda.OutOfMemoryError()), is_out_of_memory(RuntimeError("shapes"))
    (True, False)
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    # Of the CPU and of other devices torch says so in words alone.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


class Blocks:
    """Predict batches in blocks of rows, which are halved where the memory does not suffice.

    Parameters
    ----------
    verbose : int, default=0
        1 or more: say when blocks are halved.

    Attributes
    ----------
    size : int or None
        Largest number of rows of a block. None: whole batches, as long as they fit.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.chunks import Blocks
    >>> def predict(rows):
    ...     if len(rows) > 3:
    ...         raise torch.cuda.OutOfMemoryError
    ...     return rows[None] * 2
    >>> blocks = Blocks()
    >>> blocks.predict(predict, torch.arange(8.0)), blocks.size
    (tensor([[ 0.,  2.,  4.,  6.,  8., 10., 12., 14.]]), 2)
    """

    def __init__(self, verbose: int = 0) -> None:
        self.verbose = verbose
        self.size: int | None = None

    def predict(self, predict: Callable[[Any], Tensor], batch: Any) -> Tensor:
        """Return the predictions on a batch.

        Parameters
        ----------
        predict : callable
            Maps rows to predictions (S, rows, ...).
        batch : tensor, dict or sequence of tensors
            n rows.

        Returns
        -------
        Tensor of shape (S, n, ...)

        Raises
        ------
        RuntimeError
            If the memory does not suffice for a single row.
        """
        n_rows: int = get_len(batch)
        while True:
            size = n_rows if self.size is None else min(self.size, n_rows)
            try:
                if size == n_rows:
                    return predict(batch)
                starts = range(0, n_rows, size)
                blocks = [multi_indexing(batch, slice(i, i + size)) for i in starts]
                return torch.cat([predict(block) for block in blocks], dim=1)
            except RuntimeError as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Out here, the error no longer holds on to what was computed.
            self.size = size // 2
            if self.verbose >= 1:
                tqdm.write(
                    f"Out of memory with {size} rows at once: going on with {self.size}.",
                    file=sys.stderr,
                )
