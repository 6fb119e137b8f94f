"""Committees, as modAL's Committee and as lists: members, classes, draws and tau."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.dataset import ValidSplit
from torch import nn
from toy import (
    STRATEGIES,
    digits,
    fast_classifier,
    fitted_net,
    iris,
    name_of,
    reported,
    skorch_net,
)

from modal_balance import (
    badge_query,
    balance_batch,
    balance_margin_query,
    balance_query,
    disjoint_pairs,
    draw_hypotheses,
    edges_beyond,
)
from modal_balance.equivalence import all_pairs, votes
from modal_balance.hypotheses.validation import validation_error, validation_error_on

X, y = iris()
DIGITS, DIGIT_LABELS = digits()


def members(labels=y):
    return [
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:30], labels[:30]),
        RandomForestClassifier(10, random_state=0).fit(X[30:60], labels[30:60]),
        GaussianNB().fit(X[:60], labels[:60]),
        KNeighborsClassifier(3).fit(X[20:50], labels[20:50]),
    ]


def dropout_members(n=3, n_rows=40, **parameters):
    return [
        fast_classifier(random_state=seed, max_epochs=4, **parameters).fit(
            DIGITS[:n_rows], DIGIT_LABELS[:n_rows]
        )
        for seed in range(n)
    ]


def committee_of(estimators):
    models = pytest.importorskip("modAL.models")
    return models.Committee([models.ActiveLearner(e) for e in estimators])


# --- plain members --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [list, tuple, pytest.param(committee_of, marks=pytest.mark.modal)])
def test_each_plain_member_is_one_hypothesis(form):
    learner = form(members())
    proba = torch.tensor(np.stack([m.predict_proba(X) for m in members()]), dtype=torch.float32)
    hypotheses = draw_hypotheses(learner, 100)
    assert torch.equal(hypotheses.predict_proba_samples(X), proba)
    assert hypotheses.fixed
    edges, weights = edges_beyond(votes(proba), all_pairs(4), 0.02)
    expected, gains = balance_batch(proba, edges, weights, 5, random_state=0)
    report = reported(learner)
    assert report.indices.tolist() == expected.tolist()
    assert report.scores == pytest.approx(gains.numpy())
    assert report.n_pairs == 6
    assert reported(learner, pairing="disjoint").n_pairs == 2


@pytest.mark.modal
def test_learners_in_a_list_are_their_estimators():
    learners = committee_of(members()).learner_list
    assert reported(learners).indices.tolist() == reported(members()).indices.tolist()


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_that_samples_takes_a_committee(strategy):
    if name_of(strategy) in {"badge_query", "coreset_query"}:
        pytest.skip("needs a network")
    pair = [
        GaussianNB(var_smoothing=0.1).fit(DIGITS[:50], DIGIT_LABELS[:50]),
        RandomForestClassifier(10, random_state=0).fit(DIGITS[:50], DIGIT_LABELS[:50]),
    ]
    indices, scores = strategy(pair, DIGITS[100:160], 5, random_state=0)
    assert len(set(indices.tolist())) == 5
    assert np.isfinite(scores).all()


def test_of_many_members_a_seeded_subset_is_taken():
    hypotheses = draw_hypotheses(members(), 2, random_state=0)
    proba = hypotheses.predict_proba_samples(X)
    everything = [torch.tensor(m.predict_proba(X), dtype=torch.float32) for m in members()]
    assert len(proba) == 2
    assert all(any(torch.equal(own, e) for e in everything) for own in proba)


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [y, np.array(["b", "c", "a"])[y], y.astype(float) - 1])
def test_members_are_aligned_to_the_union_of_their_classes(labels):
    union = np.unique(labels)
    known = [np.isin(labels, union[[0, 1]]), np.isin(labels, union[[1, 2]]), labels == union[2]]
    learners = [GaussianNB().fit(X[k], labels[k]) for k in known]
    hypotheses = draw_hypotheses(learners, 10)
    assert hypotheses.classes_.tolist() == union.tolist()
    proba = hypotheses.predict_proba_samples(X).numpy()
    assert proba[0, :, :2] == pytest.approx(learners[0].predict_proba(X), abs=1e-6)
    assert proba[1, :, 1:] == pytest.approx(learners[1].predict_proba(X), abs=1e-6)
    assert (proba[0, :, 2] == 0).all()
    assert (proba[1, :, 0] == 0).all()
    assert (proba[2] == [0, 0, 1]).all()
    report = reported(learners)
    assert np.isfinite(report.scores).all()
    wrong = union[proba.mean(0).argmax(1)] != labels
    assert validation_error_on(hypotheses, X, labels) == pytest.approx(wrong.mean())


def test_labels_of_different_kinds_are_refused():
    learners = [GaussianNB().fit(X, y), GaussianNB().fit(X, y.astype(str))]
    with pytest.raises(ValueError, match="labels are of different kinds: int, str"):
        reported(learners)


def test_nets_number_their_classes():
    net = fitted_net()  # 4 columns
    three = DIGIT_LABELS[:60] < 3
    other = GaussianNB(var_smoothing=0.1).fit(DIGITS[:60][three], DIGIT_LABELS[:60][three])
    hypotheses = draw_hypotheses([net, other], 5, random_state=0)
    proba = hypotheses.predict_proba_samples(DIGITS)
    assert proba.shape == (5, len(DIGITS), 4)
    assert hypotheses.classes_ is None
    own = torch.tensor(other.predict_proba(DIGITS), dtype=torch.float32)
    assert sum(torch.equal(h[:, :3], own) and bool((h[:, 3] == 0).all()) for h in proba) == 1
    words = GaussianNB().fit(DIGITS[:60], np.array(list("abcd"))[DIGIT_LABELS[:60]])
    with pytest.raises(ValueError, match="skorch net, which numbers its classes.*label 'a'"):
        reported([net, words], DIGITS)


def test_one_class_in_all_members_is_refused():
    alone = GaussianNB().fit(X[y == 1], y[y == 1])
    with pytest.raises(ValueError, match="This list knows a single class, .*1"):
        reported([alone, alone])


def test_many_classes():
    labels = np.arange(620) % 62
    points = np.random.default_rng(0).normal(size=(620, 5)) + labels[:, None] / 9
    learners = [GaussianNB().fit(points[k::3], labels[k::3]) for k in range(3)]
    learners.append(GaussianNB().fit(points[:400], labels[:400] // 2))
    assert draw_hypotheses(learners, 9).predict_proba_samples(points).shape == (4, 620, 62)
    assert len(set(reported(learners, points).indices)) == 5


# --- members with dropout -------------------------------------------------------------------------


def test_members_with_dropout_share_the_draws():
    learners = dropout_members()
    hypotheses = draw_hypotheses(learners, 11, random_state=0)
    proba = hypotheses.predict_proba_samples(DIGITS)
    assert proba.shape == (11, len(DIGITS), 4)
    assert not hypotheses.fixed
    state = np.random.RandomState(0)
    drawn = [
        draw_hypotheses(learner, share, random_state=state).predict_proba_samples(DIGITS)
        for learner, share in zip(learners, (4, 4, 3), strict=True)
    ]
    same = (proba[:, None] == torch.cat(drawn)[None]).flatten(2).all(-1)  # (11, 11)
    assert same.sum(0).tolist() == same.sum(1).tolist() == [1] * 11
    order = same.int().argmax(1).tolist()
    assert order != sorted(order)  # the pairs k, K + k are not all of the same two members
    assert torch.equal(proba, hypotheses.predict_proba_samples(DIGITS))
    assert torch.allclose(proba[:, 5:9], hypotheses.predict_proba_samples(DIGITS[5:9]), atol=1e-6)


def test_a_query_of_a_deep_ensemble_pairs_its_draws():
    learners = dropout_members(2)
    report = reported(learners, DIGITS[100:300], n_samples=16)
    hypotheses = draw_hypotheses(learners, 16, random_state=0)
    proba = hypotheses.predict_proba_samples(DIGITS[100:300])
    edges, weights = edges_beyond(votes(proba), disjoint_pairs(16), 0.02)
    expected, _ = balance_batch(proba, edges, weights, 5, random_state=0)
    assert report.indices.tolist() == expected.tolist()
    assert report.n_pairs == 8


def test_plain_members_beside_dropout_are_one_hypothesis_each():
    plain = GaussianNB(var_smoothing=0.1).fit(DIGITS[:40], DIGIT_LABELS[:40])
    net = fitted_net()
    pipeline = make_pipeline(StandardScaler(), fast_classifier())
    pipeline.fit(DIGITS[:40], DIGIT_LABELS[:40])
    proba = draw_hypotheses([plain, net, pipeline], 10, random_state=0).predict_proba_samples(
        DIGITS
    )
    assert len(proba) == 10
    own = torch.tensor(plain.predict_proba(DIGITS), dtype=torch.float32)
    assert sum(torch.equal(h, own) for h in proba) == 1
    with pytest.raises(ValueError, match="has 1 member"):
        reported([plain], DIGITS)
    assert reported([net], DIGITS, n_samples=6).n_pairs == 3


def test_a_forest_beside_a_network_draws_as_many_hypotheses():
    trees = RandomForestClassifier(20, random_state=0)
    vote = VotingClassifier([("network", fast_classifier()), ("trees", trees)], voting="soft")
    vote.fit(DIGITS[:40], DIGIT_LABELS[:40] + 3)
    proba = draw_hypotheses(vote, 10, random_state=0).predict_proba_samples(DIGITS)
    of_trees = [tree.predict_proba(DIGITS) for tree in vote.estimators_[1].estimators_]
    of_trees = torch.tensor(np.stack(of_trees), dtype=torch.float32)
    found = [h for h in proba if any(torch.equal(h, tree) for tree in of_trees)]
    assert len(proba) == 10 and len(found) == 5
    forests = [clone(trees).fit(DIGITS[:40], DIGIT_LABELS[:40]) for _ in range(3)]
    assert len(draw_hypotheses(forests, 10).predict_proba_samples(DIGITS)) == 3


def test_nets_without_dropout_are_plain_members():
    nets = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = skorch_net(nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4)))
        nets.append(net.fit(DIGITS[:40], DIGIT_LABELS[:40]))
    state = torch.get_rng_state()
    nets[1].module_.train()
    hypotheses = draw_hypotheses(nets, 50)
    proba = hypotheses.predict_proba_samples(DIGITS)
    assert torch.equal(torch.get_rng_state(), state)
    assert nets[1].module_.training
    assert proba.numpy() == pytest.approx(np.stack([n.predict_proba(DIGITS) for n in nets]))
    assert hypotheses.fixed
    with pytest.raises(ValueError, match="has 1 member"):
        reported(nets[:1], DIGITS)
    without = dropout_members(2, dropout=0)
    proba = draw_hypotheses(without, 50).predict_proba_samples(DIGITS).numpy()
    assert proba == pytest.approx(np.stack([c.predict_proba(DIGITS) for c in without]), abs=1e-6)


# --- tau ------------------------------------------------------------------------------------------


def test_the_mean_error_of_the_members_gives_tau():
    learners = dropout_members(2)
    forest = RandomForestClassifier(60, oob_score=True, random_state=0)
    learners.append(forest.fit(DIGITS[:60], DIGIT_LABELS[:60]))
    net = fitted_net(train_split=ValidSplit(3), max_epochs=5)
    learners.append(net)
    errors = [learners[0].validation_error_, learners[1].validation_error_]
    errors += [1 - forest.oob_score_, 1 - max(net.history[:, "valid_acc"])]
    assert validation_error(learners) == pytest.approx(np.mean(errors))
    report = reported(learners, DIGITS[100:], tau=None, anneal=0.1, n_samples=10)
    assert report.tau == pytest.approx(np.mean(errors) / 10)


def test_without_it_validation_data_do():
    with pytest.raises(ValueError, match="tau is unknown.*a committee: all its members"):
        reported(members(), tau=None)
    mean = np.mean([m.predict_proba(X[60:]) for m in members()], axis=0)
    report = reported(members(), tau=None, X_val=X[60:], y_val=y[60:], anneal=0.5)
    assert report.tau == pytest.approx(0.5 * np.mean(mean.argmax(1) != y[60:]))
    assert report.tau > 0


# --- what members must be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learners", "error", "message"),
    [
        ([], ValueError, "list is empty. Pass fitted classifiers"),
        ([GaussianNB().fit(X, y), GaussianNB()], NotFittedError, "GaussianNB has not been fitted"),
        ([GaussianNB().fit(X, y), LinearRegression().fit(X, y)], TypeError, "is a regressor"),
        ([GaussianNB().fit(X, y), "net"], TypeError, "got a str"),
        ([GaussianNB().fit(X, y)], ValueError, "list has 1 member"),
        (
            [GaussianNB().fit(X, y), RidgeClassifier().fit(X, y)],
            TypeError,
            "RidgeClassifier has no predict_proba",
        ),
        (
            [GaussianNB().fit(X, y), GaussianNB().fit(X[:, :3], y)],
            ValueError,
            "X_pool has 4 features but GaussianNB was fitted with 3",
        ),
    ],
)
def test_members_that_cannot_vote_are_refused(learners, error, message):
    with pytest.raises(error, match=message):
        reported(learners)


def test_missing_values_are_for_all_members_to_take():
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    forests = [RandomForestClassifier(5).fit(holes[s:40:2], y[s:40:2]) for s in range(2)]
    assert len(reported(forests, holes).indices) == 5
    with pytest.raises(ValueError, match="X_pool contains NaN"):
        reported([*forests, GaussianNB().fit(X, y)], holes)


def test_a_committee_has_no_last_layer():
    with pytest.raises(TypeError, match="A list has no network to take features from"):
        badge_query(members(), X)


@pytest.mark.parametrize("form", [pd.DataFrame, sparse.csr_matrix, np.float32, np.ndarray.tolist])
def test_members_take_what_they_take(form):
    def fitted(rows):
        return [
            MultinomialNB().fit(rows[:60], y[:60]),
            RandomForestClassifier(5, random_state=0).fit(rows[:60], y[:60]),
        ]

    rows = np.round(X * 4)  # counts: exact in any precision, and nothing is fitted by iteration
    expected = reported(fitted(rows), rows, tau=0).indices.tolist()
    assert reported(fitted(form(rows)), form(rows), tau=0).indices.tolist() == expected


# --- modAL ----------------------------------------------------------------------------------------


@pytest.mark.modal
@pytest.mark.parametrize("kind", ["plain", "dropout", "nets"])
def test_a_committee_queries_and_learns_for_several_rounds(kind):
    models = pytest.importorskip("modAL.models")
    torch.manual_seed(0)
    makers = {
        "plain": [GaussianNB(var_smoothing=0.1), KNeighborsClassifier(3)],
        "dropout": [fast_classifier(random_state=seed) for seed in range(2)],
        "nets": [skorch_net(train_split=ValidSplit(3)) for _ in range(2)],
    }
    learners = [
        models.ActiveLearner(e, X_training=DIGITS[:40], y_training=DIGIT_LABELS[:40])
        for e in makers[kind]
    ]
    committee = models.Committee(learners, query_strategy=balance_query)
    left = np.arange(100, 300)
    for _ in range(3):
        indices, rows = committee.query(DIGITS[left], n_instances=4, tau=0.01, n_samples=10)
        assert np.array_equal(rows, DIGITS[left][indices])
        assert len(set(indices.tolist())) == 4
        committee.teach(rows, DIGIT_LABELS[left][indices])
        left = np.delete(left, indices)
    assert len(learners[0].X_training) == 52


@pytest.mark.modal
def test_a_class_met_in_a_later_round_is_aligned():
    models = pytest.importorskip("modAL.models")
    known = np.flatnonzero(y != 2)[:20]
    learners = [
        models.ActiveLearner(e, X_training=X[known], y_training=y[known])
        for e in (GaussianNB(), fast_classifier())
    ]
    committee = models.Committee(learners, query_strategy=balance_margin_query)
    new = np.flatnonzero(y == 2)[:3]
    for labels in ([0, 1], [0, 1], [0, 1, 2]):
        hypotheses = draw_hypotheses(committee, 6, random_state=0)
        assert hypotheses.classes_.tolist() == labels[:2]
        indices, _ = committee.query(X, n_instances=2, n_samples=6, tau=0.001, random_state=0)
        rows = np.append(indices, new) if 2 in labels else indices[y[indices] != 2]
        if len(rows):
            committee.teach(X[rows], y[rows])
    assert draw_hypotheses(committee, 6).classes_.tolist() == [0, 1, 2]
    learners[0].teach(X[:1], np.array([7]))  # only one of them has seen this one
    assert draw_hypotheses(committee, 6).classes_.tolist() == [0, 1, 2, 7]
    committee.query(X, n_instances=2, n_samples=6, tau=0.001, random_state=0)
