"""Change global state of torch in a block and restore it: generators, modes, threads."""

from __future__ import annotations

import copy
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

# Held while global state of torch, or state of a module shared by threads, is changed.
TORCH_STATE_LOCK = threading.RLock()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C until the end of a short block, so that the block cleans up completely.

    An interrupt while hooks are added or removed, or while ``torch.func.vmap`` starts or ends,
    would leave them behind, and later predictions would fail. A second Ctrl-C is not held back.

    Examples
    --------
    >>> from torch import nn
    >>> from modal_balance._utils.torch_state import interrupts_held
    >>> layer = nn.Linear(2, 2)
    >>> with interrupts_held():
    ...     handle = layer.register_forward_hook(print)
    ...     handle.remove()
    """
    before = signal.getsignal(signal.SIGINT)
    # Python runs signal handlers in the main thread only.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[Any, ...]] = []

    def hold(*call: Any) -> None:
        held.append(call)
        if len(held) > 1:
            before(*call)

    try:
        signal.signal(signal.SIGINT, hold)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if len(held) == 1:
            before(*held[0])


def copy_of(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Return a deep copy of a module, without hooks that another thread has added for a while.

    ``dtype`` is the precision of the copy; None keeps that of the module.

    Examples
    --------
    >>> import torch
    >>> from modal_balance._utils.torch_state import copy_of
    >>> copy_of(torch.nn.Linear(2, 2), torch.float64).weight.dtype
    torch.float64
    """
    with TORCH_STATE_LOCK:
        return copy.deepcopy(module).to(dtype=dtype)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without gradients, and restore its state on exit.

    The training flag of every submodule and torch's random states are restored, also after errors.
    Tensors that a forward pass under ``torch.func.vmap`` stores in the module can be neither read
    nor pickled afterwards, so the attributes before are restored, too. Compiled modules run eagerly
    meanwhile. Only one thread at a time runs such a block, since threads share hooks, flags and
    random state.

    Examples
    --------
    >>> import torch
    >>> from modal_balance._utils.torch_state import undisturbed
    >>> module = torch.nn.Dropout(0.5)
    >>> with undisturbed(module):
    ...     module.training
    False
    >>> module.training
    True
    """
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    fork = torch.random.fork_rng(devices=list(devices))
    with TORCH_STATE_LOCK, fork, torch.no_grad(), _uncompiled():
        before = [(m, m.training, dict(vars(m)), dict(m._buffers)) for m in module.modules()]
        try:
            module.eval()
            yield
        finally:
            with interrupts_held():
                for submodule, flag, attributes, buffers in before:
                    submodule.training = flag
                    _drop_vmapped(vars(submodule), attributes)
                    _drop_vmapped(submodule._buffers, buffers)


def _uncompiled() -> AbstractContextManager[Any]:
    """Run compiled modules eagerly, because the compiler cannot trace our hooks."""
    # If torch._dynamo is not imported, nothing is compiled. Importing it takes seconds.
    dynamo = sys.modules.get("torch._dynamo")
    stance = getattr(dynamo, "set_stance", None)  # torch 2.6 and newer
    return stance("force_eager") if stance else nullcontext()


def _drop_vmapped(stored: dict[str, Any], before: dict[str, Any]) -> None:
    """Put back, or delete, the tensors that a forward pass under vmap has stored."""
    for name, value in list(stored.items()):
        if isinstance(value, Tensor) and is_functorch_wrapped_tensor(value):
            del stored[name]
            if name in before:
                stored[name] = before[name]


class _Threads:
    """Number of torch threads before the first of the active blocks of :func:`threads`.

    torch has this setting for each Python thread, but a new thread starts with the number that
    another thread has set. So the number before the first block is restored in all of them.
    """

    lock = threading.Lock()
    before = 1
    n_blocks = 0


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Set the number of torch threads in a block, and restore it on exit.

    Examples
    --------
    >>> import torch
    >>> from modal_balance._utils.torch_state import threads
    >>> before = torch.get_num_threads()
    >>> with threads(before + 1):
    ...     torch.get_num_threads() == before + 1
    True
    >>> torch.get_num_threads() == before
    True
    """
    with _Threads.lock:
        if _Threads.n_blocks == 0:
            _Threads.before = torch.get_num_threads()
        _Threads.n_blocks += 1
    try:
        torch.set_num_threads(n_threads)
        yield
    finally:
        with _Threads.lock:
            _Threads.n_blocks -= 1
            torch.set_num_threads(_Threads.before)


@contextmanager
def seeded(seed: int, device: str | torch.device) -> Iterator[None]:
    """Seed torch's global generators in a block, and restore them on exit.

    The CPU generator is always seeded, and that of ``device`` too if it is a CUDA device.

    Examples
    --------
    >>> import torch
    >>> from modal_balance._utils.torch_state import seeded
    >>> before = torch.get_rng_state()
    >>> with seeded(0, "cpu"):
    ...     _ = torch.rand(3)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with TORCH_STATE_LOCK, torch.random.fork_rng(devices=cuda, device_type="cuda"):
        # torch.manual_seed would also seed devices that are not restored.
        torch.default_generator.manual_seed(seed)
        for place in cuda:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed)
        yield
