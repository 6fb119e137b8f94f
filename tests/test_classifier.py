import pickle
import random
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetClassifier
from torch import nn

from modal_balance import MCDropoutClassifier
from modal_balance.estimators.networks import MLP
from modal_balance.estimators.sgmcmc import CyclicalSGLD

QUICK = {"samples_per_epoch": 512, "max_epochs": 20, "n_samples": 10}


def quick(**parameters):
    """A classifier that trains in a tenth of a second, at a higher rate for want of steps."""
    return MCDropoutClassifier(**(QUICK | {"learning_rate": 0.01, "random_state": 0} | parameters))


def shuffled(load, n=None):
    X, y = load(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:n]
    return StandardScaler().fit_transform(X)[rows], y[rows]


IRIS = shuffled(load_iris)
DIGITS = shuffled(load_digits, 400)


def weights_of(classifier):
    return list(classifier.net_.module_.state_dict().values())


def same_weights(first, second):
    return all(map(torch.equal, weights_of(first), weights_of(second)))


@parametrize_with_checks([MCDropoutClassifier(**QUICK)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


# --- protocol -------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_paper():
    parameters = MCDropoutClassifier().get_params()
    expected = {
        "hidden_layer_sizes": (64, 64),
        "dropout": 0.5,
        "learning_rate": 1e-3,
        "batch_size": 128,
        "samples_per_epoch": 4096,
        "patience": 3,
        "class_weight": "balanced",
        "n_samples": 100,
    }
    assert expected.items() <= parameters.items()


def test_the_net_is_what_the_parameters_say():
    X, y = IRIS
    parameters = {"hidden_layer_sizes": (12, 7), "dropout": 0.2, "learning_rate": 0.01}
    classifier = quick(batch_size=50, **parameters).fit(X, y)
    net = classifier.net_
    assert isinstance(net, NeuralNetClassifier)
    assert [tuple(w.shape) for w in weights_of(classifier)] == [
        (12, 4), (12,), (7, 12), (7,), (3, 7), (3,)
    ]  # fmt: skip
    assert [layer.p for layer in net.module_.modules() if isinstance(layer, nn.Dropout)] == [
        0.2
    ] * 2
    assert type(net.optimizer_) is torch.optim.Adam
    assert net.optimizer_.param_groups[0]["lr"] == 0.01
    assert net.history[0, "batches", :, "train_batch_size"] == [50] * 10 + [12]


class Linear(nn.Module):
    """Logistic regression without chance: starts at zero and drops nothing."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.out = nn.Linear(n_features, n_classes)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, X):
        return self.out(X)


@pytest.mark.parametrize("class_weight", ["balanced", None, {"b": 5.0}])
def test_fit_does_what_a_bare_loop_does(class_weight):
    X, codes = shuffled(load_breast_cancer)
    y = np.array(["a", "b"])[codes]
    X_fit, X_val = torch.tensor(X[:60]).float(), torch.tensor(X[60:160]).float()
    classifier = quick(module=Linear, class_weight=class_weight, patience=2, learning_rate=0.01)
    classifier.fit(X[:60], y[:60], X_val=X[60:160], y_val=y[60:160])

    if class_weight == "balanced":
        weight = compute_class_weight("balanced", classes=np.array([0, 1]), y=codes[:60])
    else:
        weight = [1.0, 1.0 if class_weight is None else 5.0]
    weight, labels = torch.tensor(weight).float(), torch.tensor(codes[:60])
    module = Linear(30, 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    seed = classifier.net_.get_params()["iterator_train__seed"]
    generator = torch.Generator().manual_seed(seed)
    accuracies, states = [], []
    while len(accuracies) < 20 and len(accuracies) - 1 - np.argmax([*accuracies, 0]) < 2:
        rows = torch.randint(60, (512,), generator=generator)
        for batch in rows.split(128):
            log_p = torch.log_softmax(module(X_fit[batch]), 1)[range(len(batch)), labels[batch]]
            loss = -(weight[labels[batch]] * log_p).sum() / weight[labels[batch]].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        predicted = module(X_val).argmax(1).numpy()
        accuracies.append(np.mean(predicted == codes[60:160]))
        states.append([parameter.detach().clone() for parameter in module.parameters()])

    assert classifier.n_iter_ == len(accuracies)
    assert classifier.net_.history[:, "valid_acc"] == pytest.approx(accuracies)
    best = int(np.argmax(accuracies))
    for fitted, expected in zip(weights_of(classifier), states[best], strict=True):
        torch.testing.assert_close(fitted, expected)
    assert classifier.validation_error_ == pytest.approx(1 - accuracies[best])


def test_class_weights_help_the_rare_class():
    X, y = shuffled(load_breast_cancer)
    rows = np.r_[np.flatnonzero(y == 1)[:150], np.flatnonzero(y == 0)[:8]]
    rare = X[np.flatnonzero(y == 0)[8:]]
    recall = {
        weight: np.mean(quick(class_weight=weight).fit(X[rows], y[rows]).predict(rare) == 0)
        for weight in ("balanced", None)
    }
    assert recall["balanced"] > recall[None]


def test_every_fit_starts_from_new_weights():
    built = []

    def build(n_features, n_classes):
        built.append(MLP(n_features, n_classes))
        return built[-1]

    X, y = IRIS
    classifier = quick(module=build).fit(X, y)
    first, n_iter = classifier.predict_proba(X), classifier.n_iter_
    classifier.fit(X, y)
    assert len(built) == 2 and built[0] is not built[1]
    # An int as the seed: the second fit is the first one over again, not a continuation of it.
    assert classifier.n_iter_ == n_iter
    np.testing.assert_array_equal(classifier.predict_proba(X), first)


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_a_source_of_randomness_moves_on_from_fit_to_fit(kind):
    X, y = IRIS
    rng = kind(0)
    first = quick(random_state=rng).fit(X, y)
    second = quick(random_state=rng).fit(X, y)
    assert not same_weights(first, second)
    assert same_weights(first, clone(quick(random_state=kind(0))).fit(X, y))


# --- validation data ------------------------------------------------------------------------------


def test_validation_error_is_that_of_predict_on_the_data_given():
    X, y = DIGITS
    classifier = quick().fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert 0 < classifier.validation_error_ < 0.6
    assert classifier.validation_error_ == pytest.approx(1 - classifier.score(X[200:], y[200:]))


def test_data_given_for_validation_are_not_trained_on():
    X, y = IRIS
    fits = [
        quick(max_epochs=1).fit(X[:90], y[:90], X_val=X[90:n], y_val=y[90:n]) for n in (110, 150)
    ]
    assert same_weights(*fits)


def test_a_fifth_is_held_out_by_default():
    X, y = DIGITS
    classifier = quick(module=Recorder.factory(record := []), max_epochs=2).fit(X[:100], y[:100])
    validation_sizes = {len(rows) for training, rows in record if not training and len(rows) > 2}
    assert 20 in validation_sizes
    trained = np.unique(np.concatenate([rows for training, rows in record if training]), axis=0)
    held_out = next(rows for training, rows in record if not training and len(rows) == 20)
    # No row is on both sides, and with a thousand draws hardly any of the other 80 is missed.
    together = np.unique(np.concatenate([trained, held_out]), axis=0)
    assert len(together) == len(trained) + 20
    assert len(trained) == 80
    assert (classifier.validation_error_ * 20) % 1 == pytest.approx(0, abs=1e-9)


class Recorder(nn.Module):
    """A network that notes which rows it saw, and whether in training."""

    def __init__(self, n_features, n_classes, record):
        super().__init__()
        self.network = MLP(n_features, n_classes)
        self.record = record

    def forward(self, X):
        self.record.append((self.training, X.detach().numpy().copy()))
        return self.network(X)

    @classmethod
    def factory(cls, record):
        return partial(cls, record=record)

    def __deepcopy__(self, memo):
        copied = type(self)(64, 10, [])
        copied.load_state_dict(self.state_dict())
        return copied


def test_the_seed_decides_which_rows_are_held_out():
    X, y = DIGITS
    held_out = []
    for seed in (0, 0, 1):
        record = []
        quick(module=Recorder.factory(record), max_epochs=1, random_state=seed).fit(
            X[:100], y[:100]
        )
        held_out.append(next(rows for training, rows in record if not training and len(rows) == 20))
    np.testing.assert_array_equal(held_out[0], held_out[1])
    assert not np.array_equal(held_out[0], held_out[2])


def test_where_nothing_can_be_held_out_fit_warns_and_trains_all_the_same():
    X, y = DIGITS
    alone = [int(np.flatnonzero(y == label)[0]) for label in range(10)]
    classifier = quick(max_epochs=30)
    with pytest.warns(UserWarning, match="None of the 10 rows can be held out.*X_val"):
        classifier.fit(X[alone], y[alone])
    assert classifier.validation_error_ is None
    assert classifier.n_iter_ == 10
    assert classifier.score(X[alone], y[alone]) > 0.9


def test_a_class_with_one_row_is_trained_on():
    X, y = IRIS
    rows = np.concatenate([np.flatnonzero(y == label)[:n] for label, n in enumerate((20, 20, 1))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier = quick(samples_per_epoch=2048).fit(X[rows], y[rows])
    assert classifier.validation_error_ is not None
    assert classifier.predict(X[rows[-1:]]) == 2


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


def test_labels_that_are_unknown_are_refused():
    X, y = IRIS
    with pytest.raises(ValueError, match=r"y has the labels \[2\].*\[0, 1\].*classes="):
        quick(classes=[0, 1]).fit(X, y)
    two = y < 2
    with pytest.raises(ValueError, match=r"y_val has the labels \[2\].*\[0, 1\].*classes="):
        quick().fit(X[two], y[two], X_val=X, y_val=y)
    with pytest.raises(ValueError, match=r"one class only, \[1\]"):
        quick().fit(X[y == 1], y[y == 1])


# --- predictions ----------------------------------------------------------------------------------


def test_probabilities_are_the_mean_of_dropout():
    X, y = IRIS
    classifier = quick(n_samples=3000, max_epochs=4).fit(X, y)
    module = classifier.net_.module_.train()
    with torch.no_grad():  # a new mask for every row: 3000 rows in place of 3000 passes
        expected = [
            module(torch.tensor(x).float().repeat(3000, 1)).softmax(1).mean(0).numpy()
            for x in X[:20]
        ]
    # A mean of 3000 values in [0, 1] has a standard error below 0.01, and there are two of them.
    np.testing.assert_allclose(classifier.predict_proba(X[:20]), expected, atol=0.04)


def test_dropout_is_not_simply_off_in_predict_proba():
    X, y = IRIS
    classifier = quick(max_epochs=4).fit(X, y)
    with torch.no_grad():
        plain = classifier.net_.module_.eval()(torch.tensor(X).float()).softmax(1).numpy()
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
        expected = classifier.net_.module_.eval()(torch.tensor(X).float()).softmax(1).numpy()
    np.testing.assert_allclose(classifier.predict_proba(X), expected, atol=1e-6)
    with pytest.raises(ValueError, match="no active dropout"):
        classifier.draw_hypotheses(3)


# --- inputs ---------------------------------------------------------------------------------------


def test_input_types_give_the_same_result():
    X, y = load_digits(return_X_y=True)
    X, y = X[:100], y[:100]  # whole numbers from 0 to 16
    readonly = X.astype(np.float32)
    readonly.flags.writeable = False
    reference = quick().fit(X, y)
    inputs = [X.astype(np.int32), X.tolist(), readonly, np.asfortranarray(X), torch.tensor(X)]
    for other in inputs:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted = quick().fit(other, y)
            proba = fitted.predict_proba(other)
        assert same_weights(fitted, reference)
        np.testing.assert_array_equal(proba, reference.predict_proba(X))


def test_data_frames_are_checked_by_column():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = quick(max_epochs=2).fit(X, y, X_val=X[::3], y_val=y[::3])
    assert classifier.feature_names_in_.tolist() == list(X.columns)
    assert classifier.n_features_in_ == 4
    np.testing.assert_array_equal(classifier.predict(X), quick(max_epochs=2).fit(
        X.to_numpy(), y.to_numpy(), X_val=X[::3].to_numpy(), y_val=y[::3].to_numpy()
    ).predict(X.to_numpy()))  # fmt: skip
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        quick().fit(X, y, X_val=X[X.columns[::-1]], y_val=y)


def test_nan_and_infinity_are_refused():
    X, y = IRIS
    classifier = quick(max_epochs=1).fit(X, y)
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


class Convolution(nn.Module):
    def __init__(self, n_channels, n_classes, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, width, 3), nn.ReLU(), nn.Dropout2d(0.2),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(width * 36, n_classes),
        )  # fmt: skip

    def forward(self, X):
        return self.layers(X)


def test_images_with_a_network_of_ones_own():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8)
    classifier = quick(
        module=partial(Convolution, width=4), samples_per_epoch=2048, learning_rate=0.01
    )
    classifier.fit(X[:200], y[:200])
    assert classifier.n_features_in_ == 1
    assert classifier.score(X[200:500], y[200:500]) > 0.8
    assert classifier.draw_hypotheses(5).predict_proba_samples(X[:7]).shape == (5, 7, 10)
    with pytest.raises(ValueError, match="dim 4"):
        quick().fit(X[:200], y[:200])


# --- hypotheses -----------------------------------------------------------------------------------


def test_hypotheses_take_what_predict_takes_and_obey_the_seed():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = quick(max_epochs=3).fit(X, y)
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
    classifier = quick(n_samples=3000, max_epochs=3).fit(X, y)
    mean = classifier.draw_hypotheses(3000, random_state=5).predict_proba_samples(X).mean(0)
    np.testing.assert_allclose(mean, classifier.predict_proba(X), atol=0.04)


def test_hypotheses_outlive_the_next_fit():
    X, y = IRIS
    classifier = quick(max_epochs=3).fit(X, y)
    hypotheses = classifier.draw_hypotheses(4, random_state=0)
    before = hypotheses.predict_proba_samples(X)
    classifier.fit(X[:, :2], y)
    assert torch.equal(hypotheses.predict_proba_samples(X), before)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5])
def test_a_bad_number_of_hypotheses_is_refused(n_samples):
    X, y = IRIS
    with pytest.raises(ValueError, match=rf"^n_samples={n_samples}\. Expected an integer"):
        quick(max_epochs=1).fit(X, y).draw_hypotheses(n_samples)


# --- random state ---------------------------------------------------------------------------------


def global_states():
    return (
        random.getstate(),
        pickle.dumps(check_random_state(None).get_state()),
        torch.get_rng_state().tolist(),
    )


def test_an_int_seed_neither_reads_nor_writes_global_random_state():
    X, y = IRIS
    probas = []
    for seed in (1, 2):
        random.seed(seed)
        check_random_state(None).seed(seed)
        torch.manual_seed(seed)
        before = global_states()
        classifier = quick().fit(X, y)
        drawn = classifier.draw_hypotheses(3, random_state=0).predict_proba_samples(X)
        probas.append((classifier.predict_proba(X), drawn.numpy()))
        assert global_states() == before
    np.testing.assert_array_equal(probas[0][0], probas[1][0])
    np.testing.assert_array_equal(probas[0][1], probas[1][1])


def test_without_a_seed_numpy_decides_and_torch_is_left_alone():
    X, y = IRIS
    probas = []
    for seed in (1, 1, 2):
        check_random_state(None).seed(seed)
        torch_before = torch.get_rng_state()
        probas.append(quick(random_state=None).fit(X, y).predict_proba(X))
        assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(probas[0], probas[1])
    assert not np.array_equal(probas[0], probas[2])


class Trap(nn.Module):
    """A network that raises an exception in its fifth training step."""

    def __init__(self, n_features, n_classes, exception):
        super().__init__()
        self.network = MLP(n_features, n_classes)
        self.exception = exception
        self.steps = 0

    def forward(self, X):
        self.steps += self.training
        if self.steps == 5:
            raise self.exception
        return self.network(X)


@pytest.mark.parametrize("exception", [KeyboardInterrupt, RuntimeError("out of memory")])
def test_an_interrupted_fit_propagates_and_is_no_fit(exception):
    X, y = IRIS
    classifier = quick(samples_per_epoch=256, patience=20).fit(X, y)
    classifier.set_params(module=partial(Trap, exception=exception))
    before = global_states()
    with pytest.raises(type(exception) if isinstance(exception, Exception) else exception):
        classifier.fit(X, y)
    assert global_states() == before
    for method in (classifier.predict, classifier.predict_proba):
        with pytest.raises(NotFittedError):
            method(X)
    with pytest.raises(NotFittedError):
        classifier.draw_hypotheses(3)
    assert classifier.set_params(module=None).fit(X, y).score(X, y) > 0.6


# --- company --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"module": partial(Convolution, width=2)}, {"module": MLP, "classes": np.arange(10)}],
)
def test_pickle_and_clone(parameters):
    X, y = load_digits(return_X_y=True)
    X, y = X[:100] / 16, y[:100]
    if isinstance(parameters.get("module"), partial):
        X = X.reshape(-1, 1, 8, 8)
    classifier = quick(max_epochs=2, **parameters).fit(X, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    np.testing.assert_array_equal(
        loaded.draw_hypotheses(3, random_state=0).predict_proba_samples(X),
        classifier.draw_hypotheses(3, random_state=0).predict_proba_samples(X),
    )
    copy = clone(classifier)
    with pytest.raises(NotFittedError):
        copy.predict(X)
    np.testing.assert_array_equal(copy.fit(X, y).predict_proba(X), classifier.predict_proba(X))


def test_grid_search_over_a_pipeline():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), quick())
    grid = {"mcdropoutclassifier__dropout": [0.1, 0.99], "mcdropoutclassifier__module": [None]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    assert search.best_params_["mcdropoutclassifier__dropout"] == 0.1
    assert search.best_estimator_.score(X, y) > 0.9


def test_cross_validation_with_a_network_of_ones_own():
    scores = cross_val_score(quick(module=partial(MLP, hidden_layer_sizes=(32,))), *IRIS, cv=3)
    assert scores.min() > 0.7


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose(verbose, capsys):
    quick(max_epochs=2, verbose=verbose).fit(*IRIS)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("epochs" in err) == bool(verbose)
    assert bool(err) == bool(verbose)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    X, y = DIGITS
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    classifier = quick(device="cuda").fit(X, y)
    again = quick(device="cuda").fit(X, y)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(torch.cuda.get_rng_state(), before[1])
    assert next(classifier.net_.module_.parameters()).is_cuda
    assert classifier.score(X, y) > 0.7
    np.testing.assert_allclose(classifier.predict_proba(X), again.predict_proba(X), atol=1e-4)
    assert classifier.draw_hypotheses(4).predict_proba_samples(X).is_cuda
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))


# --- error messages -------------------------------------------------------------------------------


BAD_PARAMETERS = [
    ("hidden_layer_sizes", 64, "a tuple of integers"),
    ("hidden_layer_sizes", (64, 0), "a tuple of integers"),
    ("hidden_layer_sizes", "64", "a tuple of integers"),
    ("dropout", 1.0, "a number in [0, 1)"),
    ("dropout", -0.1, "a number in [0, 1)"),
    ("dropout", "0.5", "a number in [0, 1)"),
    ("module", nn.Linear(4, 3), "a callable module(n_features, n_classes)"),
    ("module", "MLP", "a callable module(n_features, n_classes)"),
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
    ("validation_fraction", 0.0, "a number in (0, 1)"),
    ("validation_fraction", 1.0, "a number in (0, 1)"),
    ("class_weight", "even", "'balanced', None, or a dict"),
    ("class_weight", {0: 1.0, 1: -1.0}, "'balanced', None, or a dict"),
    ("class_weight", {"setosa": 2.0}, "'balanced', None, or a dict"),
    ("classes", [0, 1, 1, 2], "without duplicates"),
    ("posterior", "laplace", "'dropout', 'sgmcmc', or a CyclicalSGLD()"),
    ("posterior", CyclicalSGLD, "'dropout', 'sgmcmc', or a CyclicalSGLD()"),
    ("posterior", None, "'dropout', 'sgmcmc', or a CyclicalSGLD()"),
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


def test_validation_data_come_in_pairs_of_one_length():
    X, y = IRIS
    with pytest.raises(ValueError, match=r"^X_val was given without y_val\. They belong together"):
        quick().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match=r"^y_val was given without X_val\. They belong together"):
        quick().fit(X, y, y_val=y)
    with pytest.raises(ValueError, match=r"^X_val has 10 rows but y_val has 9 labels\.$"):
        quick().fit(X, y, X_val=X[:10], y_val=y[:9])
    with pytest.raises(ValueError, match="3 features"):
        quick().fit(X, y, X_val=X[:, :3], y_val=y)


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


def test_labels_in_a_series_are_matched_by_position():
    X, y = load_iris(return_X_y=True, as_frame=True)
    y = y.set_axis(range(149, -1, -1))
    fits = [quick(max_epochs=1).fit(X, labels) for labels in (y, pd.Series(y.to_numpy()))]
    assert same_weights(*fits)
