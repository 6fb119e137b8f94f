"""MCDropoutClassifier: a scikit-learn classifier with a dropout network, for few labels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor, nn

from .._utils.arguments import (
    RandomState,
    as_random_state,
    check_labels,
    check_validation_pair,
    n_rows,
)
from .._utils.sklearn_compat import validate_data
from .._utils.torch_state import seeded
from ..hypotheses.protocol import Hypotheses
from .base import (
    COUNT,
    DEVICE,
    POSITIVE,
    Constraint,
    FiniteHypotheses,
    PredictsMostProbable,
    between,
    check_parameters,
    one_of,
)
from .labels import encode, find_classes, stratified_holdout
from .posteriors import DropoutPosterior, Posterior, SnapshotPosterior, posterior_of
from .scaling import PiecewiseLinearEncoding, SquashedScaling, evenly
from .sgmcmc import CyclicalSGLD
from .training import check_network, fit_nets, smoothed_error, untrained_net, validate

_SHARE = between(0, 1, "a number in [0, 1)", low_itself=True)
_PART = between(0, 1, "a number in (0, 1)")

_CONSTRAINTS: Mapping[str, Constraint] = {
    "hidden_layer_sizes": Constraint(
        lambda sizes: isinstance(sizes, (list, tuple)) and all(map(COUNT.holds, sizes)),
        "a tuple of integers of at least 1, such as (64, 64)",
    ),
    "dropout": _SHARE,
    "input_dropout": _SHARE,
    "module": Constraint(
        lambda module: module is None or (callable(module) and not isinstance(module, nn.Module)),
        "a callable module(n_features, n_classes) that builds a new network for every fit, "
        "for example a torch.nn.Module class",
    ),
    "normalise": Constraint(lambda value: isinstance(value, (bool, np.bool_)), "True or False"),
    "n_bins": Constraint(
        lambda value: COUNT.holds(value) or (value == 0 and not isinstance(value, bool)),
        "an integer of at least 0",
    ),
    "learning_rate": POSITIVE,
    "batch_size": COUNT,
    "label_smoothing": _SHARE,
    "n_steps": COUNT,
    "samples_per_epoch": COUNT,
    "max_epochs": COUNT,
    "patience": COUNT,
    "validation": one_of(
        "cv",
        otherwise=Constraint(
            lambda value: value is None or _PART.holds(value),
            f"None or {_PART.expected}",
        ),
    ),
    "n_members": COUNT,
    "n_samples": COUNT,
    "posterior": one_of(
        "dropout",
        "ensemble",
        "sgmcmc",
        otherwise=Constraint(
            lambda value: hasattr(value, "sample") and not isinstance(value, type),
            "a CyclicalSGLD()",
        ),
    ),
    "device": DEVICE,
}


class MCDropoutClassifier(PredictsMostProbable, ClassifierMixin, BaseEstimator):
    """Neural network classifier with MC dropout, for 10 to a few hundred labels.

    Every fit starts from new weights and minimises class-weighted cross-entropy with Adam. Without
    validation data it trains on all labels for a fixed number of steps. With validation data it
    stops early as in the BALanCe paper: an epoch draws its rows with replacement, and when the
    validation accuracy has not improved for `patience` epochs, the best epoch is restored.

    Predictions are means over frozen dropout masks, which are drawn once in ``fit``. They are
    therefore deterministic, and the prediction for a row does not depend on other rows.
    :meth:`paper` returns a classifier with the settings of the paper.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(64, 64)
        Units of the hidden layers of the default network,
        :class:`~modal_balance.estimators.networks.MLP`.
    dropout : float in [0, 1), default=0.2
        Dropout probability of the default network, after each hidden layer.
    input_dropout : float in [0, 1), default=0.2
        Dropout probability of the inputs of the default network, only in training.
    module : callable, default=None
        ``module(n_features, n_classes)`` returns a new ``torch.nn.Module`` that maps float32 inputs
        (n, ...) to logits (n, n_classes); for example a class or a ``functools.partial``. It
        replaces the default network, whose parameters above are then ignored. ``n_features`` is
        ``X.shape[1]``, the number of channels for images (n, channels, height, width) and of
        features for sequences (n, features, steps).
    normalise : bool, default=True
        Standardise the columns (axis 1: of images, the channels; of sequences, the features) by
        the rows in ``fit``, and squash outliers, see
        :class:`~modal_balance.estimators.scaling.SquashedScaling`. If False, the input of the
        network is `X`.
    n_bins : int, default=8
        Largest number of bins of a numeric column in the piecewise-linear encoding, which the
        default network gets in addition to the standardised columns (``estimators/scaling.py``).
        Columns with two values are not encoded; with many columns or few rows, all have fewer
        bins. 0: no encoding.
    learning_rate : float, default=2e-3
        Learning rate of Adam.
    batch_size : int, default=256
        Rows of a training batch; with fewer labels, each step uses all of them.
    label_smoothing : float in [0, 1), default=0.05
        Share of each label that is spread evenly over all classes.
    n_steps : int, default=200
        Number of training steps without validation data.
    samples_per_epoch, max_epochs, patience : int, default=4096, 100, 3
        With validation data: rows drawn per epoch, largest number of epochs, and number of epochs
        without a better validation accuracy after which training stops.
    validation : "cv", None or float in (0, 1), default="cv"
        Source of `validation_error_` if ``fit`` gets no ``X_val``. "cv": five-fold
        cross-validation, which takes up to twice the time of the fit. None: no validation error.
        A number: a stratified sample with this share of the labels is held out for early stopping,
        as with ``X_val``; at least one row of each class is used for training.
    class_weight : "balanced", dict or None, default="balanced"
        Weights of the classes in the loss. "balanced": class c has the weight ``n / (k * n_c)``,
        if n_c of the n training rows are of class c and k classes are present. A dict maps labels
        to positive weights; missing labels have weight 1.
    classes : array-like, default=None
        All labels that may occur, if some of them are not in ``y`` yet. A class without rows also
        has a column in ``predict_proba``. None: the labels in ``y``.
    posterior : {"dropout", "ensemble", "sgmcmc"} or CyclicalSGLD, default="dropout"
        Source of hypotheses. "dropout": dropout masks. "ensemble": dropout masks of `n_members`
        networks, trained from different initial weights; without dropout, a fixed set of these
        networks. CyclicalSGLD: a fixed set of snapshots of the weights, sampled by
        :class:`~modal_balance.estimators.sgmcmc.CyclicalSGLD` from the trained network with
        dropout off; "sgmcmc" uses its default settings.
    n_members : int, default=10
        Number of networks in the ensemble.
    n_samples : int, default=100
        Number of dropout hypotheses that ``predict_proba`` averages. Of a fixed set, it averages
        all.
    device : str, default="cpu"
        "cpu" or a CUDA device, for example "cuda" or "cuda:1".
    random_state : int, RandomState, Generator or None, default=None
        Seed of the held-out rows, the weights, the batches and the posterior. With an int, no
        global random state is read. The global random state of torch is never changed. A Generator
        draws one number for every fit.
    verbose : int, default=0
        1 shows a progress bar over the steps or epochs.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The labels, sorted.
    net_ : skorch.NeuralNetClassifier
        The fitted net; for an ensemble, the first one. Its inputs are those of :meth:`to_inputs`,
        its labels are positions in `classes_`. Its ``history`` records the steps or epochs.
    validation_error_ : float or None
        Share of wrong predictions on validation data. With "cv" or a held-out share, the rows are
        few, so it is ``(wrong + 1) / (rows + 2)``, which is never 0 or 1. None without validation.
    n_validation_rows_ : int
        Number of rows from which `validation_error_` is computed. With "cv" or a held-out share,
        the only row of a class is always used for training.
    snapshots_ : dict of str to Tensor
        Stacked values of each parameter of ``net_.module_``, only for a fixed set.
    n_iter_ : int
        Number of steps or epochs, including those after the best epoch.
    n_features_in_ : int
        ``X.shape[1]`` in ``fit``.
    feature_names_in_ : ndarray
        Column names of ``X`` in ``fit``, if it had any.

    References
    ----------
    Zhang, Khan, Grossman, Chen, "Scalable Batch-Mode Deep Bayesian Active Learning via Equivalence
    Class Annealing", ICLR 2023. Lakshminarayanan, Pritzel, Blundell, "Simple and Scalable
    Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance.estimators.classifier import MCDropoutClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.9), classifier.n_validation_rows_
    (True, 150)
    >>> classifier.draw_hypotheses(20, random_state=0).predict_proba_samples(X).shape
    torch.Size([20, 150, 3])
    """

    _set_last = "net_"
    _constraints = _CONSTRAINTS
    validation_error_: float | None
    _posterior: Posterior
    _scaling: SquashedScaling | PiecewiseLinearEncoding | None
    _n_inputs: int

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (64, 64),
        dropout: float = 0.2,
        *,
        input_dropout: float = 0.2,
        module: Callable[[int, int], nn.Module] | None = None,
        normalise: bool = True,
        n_bins: int = 8,
        learning_rate: float = 2e-3,
        batch_size: int = 256,
        label_smoothing: float = 0.05,
        n_steps: int = 200,
        samples_per_epoch: int = 4096,
        max_epochs: int = 100,
        patience: int = 3,
        validation: str | float | None = "cv",
        class_weight: Mapping[Any, float] | str | None = "balanced",
        classes: ArrayLike | None = None,
        posterior: str | CyclicalSGLD = "dropout",
        n_members: int = 10,
        n_samples: int = 100,
        device: str = "cpu",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.module = module
        self.normalise = normalise
        self.n_bins = n_bins
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.label_smoothing = label_smoothing
        self.n_steps = n_steps
        self.samples_per_epoch = samples_per_epoch
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation = validation
        self.class_weight = class_weight
        self.classes = classes
        self.posterior = posterior
        self.n_members = n_members
        self.n_samples = n_samples
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def paper(cls, **parameters: Any) -> MCDropoutClassifier:
        """Return a classifier with the network and the training of the BALanCe paper.

        It has two hidden layers of 64 units, dropout 0.5, no scaling of inputs, batches of 128 and
        epochs of 4,096 draws. It stops early by the accuracy on ``X_val`` (2,000 rows in the
        paper), or on a fifth of the labels if ``fit`` gets no ``X_val``.

        Parameters
        ----------
        **parameters
            Further parameters of the class, or different values of these.

        Returns
        -------
        MCDropoutClassifier

        References
        ----------
        Zhang et al., ICLR 2023, section 4.1 and appendix B.

        Examples
        --------
        >>> from modal_balance.estimators.classifier import MCDropoutClassifier
        >>> MCDropoutClassifier.paper(learning_rate=0.01).dropout
        0.5
        """
        settings: dict[str, Any] = {
            "hidden_layer_sizes": (64, 64),
            "dropout": 0.5,
            "input_dropout": 0.0,
            "normalise": False,
            "learning_rate": 1e-3,
            "batch_size": 128,
            "label_smoothing": 0.0,
            "samples_per_epoch": 4096,
            "patience": 3,
            "validation": 0.2,
            "class_weight": "balanced",
        }
        return cls(**(settings | parameters))

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        X_unlabelled: ArrayLike | None = None,
    ) -> MCDropoutClassifier:
        """Fit the classifier: train a new network on labelled rows.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs without NaN or infinity; with `module`, also of shape (n, channels, ...).
        y : array-like, shape (n,)
            Labels of any kind.
        X_val, y_val : array-like, default=None
            Validation data for early stopping and `validation_error_`, shaped like `X` and `y`.
            None: as `validation` says.
        X_unlabelled : array-like, default=None
            Rows without labels, for example the pool. With `X` they determine the standardisation
            and the bins of the columns, because rows chosen by a strategy are not distributed
            like the data. At most 10,000 rows are used, evenly spaced.

        Returns
        -------
        MCDropoutClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If a parameter, `X` or `y` is invalid, if there is only one class, if a label is not
            among `classes`, or if the training loss becomes infinite or NaN.

        Warns
        -----
        UserWarning
            If no row can be held out, because every row is the only one of its class.
        ConvergenceWarning
            If training has diverged: the loss on the training rows is above
            ``10 * log(n_classes)``, ten times that of a uniform prediction.
        """
        # A fit that fails or is interrupted leaves the estimator unfitted.
        for name in ("net_", "snapshots_"):
            self.__dict__.pop(name, None)
        check_parameters(self)
        check_labels(y, "y")
        check_validation_pair(X_val, y_val)
        rows, targets = validate_data(self, X, y, **self._input_rules())
        self.classes_ = find_classes(targets, self.classes)
        seeds = as_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=4)
        split_seed, torch_seed, batch_seed, posterior_seed = seeds.tolist()
        split_rng = np.random.RandomState(split_seed)

        codes = encode(targets, self.classes_, "y")
        self._fit_scaling(rows, X_unlabelled)
        inputs, labels = self._to_tensor(rows), torch.from_numpy(codes)
        inputs_val, labels_val = inputs[:0], labels[:0]
        if X_val is not None:
            inputs_val = self._to_tensor(self._rows_like_X(X_val, "X_val"))
            labels_val = torch.from_numpy(encode(column_or_1d(y_val), self.classes_, "y_val"))
        elif not (self.validation is None or isinstance(self.validation, str)):
            kept, held_out = stratified_holdout(codes, float(self.validation), split_rng)
            inputs_val, labels_val = inputs[held_out], labels[held_out]
            inputs, labels, codes = inputs[kept], labels[kept], codes[kept]

        training, validation = (inputs, labels), (inputs_val, labels_val)
        with seeded(torch_seed, self.device), torch.enable_grad():
            nets = fit_nets(self, training, validation, batch_seed)
            self._posterior = posterior_of(
                nets, self.posterior, *training, posterior_seed, verbose=self.verbose
            )
            mistakes = validate(self, self._posterior, training, validation, split_rng)
        self.validation_error_, self.n_validation_rows_ = None, 0
        if mistakes is not None:
            n_wrong, n_judged = mistakes
            enough = X_val is not None
            self.validation_error_ = n_wrong / n_judged if enough else smoothed_error(*mistakes)
            self.n_validation_rows_ = n_judged
        if isinstance(self._posterior, SnapshotPosterior):
            self.snapshots_ = self._posterior.snapshots
        self.n_iter_ = len(nets[0].history)
        self.net_ = nets[0]
        return self

    def fit_unlabelled(self, X: ArrayLike) -> MCDropoutClassifier:
        """Initialise a network with random weights, without labels or training.

        A strategy can then choose the first points to label, as in the BALanCe paper on EMNIST.
        The columns are scaled by the rows of `X`, and `validation_error_` is that of random
        guessing, ``1 - 1 / n_classes``. A later ``fit`` starts from new weights.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs without labels, for example the pool.

        Returns
        -------
        MCDropoutClassifier
            The classifier.

        Raises
        ------
        ValueError
            If ``classes`` is None, or if a parameter or `X` is invalid.

        References
        ----------
        Zhang, Khan, Grossman, Chen, ICLR 2023, section 4.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from modal_balance import MCDropoutClassifier, balance_query
        >>> X, _ = load_iris(return_X_y=True)
        >>> classifier = MCDropoutClassifier(classes=range(3), random_state=0).fit_unlabelled(X)
        >>> indices, _ = balance_query(classifier, X, 5, random_state=0)
        >>> len(indices)
        5
        """
        for name in ("net_", "snapshots_"):
            self.__dict__.pop(name, None)
        check_parameters(self)
        if self.classes is None:
            raise ValueError(
                "classes=None, but there are no labels to find the classes in. Declare all labels "
                "that may occur with classes=."
            )
        rows = validate_data(self, X, **self._input_rules())
        self.classes_ = find_classes(np.empty(0), self.classes)
        rng = as_random_state(self.random_state)
        torch_seed, mask_seed = rng.randint(np.iinfo(np.int32).max, size=2).tolist()
        self._fit_scaling(rows)
        with seeded(torch_seed, self.device):
            net = untrained_net(self, torch.ones(len(self.classes_)), torch_seed)
            check_network(self, net, self._to_tensor(rows[:2]))
        self._posterior = DropoutPosterior(net, mask_seed)
        self.validation_error_, self.n_validation_rows_ = 1 - 1 / len(self.classes_), 0
        self.n_iter_ = 0
        self.net_ = net
        return self

    def initialize(self) -> MCDropoutClassifier:
        """Return the classifier unchanged, because ``fit`` creates the network.

        modAL's ``DeepActiveLearner`` (0.4.2) calls this method, as it does for a skorch net. Since
        ``fit`` starts from new weights, call ``learner.teach(X, y, warm_start=False)`` with all
        labels so far.

        Returns
        -------
        MCDropoutClassifier
            The classifier.

        Examples
        --------
        >>> from modal_balance import MCDropoutClassifier
        >>> classifier = MCDropoutClassifier()
        >>> classifier.initialize() is classifier
        True
        """
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the mean prediction of `n_samples` frozen dropout hypotheses, or of all snapshots.

        The default network is run in float64, because in float32 the seventh digit of a row would
        depend on other rows; your `module` is run in float32. A network without dropout returns
        its only prediction.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of float64, shape (n, n_classes)
            Columns in the order of `classes_`; rows sum to 1. NaN raises a ValueError.
        """
        check_is_fitted(self)
        return self._posterior.mean_proba(self.to_inputs(X), self.n_samples)

    def draw_hypotheses(
        self, n_samples: int, random_state: RandomState = None, *, verbose: int = 0
    ) -> Hypotheses:
        """Return frozen hypotheses drawn from the posterior, for the same inputs as ``predict``.

        They do not change when the classifier is fitted again.

        Parameters
        ----------
        n_samples : int, at least 1
            Number of hypotheses. Snapshots are drawn without replacement, at most all of them.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the draw. `predict_proba` uses other hypotheses.
        verbose : int, default=0
            1 or more: predictions show a progress bar.

        Returns
        -------
        Hypotheses
            ``predict_proba_samples(X)`` returns the predictions, a tensor of shape
            (n_samples, n, n_classes). NaN raises a ValueError.

        Raises
        ------
        ValueError
            If `n_samples` is below 1. If dropout masks are needed but the network has no dropout,
            predicting with the hypotheses raises it.
        """
        check_is_fitted(self)
        COUNT.check("n_samples", n_samples)
        rng = as_random_state(random_state)
        drawn = self._posterior.draw(n_samples, rng, self.classes_, verbose)
        # The copy keeps the preprocessing of this fit.
        return FiniteHypotheses(copy.copy(self).to_inputs, drawn)

    def to_inputs(self, X: ArrayLike) -> Tensor:
        """Return the inputs of the network for X.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs, as in ``fit``.

        Returns
        -------
        Tensor of float32, shape (n, n_inputs)

        Raises
        ------
        ValueError
            If the columns differ from those of ``fit``, or if X holds NaN or infinity.
        """
        return self._to_tensor(validate_data(self, X, reset=False, **self._input_rules()))

    def _fit_scaling(self, X: NDArray[Any], X_unlabelled: ArrayLike | None = None) -> None:
        if X_unlabelled is not None and n_rows(X_unlabelled) > 0:
            some = _safe_indexing(X_unlabelled, evenly(n_rows(X_unlabelled), 10_000))
            more = self._rows_like_X(some, "X_unlabelled")
            X = np.concatenate([X, more.astype(X.dtype, copy=False)])
        self._scaling = None
        if self.normalise and self.n_bins and self.module is None:
            self._scaling = PiecewiseLinearEncoding(X, self.n_bins)
        elif self.normalise:
            self._scaling = SquashedScaling(X)
        self._n_inputs = self._to_tensor(X[:1]).shape[1]

    def _rows_like_X(self, rows: ArrayLike, name: str) -> NDArray[Any]:
        try:
            checked: NDArray[Any] = validate_data(self, rows, reset=False, **self._input_rules())
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{name} is not like X: {error}") from error
        return checked

    def _input_rules(self) -> dict[str, Any]:
        # Scaling needs all digits of a column far from 0; the network needs float32.
        dtype = [np.float64, np.float32] if self.normalise else np.float32
        # Only a custom network can handle further axes.
        return {"dtype": dtype, "order": "C", "allow_nd": self.module is not None}

    def _to_tensor(self, X: NDArray[Any]) -> Tensor:
        if self._scaling is not None:
            return torch.from_numpy(self._scaling(X))
        # torch warns about read-only memory, for example of a memory map.
        return torch.from_numpy(np.require(X, requirements="W"))
