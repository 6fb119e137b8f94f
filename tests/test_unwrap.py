"""Unwrapping of pipelines, searches and frozen estimators."""

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFECV
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from toy import (
    fast_classifier,
    forest_of,
    iris,
    iris_frame,
    iris_words,
    reported,
    samples,
    skorch_net,
)

from modal_balance import (
    balance_query,
    clustered_margin_query,
    draw_hypotheses,
    herding_query,
    margin_query,
)
from modal_balance.hypotheses.last_layer import last_layer_features
from modal_balance.hypotheses.unwrap import check_labels_of_net, unwrap_learner
from modal_balance.hypotheses.validation import validation_error
from modal_balance.simulation.loop import rounds

X, y = iris()
WORDS, FRAME = iris_words(), iris_frame()
MIXED = FRAME.assign(
    a=FRAME["a"].where(FRAME["a"] < 6.5),
    petal=np.where(X[:, 2] > 4, "long", np.where(X[:, 2] > 2, "middling", None)),
)


def preprocessing():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("n", numbers, list("abd")), ("w", words, ["petal"])])


FINALS = {
    "classifier": fast_classifier(),
    "forest": RandomForestClassifier(8, random_state=0),
    "bagging": BaggingClassifier(n_estimators=8, max_features=0.5, random_state=0),
    "voting": VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"),
}


@pytest.mark.parametrize("final", FINALS)
def test_a_pipeline_sees_raw_rows_everywhere(final):
    pipeline = make_pipeline(preprocessing(), FINALS[final]).fit(MIXED[:60], WORDS[:60])
    inner = pipeline[0].transform(MIXED)
    drawn = draw_hypotheses(pipeline[-1], 8, random_state=0)
    proba = samples(pipeline, MIXED, n_samples=8)
    assert torch.allclose(proba, drawn.predict_proba_samples(inner))
    options = {"n_samples": 8, "random_state": 0, "n_instances": 3, "tau": None, "anneal": 0.01}
    raw = {"X_val": MIXED[60:], "X_reference": MIXED[20:90], "X_pending": MIXED[:4]}
    report = reported(pipeline, X_pool=MIXED[60:], **raw, y_val=WORDS[60:], **options)
    transformed = {"X_val": inner[60:], "X_reference": inner[20:90], "X_pending": inner[:4]}
    expected = reported(pipeline[-1], X_pool=inner[60:], **transformed, y_val=WORDS[60:], **options)
    assert report.indices.tolist() == expected.indices.tolist()
    assert report.tau == expected.tau > 0


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("final", ["classifier", "forest"])
def test_searches_are_their_best_estimators(final, inside):
    if inside:
        search = GridSearchCV(
            make_pipeline(preprocessing(), FINALS[final]),
            {"columntransformer__n__simpleimputer__strategy": ["mean", "median"]},
            cv=2,
        ).fit(MIXED[:60], y[:60])
        best, rows = search.best_estimator_, MIXED
        learner = search
    else:
        search = RandomizedSearchCV(FINALS[final], {"random_state": [0, 1, 2]}, n_iter=2, cv=2)
        learner = make_pipeline(StandardScaler(), search).fit(X[:60], y[:60])
        best, rows = make_pipeline(learner[0], learner[1].best_estimator_), X
    assert torch.equal(samples(learner, rows, 6), samples(best, rows, 6))
    assert validation_error(learner) == validation_error(best)
    report = reported(learner, X_pool=rows, n_samples=6)
    assert report.indices.tolist() == reported(best, X_pool=rows, n_samples=6).indices.tolist()
    if final == "classifier":
        assert torch.equal(
            last_layer_features(learner, rows)[0], last_layer_features(best, rows)[0]
        )


def test_a_search_that_keeps_no_estimator_is_refused():
    search = GridSearchCV(GaussianNB(), {"var_smoothing": [0.1]}, refit=False).fit(X, y)
    with pytest.raises(ValueError, match="Use refit=True"):
        balance_query(search, X, tau=0.1)


def test_a_feature_search_is_a_classifier_of_its_own():
    selection = RFECV(forest_of()).fit(X, y)  # it has cv_results_, but finds no estimator
    assert unwrap_learner(selection).classifier is selection
    assert len(herding_query(selection, X, 2, X_labelled=X[:2], random_state=0)[0]) == 2
    with pytest.raises(TypeError, match="Cannot draw hypotheses from a RFECV"):
        balance_query(selection, X, tau=0.1)


