"""Run a torch module under fixed dropout masks, for many sets of masks in one vectorised pass.

A module with dropout and one fixed set of masks is a function of its input: a draw from the
MC-dropout posterior (Gal & Ghahramani, ICML 2016). :class:`DropoutCalls` replaces every dropout by
a fixed mask while the module is in eval mode, without changing the user's module.
``torch.func.vmap`` runs all draws at once; the layers before the first dropout run only once.

A ``TorchFunctionMode`` sees each call of a torch function, in eval mode too, with the dropout rate
that would be applied in training mode. So the dropouts of a module can be replaced from outside:
those of ``nn.Dropout*`` layers, of ``torch.nn.functional.dropout`` and its relatives,
of attention weights, and between the layers of an LSTM, a GRU or an RNN.

S: draws (for attention: source length)    n: rows    h: heads    L: target length    E: embedding
B: batch    T: steps
"""

from __future__ import annotations

import inspect
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from tqdm.auto import tqdm

from .._utils.torch_state import interrupts_held, undisturbed
from .chunks import is_out_of_memory


class Site(NamedTuple):
    """One dropout in a forward pass."""

    owner: int  # position of the module that calls it; dropout layers come first
    call: int  # position among the dropouts of that module


class Dropout(NamedTuple):
    """Kind and rate of a dropout."""

    name: str  # of the equivalent nn.Dropout* layer
    p: float
    unbatched: int | None = None  # number of dimensions of an input without a batch
    by_channel: bool = False
    alpha: bool = False


# Function -> the equivalent layer.
FUNCTIONS: dict[Callable[..., Any], Dropout] = {
    F.dropout: Dropout("Dropout", 0.0),
    torch.dropout: Dropout("Dropout", 0.0),
    F.dropout1d: Dropout("Dropout1d", 0.0, by_channel=True, unbatched=2),
    F.dropout2d: Dropout("Dropout2d", 0.0, by_channel=True),
    F.dropout3d: Dropout("Dropout3d", 0.0, by_channel=True, unbatched=4),
    torch.feature_dropout: Dropout("Dropout2d", 0.0, by_channel=True),
    F.alpha_dropout: Dropout("AlphaDropout", 0.0, alpha=True),
    torch.alpha_dropout: Dropout("AlphaDropout", 0.0, alpha=True),
    F.feature_alpha_dropout: Dropout("FeatureAlphaDropout", 0.0, by_channel=True, alpha=True),
    torch.feature_alpha_dropout: Dropout("FeatureAlphaDropout", 0.0, by_channel=True, alpha=True),
}
RECURRENT = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)

Replace = Callable[[Site, Dropout, Tensor], Tensor]


class NoDropoutError(ValueError):
    """A module has no dropout that can be sampled."""


