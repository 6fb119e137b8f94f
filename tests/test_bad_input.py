"""Errors of all strategies for bad input: they name the argument and come before any work."""

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from toy import fast_classifier, indices_of, iris

from modal_balance import BootstrapCommittee, MCDropoutClassifier, strategies
from modal_balance.simulation import simulate
from modal_balance.stopping import AccuracyReached

X, y = iris()
X_TRAIN, y_TRAIN, POOL = X[:60], y[:60], X[60:100]
EITHER = (TypeError, ValueError)

EVERY = [name for name in strategies.__all__ if name.endswith("_query")]
# These take any estimator, fitted or not, and none at all.
FITTED = [name for name in EVERY if name not in {"herding_query", "random_query"}]
DRAWING = [name for name in FITTED if name not in {"badge_query", "coreset_query"}]
# These compare hypotheses; the others take any classifier.
COMPARING = [
    *("balance_query", "balance_margin_query", "power_balance_query", "power_bald_query"),
    *("bald_query", "batchbald_query", "epig_query", "mean_std_query"),
]
EDGES = ["balance_query", "balance_margin_query"]
WITH_TAU = ["balance_query", "balance_margin_query", "power_balance_query"]

# Strategies, bad arguments, error type, and words of its message.
TABLE = [
    (EVERY, {"X_pool": 3.0}, TypeError, ["X_pool"]),
    (EVERY, {"X_pool": None}, EITHER, ["X_pool"]),
    (EVERY, {"X_pool": "rows"}, ValueError, ["X_pool"]),
    (EVERY, {"X_pool": []}, ValueError, ["X_pool", "empty"]),
    (EVERY, {"X_pool": POOL[:0]}, ValueError, ["X_pool", "empty"]),
    (EVERY, {"X_pool": [[1, 2, 3, 4], [1, 2]]}, ValueError, ["X_pool"]),
    (EVERY, {"X_pool": POOL[0]}, ValueError, ["X_pool"]),
    (EVERY, {"X_pool": POOL.reshape(-1, 4, 4)}, ValueError, ["X_pool"]),
    (EVERY, {"X_pool": POOL[:, :3]}, ValueError, ["X_pool", "3 features"]),
    (EVERY, {"X_pool": np.where(POOL > 5, np.nan, POOL)}, ValueError, ["X_pool", "NaN"]),
    (EVERY, {"X_pool": np.where(POOL > 5, np.inf, POOL)}, ValueError, ["X_pool", "infinity"]),
    (EVERY, {"X_pool": (POOL, POOL)}, TypeError, ["X_pool", "tuple"]),
    (EVERY, {"n_instances": 0}, ValueError, ["n_instances", "at least 1"]),
    (EVERY, {"n_instances": -1}, ValueError, ["n_instances", "at least 1"]),
    (EVERY, {"n_instances": 2.5}, TypeError, ["n_instances", "2.5"]),
    (EVERY, {"n_instances": "3"}, TypeError, ["n_instances", "'3'"]),
    (EVERY, {"n_instances": True}, TypeError, ["n_instances", "True"]),
    (EVERY, {"n_instances": None}, TypeError, ["n_instances", "None"]),
    (EVERY, {"n_instances": 41}, ValueError, ["X_pool", "40", "n_instances=41"]),
    (EVERY, {"random_state": "x"}, EITHER, ["random_state"]),
    (EVERY, {"verbose": "x"}, TypeError, ["verbose"]),
    (EVERY, {"learner": "forest"}, TypeError, ["learner", "str"]),
    (EVERY, {"learner": []}, ValueError, ["empty"]),
    (FITTED, {"learner": MCDropoutClassifier()}, NotFittedError, ["has not been fitted"]),
    (FITTED, {"learner": LinearRegression().fit(X, y)}, TypeError, ["regressor"]),
    (
        DRAWING,
        {"learner": RandomForestClassifier(3).fit(X, np.zeros(150))},
        ValueError,
        ["single class"],
    ),
    (
        COMPARING,
        {"learner": LogisticRegression(max_iter=999).fit(X, y)},
        TypeError,
        ["draw hypotheses", "LogisticRegression"],
    ),
    (
        COMPARING,
        {"learner": GradientBoostingClassifier(n_estimators=2).fit(X, y)},
        TypeError,
        ["draw hypotheses", "GradientBoostingClassifier", "partial sums"],
    ),
    (DRAWING, {"n_samples": 0}, ValueError, ["n_samples"]),
    (DRAWING, {"n_samples": 2.5}, TypeError, ["n_samples", "2.5"]),
    (DRAWING, {"n_samples": "100"}, TypeError, ["n_samples", "'100'"]),
    (WITH_TAU, {"n_samples": 1}, ValueError, ["n_samples", "at least 2"]),
    (WITH_TAU, {"tau": "0.1"}, TypeError, ["tau"]),
    (WITH_TAU, {"tau": np.array([0.1, 0.2])}, TypeError, ["tau"]),
    (WITH_TAU, {"tau": 1.5}, ValueError, ["tau", "1.5"]),
    (WITH_TAU, {"tau": -0.1}, ValueError, ["tau", "-0.1"]),
    (WITH_TAU, {"tau": np.nan}, ValueError, ["tau", "nan"]),
    (WITH_TAU, {"anneal": "x"}, TypeError, ["anneal"]),
    (WITH_TAU, {"anneal": -1}, ValueError, ["anneal", "-1"]),
    (WITH_TAU, {"X_val": X[:9]}, ValueError, ["X_val", "y_val"]),
    (WITH_TAU, {"y_val": y[:9]}, ValueError, ["X_val", "y_val"]),
    (WITH_TAU, {"tau": None, "X_val": X[:9], "y_val": y[:8]}, ValueError, ["X_val", "y_val"]),
    (WITH_TAU, {"tau": None, "X_val": X[:9], "y_val": y[:9] + 7}, ValueError, ["y_val"]),
    (WITH_TAU, {"X_val": X[:9], "y_val": np.eye(3)[y[:9]]}, ValueError, ["y_val", "(9, 3)"]),
    (WITH_TAU, {"tau": None, "X_val": X[:9, :3], "y_val": y[:9]}, ValueError, ["X_val", "3"]),
    (WITH_TAU, {"X_reference": X[:, :3]}, ValueError, ["X_reference", "3"]),
    (EDGES, {"X_pending": X[:, :3]}, ValueError, ["X_pending", "3"]),
    (EDGES, {"max_edges": 0}, ValueError, ["max_edges", "at least 1"]),
    (EDGES, {"max_edges": 1.5}, TypeError, ["max_edges", "1.5"]),
    (EDGES, {"max_edges": "many"}, TypeError, ["max_edges", "many"]),
    (["balance_margin_query"], {"cut_share": -1}, ValueError, ["cut_share", "-1"]),
    (["balance_margin_query"], {"cut_share": 2}, ValueError, ["cut_share", "2"]),
    (["balance_margin_query"], {"cut_share": np.nan}, ValueError, ["cut_share", "nan"]),
    (["balance_margin_query"], {"cut_share": "0.1"}, TypeError, ["cut_share"]),
    (EVERY, {"callback": 3}, TypeError, ["callback", "3"]),
    (WITH_TAU, {"pairing": "some"}, ValueError, ["pairing", "some"]),
    (WITH_TAU, {"pairing": 3}, EITHER, ["pairing", "3"]),
    (["epig_query"], {"X_target": X[:, :3]}, ValueError, ["X_target", "3"]),
    (["epig_query"], {"n_targets": 0}, ValueError, ["n_targets", "at least 1"]),
    (["epig_query"], {"n_targets": 1.5}, TypeError, ["n_targets", "1.5"]),
    (["coreset_query"], {"X_labelled": X[:, :3]}, ValueError, ["X_labelled", "3"]),
    (["batchbald_query"], {"max_configurations": 0}, ValueError, ["max_configurations"]),
    (["batchbald_query"], {"max_configurations": 1.5}, TypeError, ["max_configurations"]),
    (["batchbald_query"], {"max_configurations": "x"}, TypeError, ["max_configurations"]),
    (["power_balance_query", "power_bald_query"], {"coldness": "x"}, TypeError, ["coldness"]),
    (["power_balance_query", "power_bald_query"], {"coldness": -1}, ValueError, ["coldness"]),
    (["power_balance_query", "power_bald_query"], {"coldness": np.nan}, ValueError, ["coldness"]),
    (["power_balance_query", "power_bald_query"], {"coldness": np.inf}, ValueError, ["coldness"]),
]