def test_frozen_estimators_are_what_is_frozen():
    frozen = pytest.importorskip("sklearn.frozen")
    classifier = fast_classifier().fit(X[:60], y[:60])
    for inner in (classifier, make_pipeline(StandardScaler(), forest_of()).fit(X, y)):
        learner = frozen.FrozenEstimator(inner)
        assert torch.equal(samples(learner), samples(inner))
        assert validation_error(learner) == validation_error(inner)
        assert reported(learner).indices.tolist() == reported(inner).indices.tolist()
    features, _ = last_layer_features(frozen.FrozenEstimator(classifier), X)
    assert torch.equal(features, last_layer_features(classifier, X)[0])


@pytest.mark.parametrize(
    "strategy", [margin_query, clustered_margin_query, balance_query, herding_query]
)
def test_a_step_that_drops_rows_is_refused(strategy):
    drops = FunctionTransformer(lambda rows: rows[rows[:, 0] > 5])
    pipeline = make_pipeline(StandardScaler().fit(X), drops, forest_of())
    pipeline.steps[0] = ("none", "passthrough")
    tau = {"tau": 0.1} if strategy is balance_query else {}
    with pytest.raises(ValueError, match=r"for \d+ of 150 rows: the classifier, or a step"):
        strategy(pipeline, X, 3, **tau)


# --- imbalanced-learn -----------------------------------------------------------------------------


def imbalanced():
    rare = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:8], np.flatnonzero(y == 2)]
    return X[rare], y[rare]


def test_samplers_act_in_fit_alone():
    pipelines = pytest.importorskip("imblearn.pipeline")
    sampler = pytest.importorskip("imblearn.over_sampling").RandomOverSampler(random_state=0)
    rows, labels = imbalanced()
    steps = StandardScaler(), sampler, RandomForestClassifier(8, oob_score=True, random_state=0)
    pipeline = pipelines.make_pipeline(*steps).fit(rows, labels)
    proba = samples(pipeline, X, n_samples=8)
    expected = draw_hypotheses(pipeline[-1], 8).predict_proba_samples(pipeline[0].transform(X))
    assert torch.equal(proba, expected)
    np.testing.assert_allclose(proba.mean(0), pipeline.predict_proba(X), atol=1e-6)
    assert len(margin_query(pipeline, X, 3, random_state=0)[0]) == 3


def test_a_sampler_in_front_of_a_network():
    pipelines = pytest.importorskip("imblearn.pipeline")
    sampler = pytest.importorskip("imblearn.over_sampling").RandomOverSampler(random_state=0)
    rows, labels = imbalanced()
    pipeline = pipelines.make_pipeline(sampler, fast_classifier()).fit(rows, labels)
    assert torch.equal(samples(pipeline, X), samples(pipeline[-1], X))
    features, _ = last_layer_features(pipeline, X)
    assert torch.equal(features, last_layer_features(pipeline[-1], X)[0])
    data = {"X_test": X, "y_test": y, "X_val": X, "y_val": y}
    *_, last = rounds(
        pipeline, rows, labels, margin_query, labelled=range(0, 100, 4), budget=30, **data
    )
    assert len(last.labelled) == 30


@pytest.mark.parametrize("name", ["BalancedBagging", "BalancedRandomForest", "EasyEnsemble"])
def test_ensembles_of_imbalanced_learn(name):
    ensembles = pytest.importorskip("imblearn.ensemble")
    rows, labels = imbalanced()
    ensemble = getattr(ensembles, f"{name}Classifier")(n_estimators=5, random_state=0)
    ensemble.fit(rows, np.array(list("abc"))[labels])
    proba = samples(ensemble, X, n_samples=5)
    assert proba.shape == (5, 150, 3)
    np.testing.assert_allclose(proba.mean(0), ensemble.predict_proba(X), atol=1e-6)
    assert len(margin_query(ensemble, X, 3, random_state=0)[0]) == 3


def test_a_net_is_not_taught_words():
    with pytest.raises(TypeError) as error:
        check_labels_of_net(make_pipeline(StandardScaler(), skorch_net()), WORDS)
    assert "numbers 0, 1, ... as labels, but a label is" in str(error.value)
    assert "MCDropoutClassifier(module=...)" in str(error.value)
    check_labels_of_net(skorch_net(), y)
    check_labels_of_net(fast_classifier(), WORDS)
