import pickle
import random
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from modAL.models import ActiveLearner
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from skorch import NeuralNetClassifier
from torch import nn
from toy import DIGITS, IRIS, Linear, quick, same_weights, shuffled, weights_of

from modal_balance import CyclicalSGLD, MCDropoutClassifier
from modal_balance.estimators.networks import MLP
from modal_balance.estimators.scaling import PiecewiseLinearEncoding, SquashedScaling

# --- protocol -------------------------------------------------------------------------------------


def test_the_papers_settings():
    parameters = MCDropoutClassifier.paper(max_epochs=7).get_params()
    expected = {
        "hidden_layer_sizes": (64, 64),
        "dropout": 0.5,
        "input_dropout": 0.0,
        "normalise": False,
        "learning_rate": 1e-3,
        "batch_size": 128,
        "label_smoothing": 0.0,
        "samples_per_epoch": 4096,
        "max_epochs": 7,
        "patience": 3,
        "class_weight": "balanced",
    }
    assert expected.items() <= parameters.items()


def test_the_net_is_what_the_parameters_say():
    X, y = IRIS
    parameters = {"hidden_layer_sizes": (12, 7), "dropout": 0.2, "learning_rate": 0.01, "n_bins": 0}
    classifier = quick(batch_size=50, validation=0.2, **parameters).fit(X, y)
    net = classifier.net_
    assert isinstance(net, NeuralNetClassifier)
    assert [tuple(w.shape) for w in weights_of(classifier)] == [
        (12, 4), (12,), (7, 12), (7,), (3, 7), (3,)
    ]  # fmt: skip
    assert [layer.p for layer in net.module_.modules() if isinstance(layer, nn.Dropout)] == [
        0.2
    ] * 2
    assert net.module_.input_dropout == 0.2
    assert type(net.optimizer_) is torch.optim.Adam
    assert net.optimizer_.param_groups[0]["lr"] == 0.01
    assert net.history[0, "batches", :, "train_batch_size"] == [50] * 10 + [12]


class Record(list):
    """A list that copies of a network share."""

    def __deepcopy__(self, memo):
        return self


class Watched(Linear):
    """Logistic regression that records its training batches."""

    def __init__(self, n_features, n_classes, batches):
        super().__init__(n_features, n_classes)
        self.batches = batches

    def forward(self, X):
        if self.training:
            self.batches.append(X.detach().clone())
        return super().forward(X)


