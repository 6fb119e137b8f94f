"""Frozen hypotheses: an estimator's posterior samples as fixed functions of the input.

The only layer that knows skorch and scikit-learn. Whatever the estimator, drawing once gives an
object whose ``predict_proba_samples(X)`` is a pure function of X: the pool, the reference pool and
any part of them, in any order, are seen by the same hypotheses.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from skorch import NeuralNet
from skorch.dataset import Dataset, unpack_data
from skorch.utils import multi_indexing, to_tensor
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .acquisition.greedy import RandomState
from .acquisition.probabilities import check_probabilities
from .dropout import DropoutEnsemble, hidden_dropout_layers, undisturbed
from .exceptions import UnseenDropoutWarning

# Values of a layer's output for all draws of one chunk: 16 MiB in float32.
CHUNK_VALUES = 2**22

PROBABILITY_CAUSE = (
    "The module must return probabilities, or logits with criterion=CrossEntropyLoss, or the net "
    "needs a predict_nonlinearity that turns its output into probabilities (for logits: "
    "functools.partial(torch.softmax, dim=-1))."
)


class Hypotheses(Protocol):
    """Posterior samples of a classifier, each a fixed function of the input.

    Attributes
    ----------
    classes_ : ndarray of shape (C,) or None
        Labels of the columns. None: the labels are 0..C-1.
    """

    classes_: np.ndarray | None

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses on the rows of X, of shape (S, n, C)."""
        ...


def draw_hypotheses(
    estimator: Any, n_samples: int, *, random_state: RandomState = None, verbose: int = 0
) -> Hypotheses:
    """Draw hypotheses from a fitted estimator and freeze them.

    Parameters
    ----------
    estimator : estimator
        A fitted skorch classifier whose module has ``nn.Dropout*`` layers, an estimator with a
        ``draw_hypotheses`` method such as :class:`~modal_balance.MCDropoutClassifier`, or a
        scikit-learn Pipeline that ends in one of these.
    n_samples : int
        Number of hypotheses, at least 1.
    random_state : int, RandomState instance or None, default=None
        Decides the draw.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    Returns
    -------
    Hypotheses
        Valid until the estimator is trained again.

    Raises
    ------
    TypeError
        If it is not known how to draw hypotheses from such an estimator.
    ValueError
        If the network has no active dropout layer.

    Warns
    -----
    UnseenDropoutWarning
        If a layer drops activations inside itself, out of reach.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> hypotheses = draw_hypotheses(clf, 20, random_state=0)
    >>> hypotheses.predict_proba_samples(X[:5]).shape
    torch.Size([20, 5, 3])
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}.")
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1][1]
        hypotheses = draw_hypotheses(last, n_samples, random_state=random_state, verbose=verbose)
        if len(estimator.steps) == 1:
            return hypotheses
        return TransformedHypotheses(estimator[:-1].transform, hypotheses)
    if hasattr(estimator, "draw_hypotheses"):
        drawn: Hypotheses = estimator.draw_hypotheses(
            n_samples, random_state=random_state, verbose=verbose
        )
        return drawn
    if isinstance(estimator, NeuralNet):
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        return DropoutHypotheses(estimator, n_samples, seed, verbose=verbose)
    raise TypeError(
        f"It is not known how to draw hypotheses from a {type(estimator).__name__}. Use "
        "MCDropoutClassifier, a skorch classifier whose module has nn.Dropout layers, or a "
        "Pipeline that ends in one of these."
    )


class TransformedHypotheses:
    """Hypotheses behind a transformation of the input, such as the first steps of a pipeline.

    Parameters
    ----------
    transform : callable
        Maps X to what the hypotheses take.
    hypotheses : Hypotheses
        The hypotheses.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), MCDropoutClassifier(random_state=0)).fit(X, y)
    >>> draw_hypotheses(pipeline, 4, random_state=0).predict_proba_samples(X).shape
    torch.Size([4, 150, 3])
    """

    def __init__(self, transform: Callable[[Any], Any], hypotheses: Hypotheses) -> None:
        self.transform = transform
        self.hypotheses = hypotheses
        self.classes_ = hypotheses.classes_

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array-like
            Input of the transformation, n rows.

        Returns
        -------
        Tensor of shape (S, n, C)
        """
        return self.hypotheses.predict_proba_samples(self.transform(X))