class DropoutCalls(TorchFunctionMode):
    """Context manager that replaces every dropout in a module's forward passes.

    Inside the block the module has hooks, which identify the caller of each dropout.
    ``replace(site, dropout, x)`` returns the output of a dropout for its input ``x``, whose first
    dimension is the batch. It is not called for a rate of 0.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.masks import DropoutCalls
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True).eval()
    >>> seen = []
    >>> def replace(site, dropout, x):
    ...     seen.append((dropout.name, tuple(x.shape)))
    ...     return x
    >>> with DropoutCalls(layer, replace):
    ...     _ = layer(torch.ones(5, 3, 8))
    >>> seen[0], len(seen)
    (('Dropout', (5, 2, 3, 3)), 4)
    """

    def __init__(self, module: nn.Module, replace: Replace) -> None:
        super().__init__()
        self.module = module
        self.replace = replace
        layers = dropout_layers(module)
        others = [m for m in module.modules() if m not in set(layers)]
        self._owners = {owner: index for index, owner in enumerate([*layers, *others])}
        self._running: list[nn.Module] = []
        self._calls: Counter[int] = Counter()
        self._off: set[nn.Module] = set()
        self._handles: list[Any] = []

    def __enter__(self) -> DropoutCalls:
        """Register the hooks."""
        owners = self._owners
        here = threading.get_ident()

        def starts(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == here:  # another thread may predict with the module
                self._running.append(module)

        def ends(module: nn.Module, args: Any, output: Any) -> None:
            if threading.get_ident() != here:
                return
            self._running.pop()
            # A subclass of nn.Dropout that overrides forward without calling a dropout function.
            if isinstance(module, _DropoutNd) and module.p > 0 and not self._calls[owners[module]]:
                self._off.add(module)

        for module in owners:
            self._handles += [
                module.register_forward_pre_hook(starts),
                module.register_forward_hook(ends, always_call=True),
            ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the hooks."""
        super().__exit__(exc_type, exc_value, traceback)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a torch function with its dropout replaced."""
        kwargs = kwargs or {}
        if func in FUNCTIONS:
            return self._function(FUNCTIONS[func], *args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._dot_product(*args, **kwargs)
        if func in RECURRENT:
            return self._recurrent(func, *args)
        return func(*args, **kwargs)

    def unseen(self) -> list[str]:
        """Return the modules whose dropout could not be replaced."""
        return [
            f"{name or 'module'} ({type(module).__name__})"
            for name, module in self.module.named_modules()
            if module in self._off
        ]

    def _function(
        self, dropout: Dropout, input: Tensor, p: float = 0.5, *_: Any, **options: Any
    ) -> Tensor:
        output = self._dropped(input, dropout._replace(p=p))
        # A layer returns its output, but a function may be called to change its input in place.
        in_place = options.get("inplace", False) and not isinstance(self._owner, _DropoutNd)
        return input.copy_(output) if in_place else output

    def _dropped(self, x: Tensor, dropout: Dropout) -> Tensor:
        if dropout.p == 0:
            return x
        owner = len(self._owners) if self._owner is None else self._owners[self._owner]
        site = Site(owner, self._calls[owner])
        self._calls[owner] += 1
        return self.replace(site, dropout, x)

    def _note_off(self, is_off: bool) -> None:
        if is_off and self._owner is not None:
            self._off.add(self._owner)

    @property
    def _owner(self) -> nn.Module | None:
        """Return the innermost running module."""
        return self._running[-1] if self._running else None

    def _multi_head(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function behind nn.MultiheadAttention."""
        call = MULTI_HEAD.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        value, p = given["value"], given["dropout_p"]  # (S, n, E)
        seen = value.ndim == 3 and given["static_v"] is None
        if p == 0 or not seen:
            self._note_off(p > 0)
            return F.multi_head_attention_forward(*args, **kwargs)
        wanted, averaged = given["need_weights"], given["average_attn_weights"]
        given.update(training=False, need_weights=True, average_attn_weights=False)
        weights = F.multi_head_attention_forward(*call.args, **call.kwargs)[1]
        assert weights is not None
        weights = self._dropped(weights, Dropout("Dropout", p))  # (n, h, L, S)
        # The output is the projection of the values weighted by these attention weights.
        weight, bias = given["v_proj_weight"], given["in_proj_bias"]
        if not given["use_separate_proj_weight"]:
            weight = given["in_proj_weight"].chunk(3)[2]
        value = F.linear(value, weight, None if bias is None else bias.chunk(3)[2])
        if given["bias_v"] is not None:
            value = torch.cat([value, given["bias_v"].expand(1, *value.shape[1:])])
        if given["add_zero_attn"]:
            value = torch.cat([value, torch.zeros_like(value[:1])])
        heads = value.reshape(*value.shape[:2], given["num_heads"], -1)  # (S, n, h, E / h)
        heads = heads.permute(1, 2, 0, 3)  # (n, h, S, E / h)
        output = (weights @ heads).permute(2, 0, 1, 3).flatten(2)  # (L, n, E)
        output = F.linear(output, given["out_proj_weight"], given["out_proj_bias"])
        if not wanted:
            return output, None
        return output, weights.mean(1) if averaged else weights

    def _dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Tensor:
        function = F.scaled_dot_product_attention
        if dropout_p == 0:
            # The usual call is dropout_p=self.dropout if self.training else 0.
            self._note_off(self._owner is not None and _holds_a_rate(self._owner))
            return function(query, key, value, attn_mask, 0.0, is_causal, **options)
        # With the identity matrix as values, attention returns its weights.
        length = key.shape[-2]
        identity = torch.eye(length, dtype=value.dtype, device=value.device)
        identity = identity.expand(*key.shape[:-1], length)
        weights = function(query, key, identity, attn_mask, 0.0, is_causal, **options)
        if options.get("enable_gqa"):
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        return self._dropped(weights, Dropout("Dropout", dropout_p)) @ value

    def _recurrent(self, function: Any, x: Tensor, *args: Any) -> Any:
        """Run an LSTM, GRU or RNN layer by layer, with dropout in between.

        Packed sequences are not supported, because their rows cannot be separated.
        """
        packed = not isinstance(args[2], bool)  # has_biases comes later
        n_layers, p = args[3 + packed], args[4 + packed]
        if p == 0 or n_layers == 1 or packed:
            self._note_off(p > 0 and n_layers > 1)
            return function(x, *args)
        state, weights, has_biases, _, _, _, bidirectional, batch_first = args
        states = state if isinstance(state, tuple) else (state,)  # (layers x directions, B, H) each
        n_states, n_weights = len(states[0]) // n_layers, len(weights) // n_layers
        finals = []
        for layer in range(n_layers):
            if layer > 0:
                rows_first = x if batch_first else x.transpose(0, 1)  # (B, T, H)
                rows_first = self._dropped(rows_first, Dropout("Dropout", p))
                x = rows_first if batch_first else rows_first.transpose(0, 1)
            own = [part[layer * n_states : (layer + 1) * n_states] for part in states]
            x, *final = function(
                x,
                tuple(own) if isinstance(state, tuple) else own[0],
                weights[layer * n_weights : (layer + 1) * n_weights],
                has_biases,
                1,
                0.0,
                False,
                bidirectional,
                batch_first,
            )
            finals.append(final)
        return (x, *(torch.cat(parts) for parts in zip(*finals, strict=True)))


def dropout_layers(module: nn.Module) -> list[_DropoutNd]:
    """Return the ``nn.Dropout*`` layers of a module with a rate above 0.

    Examples
    --------
    >>> from torch import nn
    >>> from modal_balance.hypotheses.masks import dropout_layers
    >>> dropout_layers(nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 4), nn.Dropout(0.5)))
    [Dropout(p=0.5, inplace=False)]
    """
    return [m for m in module.modules() if isinstance(m, _DropoutNd) and m.p > 0]


def _holds_a_rate(module: nn.Module) -> bool:
    """Return whether a module has an attribute that is probably a dropout rate."""
    return any(
        "drop" in name.lower() and isinstance(value, float) and value > 0
        for name, value in vars(module).items()
    )


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


def has_dropout(module: nn.Module, row: Tensor | None = None) -> bool:
    """Return whether a module has dropout.

    Given ``row``, an input of one row, the module is run, and functional dropout is found as well.
    Otherwise only layers count: ``nn.Dropout*``, and attention and recurrent layers with a dropout
    rate.

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

    with undisturbed(module), interrupts_held(), DropoutCalls(module, note):
        module(row)
    return bool(sites)