@pytest.mark.parametrize("class_weight", ["balanced", None, {"b": 5.0}])
def test_the_batches_seen_explain_the_weights_and_the_history(class_weight):
    X, codes = shuffled(load_breast_cancer)
    y = np.array(["a", "b"])[codes]
    X_fit, X_val = torch.tensor(X[:60]).float(), torch.tensor(X[60:160]).float()
    batches = Record()
    parameters = {"class_weight": class_weight, "patience": 2, "batch_size": 128}
    classifier = quick(
        module=partial(Watched, batches=batches), normalise=False, label_smoothing=0.0, **parameters
    ).fit(X[:60], y[:60], X_val=X[60:160], y_val=y[60:160])
    assert len(batches) == 4 * classifier.n_iter_

    if class_weight == "balanced":
        weight = compute_class_weight("balanced", classes=np.array([0, 1]), y=codes[:60])
    else:
        weight = [1.0, 1.0 if class_weight is None else 5.0]
    weight, labels = torch.tensor(weight).float(), torch.tensor(codes[:60])
    module = Linear(30, 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    accuracies, states = [], []
    for step, batch in enumerate(batches, start=1):
        same = (batch[:, None] == X_fit).all(-1)  # which row of X is which row of the batch
        assert (same.sum(1) == 1).all()
        y_batch = labels[same.int().argmax(1)]
        log_p = torch.log_softmax(module(batch), 1)[range(len(batch)), y_batch]
        loss = -(weight[y_batch] * log_p).sum() / weight[y_batch].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            predicted = module(X_val).argmax(1).numpy()
            accuracies.append(np.mean(predicted == codes[60:160]))
            states.append([parameter.detach().clone() for parameter in module.parameters()])

    assert classifier.net_.history[:, "valid_acc"] == pytest.approx(accuracies)
    best = int(np.argmax(accuracies))
    assert classifier.n_iter_ == min(best + 1 + 2, 20)
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
    classifier = quick(module=build, validation=None).fit(X, y)
    first, n_iter = classifier.predict_proba(X), classifier.n_iter_
    classifier.fit(X, y)
    assert len(built) == 2 and built[0] is not built[1]
    # With an int as the seed, a second fit repeats the first instead of continuing it.
    assert classifier.n_iter_ == n_iter
    np.testing.assert_array_equal(classifier.predict_proba(X), first)


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize(("validation", "unit"), [("cv", "steps"), (0.2, "epochs")])
def test_verbose(verbose, validation, unit, capsys):
    quick(max_epochs=2, verbose=verbose, validation=validation).fit(*IRIS)
    out, err = capsys.readouterr()
    assert out == ""
    assert (unit in err) == bool(verbose)
    assert bool(err) == bool(verbose)


class Recorder(nn.Module):
    """A network that records its input rows and its mode."""

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


# --- a fixed number of steps ----------------------------------------------------------------------


def test_without_validation_data_all_labels_are_in_every_step():
    X, y = DIGITS
    record = Record()
    classifier = quick(
        module=Recorder.factory(record), n_steps=30, validation=None, normalise=False
    ).fit(X[:100], y[:100])
    trained = [rows for training, rows in record if training]
    assert len(trained) == classifier.n_iter_ == len(classifier.net_.history) == 30
    for rows in trained:
        np.testing.assert_array_equal(rows, X[:100].astype(np.float32))
    losses = classifier.net_.history[:, "train_loss"]
    assert losses[-1] < losses[0] / 2


def test_more_rows_than_a_batch_are_drawn_anew_for_every_step():
    X, y = DIGITS
    record = Record()
    quick(
        module=Recorder.factory(record), n_steps=40, batch_size=32, validation=None, normalise=False
    ).fit(X[:100], y[:100])
    trained = [rows for training, rows in record if training]
    assert {len(rows) for rows in trained} == {32}
    assert not np.array_equal(trained[0], trained[1])
    seen = np.unique(np.concatenate(trained), axis=0)
    np.testing.assert_array_equal(seen, np.unique(X[:100].astype(np.float32), axis=0))


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_raw_columns_are_as_good_as_standardised_ones(load):
    X, y = load(return_X_y=True)  # columns from thousandths to thousands
    rows = np.random.default_rng(0).permutation(len(X))
    train, test = rows[:40], rows[40:]
    scaled = StandardScaler().fit(X[train]).transform(X)
    for columns in (X, X * 1e-7, X + 1e5, scaled):
        classifier = MCDropoutClassifier(validation=None, random_state=0)
        assert classifier.fit(columns[train], y[train]).score(columns[test], y[test]) > 0.88


def test_few_labels_are_learnt_as_well_as_by_logistic_regression():
    X, y = DIGITS
    ours, theirs = [], []
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(len(X))
        train, test = rows[:30], rows[30:]
        classifier = MCDropoutClassifier(random_state=seed, validation=None, classes=range(10))
        ours.append(classifier.fit(X[train], y[train]).score(X[test], y[test]))
        linear = LogisticRegression(max_iter=1000).fit(X[train], y[train])
        theirs.append(linear.score(X[test], y[test]))
    assert np.mean(ours) > np.mean(theirs) - 0.01


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


def test_without_data_the_error_is_cross_validated_and_smoothed():
    X, y = DIGITS
    classifier = quick().fit(X[:60], y[:60])
    assert classifier.n_validation_rows_ == 60  # each class has more than one
    n_wrong = classifier.validation_error_ * 62 - 1
    assert n_wrong == pytest.approx(round(n_wrong))
    actual = 1 - classifier.score(X[60:], y[60:])
    assert abs(classifier.validation_error_ - actual) < 0.15


def test_cross_validation_leaves_the_network_as_it_is():
    X, y = DIGITS
    fits = [quick(validation=validation).fit(X[:60], y[:60]) for validation in ("cv", None)]
    assert same_weights(*fits)
    assert fits[1].validation_error_ is None and fits[1].n_validation_rows_ == 0


def test_the_cross_validated_error_is_that_on_labels_at_random():
    X, _ = DIGITS
    y = np.random.default_rng(0).integers(2, size=100)
    assert quick().fit(X[:100], y).validation_error_ == pytest.approx(0.5, abs=0.2)


def test_rows_alone_in_their_class_are_not_validated_on():
    X, y = IRIS
    rows = np.concatenate([np.flatnonzero(y == label)[:n] for label, n in enumerate((9, 9, 1))])
    classifier = quick().fit(X[rows], y[rows])
    assert classifier.n_validation_rows_ == 18
    n_wrong = classifier.validation_error_ * 20 - 1
    assert n_wrong == pytest.approx(round(n_wrong))
    assert classifier.predict(X[rows[-1:]]) == 2


def test_two_rows_of_each_class_are_enough_and_one_class_is_not():
    X, y = IRIS
    rows = np.concatenate([np.flatnonzero(y == label)[:2] for label in range(3)])
    classifier = quick().fit(X[rows], y[rows])
    assert classifier.n_validation_rows_ == 6 and 0 < classifier.validation_error_ < 1
    one = quick(classes=[0, 1, 2]).fit(X[y == 1], y[y == 1])
    assert one.validation_error_ is None and one.n_validation_rows_ == 0
    assert quick(classes=[0, 1]).fit(X[:1], [0]).validation_error_ is None


def test_a_share_can_be_held_out():
    X, y = DIGITS
    parameters = {"max_epochs": 2, "validation": 0.2, "normalise": False}
    classifier = quick(module=Recorder.factory(record := Record()), **parameters).fit(
        X[:100], y[:100]
    )
    validation_sizes = {len(rows) for training, rows in record if not training and len(rows) > 2}
    assert 20 in validation_sizes
    trained = np.unique(np.concatenate([rows for training, rows in record if training]), axis=0)
    held_out = next(rows for training, rows in record if not training and len(rows) == 20)
    # No row is on both sides, and with a thousand draws hardly any of the other 80 is missed.
    together = np.unique(np.concatenate([trained, held_out]), axis=0)
    assert len(together) == len(trained) + 20
    assert len(trained) == 80
    assert classifier.n_validation_rows_ == 20
    n_wrong = classifier.validation_error_ * 22 - 1
    assert n_wrong == pytest.approx(round(n_wrong))


def test_the_seed_decides_which_rows_are_held_out():
    X, y = DIGITS
    held_out = []
    for seed in (0, 0, 1):
        record = Record()
        factory = Recorder.factory(record)
        quick(module=factory, max_epochs=1, random_state=seed, validation=0.2, normalise=False).fit(
            X[:100], y[:100]
        )
        held_out.append(next(rows for training, rows in record if not training and len(rows) == 20))
    np.testing.assert_array_equal(held_out[0], held_out[1])
    assert not np.array_equal(held_out[0], held_out[2])


@pytest.mark.parametrize("validation", ["cv", 0.2])
def test_where_nothing_can_be_validated_on_fit_warns_and_trains_all_the_same(validation):
    X, y = DIGITS
    alone = [int(np.flatnonzero(y == label)[0]) for label in range(10)]
    with pytest.warns(UserWarning, match=r"None of the 10 rows can be held out.*0\.5.*X_val") as w:
        classifier = quick(validation=validation).fit(X[alone], y[alone])
    assert w[0].filename == __file__
    assert classifier.validation_error_ == 0.5 and classifier.n_validation_rows_ == 0
    assert classifier.score(X[alone], y[alone]) == 1


def test_a_class_with_one_row_is_trained_on_where_a_share_is_held_out():
    X, y = IRIS
    rows = np.concatenate([np.flatnonzero(y == label)[:n] for label, n in enumerate((20, 20, 1))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier = quick(samples_per_epoch=2048, validation=0.2).fit(X[rows], y[rows])
    assert classifier.validation_error_ is not None
    assert classifier.predict(X[rows[-1:]]) == 2


# --- random state ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_a_source_of_randomness_moves_on_from_fit_to_fit(kind):
    X, y = IRIS
    rng = kind(0)
    first = quick(random_state=rng).fit(X, y)
    second = quick(random_state=rng).fit(X, y)
    assert not same_weights(first, second)
    assert same_weights(first, clone(quick(random_state=kind(0))).fit(X, y))


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


# --- fits that fail -------------------------------------------------------------------------------


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


@pytest.mark.parametrize("validation", ["cv", 0.2])
@pytest.mark.parametrize("exception", [KeyboardInterrupt, RuntimeError("out of memory")])
def test_an_interrupted_fit_propagates_and_is_no_fit(exception, validation):
    X, y = IRIS
    classifier = quick(validation=validation).fit(X, y)
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


@pytest.mark.parametrize(
    ("parameters", "scale"),
    [
        ({"learning_rate": 1e9}, 1.0),
        ({"learning_rate": 1e9, "n_steps": 1}, 1.0),
        ({"learning_rate": 1e9, "validation": 0.2}, 1.0),
        ({"normalise": False}, 1e30),
    ],
)
def test_a_fit_that_diverges_warns(parameters, scale):
    X, y = IRIS
    expected = r"^Training has not converged: .* Scale X .* lower learning_rate, which is"
    with pytest.warns(ConvergenceWarning, match=expected) as caught:
        classifier = quick(**parameters).fit(X * scale, y)
    assert caught[0].filename == __file__
    assert np.isfinite(classifier.predict_proba(X * scale)).all()


@pytest.mark.parametrize(
    "parameters",
    [{}, {"n_steps": 1}, {"learning_rate": 1e-9}, {"max_epochs": 1, "validation": 0.2}],
)
def test_a_fit_that_has_learnt_little_is_no_divergence(parameters):
    for load in (load_iris, load_breast_cancer, load_digits):
        X, y = shuffled(load, 100)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            quick(**parameters).fit(X, y)


def test_weights_that_are_not_finite_after_the_last_step_are_an_error():
    with pytest.raises(ValueError, match=r"not finite on the rows .* lower learning_rate"):
        quick(learning_rate=3e37, n_steps=1, normalise=False).fit(*IRIS)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match=r"loss became nan in step 2\. .*lower learning_rate"):
        quick(learning_rate=3e37, normalise=False).fit(*IRIS)


# --- unlabelled rows and bins ---------------------------------------------------------------------


def test_unlabelled_rows_decide_scale_and_bins():
    """As if the network had been given the columns encoded by all rows."""
    X, y = IRIS
    classifier = quick(classes=[0, 1, 2]).fit(X[:12], y[:12], X_unlabelled=X[12:])
    encode = PiecewiseLinearEncoding(X, 8)
    np.testing.assert_array_equal(classifier.to_inputs(X).numpy(), encode(X))
    # Without scaling and encoding the pool makes no difference.
    plain = quick(classes=[0, 1, 2], normalise=False)
    alone = plain.fit(X[:12], y[:12]).predict_proba(X)
    np.testing.assert_array_equal(
        plain.fit(X[:12], y[:12], X_unlabelled=X[12:]).predict_proba(X), alone
    )


def test_a_custom_network_has_no_bins():
    X, y = IRIS
    classifier = quick(module=Linear).fit(X[::2], y[::2], X_unlabelled=X)
    scaled = SquashedScaling(np.concatenate([X[::2], X]))(X)
    np.testing.assert_array_equal(classifier.to_inputs(X).numpy(), scaled)


def test_unlabelled_rows_go_through_modal_a_search_and_frozen_columns():
    X, y = IRIS
    rows = np.random.default_rng(0).permutation(len(X))[:40]
    direct = quick(classes=[0, 1, 2]).fit(X[rows], y[rows], X_unlabelled=X)
    learner = ActiveLearner(
        quick(classes=[0, 1, 2]), X_training=X[rows[:20]], y_training=y[rows[:20]], X_unlabelled=X
    )
    learner.teach(X[rows[20:]], y[rows[20:]], X_unlabelled=X)
    assert same_weights(learner.estimator, direct)
    search = GridSearchCV(quick(classes=[0, 1, 2]), {"n_bins": [8]}, cv=2)
    search.fit(X[rows], y[rows], X_unlabelled=X)
    assert same_weights(search.best_estimator_, direct)
    pipe = make_pipeline(FunctionTransformer(), quick(classes=[0, 1, 2]))
    pipe.fit(X[rows], y[rows], mcdropoutclassifier__X_unlabelled=X)
    assert same_weights(pipe[-1], direct)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 2)), "^X_unlabelled is not like X: X has 2 features"),
        (np.full((3, 4), np.nan), "^X_unlabelled is not like X: Input X contains NaN"),
        (csr_matrix(np.ones((3, 4))), "^X_unlabelled is not like X: X is a sparse matrix"),
    ],
)
def test_bad_unlabelled_and_validation_rows_are_named(rows, message):
    with pytest.raises((TypeError, ValueError), match=message):
        quick().fit(*IRIS, X_unlabelled=rows)
    with pytest.raises((TypeError, ValueError), match=message.replace("X_unlabelled", "X_val")):
        quick().fit(*IRIS, X_val=rows, y_val=[0, 1, 2])


