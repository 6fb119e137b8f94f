"""scikit-learn ensembles: their members as hypotheses."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from toy import (
    STRATEGIES,
    digits,
    fast_classifier,
    forest_of,
    iris,
    iris_frame,
    iris_words,
    name_of,
    reported,
    samples,
    skorch_net,
)

from modal_balance import (
    balance_batch,
    balance_query,
    balance_scores,
    disjoint_pairs,
    draw_hypotheses,
    edges_beyond,
    power_balance_query,
)
from modal_balance.equivalence import all_pairs, votes
from modal_balance.hypotheses.validation import validation_error

X, y = iris()
WORDS, FRAME = iris_words(), iris_frame()


def stacked(members, X=X):
    """The members' predictions by a plain loop, as float32."""
    return torch.tensor(np.stack([m.predict_proba(X) for m in members]), dtype=torch.float32)


# --- what the hypotheses are ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("labels", [y, WORDS])
def test_trees_are_hypotheses(kind, labels):
    forest = forest_of(kind, y=labels)
    hypotheses = draw_hypotheses(forest, 100)
    assert torch.equal(hypotheses.predict_proba_samples(X), stacked(forest.estimators_))
    assert hypotheses.classes_.tolist() == np.unique(labels).tolist()
    assert hypotheses.fixed
    mean = hypotheses.predict_proba_samples(X).mean(0).numpy()
    assert mean == pytest.approx(forest.predict_proba(X), abs=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        np.float32, np.float64, sparse.csr_matrix, sparse.csc_matrix, np.asfortranarray,
        torch.from_numpy, np.ndarray.tolist,
    ],
)  # fmt: skip
def test_forests_take_any_array(form):
    forest = forest_of()
    rows = form(X) if not isinstance(form, type) or form is sparse.csr_matrix else X.astype(form)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(samples(forest, rows), stacked(forest.estimators_))


def test_forests_take_data_frames_without_a_warning():
    forest = RandomForestClassifier(5, random_state=0).fit(FRAME[:60], y[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(samples(forest, FRAME), stacked(forest.estimators_))
    with pytest.raises(ValueError, match="feature names"):
        samples(forest, FRAME[list("dcba")])


def test_forests_take_missing_values():
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    forest = RandomForestClassifier(5, random_state=0).fit(holes[:60], y[:60])
    assert torch.equal(samples(forest, holes), stacked(forest.estimators_, holes))
    indices, _ = balance_query(forest, holes, 4, tau=0.01, random_state=0)
    assert len(set(indices)) == 4
    with pytest.raises(ValueError, match="infinity"):
        balance_query(forest, np.full_like(X, np.inf), 4, tau=0.01)


@pytest.mark.parametrize("options", [{}, {"max_features": 0.5}, {"bootstrap_features": True}])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, pd.DataFrame])
def test_bagged_members_see_their_own_columns_and_classes(options, form):
    # Trees compare with a threshold: dense and sparse rows end in the same leaf, to the last bit.
    # A pipeline takes no sample weights, so each member sees its four rows and no others.
    member = make_pipeline(DecisionTreeClassifier(random_state=0))
    bagging = BaggingClassifier(member, 25, max_samples=4, random_state=0, **options)
    bagging.fit(form(X[:60]), WORDS[:60])
    assert len({len(m.classes_) for m in bagging.estimators_}) > 1  # some miss a class
    hypotheses = draw_hypotheses(bagging, 100)
    expected = np.zeros((25, len(X), 3), dtype=np.float32)
    for s, (member, columns) in enumerate(
        zip(bagging.estimators_, bagging.estimators_features_, strict=True)
    ):
        proba = member.predict_proba(X[:, columns])
        for c, label in enumerate(member.classes_):
            expected[s, :, int(label)] = proba[:, c]
    assert torch.equal(hypotheses.predict_proba_samples(form(X)), torch.from_numpy(expected))
    assert hypotheses.classes_.tolist() == sorted(set(WORDS))
    assert expected.mean(0) == pytest.approx(bagging.predict_proba(form(X)), abs=1e-6)


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voters_are_hypotheses(voting):
    voters = [
        ("line", make_pipeline(StandardScaler(), LogisticRegression())),
        ("dropped", GaussianNB()),
        ("near", KNeighborsClassifier(3)),
    ]
    ensemble = VotingClassifier(voters, voting=voting).set_params(dropped="drop")
    ensemble.fit(FRAME[:60], WORDS[:60])
    hypotheses = draw_hypotheses(ensemble, 100)
    assert torch.equal(
        hypotheses.predict_proba_samples(FRAME), stacked(ensemble.estimators_, FRAME)
    )
    assert hypotheses.classes_.tolist() == sorted(set(WORDS))


