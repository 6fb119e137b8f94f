import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from modal_balance.estimators.labels import (
    class_weights,
    encode,
    find_classes,
    stratified_folds,
    stratified_holdout,
)

# --- classes --------------------------------------------------------------------------------------


def test_numbers_of_a_regression_are_refused_unless_they_are_declared_as_classes():
    with pytest.raises(ValueError, match="continuous"):
        find_classes(np.array([0.5, 1.5]), None)
    labels = np.arange(30)  # so many classes look like a regression to scikit-learn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_classes(labels, range(40)).tolist() == list(range(40))


# --- hold-out -------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_holdout_keeps_every_class_in_training_and_has_the_right_size(counts, fraction, seed):
    codes = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, held_out = stratified_holdout(codes, fraction, np.random.RandomState(seed))
    assert sorted([*kept, *held_out]) == list(range(len(codes)))
    assert set(codes[kept]) == set(codes)
    n_wanted = max(1, round(fraction * len(codes)))
    assert len(held_out) == min(n_wanted, sum(counts) - len(counts))


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(2, 200), min_size=1, max_size=8),
    fraction=st.floats(0.01, 0.5),
)
def test_holdout_is_stratified_to_within_a_row(counts, fraction):
    codes = np.repeat(np.arange(len(counts)), counts)
    _, held_out = stratified_holdout(codes, fraction, np.random.RandomState(0))
    taken = np.bincount(codes[held_out], minlength=len(counts))
    assert np.all(np.abs(taken - fraction * np.array(counts)) < 1 + 1e-9)


def test_holdout_takes_nothing_where_every_class_is_alone():
    kept, held_out = stratified_holdout(np.arange(6), 0.5, np.random.RandomState(0))
    assert list(kept) == list(range(6))
    assert len(held_out) == 0


def test_holdout_is_random_within_and_between_classes():
    codes = np.repeat(np.arange(5), 2)
    splits = {
        tuple(stratified_holdout(codes, 0.2, np.random.RandomState(seed))[1]) for seed in range(400)
    }
    # One of two rows in two of five classes: 10 * 2 * 2 ways, all of them likely by now.
    assert len(splits) == 40


# --- folds ----------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    n_folds=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_folds_hold_every_row_once_but_those_alone_and_are_stratified(counts, n_folds, seed):
    codes = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = stratified_folds(codes, n_folds, np.random.RandomState(seed))
    alone = np.flatnonzero(np.bincount(codes)[codes] == 1)
    assert sorted(np.concatenate([*folds, alone])) == list(range(len(codes)))
    assert len(folds) == min(n_folds, len(codes) - len(alone))
    for fold in folds:
        assert len(fold) and (np.diff(fold) > 0).all()
        left = np.delete(codes, fold)
        assert set(left) == set(codes)  # the network for a fold knows all classes of the fold
        share = np.bincount(codes) / len(folds)
        assert (
            np.abs(np.bincount(codes[fold], minlength=len(counts)) - share)[np.bincount(codes) > 1]
            < 1
        ).all()


def test_folds_are_random():
    codes = np.repeat([0, 1], 5)
    folds = {
        tuple(map(tuple, stratified_folds(codes, 5, np.random.RandomState(seed))))
        for seed in range(20)
    }
    assert len(folds) > 15


# --- labels and weights ---------------------------------------------------------------------------


def test_classes_are_those_of_y_or_those_declared():
    y = np.array(["b", "a", "b"])
    assert find_classes(y, None).tolist() == ["a", "b"]
    assert find_classes(y, ["c", "b", "a"]).tolist() == ["a", "b", "c"]


def test_a_single_class_is_refused_and_so_are_malformed_declarations():
    with pytest.raises(ValueError, match=r"only one class, \[4\].*classes="):
        find_classes(np.array([4, 4]), None)
    for declared in ([0, 1, 1], [[0, 1], [2, 3]]):
        with pytest.raises(ValueError, match=r"^classes=.* without duplicates"):
            find_classes(np.array([0, 1]), declared)


def test_declared_classes_of_two_types_are_refused():
    with pytest.raises(TypeError, match="^classes has both text and other labels"):
        find_classes(np.array(["1", "a"]), declared=[1, "a"])


def test_labels_become_positions_and_unknown_ones_are_named():
    classes = np.array([3, 5, 9])
    assert encode(np.array([9, 3, 9]), classes, "y").tolist() == [2, 0, 2]
    assert encode(np.array([9.0, 3.0], dtype=object), classes, "y").tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"y_val has the labels \[4, 7\].*\[3, 5, 9\]"):
        encode(np.array([4, 3, 7]), classes, "y_val")


def test_balanced_weights_are_those_of_scikit_learn():
    y = np.array([0, 0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    np.testing.assert_allclose(class_weights(y, np.arange(3), "balanced"), expected, rtol=1e-6)


def test_a_class_without_rows_does_not_change_the_other_weights():
    y = np.array([0, 0, 0, 2])
    without = class_weights(np.array([0, 0, 0, 1]), np.arange(2), "balanced")
    with_absent = class_weights(y, np.arange(3), "balanced")
    assert torch.equal(with_absent[[0, 2]], without)
    assert with_absent[1] == 1


def test_weights_of_a_dict_and_no_weights():
    y, classes = np.array([0, 1, 2]), np.array(["a", "b", "c"])
    assert class_weights(y, classes, {"c": 5.0}).tolist() == [1, 1, 5]
    assert class_weights(y, classes, {"a": 1, "b": 2, "c": 3, "unseen": 4}).tolist() == [1, 2, 3]
    assert class_weights(y, classes, None).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "weight", ["Balanced", {"c": 0}, {"c": -1.0}, {"c": np.inf}, {"C": 2.0}, np.ones(3), 2.0]
)
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match=r"^class_weight=.*Expected 'balanced', None, or a dict"):
        class_weights(np.array([0, 1, 2]), np.array(["a", "b", "c"]), weight)
