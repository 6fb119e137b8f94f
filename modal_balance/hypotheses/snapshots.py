"""Frozen hypotheses from snapshots of a network's weights.

All snapshots run at once: ``torch.func.vmap`` maps the module over its stacked parameters.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm.auto import tqdm

from .._utils.torch_state import copy_of, interrupts_held, undisturbed
from .chunks import Blocks, is_out_of_memory, rows_per_chunk


class SnapshotHypotheses:
    """Snapshots of a module's weights, each a frozen hypothesis.

    Parameters
    ----------
    module : nn.Module
        Maps inputs to logits (n, C).
    snapshots : dict of str to Tensor
        Stacked values, (S, ...), of each parameter that differs between hypotheses.
    classes : ndarray of shape (C,) or None, default=None
        Labels of the columns. None: the labels are 0..C-1.
    dtype : torch.dtype or None, default=None
        Evaluate in this precision. None: the precision of the module.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.snapshots import SnapshotHypotheses
    >>> snapshots = {"weight": torch.randn(10, 3, 4), "bias": torch.randn(10, 3)}
    >>> hypotheses = SnapshotHypotheses(torch.nn.Linear(4, 3), snapshots)
    >>> hypotheses.predict_proba_samples(torch.ones(5, 4)).shape
    torch.Size([10, 5, 3])
    """

    fixed = True

    def __init__(
        self,
        module: nn.Module,
        snapshots: Mapping[str, Tensor],
        *,
        classes: np.ndarray | None = None,
        dtype: torch.dtype | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module if dtype is None else copy_of(module, dtype)
        self.snapshots = {name: values.to(dtype=dtype) for name, values in snapshots.items()}
        self.classes_ = classes
        self.verbose = verbose

    def predict_proba_samples(self, X: Tensor) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : Tensor of shape (n, ...)
            Inputs of the module. Floating-point input is cast to the precision of the snapshots.

        Returns
        -------
        Tensor of shape (S, n, C), on the device of the module
        """
        if len(X) == 0:
            raise ValueError("X has no rows. Pass at least one row to predict.")
        reference = next(iter(self.snapshots.values()))  # (S, ...)
        dtype = reference.dtype if X.is_floating_point() else X.dtype
        parts = []
        with (
            undisturbed(self.module),
            tqdm(total=len(X), desc="Hypotheses", unit="row", disable=self.verbose < 1) as bar,
        ):
            with interrupts_held():
                row_size = self._row_size(X[:1].to(reference.device, dtype))
            blocks = Blocks(self.verbose)
            n_rows = rows_per_chunk(len(reference), row_size, reference.device)
            for part in torch.split(X, n_rows):
                logits = blocks.predict(
                    self._logits, part.to(reference.device, dtype)
                )  # (S, n_part, C)
                parts.append(torch.softmax(logits, dim=-1))
                bar.update(len(part))
        return torch.cat(parts, dim=1)  # (S, n, C)

    def _logits(self, X: Tensor) -> Tensor:
        def forward(parameters: dict[str, Tensor]) -> Any:
            return functional_call(self.module, parameters, (X,))

        try:
            with warnings.catch_warnings():
                # vmap warns about operations that it runs in a loop; the user cannot change that.
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                logits: Tensor = vmap(forward)(self.snapshots)
            return logits
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            # vmap supports neither data-dependent control flow nor recurrent layers. An error in
            # the module itself is raised again in the passes below.
            if self.verbose >= 1:
                tqdm.write(
                    f"{type(self.module).__name__} cannot run with all weights at once "
                    f"({str(error).splitlines()[0]}): running one pass for each.",
                    file=sys.stderr,
                )
            draws = range(len(next(iter(self.snapshots.values()))))
            each = ({name: values[s] for name, values in self.snapshots.items()} for s in draws)
            return torch.stack([forward(parameters) for parameters in each])

    def _row_size(self, row: Tensor) -> int:
        """Return the number of values of one row in the widest layer."""
        sizes = [row.numel()]

        def note(layer: nn.Module, args: Any, output: Any) -> None:
            sizes.append(output.numel() if isinstance(output, Tensor) else 0)

        handles = [layer.register_forward_hook(note) for layer in self.module.modules()]
        try:
            self.module(row)
        finally:
            for handle in handles:
                handle.remove()
        return max(sizes)
