"""Functions that go to other processes: as bytes, or through a file that each reads once."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable
from typing import Any

import joblib

__all__ = ["FunctionInFile", "ShippedFunction", "packed", "unpacked"]


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
    """A function that goes to other processes packed, and is unpacked when it is first called.

    Packed, it can be sent on while it is in use: a network in use cannot be pickled.

    Parameters
    ----------
    packet : bytes
        The packed function.

    Examples
    --------
    >>> from modal_balance.pools.shipping import ShippedFunction, packed
    >>> ShippedFunction(packed(abs))(-2)
    2
    """

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self._function: Callable[[Any], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: the packed function alone."""
        return {"packet": self.packet, "_function": None}

    def __call__(self, X: Any) -> Any:
        """Return what the function returns for X."""
        if self._function is None:
            self._function = unpacked(self.packet)
        return self._function(X)


class FunctionInFile:
    """A function in a file, which each process reads once.

    joblib sends this anew with every task, so the function stays with the process: until it reads
    another one, or joblib ends it.

    Parameters
    ----------
    function : callable
        The function.
    path : str
        Where to write it.

    Examples
    --------
    >>> import os, tempfile
    >>> from modal_balance.pools.shipping import FunctionInFile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     FunctionInFile(abs, os.path.join(folder, "abs"))(-2)
    2
    """

    _last: dict[str, Callable[[Any], Any]] = {}  # in each process

    def __init__(self, function: Callable[[Any], Any], path: str) -> None:
        self.path, self.name = path, uuid.uuid4().hex
        with open(path, "wb") as file:
            file.write(packed(function))

    def __call__(self, X: Any) -> Any:
        """Return what the function returns for X."""
        function = self._last.get(self.name)
        if function is None:
            with open(self.path, "rb") as file:
                function = unpacked(file.read())
            self._last.clear()
            self._last[self.name] = function
        return function(X)
