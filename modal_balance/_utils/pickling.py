"""Pickle objects whose classes may be defined in a script or a notebook."""

from __future__ import annotations

import io
from typing import Any

from cloudpickle import CloudPickler
from skorch import NeuralNet


def serialized(thing: Any) -> bytes:
    """Return an object as bytes, even if its class is defined in a script or a notebook.

    It can be any object that cloudpickle supports; :func:`pickle.loads` reads it in any process.

    Examples
    --------
    >>> import pickle
    >>> from modal_balance._utils.pickling import serialized
    >>> pickle.loads(serialized(lambda x: x + 1))(2)
    3
    """
    buffer = io.BytesIO()
    _Pickler(buffer).dump(thing)
    return buffer.getvalue()


class _Pickler(CloudPickler):
    """cloudpickle that also takes the networks of skorch nets by value."""

    def reducer_override(self, obj: Any) -> Any:
        # skorch pickles its networks apart, with the names of their classes only, so that a net of
        # a GPU can be read without one. Another process cannot import a class of a script.
        is_plain = isinstance(obj, NeuralNet) and type(obj).__getstate__ is NeuralNet.__getstate__
        if is_plain and not str(obj.device).startswith("cuda"):
            return _new, (type(obj),), vars(obj), None, None, _set_attributes
        return super().reducer_override(obj)


def _new(kind: Any) -> NeuralNet:
    return object.__new__(kind)


def _set_attributes(net: NeuralNet, attributes: dict[str, Any]) -> None:
    vars(net).update(attributes)