def test_voters_without_probabilities_are_refused():
    ensemble = VotingClassifier([("a", Perceptron()), ("b", GaussianNB())]).fit(X, y)
    with pytest.raises(TypeError, match="Perceptron has no predict_proba"):
        samples(ensemble)


class Unnormalised(GaussianNB):
    """Like GaussianNB in float32, where the most probable classes may all get probability 1."""

    def predict_proba(self, X):
        proba = super().predict_proba(X)
        proba[0, :2] = 1
        return proba


def test_voters_whose_rows_do_not_sum_to_one_are_refused():
    ensemble = VotingClassifier([("a", Unnormalised()), ("b", GaussianNB())]).fit(X, y)
    with pytest.raises(ValueError, match=r"sums to 2, not 1.*float64"):
        samples(ensemble)


def test_voters_with_dropout_share_the_draws():
    X, y = digits()
    ensemble = VotingClassifier(
        [("one", fast_classifier()), ("two", fast_classifier(random_state=1)), ("nb", GaussianNB())]
    ).fit(X[:60], np.array(list("abcd"))[y[:60]])
    hypotheses = draw_hypotheses(ensemble, 10, random_state=0)
    proba = hypotheses.predict_proba_samples(X)
    assert proba.shape == (10, len(X), 4)
    assert hypotheses.classes_.tolist() == list("abcd")
    assert not hypotheses.fixed
    errors = [m.validation_error_ for m in ensemble.estimators_[:2]]
    assert validation_error(ensemble) is None
    ensemble.estimators_ = ensemble.estimators_[:2]
    assert validation_error(ensemble) == np.mean(errors)


def test_members_of_a_vote_cannot_declare_classes():
    X, y = digits()
    names = np.array(list("abcd"))
    rows = np.flatnonzero(y != 2)[:60]  # the vote numbers a, b and d as 0, 1 and 2
    network = fast_classifier(classes=range(4))
    vote = VotingClassifier([("net", network), ("nb", GaussianNB())]).fit(X[rows], names[y[rows]])
    with pytest.raises(ValueError, match="has 4 classes.*fitted on 3.*Leave out classes="):
        balance_query(vote, X, tau=0.1)
    vote.set_params(net__classes=names)
    with pytest.raises(ValueError, match=r"labels \[0, 1, 2\].*ensemble.*leave out classes="):
        vote.fit(X[rows], names[y[rows]])
    # What the message advises.
    members = [m.fit(X[rows], names[y[rows]]) for _, m in vote.estimators]
    assert draw_hypotheses(members, 4).classes_.tolist() == list("abcd")


def test_of_many_members_a_seeded_subset_is_taken():
    forest = forest_of(n=30)
    everything = stacked(forest.estimators_)
    subsets = []
    for seed in (0, 0, 1):
        hypotheses = draw_hypotheses(forest, 7, random_state=seed)
        proba = hypotheses.predict_proba_samples(X)
        assert proba.shape == (7, len(X), 3)
        assert hypotheses.fixed
        places = [next(i for i, t in enumerate(everything) if torch.equal(t, h)) for h in proba]
        subsets.append(places)
    assert subsets[0] == subsets[1] != subsets[2]


def test_a_single_member_is_refused():
    for ensemble in (forest_of(n=1), BaggingClassifier(n_estimators=1).fit(X, y)):
        with pytest.raises(ValueError, match="has 1 member, and a single hypothesis"):
            balance_query(ensemble, X, tau=0.1)


def test_several_outputs_are_refused():
    forest = RandomForestClassifier(3).fit(X, np.stack([y, y], 1))
    with pytest.raises(ValueError, match="predicts 2 outputs. Expected one"):
        samples(forest)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (GradientBoostingClassifier(n_estimators=2), "partial sums of one model"),
        (HistGradientBoostingClassifier(max_iter=2), "partial sums of one model"),
        (AdaBoostClassifier(n_estimators=2), "partial sums of one model"),
        (CalibratedClassifierCV(GaussianNB()), "fits that leave out one fold each"),
        (StackingClassifier([("nb", GaussianNB())]), "inputs of its final estimator"),
        (LogisticRegression(max_iter=999), "Cannot draw hypotheses"),
    ],
)
def test_what_has_no_posterior_is_refused_with_the_reason(estimator, reason):
    with pytest.raises(TypeError, match=f"{reason}.* BootstrapCommittee .* random forest"):
        balance_query(estimator.fit(X, y), X, tau=0.1)


