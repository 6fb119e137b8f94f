import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn
from torch.utils.data import TensorDataset
from toy import Convolution, quick

from modal_balance._utils.arguments import check_integer, n_rows
from modal_balance.estimators.bootstrap import BootstrapCommittee
from modal_balance.hypotheses.unwrap import unwrap_inputs, unwrap_learner
from modal_balance.pools.partitions import table_as_array
from modal_balance.strategies import query
from modal_balance.strategies.query import check_has_classes
from modal_balance.strategies.rows import check_same_width

X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
FITTED = LogisticRegression().fit(X, y)


def check_rows(rows, name, estimator):
    return query.check_rows(rows, name, unwrap_learner(estimator))


@pytest.mark.parametrize("value", [1, np.int64(7)])
def test_integers_pass(value):
    assert check_integer(value, "n_samples", 1) == value
    assert type(check_integer(value, "n_samples", 1)) is int


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
def test_anything_but_a_positive_integer_is_refused_by_name(value, error):
    with pytest.raises(error, match="n_samples must be"):
        check_integer(value, "n_samples", 1)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (LogisticRegression(), NotFittedError, "LogisticRegression has not been fitted"),
        (NeuralNetClassifier(nn.Linear(3, 2)), NotFittedError, "has not been fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), NotFittedError, "Pipeline has not"),
        (LinearRegression().fit(X, y), TypeError, "LinearRegression is a regressor"),
        (NeuralNetRegressor(nn.Linear(3, 1)).initialize(), TypeError, "is a regressor"),
        (BootstrapCommittee(), NotFittedError, "BootstrapCommittee has not been fitted"),
        (RandomForestClassifier(), NotFittedError, "RandomForestClassifier has not been fitted"),
        ("clf", TypeError, "must be a modAL learner or a fitted estimator, got a str"),
        (nn.Linear(3, 2), TypeError, r"got a Linear, a torch module. Fit it as MCDropoutClass"),
        (RandomForestClassifier, TypeError, "got the class RandomForestClassifier. Create an obj"),
    ],
)
def test_estimators_that_cannot_be_queried_are_refused(estimator, error, message):
    with pytest.raises(error, match=message):
        unwrap_learner(estimator)


@pytest.mark.parametrize("learner", [nn.Linear(3, 2), RandomForestClassifier])
def test_where_inputs_are_enough_what_is_no_estimator_is_refused_with_advice(learner):
    with pytest.raises(
        TypeError, match="got (a Linear, a torch module. Fit|the class Random.*. C)"
    ):
        unwrap_inputs(learner)


def test_a_single_class_is_refused():
    classifier = LogisticRegression().fit(X, y)
    classifier.classes_ = classifier.classes_[:1]
    with pytest.raises(ValueError, match="knows a single class"):
        check_has_classes(unwrap_learner(classifier))


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
        (pd.DataFrame(spoilt(np.nan)).astype({1: "Float64"}), "X_pool contains NaN"),
        (pd.DataFrame(X).assign(d=pd.array([1, None] * 10, "Int64")).iloc[:, 1:], "contains NaN"),
        (pd.DataFrame(X[:, 1:]).assign(d=pd.array([True, None] * 10)), "X_pool contains NaN"),
        (sparse.csr_matrix(spoilt(np.nan)), "X_pool contains NaN"),
        ({"a": X, "b": spoilt(np.nan)}, "X_pool contains NaN"),
        ({"a": X, "b": X[:4]}, "differ in their number of rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(rows, message):
    with pytest.raises(ValueError, match=message):
        check_rows(rows, "X_pool", FITTED)


def test_a_partition_with_missing_values_is_an_array_of_numbers():
    frame = pd.DataFrame({"a": [0.5, 1.5], "b": pd.array([None, 3], "Int64")})
    rows = table_as_array(frame)
    assert rows.dtype == np.float64
    assert np.array_equal(rows, [[0.5, np.nan], [1.5, 3.0]], equal_nan=True)


def test_a_pipeline_may_impute():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    rows = spoilt(np.nan)
    assert check_rows(rows, "X_pool", pipeline) is rows


def test_a_nested_pipeline_may_impute():
    rows = spoilt(np.nan)
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2)
    for estimator in (
        search.fit(X, y),
        make_pipeline(StandardScaler(), GridSearchCV(LogisticRegression(), {}, cv=2)).fit(X, y),
        VotingClassifier([("a", pipeline), ("b", search)]).fit(X, y),
        BaggingClassifier(pipeline, 3).fit(X, y),
        CalibratedClassifierCV(pipeline, cv=2).fit(X, y),
        StackingClassifier([("a", pipeline), ("b", OneVsRestClassifier(search))]).fit(X, y),
        RandomForestClassifier(3).fit(X, y),
        HistGradientBoostingClassifier(max_iter=2).fit(X, y),
    ):
        assert check_rows(rows, "X_pool", estimator) is rows
        assert check_rows(rows, "X_pool", [estimator, pipeline.fit(X, y)]) is rows
        with pytest.raises(ValueError, match="X_pool contains NaN"):
            check_rows(rows, "X_pool", [estimator, FITTED])
    mixed = [("a", pipeline), ("b", LogisticRegression())]
    for estimator in (
        VotingClassifier(mixed),
        StackingClassifier(mixed),
        CalibratedClassifierCV(LogisticRegression(), cv=2),
    ):
        with pytest.raises(ValueError, match="X_pool contains NaN"):
            check_rows(rows, "X_pool", estimator.fit(X, y))


