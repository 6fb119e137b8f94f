"""Predict in chunks of rows: small enough for the cache, and smaller when memory runs out.

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

from .._utils.torch_state import interrupts_held

# Number of values in a layer's output for all hypotheses on one chunk: 16 MiB in float32, which
# fits the cache of a CPU.
CHUNK_VALUES = 2**22
# 512 MiB: on a GPU larger chunks are faster, because it is idle while Python prepares the next one.
CHUNK_VALUES_CUDA = 2**27
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def rows_per_chunk(n_hypotheses: int, row_size: int, device: str | torch.device = "cpu") -> int:
    """Return the number of rows to predict at once, at least 1.

    ``row_size`` is the number of values of one row in the widest layer, and ``device`` is where the
    rows are predicted.

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
    """Return whether an error means that a device or the machine is out of memory.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.chunks import is_out_of_memory
    >>> is_out_of_memory(torch.cuda.OutOfMemoryError()), is_out_of_memory(RuntimeError("shapes"))
    (True, False)
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    # For the CPU and other devices only the message of a RuntimeError tells.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


class Blocks:
    """Predict batches in blocks of rows, halving the blocks when memory runs out.

    ``size`` is the largest number of rows in a block; None means whole batches, as long as they
    fit. With ``verbose`` of 1 or more, a message is printed when blocks are halved.

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
        """Return the predictions on a batch of n rows, (S, n, ...).

        ``predict`` maps rows to predictions (S, rows, ...). The batch is a tensor, or a dict or
        sequence of tensors. Raise RuntimeError if memory runs out for a single row.
        """
        n_rows: int = get_len(batch)
        while True:
            size = n_rows if self.size is None else min(self.size, n_rows)
            try:
                with interrupts_held():
                    if size == n_rows:
                        return predict(batch)
                    starts = range(0, n_rows, size)
                    blocks = [multi_indexing(batch, slice(i, i + size)) for i in starts]
                    return torch.cat([predict(block) for block in blocks], dim=1)
            except RuntimeError as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Outside of the except block the error no longer keeps tensors alive.
            self.size = size // 2
            if self.verbose >= 1:
                tqdm.write(
                    f"Out of memory with {size} rows at once: continuing with {self.size}.",
                    file=sys.stderr,
                )
