"""Global state of torch, put back after use: random generators, modes, threads; and the lock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Held while global state of torch, or the state of a module that threads share, is not as usual.
TORCH_STATE_LOCK = threading.RLock()


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without gradients, and restore its state afterwards.

    The training flag of every submodule and torch's random states are put back, also after errors.
    One thread at a time: hooks, flags and torch's random state belong to all of them.

    Parameters
    ----------
    module : nn.Module
        Any module.

    Yields
    ------
    None

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
    with TORCH_STATE_LOCK, torch.random.fork_rng(devices=list(devices)), torch.no_grad():
        training = [(m, m.training) for m in module.modules()]
        try:
            module.eval()
            yield
        finally:
            for submodule, flag in training:
                submodule.training = flag


class _Threads:
    """How many threads torch had before the first of the blocks that now run with another number.

    torch counts them for each thread of Python, and a thread that asks for the first time is told
    what another has set: so the number before is that of the first block, for all of them.
    """

    lock = threading.Lock()
    before = 1
    n_blocks = 0


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Let torch compute with a number of threads in a block, and put it back after it.

    Parameters
    ----------
    n_threads : int
        Threads inside the block.

    Yields
    ------
    None

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
    """Seed torch's global generators for a block and put them back after it.

    Parameters
    ----------
    seed : int
        Seed inside the block.
    device : str or torch.device
        Where the block computes: the CPU's generator is always seeded, a CUDA device's with it.

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
        # Not torch.manual_seed: that would also seed the devices which are not put back.
        torch.default_generator.manual_seed(seed)
        for place in cuda:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed)
        yield
