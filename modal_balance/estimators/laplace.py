"""Last-layer Laplace: a Gaussian posterior over the output layer of a trained network.

The features h(x) of the layers before it are fixed. Only the output layer theta = (W, b) is
uncertain, so this is the Laplace approximation of a softmax regression:

    p(x)       = softmax(W h(x) + b)
    precision  = sum_i (diag(p_i) - p_i p_i^T) kron (h_i h_i^T) + delta I
    theta_s    ~ N(theta, precision^-1),    p_s(x) = softmax(W_s h(x) + b_s)

The package laplace-torch computes the sum, its Kronecker factors and the prior precision delta with
the highest marginal likelihood from the features. Each theta_s is drawn once and is a function of
all rows. (The package's samples of predictions are drawn from the marginal distribution of each
row, so they would not be consistent hypotheses.)

S: hypotheses    n: rows    D: features    C: classes
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from .._utils.arguments import RandomState, draw_seed
from .._utils.torch_state import seeded
from ..hypotheses.last_layer import LaplaceHypotheses, output_layer
from ..hypotheses.unwrap import unwrap
from ..hypotheses.validation import validation_error
from .base import (
    COUNT,
    POSITIVE,
    Constraint,
    PredictsMostProbable,
    check_finite,
    check_parameters,
    one_of,
    take_feature_names,
)
from .classifier import MCDropoutClassifier
from .labels import encode

NO_LIBRARY = (
    "LastLayerLaplace needs the package laplace-torch, which is not installed. Install it with "
    'pip install "modal-balance[laplace]".'
)
ROWS_AT_ONCE = 512  # batch size of the curvature


class LastLayerLaplace(PredictsMostProbable, ClassifierMixin, BaseEstimator):
    """Network classifier with a Laplace posterior over its output layer.

    ``fit`` fits the classifier, then the posterior on the same rows. The curvature is that of the
    log-likelihood without class weights, at the trained weights and without dropout. The network
    needs no dropout layers.

    Parameters
    ----------
    estimator : estimator, default=None
        An :class:`~modal_balance.MCDropoutClassifier` (the default), a skorch classifier with
        labels 0..C-1, or a Pipeline that ends in one of these. It is cloned and fitted; to use
        a fitted one, wrap it in scikit-learn's ``FrozenEstimator``. The network must
        end in an ``nn.Linear`` with one output per class, see
        :func:`~modal_balance.hypotheses.last_layer.last_layer_features`.
    hessian_structure : {"kron", "full", "diag"}, default="kron"
        Form of the precision: Kronecker-factored, exact (a matrix with D C + C rows), or diagonal.
    prior_precision : float or "marglik", default="marglik"
        Precision delta of the Gaussian prior. "marglik" maximises the marginal
        likelihood of the labels.
    n_samples : int, default=100
        Number of hypotheses, drawn once in ``fit``, that ``predict_proba`` averages.
    random_state : int, RandomState, Generator or None, default=None
        Seed of these hypotheses. The estimator has its own ``random_state``.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        The labels, sorted.
    estimator_ : estimator
        The fitted classifier.
    laplace_ : laplace.BaseLaplace
        The posterior, of an ``nn.Linear`` on the features: its ``mean``,
        ``posterior_precision``, ``log_marginal_likelihood()``.
    validation_error_ : float or None
        Validation error of the fitted classifier, None if it has none.
    n_features_in_ : int
        Number of columns of ``X`` in ``fit``, if the classifier records it.
    feature_names_in_ : ndarray
        Column names of ``X`` in ``fit``, if it had any and the classifier records them.

    References
    ----------
    Daxberger et al., *Laplace Redux: Effortless Bayesian Deep Learning*, NeurIPS 2021, whose
    library this uses.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.estimators.laplace import LastLayerLaplace
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = LastLayerLaplace(MCDropoutClassifier(random_state=0)).fit(X, y)
    >>> classifier.draw_hypotheses(20, random_state=0).predict_proba_samples(X).shape
    torch.Size([20, 150, 3])
    """

    _set_last = "laplace_"
    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_samples": COUNT,
        "hessian_structure": one_of("kron", "full", "diag"),
        "prior_precision": one_of("marglik", otherwise=POSITIVE),
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        hessian_structure: str = "kron",
        prior_precision: float | str = "marglik",
        n_samples: int = 100,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.hessian_structure = hessian_structure
        self.prior_precision = prior_precision
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, X: Any, y: Any, **fit_params: Any) -> LastLayerLaplace:
        """Fit the classifier and the posterior of its output layer.

        Parameters
        ----------
        X : array-like
            n rows in any form that the classifier accepts.
        y : array-like, shape (n,)
            Labels.
        **fit_params
            Passed to the ``fit`` of the classifier, for example ``X_val`` and ``y_val``.

        Returns
        -------
        LastLayerLaplace
            The fitted classifier.

        Raises
        ------
        ImportError
            If laplace-torch is not installed.
        TypeError
            If the estimator contains no network.
        ValueError
            If a parameter is invalid, or if the prediction of the network is not the softmax of a
            linear output layer.
        """
        self.__dict__.pop("laplace_", None)  # a failed fit leaves the classifier unfitted
        check_parameters(self)
        try:
            library = importlib.import_module("laplace")
        except ImportError as error:
            raise ImportError(NO_LIBRARY) from error
        estimator = MCDropoutClassifier() if self.estimator is None else clone(self.estimator)
        self.estimator_ = estimator.fit(X, y, **fit_params)
        layer, features, proba = _output_layer_in_float64(self.estimator_, X)
        inner = unwrap(self.estimator_).classifier
        is_ours = isinstance(inner, MCDropoutClassifier)
        self.classes_ = inner.classes_ if is_ours else np.arange(proba.shape[1])
        codes = torch.from_numpy(encode(column_or_1d(y), self.classes_, "y")).to(features.device)
        self.validation_error_ = validation_error(self.estimator_)
        take_feature_names(self, self.estimator_)
        self._seed = draw_seed(self.random_state)
        # Data loaders draw from torch's global random state.
        with seeded(0, features.device), warnings.catch_warnings():
            # laplace-torch warns about a link function, which marglik does not use.
            warnings.filterwarnings("ignore", "By default `link_approx`")
            posterior = library.Laplace(
                layer,
                "classification",
                subset_of_weights="all",  # of the output layer, the only layer passed
                hessian_structure=self.hessian_structure,
                prior_precision=1.0 if self.prior_precision == "marglik" else self.prior_precision,
            )
            data = TensorDataset(features.to(torch.float64), codes)
            posterior.fit(DataLoader(data, batch_size=ROWS_AT_ONCE))
            if self.prior_precision == "marglik":
                posterior.optimize_prior_precision(method="marglik")
        self.laplace_ = posterior
        return self

    def draw_hypotheses(
        self, n_samples: int, random_state: RandomState = None, *, verbose: int = 0
    ) -> LaplaceHypotheses:
        """Return frozen hypotheses with output layers drawn from the posterior.

        Parameters
        ----------
        n_samples : int, at least 1
            Number of hypotheses.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the draw. `predict_proba` uses other hypotheses.
        verbose : int, default=0
            Ignored, because there is only one pass through the network.

        Returns
        -------
        LaplaceHypotheses
            ``predict_proba_samples(X)`` returns the predictions, a tensor of shape
            (n_samples, n, C).
        """
        check_is_fitted(self)
        COUNT.check("n_samples", n_samples)
        return self._draw(n_samples, draw_seed(random_state))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the mean prediction of `n_samples` hypotheses, drawn once in ``fit``.

        Parameters
        ----------
        X : array-like
            n rows, as in ``fit``.

        Returns
        -------
        ndarray of float64, shape (n, C)
            Columns in the order of `classes_`.
        """
        check_is_fitted(self)
        samples = self._draw(self.n_samples, self._seed).predict_proba_samples(X)  # (S, n, C)
        proba = check_finite(samples.mean(dim=0, dtype=torch.float64))
        return proba.cpu().numpy()

    def _draw(self, n_samples: int, seed: int) -> LaplaceHypotheses:
        generator = torch.Generator(device=self.laplace_.mean.device).manual_seed(seed)
        theta = self.laplace_.sample(n_samples, generator=generator)  # (S, C D + C) or (S, C D)
        if not theta.isfinite().all():
            raise ValueError(
                "The draws of the output layer are not finite. Scale X (for example with "
                "StandardScaler), or pass a larger prior_precision."
            )
        return LaplaceHypotheses(self.estimator_, theta.detach(), self.classes_)


def _output_layer_in_float64(estimator: Any, X: Any) -> tuple[nn.Linear, Tensor, Tensor]:
    """Return a copy of the output layer in float64, its input (n, D), and the prediction (n, C)."""
    unwrapped = unwrap(estimator)
    layer, features, proba = output_layer(unwrapped.classifier, unwrapped.transform(X))
    double = nn.Linear(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        device="meta",  # does not draw from the global random state
        dtype=torch.float64,
    ).to_empty(device=features.device)
    with torch.no_grad():
        for ours, theirs in zip(double.parameters(), (layer.weight, layer.bias), strict=False):
            ours.copy_(theirs)
        expected = torch.softmax(double(features.to(torch.float64)), dim=1)
    if not torch.allclose(expected, proba.to(torch.float64), atol=1e-3):
        net = getattr(unwrapped.classifier, "net_", unwrapped.classifier)
        raise ValueError(
            f"{type(net.module_).__name__} does not predict the softmax of its output layer, the "
            "last nn.Linear with one output per class, so the posterior of that layer is unknown. "
            "Let the module end in that layer, without a temperature or a mask after it."
        )
    return double, features, proba