def test_a_used_up_pool_has_no_unlabelled_rows():
    X, y = IRIS
    expected = quick().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(quick().fit(X, y, X_unlabelled=X[:0]).predict_proba(X), expected)


def test_bins_learn_what_two_columns_hide_from_a_straight_line():
    """A square in a frame: the same labels and steps do more with bins."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 2))
    y = (np.abs(X).max(axis=1) < 0.6).astype(int)
    scores = [
        MCDropoutClassifier(n_bins=n_bins, n_steps=150, validation=None, random_state=0)
        .fit(X[:80], y[:80])
        .score(X[80:], y[80:])
        for n_bins in (0, 8)
    ]
    assert scores[1] > scores[0] + 0.02


def test_words_in_a_column_transformer_have_no_bins():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=60), "colour": ["red", "green", "blue"] * 20})
    words = OneHotEncoder(sparse_output=False)
    columns = make_column_transformer((words, ["colour"]), remainder="passthrough")
    pipe = make_pipeline(columns, quick()).fit(frame, frame["size"] > 0)
    assert weights_of(pipe[-1])[0].shape[1] == 3 + 1 + 8


@pytest.mark.parametrize(
    "parameters", [{}, {"posterior": CyclicalSGLD(2, 20, 2)}, {"validation": 0.3}]
)
def test_the_settings_of_the_caller_do_not_disturb_training(parameters):
    X, y = IRIS
    classifier = quick(**parameters)
    expected = clone(classifier).fit(X, y).predict_proba(X)
    with torch.no_grad():
        np.testing.assert_array_equal(clone(classifier).fit(X, y).predict_proba(X), expected)
    torch.set_default_dtype(torch.float64)
    try:
        classifier.fit(X, y)
        assert {p.dtype for p in classifier.net_.module_.parameters()} == {torch.float32}
        assert classifier.predict_proba(X).shape == expected.shape
    finally:
        torch.set_default_dtype(torch.float32)
