import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from toy import DIGITS, IRIS, QUICK, Convolution, quick, same_weights

from modal_balance import MCDropoutClassifier
from modal_balance.estimators.networks import MLP


@parametrize_with_checks([MCDropoutClassifier(**QUICK | {"n_steps": 30, "learning_rate": 0.03})])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


# --- inputs ---------------------------------------------------------------------------------------


def test_input_types_give_the_same_result():
    X, y = load_digits(return_X_y=True)
    X, y = X[:100], y[:100]  # whole numbers from 0 to 16
    readonly = X.astype(np.float32)
    readonly.flags.writeable = False
    reference = quick().fit(X, y)
    inputs = [X.astype(np.int32), X.tolist(), readonly, np.asfortranarray(X), torch.tensor(X)]
    for other in inputs:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted = quick().fit(other, y)
            proba = fitted.predict_proba(other)
        assert same_weights(fitted, reference)
        np.testing.assert_array_equal(proba, reference.predict_proba(X))


def test_data_frames_are_checked_by_column():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = quick(n_steps=20).fit(X, y, X_val=X[::3], y_val=y[::3])
    assert classifier.feature_names_in_.tolist() == list(X.columns)
    assert classifier.n_features_in_ == 4
    np.testing.assert_array_equal(classifier.predict(X), quick(n_steps=20).fit(
        X.to_numpy(), y.to_numpy(), X_val=X[::3].to_numpy(), y_val=y[::3].to_numpy()
    ).predict(X.to_numpy()))  # fmt: skip
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        quick().fit(X, y, X_val=X[X.columns[::-1]], y_val=y)


def test_labels_in_a_series_are_matched_by_position():
    X, y = load_iris(return_X_y=True, as_frame=True)
    y = y.set_axis(range(149, -1, -1))
    fits = [quick(n_steps=10).fit(X, labels) for labels in (y, pd.Series(y.to_numpy()))]
    assert same_weights(*fits)


def test_sparse_text_needs_dense_columns_and_is_told_how():
    texts = ["good dog", "bad cat", "red dog", "blue cat"] * 10
    kinds = ["dog", "cat"] * 20
    with pytest.raises(
        TypeError, match=r"MCDropoutClassifier needs dense rows. Put a .*TruncatedSVD"
    ):
        make_pipeline(TfidfVectorizer(), quick()).fit(texts, kinds)
    pipeline = make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0), quick())
    assert pipeline.fit(texts, kinds).score(texts, kinds) == 1


# --- with other estimators ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"module": partial(Convolution, width=2)}, {"module": MLP, "classes": np.arange(10)}],
)
def test_pickle_and_clone(parameters):
    X, y = load_digits(return_X_y=True)
    X, y = X[:100] / 16, y[:100]
    if isinstance(parameters.get("module"), partial):
        X = X.reshape(-1, 1, 8, 8)
    classifier = quick(n_steps=20, **parameters).fit(X, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    np.testing.assert_array_equal(
        loaded.draw_hypotheses(3, random_state=0).predict_proba_samples(X),
        classifier.draw_hypotheses(3, random_state=0).predict_proba_samples(X),
    )
    copy = clone(classifier)
    with pytest.raises(NotFittedError):
        copy.predict(X)
    np.testing.assert_array_equal(copy.fit(X, y).predict_proba(X), classifier.predict_proba(X))


def test_numbers_of_numpy_are_parameters():
    sizes = {"batch_size": np.array([8, 16]), "n_steps": np.array([5])}
    search = GridSearchCV(quick(), sizes, cv=2, error_score="raise")
    X, y = load_iris(return_X_y=True)
    assert search.fit(X, y).best_params_["n_steps"] == 5


def test_grid_search_over_a_pipeline():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), quick())
    grid = {"mcdropoutclassifier__dropout": [0.1, 0.99], "mcdropoutclassifier__module": [None]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    assert search.best_params_["mcdropoutclassifier__dropout"] == 0.1
    assert search.best_estimator_.score(X, y) > 0.9


def test_cross_validation_with_a_custom_network():
    scores = cross_val_score(quick(module=partial(MLP, hidden_layer_sizes=(32,))), *IRIS, cv=3)
    assert scores.min() > 0.7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    X, y = DIGITS
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    classifier = quick(device="cuda").fit(X, y)
    again = quick(device="cuda").fit(X, y)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(torch.cuda.get_rng_state(), before[1])
    assert next(classifier.net_.module_.parameters()).is_cuda
    assert classifier.score(X, y) > 0.7
    np.testing.assert_allclose(classifier.predict_proba(X), again.predict_proba(X), atol=1e-4)
    assert classifier.draw_hypotheses(4).predict_proba_samples(X).is_cuda
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))
