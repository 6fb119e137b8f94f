import pickle
import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn
from toy import Convolution, digits, fast_classifier, skorch_net

from modal_balance import balance_query, draw_hypotheses
from modal_balance.estimators.laplace import LastLayerLaplace
from modal_balance.estimators.networks import MLP
from modal_balance.hypotheses.last_layer import LaplaceHypotheses
from modal_balance.hypotheses.validation import validation_error

needs_library = pytest.mark.skipif(find_spec("laplace") is None, reason="needs laplace-torch")

X, Y = digits()
X_TRAIN, Y_TRAIN = X[:60], Y[:60]


def small(**parameters):
    return fast_classifier(hidden_layer_sizes=(6,), normalise=False, **parameters)


def hand_features(estimator, X):
    """Return h(x), with a 1 for the bias, of the perceptron with one hidden layer."""
    hidden = estimator.net_.module_.layers[0]
    h = torch.relu(torch.tensor(X) @ hidden.weight.T + hidden.bias).detach().double()
    return torch.cat([h, torch.ones(len(h), 1)], dim=1)


def hand_theta(estimator):
    """Return the weights and biases of the output layer, (C, D + 1)."""
    out = estimator.net_.module_.layers[-1]
    return torch.cat([out.weight, out.bias[:, None]], dim=1).detach().double()


def hand_precision(estimator, X, delta):
    """Return the precision in the order weights, then biases."""
    h, theta = hand_features(estimator, X), hand_theta(estimator)
    n_classes, n_columns = theta.shape
    precision = delta * torch.eye(n_classes * n_columns, dtype=torch.float64)
    for row in h:
        p = torch.softmax(theta @ row, dim=0)
        precision += torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(row, row))
    positions = torch.arange(n_classes * n_columns).reshape(n_classes, n_columns)
    order = torch.cat([positions[:, :-1].flatten(), positions[:, -1]])
    return precision[order][:, order]


# Nothing but the missing package keeps these from running.
if find_spec("laplace") is not None:

    @parametrize_with_checks([
        LastLayerLaplace(
            fast_classifier(n_samples=10, learning_rate=0.03, validation=None), n_samples=20
        )
    ])  # fmt: skip
    def test_scikit_learn_conventions(estimator, check):
        check(estimator)


# --- the posterior --------------------------------------------------------------------------------


@needs_library
@pytest.mark.parametrize("delta", [0.5, 20.0])
def test_the_full_covariance_is_that_of_the_formula(delta):
    classifier = LastLayerLaplace(small(), hessian_structure="full", prior_precision=delta)
    classifier.fit(X_TRAIN, Y_TRAIN)
    expected = torch.linalg.inv(hand_precision(classifier.estimator_, X_TRAIN, delta))
    torch.testing.assert_close(
        classifier.laplace_.posterior_covariance, expected, rtol=1e-4, atol=1e-6
    )
    theta = classifier.draw_hypotheses(40000, random_state=0).theta
    trained = hand_theta(classifier.estimator_)
    mean = torch.cat([trained[:, :-1].flatten(), trained[:, -1]])
    std = expected.diagonal().sqrt()
    torch.testing.assert_close((theta.mean(0) - mean) / std, 0 * std, rtol=0, atol=0.03)
    scaled = (theta.T.cov() - expected) / torch.outer(std, std)
    assert scaled.abs().max() < 0.04


