"""Run a torch module under fixed dropout masks, for many sets of masks in one vectorised pass.

A module with dropout and one fixed set of masks is a function of its input: a draw from the
MC-dropout posterior (Gal & Ghahramani, ICML 2016).
:class:`~modal_balance.hypotheses.dropout_calls.DropoutCalls` replaces every dropout by a fixed mask
while the module is in eval mode, without changing the user's module. ``torch.func.vmap`` runs all
draws at once; the layers before the first dropout run only once.

S: draws    n: rows
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._utils.torch_state import interrupts_held, undisturbed
from .chunks import is_out_of_memory
from .dropout_calls import Dropout, DropoutCalls, Replace, Site


class NoDropoutError(ValueError):
    """A module has no dropout that can be sampled."""


ForwardPass = Callable[[], Tensor]

# Value of a unit dropped by AlphaDropout: the minimum of SELU, -scale * alpha (Klambauer et al.,
# NeurIPS 2017).
SELU_FLOOR = -1.7580993408473766


class DropoutEnsemble:
    """Networks that share a module's weights, each with its own fixed dropout masks.

    A mask depends only on the seed, on the module that calls the dropout, on the position of the
    dropout in that module, and on the number of the draw. So the first draws do not depend on
    ``n_samples``.

    The module is trained, and the first dimension of its output is the batch. There are
    ``n_samples`` networks S, at least 1, and the seed of the masks is >= 0. With ``verbose`` of
    1 or more, a message is printed if the networks must run one after the other.

    :meth:`trace` sets three attributes: ``row_size``, the number of values of one row in the widest
    layer that runs once for each draw; ``device``, that of the masks; and ``unseen``, the modules
    whose dropout cannot be sampled and is therefore off.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.masks import DropoutEnsemble
    >>> module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
    >>> x = torch.ones(3, 4)
    >>> ensemble = DropoutEnsemble(module, n_samples=5, seed=0)
    >>> ensemble.trace(lambda: module(x[:1]), lambda: module(x[[0, 0]]))
    >>> outputs = ensemble(lambda: module(x))
    >>> outputs.shape
    torch.Size([5, 3, 2])
    >>> torch.allclose(outputs[:, 0], outputs[:, 2])  # the same masks for every row
    True
    """

    def __init__(self, module: nn.Module, n_samples: int, seed: int, *, verbose: int = 0) -> None:
        self.module = module
        self.n_samples = n_samples
        self.seed = seed
        self.verbose = verbose
        self.row_size = 0
        self.device = torch.device("cpu")
        self.unseen: list[str] = []
        self._masks: dict[Site, Tensor] = {}  # bool, True: kept, (S, *shape of one row's mask)
        self._vectorised = True

    def trace(self, one_row: ForwardPass, same_row_twice: ForwardPass) -> None:
        """Draw the masks for a forward pass, and check that the module is deterministic.

        ``one_row`` runs the module on one row and returns its output, and ``same_row_twice`` does
        so on a batch of two copies of that row. Raise NoDropoutError if there is no dropout, and
        ValueError if the batch is not the first dimension, or if the output for a row is random or
        depends on other rows.
        """
        with undisturbed(self.module), interrupts_held():
            twice = self._run(same_row_twice, self._trace_site)
            with self._widths_noted():
                alone = self._run(one_row, self._trace_site)
        if not self._masks:
            raise NoDropoutError(no_dropout_message(self.module, self.unseen))
        name = type(self.module).__name__
        if alone.shape[:1] != (1,) or twice.shape[:1] != (2,):
            raise ValueError(
                f"{name} returned the shapes {tuple(alone.shape)} and {tuple(twice.shape)} for "
                "one and two rows. The first dimension must be the batch."
            )
        if not torch.allclose(twice, alone.expand_as(twice), rtol=1e-2, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"{name} returns different outputs for the same row in eval mode, so it is not a "
                "fixed function. Likely causes: noise that is also added in eval mode, or "
                "normalisation by the statistics of the batch. Use torch's dropout functions or "
                "layers, and layers that process each row independently in eval mode."
            )

    def __call__(self, forward: ForwardPass) -> Tensor:
        """Return the outputs of all networks, (S, n, ...).

        ``forward`` runs the module on a batch of n rows and returns its output.
        """
        with undisturbed(self.module):
            if self._vectorised:
                try:
                    return self._all_draws_at_once(forward)
                except (RuntimeError, KeyError) as error:
                    if is_out_of_memory(error):
                        raise
                    # vmap supports neither data-dependent control flow nor recurrent layers, and
                    # this pass may call other dropouts than that of the traced row. An error in
                    # the module itself is raised again in the passes below.
                    self._vectorised = False
                    if self.verbose >= 1:
                        tqdm.write(
                            f"{type(self.module).__name__} cannot run under all masks at once "
                            f"({str(error).splitlines()[0]}): running one pass for each.",
                            file=sys.stderr,
                        )
            return torch.stack([self._one_draw(forward, s) for s in range(self.n_samples)])

    def _all_draws_at_once(self, forward: ForwardPass) -> Tensor:
        sites = list(self._masks)

        def one_draw(masks: list[Tensor]) -> Tensor:
            mask_of = dict(zip(sites, masks, strict=True))
            return self._run(
                forward,
                lambda site, dropout, x: _masked(
                    dropout, x, self._fitting(mask_of[site], dropout, x)
                ),
            )

        with warnings.catch_warnings():
            # vmap warns about operations that it runs in a loop; the user cannot change that.
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            result: Tensor = torch.func.vmap(one_draw)([self._masks[site] for site in sites])
        return result

    def _one_draw(self, forward: ForwardPass, draw: int) -> Tensor:
        return self._run(
            forward,
            lambda site, dropout, x: _masked(
                dropout, x, self._fitting(self._masks_of(site, dropout, x)[draw], dropout, x)
            ),
        )

    def _trace_site(self, site: Site, dropout: Dropout, x: Tensor) -> Tensor:
        self._fitting(self._masks_of(site, dropout, x)[0], dropout, x)
        self.row_size = max(self.row_size, x.numel())
        self.device = x.device
        return x

    def _run(self, forward: ForwardPass, replace: Replace) -> Tensor:
        """Run a forward pass with ``replace`` in place of every dropout."""
        with DropoutCalls(self.module, replace) as calls:
            output = forward()
        self.unseen = calls.unseen()
        return output

    @contextmanager
    def _widths_noted(self) -> Iterator[None]:
        """Record the widest output of any layer from the first dropout on."""
        self.row_size = 0

        def note(layer: nn.Module, args: Any, output: Any) -> None:
            # Layers before the first dropout run once, not once for each draw.
            if self.row_size > 0 and isinstance(output, Tensor):
                self.row_size = max(self.row_size, output.numel())

        handles = [layer.register_forward_hook(note) for layer in self.module.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _masks_of(self, site: Site, dropout: Dropout, x: Tensor) -> Tensor:
        """Return the masks of a site, (S, *shape of one row's mask); drawn at the first call."""
        if site not in self._masks:
            shape = _mask_shape(dropout, x)
            draws = [
                np.random.default_rng([self.seed, *site, draw]).random(shape, dtype=np.float32)
                for draw in range(self.n_samples)
            ]
            kept = torch.from_numpy(np.stack(draws) >= dropout.p)
            self._masks[site] = kept.to(x.device)
        return self._masks[site]

    def _fitting(self, mask: Tensor, dropout: Dropout, x: Tensor) -> Tensor:
        shape = _mask_shape(dropout, x)
        if tuple(mask.shape) != shape:
            raise ValueError(
                f"A {dropout.name} was applied to rows of the shape {tuple(mask.shape)} and then "
                f"of the shape {shape}: a fixed mask cannot fit both. The batch must be the first "
                "dimension everywhere, and all rows must have the same shape. A module must not "
                "cut padding to the longest row of a batch."
            )
        return mask


def _mask_shape(dropout: Dropout, x: Tensor) -> tuple[int, ...]:
    """Return the shape of the mask for one row of a dropout's input."""
    if not dropout.by_channel:
        return tuple(x.shape[1:])
    if x.ndim < 2 or x.ndim == dropout.unbatched:
        raise ValueError(
            f"{dropout.name} is applied to a tensor of {x.ndim} dimensions, which torch reads as "
            "one sample without a batch: it would drop whole rows. Use nn.Dropout there."
        )
    return (x.shape[1], *[1] * (x.ndim - 2))


def _masked(dropout: Dropout, x: Tensor, kept: Tensor) -> Tensor:
    """Return the output of a dropout in training mode for the given mask."""
    p = dropout.p
    keep = kept.to(x.dtype)
    if p == 1:
        return x * 0
    if dropout.alpha:
        # The affine map keeps mean 0 and variance 1 (Klambauer et al. 2017, section 2).
        slope: float = ((1 - p) * (1 + p * SELU_FLOOR**2)) ** -0.5
        return slope * (x * keep + SELU_FLOOR * (1 - keep) - p * SELU_FLOOR)
    return x * (keep / (1 - p))


def no_dropout_message(module: nn.Module, unseen: list[str]) -> str:
    """Return the error message for a module without dropout that can be sampled."""
    name = type(module).__name__
    cause = (
        f"the dropout of {', '.join(unseen)} cannot be sampled"
        if unseen
        else "its forward pass calls no dropout"
    )
    return (
        f"{name} has no dropout to sample: {cause}, so all draws would be the same network. Add "
        "nn.Dropout layers, or call torch.nn.functional.dropout(x, p, training=self.training), "
        "also in eval mode. Without dropout, use BootstrapCommittee(net), a list of several "
        'trained nets, or MCDropoutClassifier(module=..., posterior="ensemble").'
    )
