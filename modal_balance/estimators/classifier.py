"""A scikit-learn classifier with the BALanCe paper's network and training protocol."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d
from skorch import NeuralNetClassifier
from torch import Tensor, nn

from ..arguments import RandomState, as_random_state, check_validation_pair
from ..hypotheses.protocol import Hypotheses
from ..sklearn_compat import validate_data
from ..torch_state import seeded
from .networks import MLP, check_logits
from .parameters import COUNT, DEVICE, POSITIVE, Constraint, between, check_parameters
from .posteriors import SnapshotPosterior, posterior_of
from .predicting import FiniteHypotheses, PredictsMostProbable
from .sgmcmc import CyclicalSGLD
from .training import (
    DrawnBatches,
    check_convergence,
    class_weights,
    encode,
    find_classes,
    stratified_holdout,
    train,
)

__all__ = ["MCDropoutClassifier"]


class MCDropoutClassifier(PredictsMostProbable, ClassifierMixin, BaseEstimator):
    """Neural network with MC dropout, trained as in the BALanCe paper.

    Every fit starts from new weights and trains with Adam on class-weighted cross-entropy, in
    epochs of rows drawn with replacement. Training stops when the accuracy on validation data has
    not improved for `patience` epochs, and the best epoch is restored. Predictions are the mean
    over frozen dropout masks, drawn once in ``fit``: they are deterministic, and a row's prediction
    does not depend on the rows beside it.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(64, 64)
        Units of the hidden layers of the default network,
        :class:`~modal_balance.estimators.networks.MLP`.
    dropout : float in [0, 1), default=0.5
        Dropout probability of the default network, after each hidden layer.
    module : callable, default=None
        ``module(n_features, n_classes)`` returns a new ``torch.nn.Module`` that maps float32 inputs
        (n, ...) to logits (n, n_classes); a class or a ``functools.partial``, for example. It
        replaces the default network, whose two parameters above are then unused. ``n_features`` is
        ``X.shape[1]``, the number of channels for images (n, channels, height, width).
    learning_rate : float, default=1e-3
        Learning rate of Adam.
    batch_size : int, default=128
        Rows of a training batch.
    samples_per_epoch : int, default=4096
        Rows drawn with replacement per epoch.
    max_epochs : int, default=100
        Largest number of epochs.
    patience : int, default=3
        Epochs without a better validation accuracy before training stops.
    validation_fraction : float in (0, 1), default=0.2
        Share of the labels held out for early stopping where ``fit`` gets no ``X_val``,
        stratified. Each class keeps a row in training. Where every class has one row only, nothing
        is held out: ``fit`` warns and trains for 10 epochs (or `max_epochs`, if fewer).
    class_weight : "balanced", dict or None, default="balanced"
        Weights of the classes in the loss. "balanced" is ``n / (k * n_c)`` over the rows trained
        on: n rows, n_c of class c, k classes present. A dict maps labels to positive weights, 1
        for labels left out.
    classes : array-like, default=None
        All labels that may occur, where not all of them occur in ``y`` yet. A class without rows
        has a column in ``predict_proba`` all the same. By default the labels in ``y``.
    posterior : {"dropout", "sgmcmc"} or CyclicalSGLD, default="dropout"
        Where hypotheses come from: dropout masks, or snapshots of the weights that
        :class:`~modal_balance.estimators.sgmcmc.CyclicalSGLD` takes, starting from the best epoch
        with dropout off ("sgmcmc": with its default settings). Snapshots are a fixed set;
        ``predict_proba`` averages all of them.
    n_samples : int, default=100
        Dropout hypotheses that ``predict_proba`` averages.
    device : str, default="cpu"
        "cpu" or a CUDA device, such as "cuda" or "cuda:1".
    random_state : int, RandomState, Generator or None, default=None
        Seed of the held-out rows, the weights, the draws and the posterior. With an int, no
        global random state is read; torch's is never changed. A Generator gives one number to
        every fit.
    verbose : int, default=0
        1 shows a progress bar over the epochs.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The labels, sorted.
    net_ : skorch.NeuralNetClassifier
        The fitted net; its labels are positions in `classes_`. Its ``history`` records the epochs.
    validation_error_ : float or None
        One minus the accuracy of ``predict`` on the validation data; None without such data.
    snapshots_ : dict of str to Tensor
        With snapshots: for each parameter of ``net_.module_`` its values, stacked.
    n_iter_ : int
        Epochs that were run, the ones after the best one included.
    n_features_in_ : int
        ``X.shape[1]`` in ``fit``.
    feature_names_in_ : ndarray
        Column names of ``X`` in ``fit``, if it had any.

    References
    ----------
    Zhang, Khan, Grossman, Chen, "Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing", ICLR 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance.estimators.classifier import MCDropoutClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MCDropoutClassifier(max_epochs=10, random_state=0).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.8)
    True
    >>> classifier.draw_hypotheses(20, random_state=0).predict_proba_samples(X).shape
    torch.Size([20, 150, 3])
    """

    _set_last = "net_"
    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "hidden_layer_sizes": Constraint(
            lambda sizes: isinstance(sizes, (list, tuple)) and all(map(COUNT.holds, sizes)),
            "a tuple of integers of at least 1, such as (64, 64)",
        ),
        "dropout": between(0, 1, "a number in [0, 1)", low_itself=True),
        "module": Constraint(
            lambda module: (
                module is None or (callable(module) and not isinstance(module, nn.Module))
            ),
            "a callable module(n_features, n_classes) that builds a new network for every fit, "
            "such as a torch.nn.Module class",
        ),
        "learning_rate": POSITIVE,
        "batch_size": COUNT,
        "samples_per_epoch": COUNT,
        "max_epochs": COUNT,
        "patience": COUNT,
        "validation_fraction": between(0, 1, "a number in (0, 1)"),
        "n_samples": COUNT,
        "posterior": Constraint(
            lambda value: (
                value in ("dropout", "sgmcmc")
                if isinstance(value, str)
                else hasattr(value, "sample") and not isinstance(value, type)
            ),
            "'dropout', 'sgmcmc', or a CyclicalSGLD()",
        ),
        "device": DEVICE,
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (64, 64),
        dropout: float = 0.5,
        *,
        module: Callable[[int, int], nn.Module] | None = None,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        samples_per_epoch: int = 4096,
        max_epochs: int = 100,
        patience: int = 3,
        validation_fraction: float = 0.2,
        class_weight: Mapping[Any, float] | str | None = "balanced",
        classes: ArrayLike | None = None,
        posterior: str | CyclicalSGLD = "dropout",
        n_samples: int = 100,
        device: str = "cpu",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.module = module
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.samples_per_epoch = samples_per_epoch
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.classes = classes
        self.posterior = posterior
        self.n_samples = n_samples
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> MCDropoutClassifier:
        """Train a new network.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs, finite; (n, channels, ...) where `module` is given.
        y : array-like, shape (n,)
            Labels of any kind.
        X_val, y_val : array-like, default=None
            Data for early stopping and for `validation_error_`, shaped as `X` and `y`. All of `X`
            is then trained on. By default a part of `X` is held out (see `validation_fraction`).

        Returns
        -------
        MCDropoutClassifier
            The classifier itself.

        Raises
        ------
        ValueError
            If a parameter, `X` or `y` is invalid, if there is only one class, if a label is not
            among `classes`, or if the training loss becomes infinite or NaN.

        Warns
        -----
        ConvergenceWarning
            If the trained network's loss on its training rows is above ``10 * log(n_classes)``,
            ten times that of a uniform prediction: training has diverged.
        """
        # A fit that fails or is interrupted leaves an estimator that is not fitted.
        for name in ("net_", "snapshots_"):
            self.__dict__.pop(name, None)
        check_parameters(self)
        check_validation_pair(X_val, y_val)
        rows, targets = validate_data(self, X, y, **self._input_rules())
        check_classification_targets(targets)
        self.classes_ = find_classes(targets, self.classes)
        seeds = as_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=4)
        split_seed, torch_seed, batch_seed, posterior_seed = seeds.tolist()

        codes = encode(targets, self.classes_, "y")
        inputs, labels = _to_tensor(rows), torch.from_numpy(codes)
        if X_val is None:
            rng = np.random.RandomState(split_seed)
            kept, held_out = stratified_holdout(codes, self.validation_fraction, rng)
            inputs_val, labels_val = inputs[held_out], labels[held_out]
            inputs, labels, codes = inputs[kept], labels[kept], codes[kept]
        else:
            inputs_val = self.to_inputs(X_val)
            labels_val = torch.from_numpy(encode(column_or_1d(y_val), self.classes_, "y_val"))
        if not len(labels_val):
            warnings.warn(
                f"None of the {len(labels)} rows can be held out: each is alone in its class. "
                "Training without early stopping, and validation_error_ is None. Pass more labels, "
                "or X_val and y_val.",
                UserWarning,
                stacklevel=2,
            )

        with seeded(torch_seed, self.device):
            weights = class_weights(codes, self.classes_, self.class_weight)
            net = self._build_net(weights, batch_seed)
            logits = net.evaluation_step((inputs[:2], None))
            check_logits(logits, (min(2, len(inputs)), len(weights)))
            self.n_iter_ = train(
                net,
                (inputs, labels),
                (inputs_val, labels_val),
                max_epochs=self.max_epochs,
                patience=self.patience,
                verbose=self.verbose,
            )
            check_convergence(net, inputs, labels)
            self._posterior = posterior_of(
                net, self.posterior, inputs, labels, posterior_seed, verbose=self.verbose
            )
        if isinstance(self._posterior, SnapshotPosterior):
            self.snapshots_ = self._posterior.snapshots
        self.validation_error_ = None
        if len(labels_val):
            predicted = self._posterior.mean_proba(inputs_val, self.n_samples).argmax(axis=1)
            self.validation_error_ = 1.0 - float(np.mean(predicted == labels_val.numpy()))
        self.net_ = net
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the mean prediction of `n_samples` frozen dropout hypotheses, or of all snapshots.

        Computed in float64: with float32 rounding, the seventh digit of a row would depend on the
        rows beside it. A network without active dropout gives its own prediction.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of float64, shape (n, n_classes)
            Columns in the order of `classes_`; rows sum to 1. NaN is a ValueError.
        """
        check_is_fitted(self)
        return self._posterior.mean_proba(self.to_inputs(X), self.n_samples)

    def draw_hypotheses(
        self, n_samples: int, random_state: RandomState = None, *, verbose: int = 0
    ) -> Hypotheses:
        """Draw frozen hypotheses, which take the same inputs as ``predict``.

        They stay as they are when the classifier is fitted again.

        Parameters
        ----------
        n_samples : int, at least 1
            How many to draw. Snapshots are drawn without replacement: all where there are fewer.
        random_state : int, RandomState, Generator or None, default=None
            Decides which. `predict_proba` has draws of its own.
        verbose : int, default=0
            1 or more: predictions show a progress bar.

        Returns
        -------
        Hypotheses
            ``predict_proba_samples(X)`` gives the predictions, a tensor (n_samples, n, n_classes).
            NaN is a ValueError.

        Raises
        ------
        ValueError
            If masks are to be drawn and no dropout layer is active, or `n_samples` is below 1.
        """
        check_is_fitted(self)
        COUNT.check("n_samples", n_samples)
        rng = as_random_state(random_state)
        drawn = self._posterior.draw(n_samples, rng, self.classes_, verbose)
        # The copy keeps the checks of the inputs as they are now, also after another fit.
        return FiniteHypotheses(copy.copy(self).to_inputs, drawn)

    def to_inputs(self, X: ArrayLike) -> Tensor:
        """Return what the network is given for X.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs, as in ``fit``.

        Returns
        -------
        Tensor of float32, shape (n, n_features)

        Raises
        ------
        ValueError
            If the columns are not those of ``fit``, or X holds NaN or infinity.
        """
        return _to_tensor(validate_data(self, X, reset=False, **self._input_rules()))

    def _input_rules(self) -> dict[str, Any]:
        # Only a custom network can know what further axes mean.
        return {"dtype": np.float32, "order": "C", "allow_nd": self.module is not None}

    def _build_net(self, weights: Tensor, seed: int) -> NeuralNetClassifier:
        build = self.module or partial(
            MLP, hidden_layer_sizes=self.hidden_layer_sizes, dropout=self.dropout
        )
        # A partial and not an instance: skorch would store an instance twice.
        net = NeuralNetClassifier(
            partial(build, self.n_features_in_, len(weights)),
            criterion=nn.CrossEntropyLoss,
            criterion__weight=weights,
            optimizer=torch.optim.Adam,
            lr=self.learning_rate,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            iterator_train=DrawnBatches,
            iterator_train__samples_per_epoch=self.samples_per_epoch,
            iterator_train__seed=seed,
            train_split=None,
            callbacks="disable",
            classes=list(range(len(weights))),
            device=self.device,
            verbose=0,
        )
        return net.initialize()


def _to_tensor(X: NDArray[np.float32]) -> Tensor:
    # torch warns about memory that it must not write, such as a memory map's.
    return torch.from_numpy(np.require(X, requirements="W"))