class OnlyWeights(nn.Module):
    """A perceptron whose output layer has no bias."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(n_features, 5), nn.Tanh())
        self.out = nn.Linear(5, n_classes, bias=False)

    def forward(self, X):
        return self.out(self.network(X))


@needs_library
def test_kronecker_factors_are_exact_for_identical_rows_without_bias():
    same = np.repeat(X[:1], 40, axis=0)
    base = fast_classifier(module=OnlyWeights, classes=range(4))
    fits = [
        LastLayerLaplace(base, hessian_structure=structure, prior_precision=2.0).fit(same, Y[:40])
        for structure in ("kron", "full")
    ]
    exact = fits[1].laplace_.posterior_covariance
    theta = fits[0].draw_hypotheses(40000, random_state=0).theta
    std = exact.diagonal().sqrt()
    assert ((theta.T.cov() - exact) / torch.outer(std, std)).abs().max() < 0.04
    draws = fits[1].draw_hypotheses(6, random_state=0).predict_proba_samples(X[:3])
    assert draws.shape == (6, 3, 4)


@needs_library
def test_marglik_takes_the_prior_under_which_the_labels_are_most_probable():
    classifier = LastLayerLaplace(small(), hessian_structure="full").fit(X_TRAIN, Y_TRAIN)
    theta = hand_theta(classifier.estimator_)
    logits = hand_features(classifier.estimator_, X_TRAIN) @ theta.T
    log_likelihood = -nn.functional.cross_entropy(logits, torch.tensor(Y_TRAIN), reduction="sum")

    def log_evidence(delta):
        log_det = torch.logdet(hand_precision(classifier.estimator_, X_TRAIN, delta))
        log_det_prior = theta.numel() * np.log(delta)
        penalty = delta * theta.square().sum()
        return (log_likelihood - (penalty + log_det - log_det_prior) / 2).item()

    found = log_evidence(classifier.laplace_.prior_precision.item())
    assert found > max(log_evidence(delta) for delta in np.geomspace(1e-3, 1e4, 71)) - 0.05


# --- hypotheses -----------------------------------------------------------------------------------


def test_each_draw_is_the_network_with_that_output_layer():
    estimator = small(max_epochs=2).fit(X_TRAIN, Y_TRAIN)
    theta = torch.randn(5, 4 * 6 + 4, generator=torch.Generator().manual_seed(0))
    proba = LaplaceHypotheses(estimator, theta, estimator.classes_).predict_proba_samples(X)
    network = MLP(64, 4, (6,)).eval()
    network.load_state_dict(estimator.net_.module_.state_dict())
    for draw, one in zip(theta, proba, strict=True):
        with torch.no_grad():
            network.layers[-1].weight.copy_(draw[:24].reshape(4, 6))
            network.layers[-1].bias.copy_(draw[24:])
            expected = network(torch.tensor(X)).softmax(1)
        torch.testing.assert_close(one, expected)


@needs_library
def test_hypotheses_are_functions_of_the_row_alone():
    classifier = LastLayerLaplace(small()).fit(X_TRAIN, Y_TRAIN)
    hypotheses = classifier.draw_hypotheses(10, random_state=1)
    proba = hypotheses.predict_proba_samples(X)
    assert not hypotheses.fixed
    order = np.random.default_rng(0).permutation(len(X))
    torch.testing.assert_close(hypotheses.predict_proba_samples(X[order]), proba[:, order])
    alone = torch.cat([hypotheses.predict_proba_samples(X[i : i + 1]) for i in range(20)], dim=1)
    torch.testing.assert_close(alone, proba[:, :20])
    twice = hypotheses.predict_proba_samples(X[[3, 3]])
    torch.testing.assert_close(twice[:, 0], twice[:, 1])
    again = classifier.draw_hypotheses(10, np.random.RandomState(1)).predict_proba_samples(X)
    other = classifier.draw_hypotheses(10, random_state=2).predict_proba_samples(X)
    assert torch.equal(again, proba) and not torch.equal(other, proba)
    assert (proba.std(0) > 0.01).any()


@needs_library
def test_predictions_are_the_mean_of_draws():
    names = np.array(list("abcd"))[Y_TRAIN]
    base = fast_classifier(learning_rate=0.01)
    classifier = LastLayerLaplace(base, n_samples=2000, random_state=0).fit(X_TRAIN, names)
    mean = classifier.draw_hypotheses(2000, random_state=1).predict_proba_samples(X).mean(0)
    np.testing.assert_allclose(classifier.predict_proba(X), mean, atol=0.04)
    assert classifier.classes_.tolist() == list("abcd")
    np.testing.assert_array_equal(
        classifier.predict(X), classifier.classes_[classifier.predict_proba(X).argmax(1)]
    )
    assert classifier.score(X, np.array(list("abcd"))[Y]) > 0.85


# --- estimators -----------------------------------------------------------------------------------


@needs_library
def test_the_classifier_is_cloned_and_its_validation_error_is_passed_on():
    base = small()
    classifier = LastLayerLaplace(base).fit(X_TRAIN, Y_TRAIN, X_val=X[60:200], y_val=Y[60:200])
    assert not hasattr(base, "net_")
    expected = clone(base).fit(X_TRAIN, Y_TRAIN, X_val=X[60:200], y_val=Y[60:200])
    assert classifier.validation_error_ == expected.validation_error_
    assert validation_error(classifier) == classifier.validation_error_
    assert classifier.n_features_in_ == 64


@needs_library
def test_a_fitted_classifier_is_taken_as_it_is_when_frozen():
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator
    base = small().fit(X_TRAIN, Y_TRAIN)
    weights = base.net_.module_.layers[-1].weight.clone()
    classifier = LastLayerLaplace(frozen(base)).fit(X_TRAIN, Y_TRAIN)
    assert torch.equal(base.net_.module_.layers[-1].weight, weights)
    np.testing.assert_allclose(
        classifier.laplace_.mean[:24].reshape(4, 6), weights.detach(), rtol=1e-6
    )
    assert classifier.validation_error_ == base.validation_error_


@needs_library
def test_a_skorch_classifier_without_dropout():
    module = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    classifier = LastLayerLaplace(skorch_net(module, max_epochs=40)).fit(X[:200], Y[:200])
    assert classifier.classes_.tolist() == [0, 1, 2, 3]
    assert classifier.validation_error_ is None
    assert classifier.score(X, Y) > 0.85
    proba = draw_hypotheses(classifier, 8, random_state=0).predict_proba_samples(X)
    assert proba.shape == (8, 720, 4)
    with pytest.raises(ValueError, match=r"y has the labels"):
        LastLayerLaplace(skorch_net(module, train_split=None, max_epochs=0)).fit(X[:9], Y[:9] - 1)


@needs_library
def test_a_pipeline_on_a_data_frame():
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), fast_classifier(learning_rate=0.01))
    classifier = LastLayerLaplace(pipeline, random_state=0).fit(X, pd.Series(list("abc"))[y])
    assert classifier.feature_names_in_.tolist() == list(X.columns)
    assert classifier.score(X, np.array(list("abc"))[y]) > 0.85
    assert classifier.draw_hypotheses(3).predict_proba_samples(X).shape == (3, 150, 3)
    indices = balance_query(classifier, X, n_instances=4, random_state=0)[0]
    assert len(set(indices.tolist())) == 4


@needs_library
def test_rows_may_be_images_or_have_gaps_that_the_estimator_fills():
    images = X.reshape(-1, 1, 8, 8)
    network = fast_classifier(module=Convolution, n_steps=5)
    classifier = LastLayerLaplace(network, random_state=0).fit(images[:40], Y[:40])
    assert len(balance_query(classifier, images[40:90], 3, tau=0, random_state=0)[0]) == 3
    holes = np.where(X > 0.9, np.nan, X)
    pipeline = make_pipeline(SimpleImputer(), fast_classifier(n_steps=5))
    classifier = LastLayerLaplace(pipeline, random_state=0).fit(holes[:40], Y[:40])
    assert len(balance_query(classifier, holes[40:90], 3, tau=0, random_state=0)[0]) == 3


@needs_library
def test_random_state_and_pickle():
    base = small()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fits = [LastLayerLaplace(base, random_state=0).fit(X_TRAIN, Y_TRAIN) for _ in range(2)]
    np.testing.assert_array_equal(*[fitted.predict_proba(X) for fitted in fits])
    assert torch.equal(torch.get_rng_state(), before)
    loaded = pickle.loads(pickle.dumps(fits[0]))
    np.testing.assert_array_equal(loaded.predict_proba(X), fits[0].predict_proba(X))


# --- errors ---------------------------------------------------------------------------------------


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "laplace", None)
    with pytest.raises(ImportError, match=r'pip install "modal-balance\[laplace\]"'):
        LastLayerLaplace(small()).fit(X_TRAIN, Y_TRAIN)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hessian_structure", "lowrank", "'kron', 'full' or 'diag'"),
        ("prior_precision", 0.0, "'marglik' or a number above 0"),
        ("prior_precision", "auto", "'marglik' or a number above 0"),
        ("n_samples", 0, "an integer of at least 1"),
    ],
)
def test_a_bad_parameter_is_named(name, value, expected):
    with pytest.raises(ValueError) as error:
        LastLayerLaplace(small(), **{name: value}).fit(X_TRAIN, Y_TRAIN)
    assert str(error.value) == f"{name}={value!r}. Expected {expected}."


class Tempered(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.out = nn.Linear(n_features, n_classes)

    def forward(self, X):
        return 3 * self.out(X)


@needs_library
def test_estimators_without_such_an_output_layer_are_refused():
    with pytest.raises(TypeError, match="A LogisticRegression has no network"):
        LastLayerLaplace(LogisticRegression()).fit(X_TRAIN, Y_TRAIN)
    classifier = LastLayerLaplace(fast_classifier(module=Tempered))
    with pytest.raises(ValueError, match="Tempered does not predict the softmax of its output"):
        classifier.fit(X_TRAIN, Y_TRAIN)
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    with pytest.raises(NotFittedError):
        classifier.draw_hypotheses(3)


class Root(nn.Module):
    """A network that is defined for inputs of at least 0 only."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.out = nn.Linear(n_features, n_classes)

    def forward(self, X):
        return self.out(X.sqrt())


@needs_library
def test_draws_and_predictions_that_are_not_finite_are_errors():
    classifier = LastLayerLaplace(fast_classifier(module=Root, normalise=False)).fit(
        X_TRAIN, Y_TRAIN
    )
    with pytest.raises(ValueError, match="prediction contains NaN"):
        classifier.predict_proba(np.concatenate([X[:3], X[:2] - 1]))
    classifier.laplace_.mean[0] = 1e300  # more than float32 can hold
    with pytest.raises(ValueError, match="not finite for 5 of 5 rows"):
        classifier.predict_proba(X[:5])
    classifier.laplace_.mean[0] = np.nan
    with pytest.raises(ValueError, match=r"^The draws of the output layer are not finite"):
        classifier.draw_hypotheses(3)


@needs_library
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    classifier = LastLayerLaplace(small(device="cuda")).fit(X_TRAIN, Y_TRAIN)
    assert classifier.draw_hypotheses(4).predict_proba_samples(X).is_cuda
    assert classifier.predict_proba(X).shape == (720, 4)
