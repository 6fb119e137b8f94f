"""Objects with predict_proba_samples, passed instead of a learner."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from toy import fast_classifier, forest_of, iris, reported, samples

from modal_balance import balance_batch, bald_query, draw_hypotheses, edges_beyond, margin_query
from modal_balance.equivalence import all_pairs, votes
from modal_balance.estimators.bootstrap import BootstrapCommittee
from modal_balance.hypotheses.validation import validation_error_on

X, y = iris()


class Softmax:
    """Twenty linear classifiers with random weights."""

    def __init__(self, n=20, form=torch.as_tensor, **attributes):
        self.weights, self.form = np.random.default_rng(0).normal(size=(n, 4, 3)), form
        vars(self).update(attributes)

    def predict_proba_samples(self, X):
        odds = np.exp(np.asarray(X) @ self.weights)
        return self.form(odds / odds.sum(-1, keepdims=True))


def backwards(proba):
    """The same predictions, in an array that runs backwards in memory."""
    return proba[..., ::-1].copy()[..., ::-1]


def read_only(proba):
    proba.flags.writeable = False
    return proba


FORMS = [np.asarray, torch.as_tensor, np.float32, np.float16, backwards, read_only]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", FORMS)
def test_whatever_predicts_samples_can_be_queried(form):
    learner = Softmax(form=form)
    given = learner.predict_proba_samples(X)
    proba = given if isinstance(given, torch.Tensor) else torch.from_numpy(given.copy())
    proba = proba.float() if proba.dtype == torch.float16 else proba
    assert torch.equal(samples(learner, n_samples=3), proba)  # taken as it is
    edges, weights = edges_beyond(votes(proba), all_pairs(20), 0.02)
    expected, _ = balance_batch(proba, edges, weights, 5, random_state=0)
    assert reported(learner).indices.tolist() == expected.tolist()
    assert reported(make_pipeline(learner)).indices.tolist() == expected.tolist()


def test_gradients_and_optional_attributes():
    learner = Softmax(classes_=np.array(["a", "b", "c"]), validation_error_=0.12)
    assert reported(learner, tau=None).tau == pytest.approx(0.03)
    names = np.array(["a", "b", "c"])[samples(learner).mean(0).argmax(-1).numpy()]
    assert validation_error_on(draw_hypotheses(learner, 1), X, names) == 0
    grad = Softmax(form=lambda p: torch.tensor(p, requires_grad=True))
    assert not samples(grad).requires_grad


def test_drawn_hypotheses_can_be_queried_again():
    classifier = fast_classifier().fit(X[:60], y[:60])
    drawn = draw_hypotheses(classifier, 10, random_state=0)
    assert torch.equal(samples(drawn), drawn.predict_proba_samples(X))
    assert reported(drawn).n_pairs == 45
    assert pickle.loads(pickle.dumps(draw_hypotheses(forest_of(), 5))).fixed is True


def test_a_bootstrap_committee_is_a_fixed_set():
    committee = BootstrapCommittee(GaussianNB(), n_members=7, random_state=0).fit(X[:60], y[:60])
    assert reported(committee).n_pairs == 21
    assert reported(committee, tau=None).tau == pytest.approx(committee.validation_error_ / 4)
    assert len(samples([committee, GaussianNB().fit(X, y)])) == 8  # whole, beside another member


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda p: p[0], r"shape \(hypotheses, points, classes\).*got \(150, 3\)"),
        (lambda p: p[:1], "holds 1 hypothesis. Expected at least 2"),
        (lambda p: p[:, :7], r"has the shape \(20, 7, 3\) for 150 rows"),
        (lambda p: p * 2, "Softmax.predict_proba_samples has a row that sums to 2, not 1"),
        (lambda p: p * np.nan, "contains NaN. Return probabilities"),
        (lambda p: p[..., :1], "has 1 class"),
    ],
)
def test_samples_that_are_none_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        margin_query(Softmax(form=form), X)


def test_columns_must_be_the_classes():
    with pytest.raises(ValueError, match="has 3 classes but classes_ has 2"):
        bald_query(Softmax(classes_=np.array([0, 1])), X)
    with pytest.raises(ValueError, match="knows a single class"):
        bald_query(Softmax(classes_=np.array([0])), X)


class Bare:
    """Hypotheses with only predictions: no classes_, no fixed."""

    def predict_proba_samples(self, X):
        return Softmax().predict_proba_samples(X)


class DrawsBare(GaussianNB):
    """A classifier whose draws have no attributes."""

    def draw_hypotheses(self, n_samples, random_state=None, *, verbose=0):
        return Bare()


def test_hypotheses_need_no_attributes_wherever_they_are():
    plain = DrawsBare().fit(X, y)
    pipeline = make_pipeline(FunctionTransformer(), plain)
    expected = reported(plain, X_pool=X, tau=None, X_val=X[:40], y_val=y[:40])
    wrong = (samples(plain).mean(0).argmax(1).numpy()[:40] != y[:40]).mean()
    assert expected.tau == pytest.approx(wrong / 4)
    for learner in (pipeline, [plain]):
        report = reported(learner, X_pool=X, tau=None, X_val=X[:40], y_val=y[:40])
        assert report.tau == expected.tau
        assert torch.equal(samples(learner).sort(0).values, samples(plain).sort(0).values)
