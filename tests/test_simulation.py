import json
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from skorch import NeuralNetClassifier
from toy import digits, fast_classifier, name_of, quick, shuffled

from modal_balance import (
    balance_margin_query,
    balance_query,
    coreset_query,
    margin_query,
    power_balance_query,
    random_query,
)
from modal_balance.estimators.scaling import PiecewiseLinearEncoding
from modal_balance.simulation import evaluate, first_labels, rounds, simulate

pd = pytest.importorskip("pandas")

X, y = shuffled(load_iris)
FAST = {"n_initial": 2, "n_instances": 4, "budget": 14, "seeds": 2}
PAIR = {"margin": margin_query, "random": random_query}
TIMES = ["seconds_fit", "seconds_draw", "seconds_select"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A simulation, and the lines that it has written."""
    path = tmp_path_factory.mktemp("results") / "whole.jsonl"
    frame = simulate(fast_classifier(), X, y, PAIR, **FAST, results=path)
    return frame, path.read_text().splitlines(keepends=True)


def same(frame, other):
    """Whether two results are the same but for the times."""
    pd.testing.assert_frame_equal(frame.drop(columns=TIMES), other.drop(columns=TIMES))


# --- metrics --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(n=st.integers(5, 60), n_classes=st.integers(2, 5), seed=st.integers(0, 1000))
def test_metrics_are_those_of_scikit_learn(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(n_classes), size=n)
    codes = rng.integers(n_classes, size=n)
    codes[:n_classes] = np.arange(n_classes)[:n]
    found = evaluate(codes, proba)
    predicted, labels = proba.argmax(1), np.arange(n_classes)
    assert found["accuracy"] == pytest.approx(np.mean(predicted == codes))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(codes, predicted))
    expected = f1_score(codes, predicted, labels=labels, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)
    assert found["nll"] == pytest.approx(log_loss(codes, proba, labels=labels))
    scores = proba[:, 1] if n_classes == 2 else proba
    assert found["auc"] == pytest.approx(roc_auc_score(codes, scores, multi_class="ovr"))
    ece = 0.0
    for low in range(15):
        inside = [
            i for i in range(n) if min(int(proba[i].max() * 15), 14) == low
        ]  # fmt: skip
        if inside:
            confidence = np.mean([proba[i].max() for i in inside])
            accuracy = np.mean([predicted[i] == codes[i] for i in inside])
            ece += len(inside) / n * abs(confidence - accuracy)
    assert found["ece"] == pytest.approx(ece)


def test_metrics_where_classes_are_missing_or_impossible():
    proba = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = evaluate(np.array([0, 2]), proba)
    assert found["auc"] is None
    assert found["balanced_accuracy"] == 0.5
    assert found["nll"] == pytest.approx(-np.log(1e-7) / 2)


# --- first labels ---------------------------------------------------------------------------------


def test_first_labels_have_as_many_of_each_class_as_asked_for():
    for seed in range(5):
        rows = first_labels(y, 3, random_state=seed)
        assert np.bincount(y[rows]).tolist() == [3, 3, 3] and len(set(rows)) == 9
    assert set(first_labels(y, 3, random_state=0)) != set(first_labels(y, 3, random_state=1))


def test_first_labels_at_random_have_two_classes():
    rare = np.r_[np.zeros(97, dtype=int), [1, 1, 1]]
    starts = [first_labels(rare, 2, per_class=False, random_state=s) for s in range(10)]
    assert all(sorted(rare[rows]) == [0, 1] for rows in starts)
    assert len({tuple(sorted(rows)) for rows in starts}) > 5


@pytest.mark.parametrize(
    ("labels", "n", "per_class", "message"),
    [
        (np.zeros(9, int), 1, True, r"y has only one class, \[0\]"),
        (np.arange(9) // 8, 2, True, "n_initial=2 rows of each class are needed, but class .* 1"),
        (np.arange(9), 1, False, "n_initial=1. Expected 2 to 9 rows"),
        (np.arange(9), 10, False, "n_initial=10. Expected 2 to 9 rows"),
    ],
)
def test_impossible_first_labels_are_an_error(labels, n, per_class, message):
    with pytest.raises(ValueError, match=message):
        first_labels(labels, n, per_class=per_class)


# --- one run --------------------------------------------------------------------------------------


def run(strategy, estimator=None, X=X, y=y, **options):
    defaults = {"X_test": X[100:], "y_test": y[100:], "n_instances": 4, "budget": 14}
    defaults["labelled"] = first_labels(y[:100], 2)
    estimator = GaussianNB() if estimator is None else estimator
    return rounds(estimator, X[:100], y[:100], strategy, **(defaults | options))


def test_a_round_is_a_fit_on_the_labels_so_far_and_a_query_of_the_rest():
    calls = []

    def last_ones(learner, X_pool, n_instances):
        calls.append((learner, X_pool, n_instances))
        return np.arange(len(X_pool))[-n_instances:]

    states = list(run(last_ones))
    assert [len(s.labelled) for s in states] == [6, 10, 14]
    assert [n for _, _, n in calls] == [4, 4]
    for state, following in zip(states[:-1], states[1:], strict=True):
        assert following.labelled.tolist() == [*state.labelled, *state.indices]
    assert states[-1].indices.tolist() == []
    for state, (learner, X_pool, n) in zip(states, calls, strict=False):
        left = np.setdiff1d(np.arange(100), state.labelled)
        np.testing.assert_array_equal(X_pool, X[left])
        np.testing.assert_array_equal(learner.X_training, X[state.labelled])
        np.testing.assert_array_equal(learner.y_training, y[state.labelled])
        assert state.indices.tolist() == left[-n:].tolist()
    for state in states:
        reference = GaussianNB().fit(X[state.labelled], y[state.labelled])
        assert state.metrics["accuracy"] == reference.score(X[100:], y[100:])
        assert state.metrics["nll"] == pytest.approx(
            log_loss(y[100:], np.clip(reference.predict_proba(X[100:]), 1e-7, 1)), rel=1e-4
        )


def test_a_budget_below_the_initial_labels_is_refused():
    for options in ({"n_initial": 5}, {"n_initial": 11, "initial_per_class": False}):
        with pytest.raises(ValueError, match="budget=10 is less than the .* initial labels"):
            simulate(GaussianNB(), X, y, {"random": random_query}, budget=10, **options)
    with pytest.raises(ValueError, match="budget=10 is less than the 12 initial labels"):
        list(run(random_query, labelled=range(12), budget=10))


@pytest.mark.modal
def test_a_learner_is_not_an_estimator():
    from modAL.models import ActiveLearner

    learner = ActiveLearner(GaussianNB(), random_query)
    with pytest.raises(TypeError, match="got ActiveLearner. Pass the estimator inside"):
        simulate(learner, X, y, {"random": random_query})


def test_the_last_batch_is_what_the_budget_allows():
    states = list(run(random_query, budget=12))
    assert [len(s.indices) for s in states] == [4, 2, 0]
    states = list(run(random_query, budget=1000, n_instances=60))
    assert [len(s.labelled) for s in states] == [6, 66, 100]


def test_a_resumed_run_continues_as_it_would_have():
    whole = list(run(balance_query, fast_classifier()))
    part = list(run(balance_query, fast_classifier(), labelled=whole[1].labelled, first_round=1))
    for one, other in zip(whole[1:], part, strict=True):
        assert one.indices.tolist() == other.indices.tolist() and one.metrics == other.metrics


def test_classes_that_come_later_are_known_from_the_start():
    labelled = np.flatnonzero(y[:100] < 2)[:6]
    for estimator in (fast_classifier(), make_pipeline(StandardScaler(), fast_classifier())):
        state = next(run(random_query, estimator, labelled=labelled))
        assert state.estimator.classes_.tolist() == [0, 1, 2]
    state = next(run(random_query, GaussianNB(), labelled=labelled))  # does not take them
    assert state.metrics["auc"] is not None


def test_members_of_an_ensemble_learn_the_labels_that_it_gives_them():
    members = [("network", fast_classifier()), ("trees", RandomForestClassifier(5))]
    labelled = np.flatnonzero(y[:100] > 0)[:6]
    for vote in (VotingClassifier(members, voting="soft"), BaggingClassifier(fast_classifier(), 3)):
        for estimator in (vote, make_pipeline(StandardScaler(), vote)):
            state = next(run(random_query, estimator, labelled=labelled))
            assert state.estimator.classes_.tolist() == [1, 2]
            assert state.metrics["accuracy"] > 0.3


def test_validation_data_go_to_the_estimator_or_else_to_the_strategy():
    given = []

    def asks(learner, X_pool, n_instances, X_val=None, y_val=None):
        given.append(X_val)
        return np.arange(n_instances)

    validation = {"X_val": X[60:100], "y_val": y[60:100]}
    state = next(run(asks, fast_classifier(), **validation))
    assert state.estimator.n_validation_rows_ == 40
    state = next(run(asks, make_pipeline(StandardScaler(), fast_classifier()), **validation))
    assert state.estimator[-1].n_validation_rows_ == 40
    next(run(asks, GaussianNB(), **validation))
    assert given[0] is None and given[1] is None
    np.testing.assert_array_equal(given[2], X[60:100])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0, 1], r"returned an array of shape \(2,\)"),
        ([0, 1, 2, 2], r"returned \[0, 1, 2, 2\]. Expected 4 different positions from 0 to 93"),
        ([0, 1, 2, 94], "Expected 4 different positions from 0 to 93"),
        ([0, 1, 2, -1], "Expected 4 different positions from 0 to 93"),
        ([0.0, 1.0, 2.0, 3.0], "type float64"),
    ],
)
def test_a_strategy_that_returns_no_batch_is_named(answer, message):
    def broken(learner, X_pool, n_instances):
        return np.array(answer)

    with pytest.raises(ValueError, match=f"^broken .*{message}"):
        next(run(broken))


@pytest.mark.parametrize(
    "strategy",
    [partial(balance_margin_query, n_samples=20), coreset_query, random_query],
    ids=name_of,
)
def test_strategies_of_the_package(strategy):
    X, y = digits()
    states = list(
        rounds(
            fast_classifier(), X[:80], y[:80], strategy, X_test=X[80:120], y_test=y[80:120],
            labelled=first_labels(y[:80], 3), n_instances=3, budget=15,
        )
    )  # fmt: skip
    assert [len(s.labelled) for s in states] == [12, 15]
    assert states[0].report is not None
    assert states[0].report.indices.shape == (3,)


@pytest.mark.modal
def test_strategies_of_modal():
    uncertainty = pytest.importorskip("modAL.uncertainty")
    for strategy in (uncertainty.uncertainty_sampling, uncertainty.margin_sampling):
        states = list(run(strategy))
        assert [len(s.labelled) for s in states] == [6, 10, 14]


@pytest.mark.parametrize(
    "estimator",
    [LinearSVC(), RandomForestClassifier(5), make_pipeline(StandardScaler(), LogisticRegression())],
)
@pytest.mark.parametrize(
    "form", [np.asarray, sparse.csr_matrix, lambda X: pd.DataFrame(X, columns=list("abcd"))]
)
def test_any_estimator_on_any_table(estimator, form):
    if form is sparse.csr_matrix and hasattr(estimator, "steps"):
        estimator = make_pipeline(StandardScaler(with_mean=False), LogisticRegression())
    states = list(
        rounds(
            estimator, form(X[:100]), y[:100], random_query, X_test=form(X[100:]),
            y_test=y[100:], labelled=first_labels(y[:100], 5), n_instances=10, budget=35,
        )
    )  # fmt: skip
    assert states[-1].metrics["accuracy"] > 0.7


# --- many runs ------------------------------------------------------------------------------------


def test_runs_are_paired_by_their_seed(whole):
    frame, _ = whole
    assert len(frame) == 2 * 2 * 3
    assert frame.columns[:4].tolist() == ["dataset", "estimator", "strategy", "seed"]
    start = frame[frame["round"] == 0].set_index(["seed", "strategy"]).accuracy.unstack()
    assert (start.margin == start.random).all()
    start_nll = frame[frame["round"] == 0].set_index(["seed", "strategy"]).nll.unstack()
    assert (start_nll.margin == start_nll.random).all()
    assert start_nll.margin.nunique() == 2
    end = frame[frame["round"] == 2].set_index(["seed", "strategy"]).nll.unstack()
    assert (end.margin != end.random).all()


def test_a_seed_decides(whole):
    same(whole[0], simulate(fast_classifier(), X, y, PAIR, **(FAST | {"seeds": [1, 0]})))


class CountedForest(RandomForestClassifier):
    n_fits = 0

    def fit(self, X, y):
        CountedForest.n_fits += 1
        return super().fit(X, y)


def test_strategies_share_the_first_fit_of_a_seed():
    def disturbs(learner, X_pool, n_instances):
        learner.estimator.fit(X, y)  # which no other strategy may notice
        return np.arange(n_instances)

    several = {"disturbs": disturbs, **PAIR}
    CountedForest.n_fits = 0
    together = simulate(CountedForest(5), X, y, several, **FAST)
    assert CountedForest.n_fits == 2 * (1 + 3 * 2) + 2 * 2  # 2 seeds, 2 queries that disturb
    alone = [simulate(CountedForest(5), X, y, {s: several[s]}, **FAST) for s in sorted(several)]
    same(together, pd.concat(alone, ignore_index=True))


class Network(torch.nn.Sequential):
    """A module, as skorch builds one in every fit."""

    def __init__(self):
        super().__init__(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 3))


def net(**options):
    """A skorch net, which has no random_state."""
    given = {"max_epochs": 3, "train_split": None, "verbose": 0} | options
    return NeuralNetClassifier(Network, criterion=torch.nn.CrossEntropyLoss, **given)


def test_a_skorch_net_is_seeded_and_torch_is_left_alone():
    rows, frames = X.astype(np.float32), []
    again = {"margin": margin_query, "margin again": margin_query}
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        frames.append(simulate(net(), rows, y, again, **FAST))
        assert torch.equal(torch.get_rng_state(), before)
    same(*frames)
    runs = frames[0].groupby("strategy")[["round", "nll", "indices"]]
    one, other = (runs.get_group(name).reset_index(drop=True) for name in again)
    pd.testing.assert_frame_equal(one, other)
    assert frames[0].query("round == 0").nll.nunique() == 2  # seeds differ


def test_processes_make_no_difference(whole):
    same(whole[0], simulate(fast_classifier(), X, y, PAIR, **FAST, n_jobs=2))


def test_other_processes_need_not_be_able_to_import_the_network():
    class Network(torch.nn.Linear):  # like a class of a script or a notebook
        pass

    net = NeuralNetClassifier(
        Network(X.shape[1], 3), criterion=torch.nn.CrossEntropyLoss, train_split=None, verbose=0
    )
    runs = [
        simulate(net, X.astype(np.float32), y, {"random": random_query}, **FAST, n_jobs=n_jobs)
        for n_jobs in (None, 2)
    ]
    same(*runs)


@pytest.mark.parametrize("n_lines", [0, 2, 3, 7, 12])
def test_a_killed_simulation_resumes_to_the_same_result(n_lines, whole, tmp_path):
    whole, lines = whole
    assert len(lines) == 12
    path = tmp_path / "killed.jsonl"
    path.write_text("".join(lines[:n_lines]) + (lines[n_lines][:40] if n_lines < 12 else ""))
    same(whole, simulate(fast_classifier(), X, y, PAIR, **FAST, results=path))
    assert len(path.read_text().splitlines()) == 12  # nothing twice
    times = path.stat().st_mtime_ns
    same(whole, simulate(fast_classifier(), X, y, PAIR, **FAST, results=path))
    assert path.stat().st_mtime_ns == times


def test_a_run_that_raises_can_be_repeated(tmp_path):
    calls = []

    def fails_once(learner, X_pool, n_instances):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("the power went off")
        return np.arange(n_instances)

    path = tmp_path / "r.jsonl"
    options = {**FAST, "seeds": 1, "results": path}
    with pytest.raises(RuntimeError, match="power"):
        simulate(GaussianNB(), X, y, {"fails": fails_once}, **options)
    assert len(path.read_text().splitlines()) == 1
    frame = simulate(GaussianNB(), X, y, {"fails": fails_once}, **options)
    assert frame.n_labelled.tolist() == [6, 10, 14]


def test_a_file_holds_several_simulations(tmp_path):
    path = tmp_path / "r.jsonl"
    simulate(RandomForestClassifier(5), X, y, PAIR, **FAST, dataset="iris", results=path)
    more = {**PAIR, "margin again": margin_query}
    frame = simulate(RandomForestClassifier(5), X, y, more, **FAST, dataset="iris", results=path)
    assert frame.strategy.nunique() == 3
    cancer = load_breast_cancer(return_X_y=True)
    simulate(RandomForestClassifier(5), *cancer, PAIR, **FAST, dataset="cancer", results=path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {record["dataset"] for record in records} == {"iris", "cancer"}
    assert records[0]["settings"]["budget"] == 14 and "torch" in records[0]["versions"]


def test_other_settings_in_the_file_are_an_error(tmp_path):
    path = tmp_path / "r.jsonl"
    simulate(RandomForestClassifier(5), X, y, PAIR, **FAST, results=path)
    with pytest.raises(ValueError, match=r"other settings .*'n_instances': \(4, 5\)"):
        simulate(RandomForestClassifier(5), X, y, PAIR, **(FAST | {"n_instances": 5}), results=path)


def many_columns(last):
    """An estimator with a list so long that scikit-learn shortens it."""
    return make_pipeline(
        ColumnTransformer([("scaled", StandardScaler(), [0, 1, 2] * 20 + [last])]), GaussianNB()
    )


@pytest.mark.parametrize(
    ("estimator", "other"),
    [
        (many_columns(0), many_columns(1)),
        (GaussianNB(priors=np.r_[0.5, 0.25, 0.25]), GaussianNB(priors=np.r_[0.25, 0.5, 0.25])),
        (net(lr=0.5), net(lr=0.1)),
        (make_pipeline(StandardScaler(), net(lr=0.5)), make_pipeline(StandardScaler(), net())),
    ],
    ids=["long list", "array", "net", "net in a pipeline"],
)
def test_every_parameter_of_an_estimator_is_a_setting(tmp_path, estimator, other):
    rows = X.astype(np.float32)
    options = {"n_initial": 2, "budget": 6, "seeds": 1, "results": tmp_path / "r.jsonl"}
    simulate(estimator, rows, y, {"random": random_query}, **options)
    with config_context(print_changed_only=False):
        assert len(simulate(clone(estimator), rows, y, {"random": random_query}, **options)) == 1
    with pytest.raises(ValueError, match="other settings"):
        simulate(other, rows, y, {"random": random_query}, **options)


def test_a_sparse_matrix_stays_the_same_data_after_it_was_used(tmp_path):
    rows = sparse.random(60, 5, 0.5, "csr", random_state=0)
    options = {"n_initial": 2, "budget": 8, "seeds": 1, "results": tmp_path / "r.jsonl"}
    estimator, chance = LogisticRegression(), {"random": random_query}
    simulate(estimator, rows, np.arange(60) % 3, chance, **options)
    rows.max(), rows.sum(), str(rows), rows > 0
    assert len(simulate(estimator, rows, np.arange(60) % 3, chance, **options)) == 2
    with pytest.raises(ValueError, match="other settings"):
        simulate(estimator, rows * 2, np.arange(60) % 3, chance, **options)


def long_pipeline(k):
    """A pipeline so long that scikit-learn shortens its repr."""
    steps = [(f"{place}_{'x' * 150}", StandardScaler()) for place in "abcdef"]
    return Pipeline([*steps[:3], ("select", SelectKBest(k=k)), *steps[3:], ("bayes", GaussianNB())])


@pytest.mark.parametrize(
    "change",
    [
        {"X": X[:, :3]},
        {"y": y[::-1]},
        {"X_test": X[50:], "y_test": y[50:]},
        {"estimator": long_pipeline(2)},
        {"strategies": {"one": partial(power_balance_query, coldness=2.0)}},
    ],
    ids=["X", "y", "X_test", "estimator", "strategy"],
)
def test_other_data_estimators_and_strategies_are_other_settings(tmp_path, change):
    path = tmp_path / "r.jsonl"
    strategy = partial(power_balance_query, coldness=1.0)
    options = {"n_initial": 2, "n_instances": 4, "budget": 6, "seeds": 1, "results": path}
    options |= {"estimator": long_pipeline(3), "X": X, "y": y, "strategies": {"one": strategy}}
    options |= {"X_test": X[:50], "y_test": y[:50]}
    simulate(**options)
    assert len(simulate(**options)) == 1  # resumes
    with pytest.raises(ValueError, match="other settings"):
        simulate(**options | change)


def test_a_simulation_with_functions_resumes_in_another_process(tmp_path, monkeypatch):
    script = """if True:
        from functools import partial
        from sklearn.datasets import load_iris
        from sklearn.naive_bayes import GaussianNB
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer
        from modal_balance import random_query
        from modal_balance.simulation import simulate

        def halve(X):
            return X / 2

        estimator = make_pipeline(FunctionTransformer(partial(halve)), GaussianNB())
        simulate(estimator, *load_iris(return_X_y=True), {"random": partial(random_query)},
                 n_initial=2, n_instances=4, budget=10, seeds=1, results="r.jsonl")
        """
    monkeypatch.chdir(tmp_path)
    exec(script, {"__name__": "__main__"})
    subprocess.run([sys.executable, "-c", script], check=True)
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


def test_labels_may_be_columns_and_numbers_those_of_numpy(tmp_path):
    chance = {"random": random_query}
    numbers = {name: np.int64(value) for name, value in FAST.items()} | {"seeds": np.int64(1)}
    test = {"X_test": X[:50], "y_test": y[:50]}
    frame = simulate(
        GaussianNB(), X, y[:, None], chance, **numbers, pool_size=np.int64(50), X_test=X[:50],
        y_test=pd.DataFrame(y[:50]), results=tmp_path / "r.jsonl",
    )  # fmt: skip
    same(
        frame,
        simulate(GaussianNB(), X, y, chance, **FAST | {"seeds": [0, 0]}, **test, pool_size=50),
    )


def test_the_pool_can_be_a_part_of_the_rows():
    seen = set()

    def notes(learner, X_pool, n_instances):
        seen.add(len(X_pool))
        return np.arange(n_instances)

    simulate(GaussianNB(), X, y, {"notes": notes}, **(FAST | {"budget": 10}), pool_size=50)
    assert seen == {44}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": {}}, "strategies is empty"),
        ({"n_instances": 0}, "n_instances must be at least 1"),
        ({"pool_size": -1}, "pool_size must be at least 2"),
        ({"seeds": [-1]}, "A seed must be at least 0"),
        ({"y": y[:50]}, r"inconsistent numbers of samples: \[150, 50\]"),
        ({"results": "r.jsonl.gz"}, "r.jsonl.gz would not be compressed"),
        ({"X_test": X}, "X_test was given without y_test|X_val was given without y_val"),
        ({"y": np.r_[y[:-1], 7]}, "A class of y has 1 row"),
        ({"n_initial": 60}, "n_initial=60 rows of each class"),
    ],
)
def test_bad_arguments_are_named(options, message):
    arguments = {"estimator": GaussianNB(), "X": X, "y": y, "strategies": PAIR, **FAST} | options
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)


@pytest.mark.parametrize("strategies", [margin_query, [margin_query], {"margin": "margin"}])
def test_strategies_that_are_no_dict_of_callables_are_a_type_error(strategies):
    message = "strategies must be a dict of names to query strategies.*got " + re.escape(
        repr(strategies)
    )
    with pytest.raises(TypeError, match=message):
        simulate(GaussianNB(), X, y, strategies, **FAST)


@pytest.mark.parametrize("in_a_pipeline", [False, True])
def test_a_classifier_is_given_the_pool_as_unlabelled_rows(in_a_pipeline):
    estimator = make_pipeline(StandardScaler(), quick()) if in_a_pipeline else quick()
    start = first_labels(y[:100], 3)
    options = {"X_test": X[100:], "y_test": y[100:], "labelled": start}
    state = next(rounds(estimator, X[:100], y[:100], random_query, **options))
    classifier, seen = state.estimator, X
    if in_a_pipeline:
        scaler, classifier = state.estimator
        seen = scaler.transform(X)
    encode = PiecewiseLinearEncoding(np.concatenate([seen[start], seen[:100]]), 8)
    np.testing.assert_array_equal(classifier.to_inputs(seen).numpy(), encode(seen))
