"""Criteria that end a loop, on loops."""

import pickle
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toy import digits, fast_classifier, fitted_classifier, fitted_net

from modal_balance import draw_hypotheses, edges_beyond, random_query
from modal_balance.equivalence import all_pairs, votes
from modal_balance.stopping import (
    AccuracyReached,
    AllOf,
    AnyOf,
    BudgetSpent,
    NoEdgesLeft,
    PredictionsStable,
)

X, y = digits()
X_val, y_val = X[400:], y[400:]


class Scripted:
    """A learner whose predictions are given, one list for each round."""

    def __init__(self, *rounds):
        self.rounds = iter(rounds)

    def predict(self, X):
        return np.array(next(self.rounds))


def wide_classifier():
    """A classifier whose hypotheses agree ever more as labels come."""
    return fast_classifier(hidden_layer_sizes=(256,), dropout=0.8, n_steps=60, learning_rate=2e-3)


@lru_cache(maxsize=1)
def fitted_wide_classifier():
    return wide_classifier().fit(X[:40], y[:40])


def plain_loop(until, clf, n_rounds=30):
    """Label 4 points a round, in the order of the data; return how many it took."""
    for n_labels in range(8, 8 + 4 * n_rounds, 4):
        if until(clf.fit(X[:n_labels], y[:n_labels])):
            return n_labels
    raise AssertionError("did not stop")


def test_accuracy_stops_a_loop_in_the_first_round_that_reaches_it():
    clf = LogisticRegression(max_iter=1000)
    until = AccuracyReached(0.9, X_val, y_val)
    n_labels = plain_loop(until, clf)
    assert n_labels > 8
    assert until.accuracy_ == clf.score(X_val, y_val) >= 0.9
    earlier = LogisticRegression(max_iter=1000).fit(X[: n_labels - 4], y[: n_labels - 4])
    assert earlier.score(X_val, y_val) < 0.9


def test_reaching_the_target_exactly_is_enough():
    until = AccuracyReached(0.75, np.zeros((4, 1)), [0, 0, 0, 0])
    assert not until(Scripted([0, 0, 1, 1]))
    assert until(Scripted([0, 0, 0, 1]))


def test_another_score_can_be_used():
    always = DummyClassifier(strategy="constant", constant=0).fit(X, y)
    imbalanced = np.r_[np.zeros(95), np.ones(5)]
    rows = X[:100]
    assert AccuracyReached(0.9, rows, imbalanced)(always)
    until = AccuracyReached(0.9, rows, imbalanced, score=balanced_accuracy_score)
    assert not until(always)
    assert until.accuracy_ == 0.5


@pytest.mark.parametrize("labels", [list, np.asarray, torch.tensor])
def test_validation_labels_in_any_form(labels):
    clf = fitted_classifier()
    until = AccuracyReached(0.0, X_val, labels(y_val.tolist()))
    assert until(clf)
    assert until.accuracy_ == clf.score(X_val, y_val)


def test_string_labels_and_bare_nets_work():
    names = np.array(["zero", "one", "two", "three"])
    clf = LogisticRegression(max_iter=1000).fit(X[:100], names[y[:100]])
    assert AccuracyReached(0.9, X_val, names[y_val])(clf)
    until = AccuracyReached(0.0, X_val, y_val)
    assert until(fitted_net(max_epochs=30))
    assert until.accuracy_ > 0.5


def test_a_budget_counts_what_it_is_told():
    known = []
    until = BudgetSpent(3, n_labelled=lambda learner: len(known))
    for expected in (False, False, False, True, True):
        assert until(fitted_classifier()) is expected
        assert until.spent_ == len(known)
        known.append(0)


def test_a_budget_needs_to_be_told_by_plain_estimators():
    with pytest.raises(TypeError, match=r"MCDropoutClassifier does not tell .* n_labelled="):
        BudgetSpent(3)(fitted_classifier())


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: make_pipeline(StandardScaler(), c)])
def test_the_share_of_edges_is_that_of_all_pairs_of_hypotheses(wrap):
    clf = wrap(wide_classifier()).fit(X[:40], y[:40])
    until = NoEdgesLeft(X_val, tau=0.2, n_samples=20, random_state=3)
    assert not until(clf)
    drawn = draw_hypotheses(clf, 20, random_state=3)
    reference_votes = votes(drawn.predict_proba_samples(X_val))
    _, weights = edges_beyond(reference_votes, all_pairs(20), 0.2)
    assert until.share_ == pytest.approx(weights.sum().item())
    assert 0 < until.share_ < 1


