from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from torch import nn
from toy import DIGITS, IRIS, Convolution, Linear, quick, shuffled

from modal_balance.estimators.networks import MLP
from modal_balance.estimators.sgmcmc import CyclicalSGLD

# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array(["c", "a", "b"], dtype=object),
        np.array([-3, 10, 11]),
        np.array([1.0, 2.0, 4.0]),
    ],
)
def test_labels_of_any_kind_give_the_same_classifier(labels):
    X, y = IRIS
    classifier = quick().fit(X, labels[y])
    assert classifier.classes_.tolist() == sorted(labels.tolist())
    assert classifier.predict(X[:5]).dtype == classifier.classes_.dtype
    assert np.mean(classifier.predict(X) == labels[y]) > 0.8
    reference = quick().fit(X, np.searchsorted(classifier.classes_, labels[y]))
    np.testing.assert_array_equal(classifier.predict_proba(X), reference.predict_proba(X))


def test_truth_values_as_labels():
    X, y = shuffled(load_breast_cancer)
    classifier = quick(classes=[0, 1]).fit(X, y == 1)  # True == 1
    assert classifier.score(X, y) > 0.9


def test_declared_classes_have_columns_before_they_have_rows():
    X, y = IRIS
    seen = y != 1
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    classifier = quick(classes=["virginica", "setosa", "versicolor"]).fit(X[seen], names[seen])
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    proba = classifier.predict_proba(X[seen])
    assert proba.shape == (100, 3)
    assert proba[:, 1].max() < 0.5
    assert classifier.score(X[seen], names[seen]) > 0.95


def test_one_class_will_do_where_others_are_declared():
    X, y = IRIS
    first = X[y == 0]
    classifier = quick(classes=[0, 1, 2]).fit(first, y[y == 0])
    assert classifier.predict_proba(first).shape == (50, 3)
    assert set(classifier.predict(first)) == {0}


# --- predictions ----------------------------------------------------------------------------------


def test_probabilities_are_the_mean_of_dropout():
    X, y = IRIS
    classifier = quick(n_samples=3000, n_steps=20).fit(X, y)
    module = classifier.net_.module_.train()
    with torch.no_grad():  # a new mask for every row: 3000 rows instead of 3000 passes
        expected = [
            module.layers(x.repeat(3000, 1)).softmax(1).mean(0).numpy()
            for x in classifier.to_inputs(X[:20])
        ]
    # A mean of 3000 values in [0, 1] has a standard error below 0.01, and there are two of them.
    np.testing.assert_allclose(classifier.predict_proba(X[:20]), expected, atol=0.04)


def test_dropout_is_not_simply_off_in_predict_proba():
    X, y = IRIS
    classifier = quick(n_steps=30).fit(X, y)
    with torch.no_grad():
        plain = classifier.net_.module_.eval()(classifier.to_inputs(X)).softmax(1).numpy()
    assert np.abs(classifier.predict_proba(X) - plain).max() > 0.02


def test_a_row_is_predicted_alike_in_any_batch():
    X, y = DIGITS
    classifier = quick().fit(X, y)
    whole = classifier.predict_proba(X)
    assert whole.dtype == np.float64
    np.testing.assert_allclose(whole.sum(1), 1, rtol=0, atol=1e-12)
    alone = np.concatenate([classifier.predict_proba(X[i : i + 1]) for i in range(30)])
    np.testing.assert_allclose(alone, whole[:30], rtol=0, atol=1e-12)
    order = np.random.default_rng(0).permutation(400)
    np.testing.assert_allclose(classifier.predict_proba(X[order]), whole[order], rtol=0, atol=1e-12)
    many = np.tile(X, (22, 1))  # more rows than are predicted at once
    np.testing.assert_allclose(classifier.predict_proba(many)[-400:], whole, rtol=0, atol=1e-12)


def test_predict_is_the_most_probable_class():
    X, y = IRIS
    names = np.array(["u", "v", "w"])[y]
    classifier = quick().fit(X, names)
    expected = np.array(["u", "v", "w"])[classifier.predict_proba(X).argmax(1)]
    np.testing.assert_array_equal(classifier.predict(X), expected)


