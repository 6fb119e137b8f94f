"""Functions that go to other processes: as bytes, or through a file that each reads once."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable
from typing import Any

import joblib

__all__ = ["ShippedFunction", "packed", "unpacked"]


def packed(thing: Any) -> bytes:
    """Return an object as bytes, also one whose class is defined in a script or a notebook.

    Parameters
    ----------
    thing : object
        Anything.

    Returns
    -------
    bytes

    Examples
    --------
    >>> from modal_balance.pools.shipping import packed, unpacked
    >>> unpacked(packed(lambda x: x + 1))(2)
    3
    """
    return pickle.dumps(joblib.wrap_non_picklable_objects(thing, keep_wrapper=False))


def unpacked(packet: bytes) -> Any:
    """Return the object that was :func:`packed`."""
    return pickle.loads(packet)


class ShippedFunction:
    """A function that goes to other processes packed, and is unpacked once in each.

    Packed, it can be sent on while it is in use: a network in use cannot be pickled.

    Parameters
    ----------
    packet : bytes or None
        The packed function.
    path : str or None, default=None
        The file that holds it instead.

    Examples
    --------
    >>> from modal_balance.pools.shipping import ShippedFunction, packed
    >>> ShippedFunction(packed(abs))(-2)
    2
    """

    _unpacked: dict[str, Callable[[Any], Any]] = {}  # the last one, in each process

    def __init__(self, packet: bytes | None, path: str | None = None) -> None:
        self.packet, self.path = packet, path
        self.name = uuid.uuid4().hex

    @classmethod
    def in_file(cls, function: Callable[[Any], Any], path: str) -> ShippedFunction:
        """Write a function to a file, and return what stands for it."""
        with open(path, "wb") as file:
            file.write(packed(function))
        return cls(None, path)

    def __call__(self, X: Any) -> Any:
        """Return what the function returns for X."""
        function = self._unpacked.get(self.name)
        if function is None:
            function = unpacked(self._packet())
            self._unpacked.clear()
            self._unpacked[self.name] = function
        return function(X)

    def _packet(self) -> bytes:
        if self.packet is not None:
            return self.packet
        assert self.path is not None
        with open(self.path, "rb") as file:
            return file.read()
