"""Replace the dropouts of a torch module from outside.

A ``TorchFunctionMode`` sees each call of a torch function, in eval mode too, with the dropout rate
that would be applied in training mode. So the dropouts of a module can be replaced from outside:
those of ``nn.Dropout*`` layers, of ``torch.nn.functional.dropout`` and its relatives,
of attention weights, and between the layers of an LSTM, a GRU or an RNN.

S: source length    L: target length    n: rows    h: heads    E: embedding    B: batch    T: steps
"""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from .._utils.torch_state import interrupts_held, undisturbed


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


class DropoutCalls(TorchFunctionMode):
    """Context manager that replaces every dropout in a module's forward passes.

    Inside the block the module has hooks, which identify the caller of each dropout.
    ``replace(site, dropout, x)`` returns the output of a dropout for its input ``x``, whose first
    dimension is the batch. It is not called for a rate of 0.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.hypotheses.dropout_calls import DropoutCalls
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
    >>> from modal_balance.hypotheses.dropout_calls import dropout_layers
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


def has_dropout(module: nn.Module, row: Tensor | None = None) -> bool:
    """Return whether a module has dropout.

    Given ``row``, an input of one row, the module is run, and functional dropout is found as well.
    Otherwise only layers count: ``nn.Dropout*``, and attention and recurrent layers with a dropout
    rate.

    Examples
    --------
    >>> from modal_balance.estimators.networks import MLP
    >>> from modal_balance.hypotheses.dropout_calls import has_dropout
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