def test_an_ensemble_of_networks_for_images_takes_images():
    images = np.random.default_rng(0).normal(size=(20, 1, 8, 8))
    network = quick(module=Convolution, n_steps=1)
    vote = VotingClassifier([("a", network), ("b", make_pipeline(network))], voting="soft")
    calibrated = CalibratedClassifierCV(network, cv=2)
    for estimator in (vote.fit(images, y), [vote, calibrated.fit(images, y)]):
        assert check_rows(images, "X_pool", estimator) is images
    with pytest.raises(
        ValueError, match=r"shape \(20, 1, 8, 8\) but VotingClassifier takes rows of 3"
    ):
        check_rows(images, "X_pool", VotingClassifier([("a", quick(n_steps=1))]).fit(X, y))


def test_numbers_next_to_strings_in_a_list_stay_numbers():
    words = FunctionTransformer(lambda rows: np.array([[float(row[0])] for row in rows]))
    pipeline = make_pipeline(words, LogisticRegression()).fit([[1.5, "a"], [2.0, "b"]], [0, 1])
    rows = check_rows([[0.5, "a"], [3.0, "b"]], "X_pool", pipeline)
    assert rows.dtype == object
    assert rows.tolist() == [[0.5, "a"], [3.0, "b"]]


def test_widths_are_compared():
    check_same_width(X[:2], "X_pending", X)
    check_same_width({"a": X[:2]}, "X_pending", {"a": X})
    for other in (X[:, :2], X[:, :, None], {"a": X}):
        with pytest.raises(ValueError, match="X_pending has rows of"):
            check_same_width(other, "X_pending", X)


def test_a_data_set_of_tensors_has_the_width_of_an_array():
    check_same_width(TensorDataset(torch.from_numpy(X)), "X_pending", X)
    with pytest.raises(ValueError, match=r"X_pending has rows of shape \(3,\) but"):
        check_same_width(TensorDataset(torch.from_numpy(X)), "X_pending", X[:, :2])


def test_a_sparse_matrix_of_keys_is_no_dict_of_inputs():
    rows = check_rows(sparse.dok_array(X), "X_pool", FITTED)
    assert rows.format == "csr" and (rows.toarray() == X).all()
    assert n_rows(sparse.dok_array(X)) == len(X)


def test_several_outputs_are_refused_by_name():
    outputs = np.column_stack([y, np.arange(len(y)) % 3])  # of two and of three classes
    learner = MultiOutputClassifier(LogisticRegression()).fit(X, outputs)
    with pytest.raises(ValueError, match="MultiOutputClassifier predicts 2 outputs"):
        check_has_classes(unwrap_learner(learner))


def test_missing_values_are_left_to_an_estimator_that_says_it_takes_them():
    pytest.importorskip("sklearn.frozen")  # scikit-learn since 1.6

    class Foreign:  # such as CatBoost's, which is no BaseEstimator
        classes_ = np.array([0, 1])

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

        def __sklearn_is_fitted__(self):
            return True

        def __sklearn_tags__(self):
            return HistGradientBoostingClassifier().__sklearn_tags__()

    holes = np.where(X > 1, np.nan, X)
    assert check_rows(holes, "X_pool", [Foreign()]) is holes


class Mean(BaseEstimator):
    """The mean of several classifiers, without names for them."""

    def __init__(self, estimators):
        self.estimators = estimators

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.fitted_ = [clone(estimator).fit(X, y) for estimator in self.estimators]
        return self

    def predict_proba(self, X):
        return np.mean([estimator.predict_proba(X) for estimator in self.fitted_], axis=0)


def test_estimators_inside_a_classifier_need_no_names():
    holes = np.where(X > 1, np.nan, X)
    takes_holes = Mean([HistGradientBoostingClassifier(max_iter=1)] * 2).fit(X, y)
    assert check_rows(holes, "X_pool", takes_holes) is holes
    with pytest.raises(ValueError, match="X_pool contains NaN"):
        check_rows(holes, "X_pool", Mean([LogisticRegression()]).fit(X, y))


def test_a_tuple_of_inputs_is_refused():
    with pytest.raises(TypeError, match="X_pool is a tuple.*as a dict"):
        check_rows((X, X), "X_pool", FITTED)