@pytest.mark.parametrize("parameters", [{"dropout": 0.0}, {"module": Linear}])
def test_without_dropout_the_network_predicts_as_it_is(parameters):
    X, y = IRIS
    classifier = quick(**parameters).fit(X, y)
    with torch.no_grad():
        expected = classifier.net_.module_.eval()(classifier.to_inputs(X)).softmax(1).numpy()
    np.testing.assert_allclose(classifier.predict_proba(X), expected, atol=1e-6)
    with pytest.raises(ValueError, match="has no dropout to sample"):
        classifier.draw_hypotheses(3).predict_proba_samples(X)


def test_images_with_a_custom_network():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8)
    classifier = quick(module=partial(Convolution, width=4), learning_rate=0.01)
    classifier.fit(X[:200], y[:200])
    assert classifier.n_features_in_ == 1
    assert classifier.score(X[200:500], y[200:500]) > 0.8
    assert classifier.draw_hypotheses(5).predict_proba_samples(X[:7]).shape == (5, 7, 10)
    with pytest.raises(ValueError, match="dim 4"):
        quick().fit(X[:200], y[:200])


# --- hypotheses -----------------------------------------------------------------------------------


def test_hypotheses_take_what_predict_takes_and_obey_the_seed():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = quick(n_steps=30).fit(X, y)
    proba = classifier.draw_hypotheses(6, random_state=1).predict_proba_samples(X)
    assert isinstance(proba, torch.Tensor) and proba.shape == (6, 150, 3)
    again = classifier.draw_hypotheses(6, np.random.RandomState(1)).predict_proba_samples(X)
    other = classifier.draw_hypotheses(6, random_state=2).predict_proba_samples(X)
    assert torch.equal(proba, again)
    assert not torch.equal(proba, other)
    assert (proba.std(0) > 1e-3).any()
    hypotheses = classifier.draw_hypotheses(6, random_state=1)
    assert hypotheses.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="feature names"):
        hypotheses.predict_proba_samples(X[X.columns[::-1]])


def test_the_mean_of_many_hypotheses_is_predict_proba():
    X, y = IRIS
    classifier = quick(n_samples=3000, n_steps=30).fit(X, y)
    mean = classifier.draw_hypotheses(3000, random_state=5).predict_proba_samples(X).mean(0)
    np.testing.assert_allclose(mean, classifier.predict_proba(X), atol=0.04)


def test_hypotheses_outlive_the_next_fit():
    X, y = IRIS
    classifier = quick(n_steps=30).fit(X, y)
    hypotheses = classifier.draw_hypotheses(4, random_state=0)
    before = hypotheses.predict_proba_samples(X)
    classifier.fit(X[:, :2], y)
    assert torch.equal(hypotheses.predict_proba_samples(X), before)


# --- predictions that are not finite --------------------------------------------------------------


SHORT = CyclicalSGLD(n_cycles=2, steps_per_cycle=20, samples_per_cycle=2)


class Logarithm(nn.Module):
    """A network that is only defined for inputs above 0."""

    def __init__(self, n_features, n_classes, dropout):
        super().__init__()
        self.network = MLP(n_features, n_classes, dropout=dropout)

    def forward(self, X):
        return self.network(X.log())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("posterior", ["dropout", SHORT])
def test_predictions_that_are_not_finite_are_an_error(posterior, dropout):
    X, y = load_iris(return_X_y=True)
    classifier = quick(
        module=partial(Logarithm, dropout=dropout), posterior=posterior, normalise=False
    ).fit(X, y)
    assert np.isfinite(classifier.predict_proba(X)).all()
    X[[3, 60]] *= -1
    expected = "(predictions are not finite for 2 of 150 rows|prediction contains NaN)"
    with pytest.raises(ValueError, match=expected):
        classifier.predict_proba(X)
    if dropout or posterior != "dropout":
        with pytest.raises(ValueError, match=expected):
            classifier.draw_hypotheses(3).predict_proba_samples(X)