class DropoutHypotheses:
    """MC-dropout hypotheses of a fitted skorch classifier: one network for each set of masks.

    Parameters
    ----------
    net : skorch.NeuralNet
        A fitted net whose module has ``nn.Dropout*`` layers.
    n_samples : int
        Number of hypotheses S.
    seed : int
        Seed of the masks.
    classes : ndarray of shape (C,) or None, default=None
        Labels of the columns. None: the labels are 0..C-1, as skorch reads them.
    dtype : torch.dtype or None, default=None
        Evaluate a copy of the module in this precision. None: the module's own.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    Raises
    ------
    ValueError
        If the module has no active dropout layer.

    Warns
    -----
    UnseenDropoutWarning
        If a layer drops activations inside itself, out of reach.

    References
    ----------
    Gal & Ghahramani, *Dropout as a Bayesian Approximation*, ICML 2016.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skorch import NeuralNetClassifier
    >>> from modal_balance.hypotheses import DropoutHypotheses
    >>> module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
    >>> net = NeuralNetClassifier(module, criterion=torch.nn.CrossEntropyLoss).initialize()
    >>> hypotheses = DropoutHypotheses(net, n_samples=10, seed=0)
    >>> X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    >>> hypotheses.predict_proba_samples(X).shape
    torch.Size([10, 3, 2])
    """

    def __init__(
        self,
        net: NeuralNet,
        n_samples: int,
        seed: int,
        *,
        classes: np.ndarray | None = None,
        dtype: torch.dtype | None = None,
        verbose: int = 0,
    ) -> None:
        self.net = net if dtype is None else _with_module_of(net, dtype)
        self.n_samples = n_samples
        self.seed = seed
        self.classes_ = classes
        self.verbose = verbose
        self._ensemble()
        hidden = hidden_dropout_layers(self.net.module_)
        if hidden:
            warnings.warn(
                f"The dropout inside {', '.join(hidden)} cannot be fixed from outside and is off "
                "in the hypotheses, which therefore differ less than in training. Use nn.Dropout "
                "layers around these layers.",
                UnseenDropoutWarning,
                stacklevel=2,
            )

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array, tensor, dict of arrays, DataFrame, CSR matrix or Dataset
            n rows of whatever the net takes. Floating-point input is cast to the precision of
            the module.

        Returns
        -------
        Tensor of shape (S, n, C), on the device of the net

        Raises
        ------
        ValueError
            If the rows do not fit the module, hold NaN or infinity, or the net's output is not a
            distribution over at least two classes.
        """
        dataset = self.net.get_dataset(X)
        if len(dataset) == 0:
            raise ValueError("X has no rows: there is nothing to predict.")
        # Data loaders, too, draw from torch's global random state.
        with undisturbed(self.net.module_):
            return self._predict(dataset)

    def _ensemble(self) -> DropoutEnsemble:
        # Made anew for every prediction: the seed fixes the masks, and nothing has to be kept.
        return DropoutEnsemble(self.net.module_, self.n_samples, self.seed)

    def _predict(self, dataset: Any) -> Tensor:
        n_rows = len(dataset)
        ensemble = self._ensemble()
        nonlinearity = self.net._get_predict_nonlinearity()

        def forward(batch: Any) -> Tensor:
            output = self.net.infer(batch)
            proba: Tensor = nonlinearity(output[0] if isinstance(output, tuple) else output)
            return proba

        row = self._to_module(next(_batches(self.net, dataset, 1)))
        row = multi_indexing(row, slice(0, 1))
        try:
            ensemble.trace(partial(forward, row), partial(forward, _twice(row)))
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"{type(self.net.module_).__name__} cannot be run on a row of X, "
                f"{_shapes(row)}: {error} X must be what the net was trained on."
            ) from error
        n_batch = max(1, CHUNK_VALUES // (self.n_samples * ensemble.row_size))
        proba: Tensor | None = None  # (S, n, C)
        start = 0
        with tqdm(total=n_rows, desc="Hypotheses", unit="row", disable=self.verbose < 1) as bar:
            for batch in _batches(self.net, dataset, n_batch):
                batch = self._to_module(batch)
                chunk = ensemble(partial(forward, batch))  # (S, n_batch, C)
                if chunk.dtype not in (torch.float32, torch.float64):
                    chunk = chunk.float()
                check_probabilities(chunk, name="The net's prediction", cause=PROBABILITY_CAUSE)
                if proba is None:
                    proba = chunk.new_empty(self.n_samples, n_rows, chunk.shape[2])
                proba[:, start : start + chunk.shape[1]] = chunk
                start += chunk.shape[1]
                bar.update(chunk.shape[1])
        assert proba is not None
        return proba

    def _to_module(self, batch: Any) -> Any:
        """Return a batch as tensors on the module's device, floats in its precision, all finite."""
        parameter = next((p for p in self.net.module_.parameters() if p.is_floating_point()), None)
        dtype = torch.float32 if parameter is None else parameter.dtype

        def convert(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            if not bool(tensor.isfinite().all()):
                raise ValueError("X contains NaN or infinity. Impute or drop these rows first.")
            return tensor.to(dtype)

        return _map_tensors(convert, to_tensor(batch, device=self.net.device))


def validation_error(estimator: Any) -> float | None:
    """Return the estimator's own validation error from its last fit.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator. Of a Pipeline, the last step counts.

    Returns
    -------
    float or None
        ``validation_error_`` where the estimator has it; of a skorch net, 1 minus the best
        ``valid_acc`` in its history. None where neither is known.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.hypotheses import validation_error
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> validation_error(clf) == clf.validation_error_
    True
    """
    if isinstance(estimator, Pipeline):
        return validation_error(estimator.steps[-1][1])
    error = getattr(estimator, "validation_error_", None)
    if error is None and isinstance(estimator, NeuralNet):
        accuracies = [epoch["valid_acc"] for epoch in estimator.history if "valid_acc" in epoch]
        error = 1 - max(accuracies) if accuracies else None
    return None if error is None else float(error)


def validation_error_on(hypotheses: Hypotheses, X_val: Any, y_val: Any) -> float:
    """Return the error of the mean prediction of hypotheses on validation data.

    Parameters
    ----------
    hypotheses : Hypotheses
        The hypotheses.
    X_val : array-like
        m rows.
    y_val : array-like of shape (m,)
        Their labels.

    Returns
    -------
    float
        Share of wrong predictions, in [0, 1].

    Raises
    ------
    ValueError
        If the numbers of rows and labels differ, or no label is one the hypotheses know.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> from modal_balance.hypotheses import validation_error_on
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> hypotheses = draw_hypotheses(clf, 50, random_state=0)
    >>> validation_error_on(hypotheses, X, y) < 0.2
    True
    """
    mean = hypotheses.predict_proba_samples(X_val).mean(0).cpu().numpy()  # (m, C)
    labels = np.asarray(y_val).reshape(-1)
    classes = np.arange(mean.shape[1]) if hypotheses.classes_ is None else hypotheses.classes_
    if len(labels) != len(mean):
        raise ValueError(f"X_val has {len(mean)} rows but y_val has {len(labels)} labels.")
    if not np.isin(labels, classes).any():
        raise ValueError(
            f"No label of y_val is a class of the estimator: y_val holds {labels[:3].tolist()}..., "
            f"the classes are {classes[:3].tolist()}..."
        )
    return float(np.mean(classes[mean.argmax(1)] != labels))


def _batches(net: NeuralNet, dataset: Any, n_batch: int) -> Iterator[Any]:
    """Yield the inputs of a dataset in order, in batches."""
    if type(dataset) is Dataset and net.iterator_valid is DataLoader and _sliceable(dataset.X):
        # skorch's own data set is sliced; a data loader would fetch and collate row by row.
        for start in range(0, len(dataset), n_batch):
            yield dataset[start : start + n_batch][0]
    else:
        for batch in net.get_iterator(dataset, training=False):
            yield unpack_data(batch)[0]


def _sliceable(X: Any) -> bool:
    if isinstance(X, Mapping):
        return all(_sliceable(value) for value in X.values())
    return isinstance(X, np.ndarray | Tensor) or hasattr(X, "iloc")


def _map_tensors(function: Callable[[Tensor], Tensor], data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _map_tensors(function, value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(_map_tensors(function, value) for value in data)
    return function(data)


def _twice(row: Any) -> Any:
    return _map_tensors(lambda tensor: torch.cat([tensor, tensor]), row)


def _shapes(row: Any) -> str:
    shapes: list[str] = []

    def note(tensor: Tensor) -> Tensor:
        shapes.append(f"shape {tuple(tensor.shape)} of {tensor.dtype}")
        return tensor

    _map_tensors(note, row)
    return " and ".join(shapes)


def _with_module_of(net: NeuralNet, dtype: torch.dtype) -> NeuralNet:
    """Return a net that shares everything with ``net`` but its module, a copy in ``dtype``."""
    twin = object.__new__(type(net))
    twin.__dict__.update(net.__dict__)
    twin.__dict__["module_"] = copy.deepcopy(net.module_).to(dtype)
    return twin
