"""Fixed dropout masks for any torch module, and all masked networks in one vectorised pass.

A module with dropout layers and one fixed set of masks is a function of its input: a draw from
the MC-dropout posterior (Gal & Ghahramani, ICML 2016). Hooks on the dropout layers apply the masks
while the module is in eval mode, so that the user's module is never changed, and
``torch.func.vmap`` runs all draws at once: what comes before the first dropout layer is computed
once.

S: draws    n: rows
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ..torch_state import undisturbed

ForwardPass = Callable[[], Tensor]


# What AlphaDropout puts in place of a dropped unit: the floor of SELU, -scale * alpha
# (Klambauer et al., NeurIPS 2017).
SELU_FLOOR = -1.7580993408473766


class Site(NamedTuple):
    """One call of one dropout layer in a forward pass."""

    layer: int  # position among the dropout layers of the module
    call: int  # position among the calls of that layer


class DropoutEnsemble:
    """Networks that share a module's weights, each with its own fixed dropout masks.

    The masks depend on the seed, the layer, the call of that layer within a forward pass and the
    number of the draw, and on nothing else: the first draws are the same whatever ``n_samples``.

    Parameters
    ----------
    module : nn.Module
        A trained module. The first dimension of what it returns is the batch.
    n_samples : int
        Number of networks S, at least 1.
    seed : int
        Seed of the masks, >= 0.

    Attributes
    ----------
    row_size : int
        Number of values of one row in the widest layer that runs once for each draw; known after
        :meth:`trace`.

    Raises
    ------
    ValueError
        If the module has no ``nn.Dropout*`` layer with p > 0.

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

    def __init__(self, module: nn.Module, n_samples: int, seed: int) -> None:
        self.module = module
        self.layers = [m for m in module.modules() if isinstance(m, _DropoutNd) and m.p > 0]
        self.n_samples = n_samples
        self.seed = seed
        self.row_size = 0
        self._masks: dict[Site, Tensor] = {}  # bool, True: kept, (S, *shape of one row's mask)
        self._vectorised = True
        if not self.layers:
            raise ValueError(no_dropout_message(module))

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
            If no dropout layer is called, the batch is not the first dimension, or a row's output
            is random or depends on the other rows.
        """
        with undisturbed(self.module):
            twice = self._run(same_row_twice, self._trace_site)
            with self._widths_noted():
                alone = self._run(one_row, self._trace_site)
        if not self._masks:
            raise ValueError(no_dropout_message(self.module))
        name = type(self.module).__name__
        if alone.shape[:1] != (1,) or twice.shape[:1] != (2,):
            raise ValueError(
                f"{name} returned the shapes {tuple(alone.shape)} and {tuple(twice.shape)} for "
                "one and two rows. The first dimension must be the batch."
            )
        if not torch.allclose(twice, alone.expand_as(twice), rtol=1e-2, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"{name} gives different outputs for the same row in eval mode, so it is not one "
                "fixed function. Likely causes: functional dropout that is always on, or "
                "normalisation by the statistics of the batch. Use nn.Dropout layers, and layers "
                "that treat rows alone in eval mode."
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
                except (RuntimeError, KeyError):
                    # vmap cannot follow control flow that depends on the data, nor a forward
                    # pass that calls other dropout layers than the traced row did.
                    self._vectorised = False
            return torch.stack([self._one_draw(forward, s) for s in range(self.n_samples)])

    def _all_draws_at_once(self, forward: ForwardPass) -> Tensor:
        sites = list(self._masks)

        def one_draw(masks: list[Tensor]) -> Tensor:
            mask_of = dict(zip(sites, masks, strict=True))
            return self._run(
                forward,
                lambda site, layer, output: _masked(
                    layer, output, self._fitting(mask_of[site], layer, output)
                ),
            )

        result: Tensor = torch.func.vmap(one_draw)([self._masks[site] for site in sites])
        return result

    def _one_draw(self, forward: ForwardPass, draw: int) -> Tensor:
        return self._run(
            forward,
            lambda site, layer, output: _masked(
                layer,
                output,
                self._fitting(self._masks_of(site, layer, output)[draw], layer, output),
            ),
        )

    def _trace_site(self, site: Site, layer: _DropoutNd, output: Tensor) -> Tensor:
        self._fitting(self._masks_of(site, layer, output)[0], layer, output)
        return output

    @contextmanager
    def _widths_noted(self) -> Iterator[None]:
        """Note the widest output of any layer from the first dropout layer on."""
        self.row_size = 0

        def note(layer: nn.Module, args: Any, output: Any) -> None:
            # What comes before the first dropout layer is computed once, not once for each draw.
            counts = self.row_size > 0 or layer in self.layers
            if counts and isinstance(output, Tensor):
                self.row_size = max(self.row_size, output.numel())

        handles = [layer.register_forward_hook(note) for layer in self.module.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _masks_of(self, site: Site, layer: _DropoutNd, output: Tensor) -> Tensor:
        """Return the masks of a site, (S, *shape of one row's mask); draw them on first sight."""
        if site not in self._masks:
            shape = _mask_shape(layer, output)
            draws = [
                np.random.default_rng([self.seed, *site, draw]).random(shape, dtype=np.float32)
                for draw in range(self.n_samples)
            ]
            kept = torch.from_numpy(np.stack(draws) >= layer.p)
            self._masks[site] = kept.to(output.device)
        return self._masks[site]

    def _fitting(self, mask: Tensor, layer: _DropoutNd, output: Tensor) -> Tensor:
        shape = _mask_shape(layer, output)
        if tuple(mask.shape) != shape:
            raise ValueError(
                f"A {type(layer).__name__} layer saw rows of the shape {tuple(mask.shape)} and "
                f"then of the shape {shape}: one fixed mask cannot serve both. The batch must be "
                "the first dimension everywhere, and all rows of one shape."
            )
        return mask

    def _run(
        self, forward: ForwardPass, apply: Callable[[Site, _DropoutNd, Tensor], Tensor]
    ) -> Tensor:
        """Run a forward pass with ``apply`` in place of every dropout layer."""
        calls: Counter[int] = Counter()

        def hook_of(index: int) -> Callable[[nn.Module, Any, Tensor], Tensor]:
            def hook(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
                assert isinstance(layer, _DropoutNd)
                site = Site(index, calls[index])
                calls[index] += 1
                return apply(site, layer, output)

            return hook

        handles = [layer.register_forward_hook(hook_of(i)) for i, layer in enumerate(self.layers)]
        try:
            return forward()
        finally:
            for handle in handles:
                handle.remove()


def _mask_shape(layer: _DropoutNd, output: Tensor) -> tuple[int, ...]:
    """Return the shape of the mask that one row of a dropout layer's output needs."""
    if isinstance(layer, nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.FeatureAlphaDropout):
        unbatched = {nn.Dropout1d: 2, nn.Dropout3d: 4}.get(type(layer))  # as torch reads them
        if output.ndim < 2 or output.ndim == unbatched:
            raise ValueError(
                f"{type(layer).__name__} is applied to a tensor of {output.ndim} dimensions, which "
                "torch reads as one sample without a batch: it would drop whole rows. Use "
                "nn.Dropout there."
            )
        return (output.shape[1], *[1] * (output.ndim - 2))
    return tuple(output.shape[1:])


def _masked(layer: _DropoutNd, output: Tensor, kept: Tensor) -> Tensor:
    """Return what a dropout layer returns in training mode for the given mask."""
    p = layer.p
    keep = kept.to(output.dtype)
    if p == 1:
        return output * 0
    if isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
        # The affine map keeps mean 0 and variance 1 (Klambauer et al. 2017, section 2).
        slope: float = ((1 - p) * (1 + p * SELU_FLOOR**2)) ** -0.5
        return slope * (output * keep + SELU_FLOOR * (1 - keep) - p * SELU_FLOOR)
    return output * (keep / (1 - p))


def hidden_dropout_layers(module: nn.Module) -> list[str]:
    """Return the names of the layers whose own dropout hooks cannot reach.

    Parameters
    ----------
    module : nn.Module
        Any module.

    Returns
    -------
    list of str
        Recurrent layers with dropout between their own layers, and attention with dropout of its
        weights. Their dropout is off in the networks of a :class:`DropoutEnsemble`.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.masks import hidden_dropout_layers
    >>> hidden_dropout_layers(torch.nn.Sequential(torch.nn.GRU(4, 8, num_layers=2, dropout=0.5)))
    ['0 (GRU)']
    """
    return [
        f"{name or 'module'} ({type(layer).__name__})"
        for name, layer in module.named_modules()
        if (isinstance(layer, nn.RNNBase) and layer.dropout > 0 and layer.num_layers > 1)
        or (isinstance(layer, nn.MultiheadAttention) and layer.dropout > 0)
    ]


def no_dropout_message(module: nn.Module) -> str:
    """Return the error message for a module without active dropout layers."""
    return (
        f"{type(module).__name__} has no active dropout layer: no nn.Dropout* with p > 0 is called "
        "in its forward pass, so all its draws would be the same network. Add nn.Dropout layers "
        "to the module; functional dropout cannot be seen from outside."
    )


def has_dropout(module: nn.Module) -> bool:
    """Tell whether a module has a dropout layer that drops something.

    Examples
    --------
    >>> from modal_balance.estimators.networks import MLP
    >>> from modal_balance.hypotheses.masks import has_dropout
    >>> has_dropout(MLP(4, 3)), has_dropout(MLP(4, 3, dropout=0.0))
    (True, False)
    """
    return any(isinstance(layer, _DropoutNd) and layer.p > 0 for layer in module.modules())
