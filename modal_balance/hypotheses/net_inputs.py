"""Inputs of a skorch net: checked batches of tensors from any data that the net accepts.

Nets are fitted. A batch is a tensor, or a dict or sequence of tensors, and a row is a batch of one.

n: rows
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.dataset import Dataset, unpack_data
from skorch.utils import multi_indexing, to_tensor
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..acquisition.predictions import at_least_float32

MAX_SHAPES = 3  # in an error message
PROBABILITY_CAUSE = (
    "If the module returns logits, pass criterion=nn.CrossEntropyLoss and fit again: NLLLoss, the "
    "default of skorch, takes the logarithm of its output, so it needs probabilities (a module "
    "that ends in Softmax, not LogSoftmax). For other criteria, set a predict_nonlinearity that "
    "turns the output into probabilities."
)


def batches(net: NeuralNet, dataset: Any, n_batch: int) -> Iterator[Any]:
    """Yield the inputs of a data set in order, in batches for the module.

    Tensors are on the device of the net, floating-point numbers in the precision of the module. The
    data set is the result of ``net.get_dataset(X)``. A batch has ``n_batch`` rows; but a custom
    data set or data loader is read through the iterator of the net, in the batches of the net.
    Raise ValueError if a floating-point input holds NaN or infinity.

    Examples
    --------
    >>> import torch
    >>> from skorch import NeuralNetClassifier
    >>> from modal_balance.hypotheses.net_inputs import batches
    >>> net = NeuralNetClassifier(torch.nn.Linear(2, 2)).initialize()
    >>> [len(batch) for batch in batches(net, net.get_dataset(torch.ones(5, 2)), 2)]
    [2, 2, 1]
    """
    parameter = next((p for p in net.module_.parameters() if p.is_floating_point()), None)
    dtype = torch.float32 if parameter is None else parameter.dtype

    def convert(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        if not bool(tensor.isfinite().all()):
            raise ValueError("X contains NaN or infinity. Impute or drop these rows first.")
        return tensor.to(dtype)

    for batch in _raw_batches(net, dataset, n_batch):
        yield _map_values(convert, to_tensor(batch, device=net.device))


def first_row(net: NeuralNet, dataset: Any) -> Any:
    """Return the first row of a data set, as a batch of one.

    The data set is the result of ``net.get_dataset(X)`` and not empty.
    """
    return multi_indexing(next(batches(net, dataset, 1)), slice(0, 1))


def twice(row: Any) -> Any:
    """Return a batch of two copies of a row."""
    return _map_values(lambda tensor: torch.cat([tensor, tensor]), row)


def cloned(batch: Any) -> Any:
    """Return a copy of a batch, for a module that may modify it."""
    return _map_values(torch.clone, batch)


def predict_batch(net: NeuralNet, batch: Any) -> Tensor:
    """Return the prediction of a net on a batch of n rows, (n, ...), in at least float32.

    It is what the net's ``predict_nonlinearity`` makes of the module's first output. The module
    gets a copy of the batch.
    """
    output = net.infer(cloned(batch))
    output = output[0] if isinstance(output, tuple) else output
    if isinstance(output, Tensor):  # the user's predict_nonlinearity may take anything else
        output = at_least_float32(output)
    return at_least_float32(net._get_predict_nonlinearity()(output))


def check_row_fits(net: NeuralNet, row: Any) -> None:
    """Run the module on a row, and raise a ValueError that describes the row if it does not fit."""
    try:
        net.infer(cloned(row))
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        advice = (
            "X must be like the data that the net was trained on, and the module must accept a "
            "single row: it must not normalise by the statistics of the batch."
        )
        if isinstance(row, Mapping) and len(row) > 1:
            advice += (
                " skorch passes the values of a dict and the columns of a DataFrame as separate "
                "arguments, by name; if the module takes one array, pass X.to_numpy()."
            )
        raise ValueError(
            f"{type(net.module_).__name__} cannot be run on a row of X, {_shapes(row)}: "
            f"{str(error).rstrip('. ')}. {advice}"
        ) from error


def with_module(net: NeuralNet, module: nn.Module) -> NeuralNet:
    """Return a net that shares everything with ``net`` but has ``module`` as its ``module_``."""
    twin = object.__new__(type(net))
    twin.__dict__.update(net.__dict__)
    twin.__dict__["module_"] = module
    return twin


def uncompiled(net: NeuralNet) -> NeuralNet:
    """Return the net with an uncompiled module; the net itself if it is not compiled."""
    # Code that torch.compile has already compiled ignores hooks that are registered later.
    original = getattr(net.module_, "_orig_mod", None)
    return net if original is None else with_module(net, original)


def _raw_batches(net: NeuralNet, dataset: Any, n_batch: int) -> Iterator[Any]:
    plain = type(dataset) is Dataset and net.iterator_valid is DataLoader
    if plain and "collate_fn" not in net.get_params_for("iterator_valid") and _sliceable(dataset.X):
        # Slice skorch's own data set: a data loader would fetch and collate row by row.
        for start in range(0, len(dataset), n_batch):
            batch = dataset[start : start + n_batch][0]
            # Copy arrays: torch cannot read all of them in place (negative strides), and a module
            # that modifies its input must not modify the user's data.
            yield _map_values(lambda X: np.array(X) if isinstance(X, np.ndarray) else X, batch)
    else:
        for batch in net.get_iterator(dataset, training=False):
            yield unpack_data(batch)[0]


def _sliceable(X: Any) -> bool:
    if isinstance(X, Mapping):
        return all(_sliceable(value) for value in X.values())
    return isinstance(X, np.ndarray | Tensor) or hasattr(X, "iloc")


def _map_values(function: Callable[[Any], Any], data: Any) -> Any:
    """Apply a function to a value, or to each value in a dict or sequence."""
    if isinstance(data, Mapping):
        return {key: _map_values(function, value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(_map_values(function, value) for value in data)
    return function(data)


def _shapes(row: Any) -> str:
    shapes: list[str] = []

    def note(tensor: Tensor, name: str = "") -> Tensor:
        shapes.append(f"{name}shape {tuple(tensor.shape)} of {tensor.dtype}")
        return tensor

    if isinstance(row, Mapping):
        for key, value in row.items():
            _map_values(partial(note, name=f"{key!r}: "), value)
    else:
        _map_values(note, row)
    if len(shapes) > MAX_SHAPES:  # skorch makes a tensor of each column of a DataFrame
        shapes[MAX_SHAPES:] = [f"{len(shapes) - MAX_SHAPES} more"]
    return " and ".join(shapes)