def test_edges_are_gone_when_tau_is_large_and_stay_when_it_is_zero():
    assert NoEdgesLeft(X_val, tau=1.0, patience=1, random_state=0)(fitted_classifier())
    until = NoEdgesLeft(X_val, tau=0.0, random_state=0)
    assert not until(fitted_classifier())
    assert until.share_ == 1.0


def test_a_threshold_allows_some_edges():
    loose = NoEdgesLeft(X_val, tau=0.2, threshold=1.0, patience=1, random_state=0)
    assert loose(fitted_wide_classifier())
    assert loose.share_ > 0
    exact = NoEdgesLeft(X_val, tau=0.2, threshold=loose.share_, patience=1, random_state=0)
    assert exact(fitted_wide_classifier())


def test_tau_is_annealed_from_the_estimators_error_or_from_validation_data():
    clf = fitted_classifier()
    until = NoEdgesLeft(X_val, random_state=0)
    until(clf)
    assert until.tau_ == 0.25 * clf.validation_error_
    until = NoEdgesLeft(X[40:200], anneal=0.5, X_val=X_val, y_val=y_val, random_state=0)
    until(clf)
    drawn = draw_hypotheses(clf, 50, random_state=0)
    wrong = drawn.predict_proba_samples(X_val).mean(0).argmax(1).numpy() != y_val
    assert until.tau_ == pytest.approx(0.5 * wrong.mean())
    with pytest.raises(ValueError, match="tau is unknown"):
        NoEdgesLeft(X_val)(fitted_net())


def test_validation_rows_are_checked():
    clf = fitted_classifier()
    until = NoEdgesLeft(X_val, X_val=X_val[:, :3], y_val=y_val, random_state=0)
    with pytest.raises(ValueError, match="X_val has 3 features"):
        until(clf)
    with pytest.raises(ValueError, match="X_val has rows of .* but X_reference has rows of"):
        until(make_pipeline(StandardScaler(), clf).fit(X[:40], y[:40]))
    listed = NoEdgesLeft(X_val, X_val=X_val.tolist(), y_val=y_val, random_state=0)
    plain = NoEdgesLeft(X_val, X_val=X_val, y_val=y_val, random_state=0)
    listed(clf), plain(clf)
    assert listed.tau_ == plain.tau_


def test_edges_go_as_labels_come():
    until = NoEdgesLeft(X_val, tau=0.15, random_state=0)
    shares = []
    for n_labels in (12, 60, 200):
        until(wide_classifier().fit(X[:n_labels], y[:n_labels]))
        shares.append(until.share_)
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.05


def test_the_random_state_decides_and_global_ones_stay():
    def share(random_state):
        until = NoEdgesLeft(X_val, tau=0.2, n_samples=20, random_state=random_state)
        until(fitted_wide_classifier())
        return until.share_

    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert share(1) == share(1) == share(np.random.RandomState(1))
    assert len({share(seed) for seed in range(5)}) > 1
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_predicting_with_a_net_leaves_the_global_state_alone():
    X, y = digits()
    net = fitted_net()
    before = torch.get_rng_state()
    for criterion in (AccuracyReached(0.5, X, y), PredictionsStable(X)):
        criterion(net)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generator_advances_from_round_to_round():
    until = NoEdgesLeft(X_val, tau=0.02, n_samples=20, random_state=np.random.RandomState(0))
    shares = set()
    for _ in range(4):
        until(fitted_wide_classifier())
        shares.add(until.share_)
    assert len(shares) > 1


def test_patience_of_edges_counts_rounds_in_a_row():
    agreed = wide_classifier().fit(X[:200], y[:200])
    early = fitted_classifier()
    until = NoEdgesLeft(X_val, tau=0.25, n_samples=10, patience=2, random_state=0)
    answers = [until(clf) for clf in (agreed, early, agreed, agreed, agreed, early)]
    assert answers == [False, False, False, True, True, False]


def test_kappa_compares_each_round_with_the_one_before():
    rounds = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0]
    learner = Scripted(*rounds)
    until = PredictionsStable(np.zeros((6, 1)), threshold=0.7, patience=1)
    assert not until(learner)
    assert np.isnan(until.kappa_)
    for one, other in zip(rounds, rounds[1:], strict=False):
        kappa = cohen_kappa_score(one, other)
        assert until(learner) is bool(kappa >= 0.7)
        assert until.kappa_ == kappa


def test_predictions_must_stay_for_patience_rounds_in_a_row():
    a, b = [0, 1, 0, 1], [1, 1, 0, 0]
    learner = Scripted(a, a, a, b, b, b, b, b)
    until = PredictionsStable(np.zeros((4, 1)), patience=3)
    assert [until(learner) for _ in range(8)] == 6 * [False] + 2 * [True]