def short(value):
    if hasattr(value, "fit"):
        return type(value).__name__
    return f"array{value.shape}" if hasattr(value, "shape") else str(value)[:16]


ROWS = [
    pytest.param(
        name, changes, error, words,
        id="-".join([name, *(f"{key}={short(value)}" for key, value in changes.items())]),
    )
    for names, changes, error, words in TABLE
    for name in names
]  # fmt: skip


@pytest.fixture(scope="module")
def classifier():
    return fast_classifier().fit(X_TRAIN, y_TRAIN)


class State:
    """Return all state that a call might change."""

    def __init__(self, module):
        self.parts = [
            (
                layer.training,
                list(layer._forward_hooks),
                list(layer._forward_pre_hooks),
                list(layer._backward_hooks),
            )
            for layer in module.modules()
        ]
        self.weights = [p.detach().clone() for p in module.parameters()]
        self.torch, self.python = torch.get_rng_state(), random.getstate()
        self.numpy = np.random.get_state()

    def __eq__(self, other):
        same_weights = all(map(torch.equal, self.weights, other.weights))
        same_numpy = (self.numpy[1] == other.numpy[1]).all() and self.numpy[2:] == other.numpy[2:]
        return (
            self.parts == other.parts
            and self.python == other.python
            and torch.equal(self.torch, other.torch)
            and same_weights
            and bool(same_numpy)
        )


