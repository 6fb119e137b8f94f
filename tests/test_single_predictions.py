"""Strategies that need only predictions take any classifier; the others refuse one model."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from skorch import NeuralNetClassifier
from torch import nn

import modal_balance as mb
from modal_balance.simulation import simulate

X, y = load_digits(return_X_y=True)
X, y, POOL = X[:100], y[:100], X[100:400]
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())
CLASSIFIERS = [
    LOGISTIC,
    GridSearchCV(LOGISTIC, {"logisticregression__C": [0.1, 1.0]}),
    HistGradientBoostingClassifier(max_iter=3),
]
ANY_CLASSIFIER = [
    mb.margin_query,
    mb.clustered_margin_query,
    mb.entropy_query,
    mb.variation_ratio_query,
    mb.uncertainty_herding_query,
]


def highest(scores, n):
    return np.argsort(-scores, kind="stable")[:n].tolist()


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: type(c).__name__)
def test_points_are_those_of_the_classifiers_own_probabilities(classifier):
    classifier.fit(X, y)
    proba = classifier.predict_proba(POOL)  # (N, C)
    least, most = np.sort(proba, axis=1)[:, -2:].T
    expected = {
        mb.margin_query: 1 - (most - least),
        mb.entropy_query: -(proba * np.log(proba)).sum(1),
        mb.variation_ratio_query: 1 - most,
    }
    for strategy, scores in expected.items():
        indices, values = strategy(classifier, POOL, 8, random_state=0)
        assert indices.tolist() == highest(scores, 8)
        np.testing.assert_allclose(values, scores[indices], atol=1e-6)


def test_clustered_margins_choose_among_the_lowest_margins():
    classifier = LOGISTIC.fit(X, y)
    candidates, _ = mb.margin_query(classifier, POOL, 5 * 6)
    indices, _ = mb.clustered_margin_query(classifier, POOL, 6, random_state=0)
    assert indices[0] == candidates[0]
    assert set(indices) < set(candidates) and len(set(indices)) == 6
    assert set(indices) != set(candidates[:6])  # some of those predict the same


def test_uncertainty_herding_gives_certain_rows_no_weight():
    rows = np.vstack([np.zeros((50, 2)), np.ones((3, 2))])  # the many are certain
    proba = np.array([[1.0, 0.0]] * 50 + [[0.5, 0.5]] * 3)
    classifier = GaussianNB().fit([[0.0, 0.0], [1.0, 1.0]], [0, 1])
    classifier.predict_proba = lambda X: proba[: len(X)]
    none = {"X_labelled": np.empty((0, 2)), "y_labelled": []}
    indices, _ = mb.uncertainty_herding_query(classifier, rows, random_state=0, **none)
    assert indices[0] >= 50


@pytest.mark.parametrize("strategy", [*ANY_CLASSIFIER[:4], mb.bald_query, mb.balance_margin_query])
def test_a_model_that_has_learnt_nothing_makes_a_random_batch_and_says_so(strategy):
    stump = HistGradientBoostingClassifier(max_iter=2)  # no leaf below 20 rows, so no split
    if strategy not in ANY_CLASSIFIER:
        stump = mb.BootstrapCommittee(stump, n_members=3, random_state=0)
    stump.fit(X[:30], y[:30] % 2)
    options = {"tau": 0.1} if strategy is mb.balance_margin_query else {}
    with pytest.warns(mb.RandomSelectionWarning, match="All points of the pool have the same"):
        strategy(stump, POOL, 6, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", mb.RandomSelectionWarning)
        strategy(stump, POOL[:6], 6, random_state=0, **options)  # nothing to choose
        if strategy in ANY_CLASSIFIER:
            strategy(LOGISTIC.fit(X, y), POOL, 6, random_state=0)


def test_a_pool_in_blocks_gives_the_same_points():
    classifier = LOGISTIC.fit(X, y)
    pool = np.random.default_rng(0).normal(POOL.mean(), POOL.std(), (10_050, POOL.shape[1]))
    least, most = np.sort(classifier.predict_proba(pool), axis=1)[:, -2:].T
    assert mb.margin_query(classifier, pool, 5)[0].tolist() == highest(least - most, 5)


def test_simulations_take_any_classifier():
    strategies = {"margin": mb.margin_query, "random": mb.random_query}
    frame = simulate(LOGISTIC, X, y, strategies, n_instances=10, budget=40, seeds=1)
    assert sorted(frame.n_labelled) == [10, 10, 20, 20, 30, 30, 40, 40]


@pytest.mark.parametrize("strategy", ANY_CLASSIFIER)
def test_a_classifier_without_probabilities_is_refused_at_once(strategy):
    with pytest.raises(TypeError, match="SVC has no predict_proba"):
        strategy(SVC().fit(X, y), POOL, 2)


def test_values_that_are_no_probabilities_are_refused():
    classifier = GaussianNB().fit(X, y)
    classifier.predict_proba = lambda X: np.full((len(X), 10), 0.2)
    with pytest.raises(ValueError, match="The prediction of a classifier has a row that sums to 2"):
        mb.margin_query(classifier, POOL)


class Foreign:
    """A classifier without scikit-learn's base class, and without classes_."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict_proba(self, X):
        return LOGISTIC.predict_proba(X)


