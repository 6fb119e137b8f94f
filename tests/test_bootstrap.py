import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_random_state
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from modal_balance import (
    MCDropoutClassifier,
    RandomSelectionWarning,
    balance_query,
    draw_hypotheses,
    margin_query,
)
from modal_balance.estimators.bootstrap import BootstrapCommittee
from modal_balance.hypotheses.validation import validation_error

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


@parametrize_with_checks([BootstrapCommittee(LogisticRegression(), n_members=5)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


class Recorder(ClassifierMixin, BaseEstimator):
    """A nearest-mean classifier that stores its training rows."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.X_, self.y_ = np.asarray(X), np.asarray(y)
        self.classes_ = np.unique(y)
        self.means_ = np.stack([self.X_[self.y_ == label].mean(0) for label in self.classes_])
        return self

    def predict_proba(self, X):
        distances = np.square(np.asarray(X)[:, None] - self.means_).sum(-1)
        return np.exp(-distances) / np.exp(-distances).sum(1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


def numbered(n_per_class):
    """Return (X, y) with the row number as the first column of X."""
    y = np.repeat(np.arange(len(n_per_class)), n_per_class)
    noise = np.random.default_rng(0).normal(size=len(y))
    return np.column_stack([np.arange(len(y)) / len(y), y + noise]), y


def bags_of(committee, n):
    return [np.round(member.X_[:, 0] * n).astype(int) for member in committee.estimators_]


# --- resamples ------------------------------------------------------------------------------------


def test_resamples_are_drawn_with_replacement_within_each_class():
    rows, y = numbered([60, 30, 5, 1])
    committee = BootstrapCommittee(Recorder(), n_members=200, random_state=0).fit(rows, y)
    bags = bags_of(committee, 96)
    for member, bag in zip(committee.estimators_, bags, strict=True):
        np.testing.assert_array_equal(y[bag], member.y_)
        assert np.bincount(member.y_).tolist() == [60, 30, 5, 1]
    counts = np.stack([np.bincount(bag, minlength=96) for bag in bags])
    # n draws from n rows: a row is drawn once on average, missed with probability (1 - 1/n)^n.
    for label, n in enumerate([60, 30, 5, 1]):
        assert counts[:, y == label].mean() == 1
        missed = (counts[:, y == label] == 0).mean()
        assert missed == pytest.approx((1 - 1 / n) ** n, abs=0.03)
    assert counts[:, :60].mean(0).std() < 0.15  # no row is preferred


def test_members_have_resamples_and_seeds_of_their_own():
    rows, y = numbered([20, 20])
    committee = BootstrapCommittee(Recorder(), n_members=10, random_state=0).fit(rows, y)
    assert len({member.random_state for member in committee.estimators_}) == 10
    assert len({tuple(bag) for bag in bags_of(committee, 40)}) == 10
    # Not sorted by class, because online learners depend on the order of rows.
    assert not any((np.diff(member.y_) >= 0).all() for member in committee.estimators_)


def test_nested_seeds_are_set_and_the_given_estimator_is_left_alone():
    base = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_features=1))
    committee = BootstrapCommittee(base, n_members=6, random_state=0).fit(X, Y)
    seeds = [m.get_params()["decisiontreeclassifier__random_state"] for m in committee.estimators_]
    assert len(set(seeds)) == 6
    assert base.get_params()["decisiontreeclassifier__random_state"] is None
    with pytest.raises(NotFittedError):
        base.predict(X)


# --- predictions ----------------------------------------------------------------------------------


def test_members_are_the_hypotheses():
    committee = BootstrapCommittee(n_members=7, random_state=0).fit(X, NAMES)
    proba = committee.predict_proba_samples(X)
    assert proba.shape == (7, 150, 3) and proba.dtype == torch.float32
    for member, one in zip(committee.estimators_, proba, strict=True):
        np.testing.assert_allclose(one, member.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(committee.predict_proba(X), proba.mean(0), atol=1e-6)
    expected = committee.classes_[committee.predict_proba(X).argmax(1)]
    np.testing.assert_array_equal(committee.predict(X), expected)
    assert committee.score(X, NAMES) > 0.9
    assert (proba.std(0) > 0.01).any()


def test_out_of_bag_error_counts_row_by_row():
    X, y = load_breast_cancer(return_X_y=True)
    rows = np.column_stack([np.arange(60) / 60, StandardScaler().fit_transform(X)[:60, :3]])
    committee = BootstrapCommittee(Recorder(), n_members=3, random_state=0).fit(rows, y[:60])
    bags = bags_of(committee, 60)
    wrong = []
    for i in range(60):
        others = [
            member.predict_proba(rows[i : i + 1])[0]
            for member, bag in zip(committee.estimators_, bags, strict=True)
            if i not in bag
        ]
        if others:
            wrong.append(np.mean(others, axis=0).argmax() != y[i])
    assert 30 < len(wrong) < 60
    assert committee.validation_error_ == pytest.approx(np.mean(wrong))
    assert validation_error(committee) == committee.validation_error_


def test_out_of_bag_error_is_near_the_error_on_new_data():
    X, y = load_breast_cancer(return_X_y=True)
    committee = BootstrapCommittee(GaussianNB(), random_state=0).fit(X[:300], y[:300])
    assert committee.validation_error_ == pytest.approx(
        1 - committee.score(X[300:], y[300:]), abs=0.05
    )


def test_with_one_label_of_each_class_the_error_is_a_guess():
    rows = [0, 60, 120]
    with pytest.warns(UserWarning, match="None of the 3 rows was left out .* a guess, 0.5"):
        committee = BootstrapCommittee(n_members=3, random_state=0).fit(X[rows], NAMES[rows])
    assert committee.validation_error_ == 0.5
    with pytest.warns(RandomSelectionWarning):  # the members are alike
        indices = balance_query(committee, X, 4, random_state=0)[0]
    assert len(set(indices.tolist())) == 4


def test_a_member_without_probabilities_is_certain():
    committee = BootstrapCommittee(LinearSVC(), n_members=4, random_state=0).fit(X, NAMES)
    proba = committee.predict_proba_samples(X).numpy()
    assert set(np.unique(proba)) == {0, 1}
    for member, one in zip(committee.estimators_, proba, strict=True):
        np.testing.assert_array_equal(committee.classes_[one.argmax(1)], member.predict(X))


def test_declared_classes_have_columns_before_they_have_rows():
    seen = Y != 1
    committee = BootstrapCommittee(classes=sorted(set(NAMES)), n_members=3, random_state=0)
    proba = committee.fit(X[seen], NAMES[seen]).predict_proba(X[seen])
    assert committee.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert proba.shape == (100, 3) and (proba[:, 1] == 0).all()
    assert committee.score(X[seen], NAMES[seen]) == 1
    assert committee.validation_error_ == 0


class Numbered(LogisticRegression):
    """A classifier that accepts only labels 0, 1, ..., k - 1, like XGBoost."""

    def fit(self, X, y):
        labels = np.unique(y)
        if not np.array_equal(labels, np.arange(len(labels))):
            raise ValueError(f"Expected: {np.arange(len(labels))}, got {labels}")
        return super().fit(X, y)


class NumberedVotes(Numbered):
    """The same classifier without ``predict_proba``."""

    predict_proba = property()


@pytest.mark.parametrize("labels", [[3, 7, 9], [0, 1, 2], ["b", "c", "d"]])
@pytest.mark.parametrize("seen", [[0, 1, 2], [0, 2]])
def test_members_that_take_numbers_only_learn_any_labels(labels, seen):
    rows = np.isin(Y, seen)
    y = np.array(labels)[Y]
    fits = [
        BootstrapCommittee(base, 4, classes=labels, random_state=0).fit(X[rows], y[rows])
        for base in (LogisticRegression(), Numbered(), NumberedVotes())
    ]
    plain, numbered, votes = (committee.predict_proba_samples(X) for committee in fits)
    torch.testing.assert_close(numbered, plain)
    assert torch.equal(votes, nn.functional.one_hot(plain.argmax(2), 3).float())
    assert fits[1].validation_error_ == fits[0].validation_error_


def test_the_error_of_the_labels_themselves_is_the_one_raised():
    with pytest.raises(ValueError, match="NaN"):
        BootstrapCommittee(n_members=2).fit(np.full_like(X, np.nan), NAMES)


@pytest.mark.parametrize("name", ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier"])
def test_boosting_of_other_libraries(name):
    library, classifier = name.split(".")
    boosting = getattr(pytest.importorskip(library), classifier)
    base = boosting(n_estimators=5, **({"verbose": -1} if library == "lightgbm" else {}))
    fits = [BootstrapCommittee(base, 3, random_state=0).fit(X, y) for y in (Y, Y * 2 + 3, NAMES)]
    proba = [committee.predict_proba_samples(X) for committee in fits]
    assert torch.equal(proba[0], proba[1]) and torch.equal(proba[0], proba[2])
    assert (proba[0].std(0) > 0.01).any()
    assert (fits[2].predict(X) == NAMES).mean() > 0.9


def net(n_outputs=3):
    torch.manual_seed(0)
    return NeuralNetClassifier(
        nn.Linear(4, n_outputs),
        criterion=nn.CrossEntropyLoss,
        max_epochs=40,
        train_split=None,
        verbose=0,
    )


def test_nets_without_dropout_learn_words_and_are_hypotheses():
    rows = X.astype(np.float32)
    with pytest.raises(ValueError, match="predicts 3 classes, but the committee has 2.*classes="):
        BootstrapCommittee(net(), 3).fit(rows[Y != 1], NAMES[Y != 1])
    committee = BootstrapCommittee(net(), 3, classes=sorted(set(NAMES)), random_state=0)
    committee.fit(rows[Y != 1], NAMES[Y != 1])
    proba = committee.predict_proba_samples(rows)
    assert proba.shape == (3, 150, 3) and (proba.std(0) > 1e-3).any()
    assert committee.score(rows[Y != 1], NAMES[Y != 1]) > 0.9
    for member, one in zip(committee.estimators_, proba, strict=True):  # a column for each output
        np.testing.assert_allclose(one, member.predict_proba(rows), atol=1e-6)


def test_nets_of_one_output_are_members():
    binary = NeuralNetBinaryClassifier(
        nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), lr=0.3, max_epochs=30, verbose=0,
        train_split=None,
    )  # fmt: skip
    rows, is_setosa = X.astype(np.float32), NAMES == "setosa"
    committee = BootstrapCommittee(binary, 3, random_state=0).fit(rows, is_setosa)
    assert committee.predict_proba_samples(rows).shape == (3, 150, 2)
    assert committee.score(rows, is_setosa) == 1


# --- seeds ----------------------------------------------------------------------------------------


def test_the_seed_decides_whatever_the_number_of_jobs():
    tree = DecisionTreeClassifier(max_features=1)
    fits = []
    for n_jobs, seed in ((1, 0), (2, 0), (None, np.random.RandomState(0)), (1, 1)):
        with parallel_config(backend="threading"):
            committee = BootstrapCommittee(tree, 8, n_jobs=n_jobs, random_state=seed).fit(X, Y)
        fits.append(committee.predict_proba_samples(X))
    assert torch.equal(fits[0], fits[1]) and torch.equal(fits[0], fits[2])
    assert not torch.equal(fits[0], fits[3])


def test_the_seed_decides_the_weights_of_nets():
    rows = X.astype(np.float32)
    committee = BootstrapCommittee(make_pipeline(StandardScaler(), net()), 2, random_state=0)
    fits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        fits.append(committee.fit(rows, Y).predict_proba_samples(rows))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*fits)
    assert not torch.equal(
        committee.set_params(random_state=1).fit(rows, Y).predict_proba_samples(rows), fits[0]
    )


def test_a_search_over_a_net_is_seeded_and_knows_declared_classes():
    search = GridSearchCV(net(4), {"lr": [0.1, 0.01]}, cv=2)
    words = np.array(["a", "b", "c"])[Y]
    fits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        committee = BootstrapCommittee(search, 2, classes=list("abcd"), random_state=0)
        fits.append(committee.fit(X.astype(np.float32), words).predict_proba(X.astype(np.float32)))
        assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(*fits)
    assert fits[0].shape[1] == 4 and np.allclose(fits[0].sum(axis=1), 1)


def test_no_global_random_state_is_read_or_written():
    results = []
    for seed in (1, 2):
        check_random_state(None).seed(seed)
        before = pickle.dumps(check_random_state(None).get_state())
        committee = BootstrapCommittee(DecisionTreeClassifier(max_features=1), random_state=0)
        results.append(committee.fit(X, Y).predict_proba(X))
        assert pickle.dumps(check_random_state(None).get_state()) == before
    np.testing.assert_array_equal(*results)


# --- inputs ---------------------------------------------------------------------------------------


def test_input_types_give_the_same_result():
    base = LogisticRegression(tol=1e-8, max_iter=1000)
    reference = BootstrapCommittee(base, n_members=4, random_state=0).fit(X, Y)
    expected = reference.predict_proba(X)
    frame = pd.DataFrame(X, index=np.arange(150)[::-1])
    for other in (X.tolist(), sparse.csr_matrix(X), sparse.csc_matrix(X), frame):
        committee = clone(reference).fit(other, pd.Series(Y))
        np.testing.assert_allclose(committee.predict_proba(other), expected, atol=1e-5)
        assert committee.validation_error_ == reference.validation_error_


@pytest.mark.parametrize("dtype", ["string", "object", None])
def test_text_as_pandas_holds_it(dtype):
    text = ["good dog", "bad cat", "red dog", "blue cat"] * 5
    pool = text if dtype is None else pd.Series(text, dtype=dtype).values
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression())
    committee = BootstrapCommittee(pipeline, 3, random_state=0)
    committee.fit(pool, pd.Series(["u", "v"] * 10, dtype="string").values)
    assert committee.score(text, ["u", "v"] * 10) == 1
    assert len(margin_query(committee, pool, 2, random_state=0)[0]) == 2


def test_a_pipeline_that_selects_columns_by_name():
    frame, y = load_iris(return_X_y=True, as_frame=True)
    frame["garden"] = np.where(y == 1, "north", "south")
    columns = make_column_transformer(
        (StandardScaler(), ["petal length (cm)"]), remainder="drop"
    )  # fmt: skip
    pipeline = make_pipeline(columns, LogisticRegression())
    committee = BootstrapCommittee(pipeline, n_members=5, random_state=0).fit(frame, y)
    assert committee.feature_names_in_.tolist() == list(frame.columns)
    assert committee.n_features_in_ == 5
    assert committee.score(frame, y) > 0.9
    with pytest.raises(ValueError, match="missing"):
        committee.predict(frame.drop(columns="petal length (cm)"))


# --- with other estimators ------------------------------------------------------------------------


def test_batches_can_be_queried():
    labelled = np.arange(0, 150, 5)
    committee = BootstrapCommittee(n_members=10, random_state=0).fit(X[labelled], NAMES[labelled])
    hypotheses = draw_hypotheses(committee, 10, random_state=0)
    torch.testing.assert_close(
        hypotheses.predict_proba_samples(X), committee.predict_proba_samples(X)
    )
    indices = balance_query(committee, X, n_instances=5, random_state=0)[0]
    assert len(set(indices.tolist())) == 5


def test_a_committee_of_networks():
    network = MCDropoutClassifier(samples_per_epoch=256, max_epochs=3, n_steps=20, n_samples=5)
    committee = BootstrapCommittee(network, n_members=3, random_state=0).fit(X, NAMES)
    again = clone(committee).fit(X, NAMES)
    proba = committee.predict_proba_samples(X)
    assert torch.equal(proba, again.predict_proba_samples(X))
    assert (proba[0] != proba[1]).any()


def test_pickle_and_refit():
    committee = BootstrapCommittee(n_members=3, random_state=0).fit(X, NAMES)
    loaded = pickle.loads(pickle.dumps(committee))
    np.testing.assert_array_equal(loaded.predict_proba(X), committee.predict_proba(X))
    with pytest.raises(ValueError):
        committee.fit(np.full_like(X, np.nan), NAMES)
    with pytest.raises(NotFittedError):
        committee.predict(X)


@pytest.mark.parametrize("n_members", [0, 2.5, "many"])
def test_a_bad_number_of_members_is_refused(n_members):
    with pytest.raises(ValueError) as error:
        BootstrapCommittee(n_members=n_members).fit(X, Y)
    assert str(error.value) == f"n_members={n_members!r}. Expected an integer of at least 1."


def test_labels_that_are_unknown_are_refused():
    with pytest.raises(ValueError, match=r"y has the labels \[2\].*\[0, 1\].*classes="):
        BootstrapCommittee(classes=[0, 1]).fit(X, Y)
    with pytest.raises(ValueError, match="only one class"):
        BootstrapCommittee().fit(X[:20], Y[:20])
