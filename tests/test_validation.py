import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from modal_balance.acquisition.arguments import check_integer
from modal_balance.validation import (
    check_estimator_is_ready,
    check_rows,
    check_same_width,
    n_rows,
)

X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
FITTED = LogisticRegression().fit(X, y)


@pytest.mark.parametrize("value", [1, np.int64(7)])
def test_integers_pass(value):
    assert check_integer(value, "n_pairs", 1) == value
    assert type(check_integer(value, "n_pairs", 1)) is int


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-3, ValueError),
        (2.0, TypeError),
        (True, TypeError),
        ("2", TypeError),
        (None, TypeError),
    ],
)
def test_what_is_no_positive_integer_is_refused_by_name(value, error):
    with pytest.raises(error, match="n_pairs must be"):
        check_integer(value, "n_pairs", 1)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (LogisticRegression(), NotFittedError, "LogisticRegression has not been fitted"),
        (NeuralNetClassifier(nn.Linear(3, 2)), NotFittedError, "has not been fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), NotFittedError, "Pipeline has not"),
        (LinearRegression().fit(X, y), TypeError, "LinearRegression is a regressor"),
        (NeuralNetRegressor(nn.Linear(3, 1)).initialize(), TypeError, "is a regressor"),
        ("clf", TypeError, "must be a modAL learner or a fitted estimator, got a str"),
    ],
)
def test_estimators_that_cannot_be_queried_are_refused(estimator, error, message):
    with pytest.raises(error, match=message):
        check_estimator_is_ready(estimator)


def test_a_single_class_is_refused():
    classifier = LogisticRegression().fit(X, y)
    classifier.classes_ = classifier.classes_[:1]
    with pytest.raises(ValueError, match="knows a single class"):
        check_estimator_is_ready(classifier)


@pytest.mark.parametrize(
    "rows",
    [X, X.astype("f4"), X.astype(int), pd.DataFrame(X), sparse.csr_matrix(X), torch.from_numpy(X)],
)
def test_rows_pass_as_they_are(rows):
    assert check_rows(rows, "X_pool", FITTED) is rows
    assert n_rows(rows) == 20


def test_lists_become_arrays():
    assert np.array_equal(check_rows(X.tolist(), "X_pool", FITTED), X)


def test_data_frames_of_mixed_columns_are_checked_where_they_are_numeric():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None], "c": [1, 2]})
    assert check_rows(frame, "X_pool", FITTED) is frame


def spoilt(value):
    bad = X.copy()
    bad[3, 1] = value
    return bad


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "X_pool is empty"),
        ([], "X_pool is empty"),
        (X[:0], "X_pool is empty"),
        (X[:, :2], "X_pool has 2 features but LogisticRegression was fitted with 3"),
        (spoilt(np.nan), "X_pool contains NaN"),
        (spoilt(np.inf), "X_pool contains infinity"),
        (torch.from_numpy(spoilt(np.nan)), "X_pool contains NaN"),
        (pd.DataFrame(spoilt(np.nan)), "X_pool contains NaN"),
        (sparse.csr_matrix(spoilt(np.nan)), "X_pool contains NaN"),
        ({"a": X, "b": spoilt(np.nan)}, "X_pool contains NaN"),
        ({"a": X, "b": X[:4]}, "differ in their number of rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(rows, message):
    with pytest.raises(ValueError, match=message):
        check_rows(rows, "X_pool", FITTED)


def test_a_pipeline_may_impute():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    rows = spoilt(np.nan)
    assert check_rows(rows, "X_pool", pipeline) is rows


def test_widths_are_compared():
    check_same_width(X[:2], "X_pending", X)
    check_same_width({"a": X[:2]}, "X_pending", {"a": X})
    for other in (X[:, :2], X[:, :, None], {"a": X}):
        with pytest.raises(ValueError, match="X_pending has rows of"):
            check_same_width(other, "X_pending", X)