def test_a_classifier_need_not_be_scikit_learns_nor_name_its_classes():
    LOGISTIC.fit(X, y)
    expected = mb.margin_query(LOGISTIC, POOL, 5)[0].tolist()
    assert mb.margin_query(Foreign().fit(X, y), POOL, 5)[0].tolist() == expected


def test_an_ensemble_may_have_a_single_member():
    expected = mb.margin_query(LOGISTIC.fit(X, y), POOL, 5)[0].tolist()
    vote = VotingClassifier([("only", LOGISTIC)], voting="soft").fit(X, y)
    for learner in ([LOGISTIC], vote):
        assert mb.margin_query(learner, POOL, 5)[0].tolist() == expected
        with pytest.raises(ValueError, match="has 1 member, and a single hypothesis cannot"):
            mb.bald_query(learner, POOL, 5)


def test_one_model_is_refused_by_what_compares_hypotheses():
    classifier = LOGISTIC.fit(X, y)
    for strategy in (mb.balance_query, mb.bald_query, mb.batchbald_query, mb.mean_std_query):
        with pytest.raises(TypeError, match="margin_query and clustered_margin_query need only"):
            strategy(classifier, POOL)


class Net(nn.Module):
    """A network, with dropout by a function if ``p`` is not 0."""

    def __init__(self, p=0.0):
        super().__init__()
        self.hidden, self.output, self.p = nn.Linear(64, 32), nn.Linear(32, 10), p

    def forward(self, X):
        hidden = torch.relu(self.hidden(X))
        if self.p:
            hidden = nn.functional.dropout(hidden, self.p, self.training)
        return self.output(hidden)


def fitted_net(p):
    net = NeuralNetClassifier(
        Net, module__p=p, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0, max_epochs=5
    )
    torch.manual_seed(0)
    return make_pipeline(FunctionTransformer(np.float32), net).fit(X, y)


def test_a_net_without_dropout_is_a_single_model():
    net = fitted_net(0.0)
    least, most = np.sort(net.predict_proba(POOL), axis=1)[:, -2:].T
    assert mb.margin_query(net, POOL, 6)[0].tolist() == highest(least - most, 6)
    for strategy in ANY_CLASSIFIER:
        assert len(strategy(net, POOL, 6, random_state=0)[0]) == 6
    with pytest.raises(ValueError, match="Net has no dropout to sample"):
        mb.bald_query(net, POOL, 6)


def test_a_net_that_calls_dropout_functions_has_hypotheses():
    net = fitted_net(0.5)
    proba = mb.draw_hypotheses(net, 20, random_state=0).predict_proba_samples(POOL).mean(0)
    least, most = proba.sort(-1).values[:, -2:].T.numpy()
    indices, _ = mb.margin_query(net, POOL, 6, n_samples=20, random_state=0)
    assert indices.tolist() == highest(least - most, 6)


@pytest.mark.modal
def test_a_loop_chooses_as_modals_margin_sampling():
    models = pytest.importorskip("modAL.models")
    uncertainty = pytest.importorskip("modAL.uncertainty")
    batches = []
    for strategy in (mb.margin_query, uncertainty.margin_sampling):
        learner = models.ActiveLearner(
            LOGISTIC, query_strategy=strategy, X_training=X, y_training=y
        )
        indices, _ = learner.query(POOL, n_instances=5)
        batches.append(sorted(indices))
    assert batches[0] == batches[1]
