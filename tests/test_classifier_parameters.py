import numpy as np
import pytest
from torch import nn
from toy import IRIS, quick

from modal_balance import MCDropoutClassifier
from modal_balance.estimators.sgmcmc import CyclicalSGLD

# --- parameters -----------------------------------------------------------------------------------


BAD_PARAMETERS = [
    ("hidden_layer_sizes", 64, "a tuple of integers"),
    ("hidden_layer_sizes", (64, 0), "a tuple of integers"),
    ("hidden_layer_sizes", "64", "a tuple of integers"),
    ("dropout", 1.0, "a number in [0, 1)"),
    ("dropout", -0.1, "a number in [0, 1)"),
    ("dropout", "0.5", "a number in [0, 1)"),
    ("module", nn.Linear(4, 3), "a callable module(n_features, n_classes)"),
    ("module", "MLP", "a callable module(n_features, n_classes)"),
    ("n_bins", -1, "an integer of at least 0"),
    ("n_bins", False, "an integer of at least 0"),
    ("learning_rate", 0, "a number above 0"),
    ("learning_rate", np.nan, "a number above 0"),
    ("learning_rate", np.inf, "a number above 0"),
    ("batch_size", 0, "an integer of at least 1"),
    ("batch_size", 12.0, "an integer of at least 1"),
    ("samples_per_epoch", 0, "an integer of at least 1"),
    ("max_epochs", 0, "an integer of at least 1"),
    ("max_epochs", True, "an integer of at least 1"),
    ("patience", 0, "an integer of at least 1"),
    ("patience", None, "an integer of at least 1"),
    ("input_dropout", 1.0, "a number in [0, 1)"),
    ("normalise", "yes", "True or False"),
    ("label_smoothing", 1, "a number in [0, 1)"),
    ("n_steps", 0, "an integer of at least 1"),
    ("n_members", 0, "an integer of at least 1"),
    ("validation", 0.0, "'cv' or None or a number in (0, 1)"),
    ("validation", 1.0, "'cv' or None or a number in (0, 1)"),
    ("validation", "none", "'cv' or None or a number in (0, 1)"),
    ("class_weight", "even", "'balanced', None, or a dict"),
    ("class_weight", {0: 1.0, 1: -1.0}, "'balanced', None, or a dict"),
    ("class_weight", {"setosa": 2.0}, "'balanced', None, or a dict"),
    ("classes", [0, 1, 1, 2], "without duplicates"),
    ("posterior", "laplace", "'dropout', 'ensemble', 'sgmcmc' or a CyclicalSGLD()"),
    ("posterior", CyclicalSGLD, "'dropout', 'ensemble', 'sgmcmc' or a CyclicalSGLD()"),
    ("posterior", None, "'dropout', 'ensemble', 'sgmcmc' or a CyclicalSGLD()"),
    ("n_samples", 0, "an integer of at least 1"),
    ("device", "gpu", "'cpu', or 'cuda'"),
    ("device", "meta", "'cpu', or 'cuda'"),
    ("device", None, "'cpu', or 'cuda'"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD_PARAMETERS)
def test_a_bad_parameter_is_named_with_what_came_and_what_was_expected(name, value, expected):
    with pytest.raises(ValueError) as error:
        quick(**{name: value}).fit(*IRIS)
    assert str(error.value).startswith(f"{name}={value!r}. Expected ")
    assert expected in str(error.value)


def test_every_parameter_with_a_domain_has_an_error():
    free = {"random_state", "verbose"}  # scikit-learn refuses the one, any truth value will do
    tested = {name for name, _, _ in BAD_PARAMETERS}
    assert tested | free == set(MCDropoutClassifier().get_params())


def test_a_bad_seed_is_refused():
    with pytest.raises(TypeError, match=r"^random_state must be an int.*got 'lucky'\.$"):
        quick(random_state="lucky").fit(*IRIS)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5])
def test_a_bad_number_of_hypotheses_is_refused(n_samples):
    X, y = IRIS
    with pytest.raises(ValueError, match=rf"^n_samples={n_samples}\. Expected an integer"):
        quick(n_steps=10).fit(X, y).draw_hypotheses(n_samples)


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda n_features, n_classes: nn.Linear(n_features, n_classes + 1), r"\(2, 4\)"),
        (lambda n_features, n_classes: nn.LSTM(n_features, n_classes), "tuple"),
    ],
)
def test_a_network_that_returns_no_logits_is_refused_before_training(build, got):
    with pytest.raises(ValueError, match=rf"^module returned {got} for 2 rows and 3 classes"):
        quick(module=build).fit(*IRIS)


# --- data -----------------------------------------------------------------------------------------


def test_validation_data_come_in_pairs_of_one_length():
    X, y = IRIS
    with pytest.raises(ValueError, match=r"^X_val was given without y_val\. Pass both or neither"):
        quick().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match=r"^y_val was given without X_val\. Pass both or neither"):
        quick().fit(X, y, y_val=y)
    with pytest.raises(ValueError, match=r"^X_val has 10 rows but y_val has 9 labels\.$"):
        quick().fit(X, y, X_val=X[:10], y_val=y[:9])
    with pytest.raises(ValueError, match="3 features"):
        quick().fit(X, y, X_val=X[:, :3], y_val=y)


def test_labels_that_are_unknown_are_refused():
    X, y = IRIS
    with pytest.raises(ValueError, match=r"y has the labels \[2\].*\[0, 1\].*classes="):
        quick(classes=[0, 1]).fit(X, y)
    two = y < 2
    with pytest.raises(ValueError, match=r"y_val has the labels \[2\].*\[0, 1\].*classes="):
        quick().fit(X[two], y[two], X_val=X, y_val=y)
    with pytest.raises(ValueError, match=r"only one class, \[1\]"):
        quick().fit(X[y == 1], y[y == 1])


def test_nan_and_infinity_are_refused():
    X, y = IRIS
    classifier = quick(n_steps=10).fit(X, y)
    for bad in (np.nan, np.inf):
        broken = X.copy()
        broken[3, 1] = bad
        for call in (
            lambda broken=broken: classifier.predict(broken),
            lambda broken=broken: classifier.draw_hypotheses(2).predict_proba_samples(broken),
            lambda broken=broken: quick().fit(X, y, X_val=broken, y_val=y),
            lambda broken=broken: quick().fit(broken, y),
        ):
            with pytest.raises(ValueError, match="NaN|infinity"):
                call()
