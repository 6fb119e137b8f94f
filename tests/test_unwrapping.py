"""Pipelines, searches and frozen estimators around what can be queried."""

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from toy import fast_classifier, forest_of, iris, iris_frame, iris_words, reported, samples

from modal_balance import (
    balance_query,
    draw_hypotheses,
)
from modal_balance.hypotheses.features import last_layer_features
from modal_balance.hypotheses.validation import validation_error

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