def good_arguments(name, learner):
    """Return valid arguments of a strategy."""
    arguments = {"learner": learner, "X_pool": POOL, "n_instances": 3, "random_state": 0}
    return arguments | ({"tau": 0.02} if name in WITH_TAU else {})


@pytest.mark.parametrize(("name", "changes", "error", "words"), ROWS)
def test_bad_input_is_refused_by_name_without_a_trace(name, changes, error, words, classifier):
    module = classifier.net_.module_.train()
    list(module.modules())[-1].eval()  # flags are put back one by one
    predictions = []
    hook = module.register_forward_pre_hook(lambda *_: predictions.append(1))
    before = State(module)
    try:
        with pytest.raises(error) as raised, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(strategies, name)(**good_arguments(name, classifier) | changes)
        assert State(module) == before
    finally:
        hook.remove()
    message = str(raised.value)
    assert [word for word in words if word not in message] == [], message
    assert "tau is unknown" not in message
    if "y_val" not in changes:  # labels of hypotheses may only be known after drawing
        assert not predictions


@pytest.mark.parametrize("name", WITH_TAU)
def test_that_nothing_can_be_drawn_comes_before_tau(name):
    learner = LogisticRegression(max_iter=999).fit(X, y)
    with pytest.raises(TypeError, match="draw hypotheses from a LogisticRegression"):
        getattr(strategies, name)(learner, POOL, 3)


@pytest.mark.parametrize("name", WITH_TAU)
def test_labels_of_one_class_are_named_as_a_cause_of_an_unknown_tau(name):
    one_class = fast_classifier(classes=[0, 1, 2]).fit(X_TRAIN[y_TRAIN == 0], y_TRAIN[y_TRAIN == 0])
    with pytest.raises(ValueError, match="tau is unknown.*labels of two classes"):
        getattr(strategies, name)(one_class, POOL, 3)


# Whatever takes labels, as a function of a fitted classifier and 60 labels; the name of the labels.
LABELS = [
    (lambda _, labels: MCDropoutClassifier(classes=[0, 1, 2]).fit(X_TRAIN, labels), "y"),
    (lambda _, labels: BootstrapCommittee(LogisticRegression()).fit(X_TRAIN, labels), "y"),
    (lambda _, labels: simulate(RandomForestClassifier(), X_TRAIN, labels, {"a": max}), "y"),
    (lambda _, labels: MCDropoutClassifier().fit(X, y, X_val=X_TRAIN, y_val=labels), "y_val"),
    (lambda c, labels: strategies.balance_query(c, POOL, X_val=X_TRAIN, y_val=labels), "y_val"),
    (lambda _, labels: AccuracyReached(0.5, X_TRAIN, labels), "y_val"),
    (
        lambda c, labels: strategies.uncertainty_herding_query(
            c, POOL, X_labelled=X_TRAIN, y_labelled=labels
        ),
        "y_labelled",
    ),
]


@pytest.mark.parametrize(("give", "name"), LABELS)
def test_missing_labels_are_counted_and_located(give, name, classifier):
    words = np.array(["a", "b", "c"], dtype=object)[y_TRAIN]
    words[[7, 9]] = np.nan
    series = pd.Series(words)
    for labels in (list(words), words, series.astype("string"), np.where(series.isna(), np.nan, 1)):
        with pytest.raises(ValueError, match=f"^{name} lacks a label in 2 of 60 rows.*position 7"):
            give(classifier, labels)


@pytest.mark.parametrize(("give", "name"), LABELS)
def test_labels_of_two_types_are_refused(give, name, classifier):
    mixed = np.array([0, 1, "2"], dtype=object)[y_TRAIN]
    for labels in (mixed, list(mixed), pd.Series(mixed)):
        with pytest.raises(TypeError, match=f"^{name} has both text and other labels.*'2' and "):
            give(classifier, labels)


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
@pytest.mark.parametrize("name", EVERY)
def test_the_good_arguments_are_good(name, classifier):
    """Else the table would show nothing."""
    indices = indices_of(getattr(strategies, name)(**good_arguments(name, classifier)))
    assert len(set(indices.tolist())) == 3


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
@pytest.mark.parametrize("name", EVERY)
def test_a_numpy_generator_is_a_random_state(name, classifier):
    before = np.random.get_state()[1].copy()
    batches = []
    for _ in range(2):
        arguments = good_arguments(name, classifier) | {"random_state": np.random.default_rng(0)}
        batches.append(indices_of(getattr(strategies, name)(**arguments)).tolist())
    assert batches[0] == batches[1]
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
@pytest.mark.parametrize("name", EVERY)
def test_half_precision_tensors_work_or_are_refused_by_name(name, classifier):
    arguments = good_arguments(name, classifier)
    arguments["X_pool"] = torch.from_numpy(POOL).bfloat16()
    try:
        indices = indices_of(getattr(strategies, name)(**arguments))
    except EITHER as error:
        assert "X_pool" in str(error)
    else:
        assert len(set(indices.tolist())) == 3
