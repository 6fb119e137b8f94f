"""The output layer of a network: its input features for each row, and draws of its weights.

S: hypotheses    n: rows    D: inputs of the output layer    C: classes

The network runs in eval mode, without dropout. Its output layer maps the features of a row to
logits, whose softmax is the prediction:

    logits(x) = W h(x) + bias        W (C, D), h(x) (D,)

The output layer is the last ``nn.Linear`` that runs in the forward pass and has C outputs. A hook
reads its input h(x), so any architecture works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from torch import Tensor, nn

from .._utils.torch_state import interrupts_held, undisturbed
from ..acquisition.predictions import at_least_float32, check_probabilities
from .net_inputs import (
    PROBABILITY_CAUSE,
    batches,
    check_row_fits,
    first_row,
    predict_batch,
    uncompiled,
)
from .unwrap import unwrap


class _LinearCall(NamedTuple):
    """The last call, in a forward pass, of a linear layer with some number of outputs."""

    name: str  # of the layer, within the module
    layer: nn.Linear
    input: Tensor  # (n, D)


def last_layer_features(estimator: Any, X: Any) -> tuple[Tensor, Tensor]:
    """Return the input of a network's output layer for each row, and the network's prediction.

    Both come from one pass of the deterministic network, in eval mode without dropout. The output
    layer is the last ``nn.Linear`` that runs in the forward pass and has one output per class; in a
    module with several heads, that of the head that runs last.

    Parameters
    ----------
    estimator : estimator
        A fitted skorch classifier, an :class:`~modal_balance.MCDropoutClassifier`, or a
        scikit-learn Pipeline that ends in one of these, a search over them, or a FrozenEstimator
        around them. Dropout layers are not needed.
    X : array, tensor, dict of arrays, DataFrame, CSR matrix or Dataset
        n rows that the estimator accepts. Floating-point input is cast to the precision of
        the module.

    Returns
    -------
    features : Tensor of shape (n, D), float32 or float64
        Input of the output layer, on the device of the net.
    proba : Tensor of shape (n, C), float32 or float64
        The prediction of the deterministic network, on the device of the net. The
        ``predict_proba`` of an MCDropoutClassifier differs, because it averages over dropout masks.

    Raises
    ------
    TypeError
        If the estimator has no network.
    NotFittedError
        If the estimator has not been fitted; also a ValueError.
    ValueError
        If the rows do not fit the module or hold NaN or infinity, if the output of the net is not
        a distribution over at least two classes, or if the module has no output layer as described
        above whose input is one vector for each row.

    References
    ----------
    Sener & Savarese, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*,
    ICLR 2018, and Ash et al., *Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
    Bounds*, ICLR 2020, whose algorithms run on these features.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.hypotheses.last_layer import last_layer_features
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(hidden_layer_sizes=(64, 32), random_state=0).fit(X, y)
    >>> features, proba = last_layer_features(clf, X)
    >>> features.shape, proba.shape
    (torch.Size([150, 32]), torch.Size([150, 3]))
    """
    unwrapped = unwrap(estimator)
    return output_layer(unwrapped.classifier, unwrapped.transform(X))[1:]


def output_layer(classifier: Any, X: Any) -> tuple[nn.Linear, Tensor, Tensor]:
    """Return the output layer of a classifier without wrappers, its input, and the prediction.

    The classifier is fitted: a skorch classifier, or an estimator with ``net_`` and ``to_inputs``.
    It accepts the n rows of ``X``. The layer is a part of the network, not a copy; its input is
    (n, D) and the prediction (n, C). Raise TypeError if the classifier has no network.
    """
    if hasattr(classifier, "to_inputs"):
        check_is_fitted(classifier)
        return _output_layer_of_net(classifier.net_, classifier.to_inputs(X))
    if isinstance(classifier, NeuralNet):
        classifier.check_is_fitted()
        return _output_layer_of_net(uncompiled(classifier), X)
    raise TypeError(
        f"A {type(classifier).__name__} has no network to take features from. Use "
        "MCDropoutClassifier, a skorch classifier, or a Pipeline that ends in one of these."
    )


def _output_layer_of_net(net: NeuralNet, X: Any) -> tuple[nn.Linear, Tensor, Tensor]:
    dataset = net.get_dataset(X)
    n_rows = len(dataset)
    if n_rows == 0:
        raise ValueError("X has no rows. Pass at least one row.")
    # The batch size of the net, as in skorch's predict; -1 means all rows at once.
    n_batch = net.batch_size if net.batch_size > 0 else n_rows
    # Data loaders also draw from torch's global random state.
    with undisturbed(net.module_), _linear_calls(net.module_) as calls:
        check_row_fits(net, first_row(net, dataset))
        parts = [_pass(net, batch, calls) for batch in batches(net, dataset, n_batch)]
    layers, features, proba = zip(*parts, strict=True)
    return layers[-1], torch.cat(features), torch.cat(proba)  # layer, (n, D), (n, C)


def _pass(
    net: NeuralNet, batch: Any, calls: dict[int, _LinearCall]
) -> tuple[nn.Linear, Tensor, Tensor]:
    """Return the output layer, the features (n, D) and the prediction (n, C) of n rows."""
    calls.clear()  # forget layers that only earlier batches reached
    proba = predict_batch(net, batch)
    check_probabilities(proba[None], name="The net's prediction", cause=PROBABILITY_CAUSE)
    call = _call_of_output_layer(net.module_, calls, proba)
    return call.layer, at_least_float32(call.input), proba


def _call_of_output_layer(
    module: nn.Module, calls: dict[int, _LinearCall], proba: Tensor
) -> _LinearCall:
    """Return the call of the last linear layer with one output per class."""
    name = type(module).__name__
    n_rows, n_classes = proba.shape
    if not calls:
        raise ValueError(
            f"{name} has no output layer to take features from: no nn.Linear runs in its forward "
            f"pass. Let the module end in nn.Linear(n_features, {n_classes})."
        )
    if n_classes not in calls:
        widths = ", ".join(f"{call.name} has {width}" for width, call in sorted(calls.items()))
        raise ValueError(
            f"{name} predicts {n_classes} classes, but no nn.Linear in its forward pass has "
            f"{n_classes} outputs ({widths}). Let the module end in nn.Linear(n_features, "
            f"{n_classes}), for two classes too."
        )
    call = calls[n_classes]
    if call.input.ndim != 2 or len(call.input) != n_rows:
        raise ValueError(
            f"{name} calls its output layer, {call.name}, with an input of the shape "
            f"{tuple(call.input.shape)} for {n_rows} rows. Expected ({n_rows}, n_features), one "
            "vector for each row: pool or flatten before the output layer."
        )
    return call


@contextmanager
def _linear_calls(module: nn.Module) -> Iterator[dict[int, _LinearCall]]:
    """Yield a dict that records the last call of a linear layer for each number of outputs.

    Recording every call would fill the memory with the activations of a deep network.
    """
    calls: dict[int, _LinearCall] = {}

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            assert isinstance(layer, nn.Linear)
            value = args[0] if args else kwargs["input"]
            # Copy, because later layers may modify their input in place.
            calls[layer.out_features] = _LinearCall(
                name or "the module itself", layer, value.clone()
            )

        return hook

    handles: list[Any] = []
    try:
        with interrupts_held():
            for name, layer in module.named_modules():
                if isinstance(layer, nn.Linear):
                    hook = hook_of(name)
                    handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
        yield calls
    finally:
        with interrupts_held():
            for handle in handles:
                handle.remove()


class LaplaceHypotheses:
    """Frozen hypotheses that share a network's features, each with its own output layer.

    ``estimator`` is the fitted classifier that computes the features. ``theta``, (S, C D + C) or
    (S, C D), holds the flattened weights of each output layer, followed by its biases, if it has
    any. ``classes`` (C,) are the labels of the columns.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.hypotheses.last_layer import LaplaceHypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MCDropoutClassifier((8,), random_state=0).fit(X, y)
    >>> theta = torch.randn(10, 3 * 8 + 3)
    >>> hypotheses = LaplaceHypotheses(classifier, theta, classifier.classes_)
    >>> hypotheses.predict_proba_samples(X).shape
    torch.Size([10, 150, 3])
    """

    fixed = False

    def __init__(self, estimator: Any, theta: Tensor, classes: NDArray[Any]) -> None:
        self.estimator = estimator
        self.theta = theta
        self.classes_ = classes

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses on n rows that the estimator accepts.

        They are (S, n, C), in the precision of the network, on its device.
        """
        features, proba = last_layer_features(self.estimator, X)  # (n, D), (n, C)
        n_classes, n_weights = proba.shape[1], proba.shape[1] * features.shape[1]
        theta = self.theta.to(features.dtype)
        weight = theta[:, :n_weights].reshape(len(theta), n_classes, -1)  # (S, C, D)
        logits = features @ weight.mT  # (S, n, C)
        if theta.shape[1] > n_weights:
            logits += theta[:, None, n_weights:]
        return torch.softmax(logits, dim=-1)