@pytest.mark.parametrize("labels", [[-1, 0, 1], [1, 2, 3], ["a", "b", "c"]])
def test_frozen_members_of_a_vote_keep_the_labels_of_their_own_fit(labels):
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator
    own = np.array(labels)[y]
    members = [GaussianNB().fit(X, own), KNeighborsClassifier(5).fit(X, own)]
    named = [("a", frozen(members[0])), ("b", make_pipeline(frozen(members[1])))]
    vote = VotingClassifier(named, voting="soft").fit(X, own)
    hypotheses = draw_hypotheses(vote, 2)
    assert hypotheses.classes_.tolist() == labels
    assert torch.equal(hypotheses.predict_proba_samples(X), stacked(members))


def test_a_frozen_member_may_be_a_net_that_has_seen_no_labels():
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    net = frozen(skorch_net(module).initialize())
    vote = VotingClassifier([("a", net), ("b", GaussianNB())], voting="soft").fit(X, y)
    assert draw_hypotheses(vote, 10).classes_.tolist() == [0, 1, 2]


class Backwards(GaussianNB):
    """Returns a view with a negative stride, which may not be written to."""

    def predict_proba(self, X):
        proba = super().predict_proba(X)[:, ::-1].astype(np.float32)[:, ::-1]
        proba.flags.writeable = False
        return proba


def test_probabilities_may_be_any_view_of_an_array():
    members = [Backwards().fit(X, y), GaussianNB().fit(X, y)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        proba = draw_hypotheses(members, 2).predict_proba_samples(X)
    assert torch.equal(proba[0], proba[1])


# --- queries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_trees", "pairing", "pairs"),
    [
        (12, "auto", all_pairs(12)),
        (13, "all", all_pairs(13)),
        (12, "disjoint", disjoint_pairs(12)),
        (13, "disjoint", disjoint_pairs(12)),
        (2, "auto", all_pairs(2)),
    ],
)
def test_a_forest_is_queried_by_its_trees(n_trees, pairing, pairs):
    forest = forest_of(n=n_trees)
    report = reported(forest, pairing=pairing)
    proba = stacked(forest.estimators_)
    edges, weights = edges_beyond(votes(proba), pairs, 0.02)
    expected, gains = balance_batch(proba, edges, weights, 5, random_state=0)
    assert report.indices.tolist() == expected.tolist()
    assert report.scores == pytest.approx(gains.numpy())
    assert (report.n_pairs, report.n_edges) == (len(pairs), len(edges))
    assert len(edges) > 0


def test_of_more_trees_than_asked_for_all_pairs_of_a_subset_are_compared():
    assert reported(forest_of(n=30), n_samples=10).n_pairs == 45
    assert reported(forest_of(n=30), n_samples=10, pairing="disjoint").n_pairs == 5
    assert reported(forest_of(n=30), n_samples=30).n_pairs == 435


def test_power_balance_compares_the_same_pairs():
    forest = forest_of(n=9)
    proba = stacked(forest.estimators_)
    for pairing, pairs in (("auto", all_pairs(9)), ("disjoint", disjoint_pairs(8))):
        indices, scores = power_balance_query(
            forest, X, 4, pairing=pairing, tau=0.02, random_state=0
        )
        edges, weights = edges_beyond(votes(proba), pairs, 0.02)
        assert scores == pytest.approx(balance_scores(proba, edges, weights)[indices].numpy())
    with pytest.raises(ValueError, match="pairing='some' is unknown"):
        power_balance_query(forest, X, pairing="some", tau=0.02)


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_that_samples_takes_a_forest(strategy):
    if name_of(strategy) in {"badge_query", "coreset_query"}:
        pytest.skip("needs a network")
    X, y = digits()
    forest = RandomForestClassifier(8, random_state=0).fit(X[:40], y[:40])  # pure leaves: 0 and 1
    assert set(samples(forest, X).unique().tolist()) == {0, 1}
    indices, scores = strategy(forest, X[100:160], 5, random_state=0)
    assert len(set(indices.tolist())) == 5
    assert np.isfinite(scores).all()


def test_partition_counts_the_pairs_there_are():
    assert reported(forest_of(n=9), pairing="partition").n_pairs == 36


def test_the_out_of_bag_error_gives_tau():
    forest = forest_of(n=40, oob_score=True)
    assert validation_error(forest) == pytest.approx(1 - forest.oob_score_)
    assert reported(forest, tau=None).tau == pytest.approx((1 - forest.oob_score_) / 4)
    bagging = BaggingClassifier(n_estimators=40, oob_score=True, random_state=0).fit(X, y)
    assert validation_error(make_pipeline(StandardScaler(), bagging)) == 1 - bagging.oob_score_
    other = forest_of(n=40, oob_score=lambda truth, guess: 0.25)
    assert other.oob_score_ == 0.25
    assert validation_error(other) is None
    with pytest.raises(ValueError, match="tau is unknown.*oob_score=True"):
        reported(forest_of(), tau=None)