def test_one_class_throughout_is_not_stability():
    zeros, ones, both = [0, 0, 0], [1, 1, 1], [0, 1, 1]
    learner = Scripted(zeros, zeros, zeros, ones, both, both)
    until = PredictionsStable(np.zeros((3, 1)), threshold=0.0, patience=1)
    kappas = []
    answers = []
    for _ in range(6):
        answers.append(until(learner))
        kappas.append(until.kappa_)
    assert kappas == pytest.approx([np.nan, np.nan, np.nan, 0, 0, 1], nan_ok=True)
    assert answers == [False, False, False, True, True, True]


def test_stable_predictions_stop_a_loop_where_they_hardly_change():
    clf = LogisticRegression(max_iter=1000)
    until = PredictionsStable(X_val, threshold=0.98, patience=2)
    n_labels = plain_loop(until, clf, n_rounds=80)
    assert 30 < n_labels
    assert until.kappa_ >= 0.98


class Recorder:
    """A criterion that answers as told, and remembers how often it was asked."""

    def __init__(self, *answers):
        self.answers = answers
        self.calls = 0

    def __call__(self, learner):
        self.calls += 1
        return self.answers[self.calls - 1]


def test_any_and_all_ask_every_criterion_in_every_round():
    for combine, expected in ((AnyOf, [True, True, False]), (AllOf, [True, False, False])):
        members = Recorder(True, True, False), Recorder(True, False, False)
        until = combine(*members)
        assert [until(None) for _ in range(3)] == expected
        assert [member.calls for member in members] == [3, 3]
        assert until.held_ == []


def test_any_tells_which_criterion_stopped():
    members = Recorder(False), Recorder(True), Recorder(True)
    until = AnyOf(*members)
    assert until(None)
    assert until.held_ == list(members[1:])


def test_combinations_nest():
    until = AnyOf(AllOf(Recorder(True, True), Recorder(False, True)), Recorder(False, False))
    assert [until(None), until(None)] == [False, True]


rows = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AccuracyReached(90, rows, [0, 1, 1]), ValueError, r"target must .* \[0, 1\], got"),
        (lambda: AccuracyReached("0.9", rows, [0, 1, 1]), TypeError, "target must be a number"),
        (lambda: AccuracyReached(rows, [0, 1, 1], 0.9), TypeError, "target must be a number"),
        (lambda: AccuracyReached(0.9, 3, 4), TypeError, "X_val must be an array .*, got 3"),
        (lambda: AccuracyReached(0.9, rows, [0, 1, 1], "f1"), TypeError, "score must be a calla"),
        (lambda: BudgetSpent(3, n_labelled=3), TypeError, "n_labelled must be a callable"),
        (lambda: AccuracyReached(0.9, rows, [0, 1]), ValueError, "3 rows but y_val has 2 labels"),
        (lambda: AccuracyReached(0.9, rows[:0], []), ValueError, "X_val is empty"),
        (lambda: BudgetSpent(0), ValueError, "n_labels must be at least 1, got 0"),
        (lambda: BudgetSpent(2.5), TypeError, "n_labels must be an integer, got 2.5"),
        (lambda: NoEdgesLeft(rows[:0]), ValueError, "X_reference is empty"),
        (lambda: NoEdgesLeft(rows, tau=1.5), ValueError, "tau must lie in"),
        (lambda: NoEdgesLeft(rows, anneal=-1), ValueError, "anneal must be"),
        (lambda: NoEdgesLeft(rows, X_val=rows), ValueError, "X_val was given without y_val"),
        (lambda: NoEdgesLeft(rows, X_val=rows, y_val=[1]), ValueError, "3 rows but y_val has 1"),
        (lambda: NoEdgesLeft(rows, n_samples=1), ValueError, "n_samples must be at least 2, got 1"),
        (lambda: NoEdgesLeft(rows, threshold=2), ValueError, "threshold must lie in"),
        (lambda: NoEdgesLeft(rows, patience=0), ValueError, "patience must be at least 1, got 0"),
        (lambda: NoEdgesLeft(rows, random_state="x"), TypeError, "random_state must be"),
        (lambda: PredictionsStable(None), ValueError, "X_stop is empty"),
        (lambda: PredictionsStable("pool.npy"), TypeError, "X_stop must be .* rows in memory"),
        (lambda: PredictionsStable(rows, threshold=99), ValueError, "threshold must lie in"),
        (lambda: PredictionsStable(rows, patience=1.5), TypeError, "patience must be an integer"),
        (lambda: AnyOf(), ValueError, "no criterion"),
        (lambda: AllOf([BudgetSpent(3)]), TypeError, "each criterion as a separate argument"),
    ],
)
def test_bad_arguments_are_refused_when_the_criterion_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_learners_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="X_reference has 2 features"):
        NoEdgesLeft(rows, tau=0.1)(fitted_classifier())
    with pytest.raises(ValueError, match="has not been fitted"):
        NoEdgesLeft(X_val, tau=0.1)(fast_classifier())
    for until in (AccuracyReached(0.9, X_val, y_val), PredictionsStable(X_val)):
        with pytest.raises(TypeError, match="A list has no predict method. Pass a modAL learner"):
            until([fitted_classifier()] * 2)


