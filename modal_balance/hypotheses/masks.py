"""Fixed dropout masks for any torch module, and all masked networks in one vectorised pass.

A module with dropout and one fixed set of masks is a function of its input: a draw from the
MC-dropout posterior (Gal & Ghahramani, ICML 2016). :class:`DropoutCalls` applies the masks in place
of every dropout while the module is in eval mode, so that the user's module is never changed, and
``torch.func.vmap`` runs all draws at once: what comes before the first dropout is computed once.

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

from ..torch_state import undisturbed
from .chunks import is_out_of_memory
from .dropout_calls import Dropout, DropoutCalls, Site, dropout_layers

ForwardPass = Callable[[], Tensor]


# What AlphaDropout puts in place of a dropped unit: the floor of SELU, -scale * alpha
# (Klambauer et al., NeurIPS 2017).
SELU_FLOOR = -1.7580993408473766


class DropoutEnsemble:
    """Networks that share a module's weights, each with its own fixed dropout masks.

    The masks depend on the seed, the module that drops, the place of the dropout among those of
    that module, and the number of the draw, and on nothing else: the first draws are the same
    whatever ``n_samples``.

    Parameters
    ----------
    module : nn.Module
        A trained module. The first dimension of what it returns is the batch.
    n_samples : int
        Number of networks S, at least 1.
    seed : int
        Seed of the masks, >= 0.
    verbose : int, default=0
        1 or more: say if the networks must run one after the other.

    Attributes
    ----------
    row_size : int
        Number of values of one row in the widest layer that runs once for each draw; known after
        :meth:`trace`.
    device : torch.device
        Where the masks are; known after :meth:`trace`.
    unseen : list of str
        Modules whose dropout cannot be sampled, so that it is off in the networks; known after
        :meth:`trace`.

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
        """Draw the masks that a forward pass needs, and check that the module is a function.

        Parameters
        ----------
        one_row : callable
            Runs the module on one row and returns its output.
        same_row_twice : callable
            Runs the module on a batch of two copies of that row.

        Raises
        ------
        ValueError
            If nothing is dropped, the batch is not the first dimension, or a row's output is random
            or depends on the other rows.
        """
        with undisturbed(self.module):
            twice = self._run(same_row_twice, self._trace_site)
            with self._widths_noted():
                alone = self._run(one_row, self._trace_site)
        if not self._masks:
            raise ValueError(no_dropout_message(self.module, self.unseen))
        name = type(self.module).__name__
        if alone.shape[:1] != (1,) or twice.shape[:1] != (2,):
            raise ValueError(
                f"{name} returned the shapes {tuple(alone.shape)} and {tuple(twice.shape)} for "
                "one and two rows. The first dimension must be the batch."
            )
        if not torch.allclose(twice, alone.expand_as(twice), rtol=1e-2, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"{name} gives different outputs for the same row in eval mode, so it is not one "
                "fixed function. Likely causes: noise of its own that is always on, or "
                "normalisation by the statistics of the batch. Drop out with torch's functions or "
                "layers, and use layers that treat rows alone in eval mode."
            )

    def __call__(self, forward: ForwardPass) -> Tensor:
        """Return the outputs of all networks.

        Parameters
        ----------
        forward : callable
            Runs the module on a batch of n rows and returns its output.

        Returns
        -------
        Tensor of shape (S, n, ...)
        """
        with undisturbed(self.module):
            if self._vectorised:
                try:
                    return self._all_draws_at_once(forward)
                except (RuntimeError, KeyError) as error:
                    if is_out_of_memory(error):
                        raise
                    # vmap cannot follow control flow that depends on the data, knows no recurrent
                    # layers, and a forward pass may call other dropouts than the traced row did.
                    # An error of the module itself comes again in the passes below.
                    self._vectorised = False
                    if self.verbose >= 1:
                        tqdm.write(
                            f"{type(self.module).__name__} cannot run under all masks at once "
                            f"({str(error).splitlines()[0]}): one pass for each.",
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
            # Single operations that vmap runs in a loop: slower, and nothing to do about it.
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

    def _run(
        self, forward: ForwardPass, replace: Callable[[Site, Dropout, Tensor], Tensor]
    ) -> Tensor:
        """Run a forward pass with ``replace`` in place of every dropout."""
        with DropoutCalls(self.module, replace) as calls:
            output = forward()
        self.unseen = calls.unseen()
        return output

    @contextmanager
    def _widths_noted(self) -> Iterator[None]:
        """Note the widest output of any layer from the first dropout on."""
        self.row_size = 0

        def note(layer: nn.Module, args: Any, output: Any) -> None:
            # What comes before the first dropout is computed once, not once for each draw.
            if self.row_size > 0 and isinstance(output, Tensor):
                self.row_size = max(self.row_size, output.numel())

        handles = [layer.register_forward_hook(note) for layer in self.module.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _masks_of(self, site: Site, dropout: Dropout, x: Tensor) -> Tensor:
        """Return the masks of a site, (S, *shape of one row's mask); draw them on first sight."""
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
                f"A {dropout.name} saw rows of the shape {tuple(mask.shape)} and then of the shape "
                f"{shape}: one fixed mask cannot serve both. The batch must be the first dimension "
                "everywhere, and all rows of one shape."
            )
        return mask


def _mask_shape(dropout: Dropout, x: Tensor) -> tuple[int, ...]:
    """Return the shape of the mask that one row of a dropout's input needs."""
    if not dropout.by_channel:
        return tuple(x.shape[1:])
    if x.ndim < 2 or x.ndim == dropout.unbatched:
        raise ValueError(
            f"{dropout.name} is applied to a tensor of {x.ndim} dimensions, which torch reads as "
            "one sample without a batch: it would drop whole rows. Use nn.Dropout there."
        )
    return (x.shape[1], *[1] * (x.ndim - 2))


def _masked(dropout: Dropout, x: Tensor, kept: Tensor) -> Tensor:
    """Return what a dropout returns in training mode for the given mask."""
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
    """Return the error message for a module without dropout, or with none that can be seen."""
    name = type(module).__name__
    cause = (
        f"the dropout of {', '.join(unseen)} cannot be sampled"
        if unseen
        else "its forward pass drops nothing"
    )
    return (
        f"{name} has no dropout to sample: {cause}, so all its draws would be the same network. "
        "Add nn.Dropout layers, or call torch.nn.functional.dropout(x, p, training=self.training), "
        "in eval mode too. Without dropout, use BootstrapCommittee(net), a list of several trained "
        'nets, or MCDropoutClassifier(module=..., posterior="ensemble").'
    )


def has_dropout(module: nn.Module, row: Tensor | None = None) -> bool:
    """Tell whether a module drops something.

    Parameters
    ----------
    module : nn.Module
        Any module.
    row : Tensor or None, default=None
        An input of one row. Without it only layers count: ``nn.Dropout*``, and attention and
        recurrent layers with dropout of their own. With it the module is run, and functional
        dropout counts as well.

    Returns
    -------
    bool

    Examples
    --------
    >>> from modal_balance.estimators.networks import MLP
    >>> from modal_balance.hypotheses.masks import has_dropout
    >>> has_dropout(MLP(4, 3)), has_dropout(MLP(4, 3, dropout=0.0))
    (True, False)
    """
    layers: list[nn.Module] = [*dropout_layers(module)]
    layers += [m for m in module.modules() if isinstance(m, nn.MultiheadAttention) and m.dropout]
    recurrent = [m for m in module.modules() if isinstance(m, nn.RNNBase)]
    layers += [m for m in recurrent if m.dropout > 0 and m.num_layers > 1]
    if layers or row is None:
        return bool(layers)
    sites = []

    def note(site: Site, dropout: Dropout, x: Tensor) -> Tensor:
        sites.append(site)
        return x

    with undisturbed(module), DropoutCalls(module, note):
        module(row)
    return bool(sites)