def test_criteria_pickle_with_their_state():
    until = AnyOf(
        BudgetSpent(100, n_labelled=len),
        AllOf(
            AccuracyReached(0.5, X_val, y_val),
            NoEdgesLeft(X_val, tau=1.0, n_samples=4, random_state=0, patience=2),
            PredictionsStable(X_val, patience=2),
        ),
    ).criteria[1]
    clf = fitted_classifier()
    answers = []
    for _ in range(3):
        answers.append(until(clf))
        until = pickle.loads(pickle.dumps(until))
    assert answers == [False, False, True]
    assert pickle.loads(pickle.dumps(BudgetSpent(5, n_labelled=len)))([0] * 5)


def test_data_are_left_out_of_the_representation():
    assert repr(AccuracyReached(0.9, X_val, y_val)).startswith("AccuracyReached(target=0.9, score=")
    assert len(repr(NoEdgesLeft(X_val, X_val=X_val, y_val=y_val))) < 200
    until = PredictionsStable(X_val)
    until(fitted_classifier())
    assert repr(until) == "PredictionsStable(threshold=0.99, patience=3, kappa_=nan)"


@pytest.mark.modal
class TestWithModal:
    @staticmethod
    def loop(until, learner, n_rounds=25):
        """Query and teach until told to stop; return the number of rounds."""
        X_pool, y_pool = X[40:400], y[40:400]
        for n_taught in range(n_rounds):
            if until(learner):
                return n_taught
            indices, _ = learner.query(X_pool, n_instances=5)
            learner.teach(X_pool[indices], y_pool[indices])
            X_pool, y_pool = np.delete(X_pool, indices, 0), np.delete(y_pool, indices)
        raise AssertionError("did not stop")

    @staticmethod
    def active_learner(classifier=None, n_initial=20):
        models = pytest.importorskip("modAL.models")
        return models.ActiveLearner(
            classifier or fast_classifier(), X_training=X[:n_initial], y_training=y[:n_initial]
        )

    def test_budget_and_accuracy_end_a_loop(self):
        learner = self.active_learner()
        until = AnyOf(AccuracyReached(1.0, X_val, y_val), BudgetSpent(38))
        assert self.loop(until, learner) == 4  # 20, 25, 30, 35, 40 labels
        assert len(learner.y_training) == 40
        assert until.held_ == [until.criteria[1]]
        learner = self.active_learner()
        target = AccuracyReached(0.8, X_val, y_val)
        self.loop(target, learner)
        assert learner.score(X_val, y_val) == target.accuracy_ >= 0.8

    def test_no_edges_end_a_loop(self):
        clf = wide_classifier()
        learner = self.active_learner(clf)
        learner.query_strategy = partial(random_query, random_state=0)
        until = NoEdgesLeft(X_val, tau=0.25, threshold=0.1, patience=2, random_state=0)
        assert self.loop(until, learner) > 0
        assert until.share_ <= 0.1

    def test_stable_predictions_end_a_loop(self):
        learner = self.active_learner(LogisticRegression(max_iter=1000))
        until = PredictionsStable(X_val, threshold=0.97, patience=2)
        assert self.loop(until, learner) >= 2
        assert until.kappa_ >= 0.97

    def test_a_learner_without_labels_has_spent_nothing(self):
        models = pytest.importorskip("modAL.models")
        until = BudgetSpent(1)
        assert not until(models.ActiveLearner(fast_classifier()))
        assert until.spent_ == 0

    def test_committees_predict_and_are_told_how_to_count(self):
        models = pytest.importorskip("modAL.models")
        members = [
            self.active_learner(LogisticRegression(C=C, max_iter=1000)) for C in (0.1, 1, 10)
        ]
        committee = models.Committee(members)
        with pytest.raises(TypeError, match=r"Committee does not tell .* n_labelled="):
            BudgetSpent(30)(committee)
        until = AnyOf(
            PredictionsStable(X_val, threshold=1.0, patience=9),
            BudgetSpent(30, n_labelled=lambda c: len(c.learner_list[0].y_training)),
        )
        assert self.loop(until, committee) == 2
        assert AccuracyReached(0.5, X_val, y_val)(committee)
