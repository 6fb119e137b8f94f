import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from modal_balance.estimators.scaling import SquashedScaling

X = load_wine().data


def test_columns_are_standardised_and_squashed():
    fitted = X[:40]
    z = StandardScaler().fit(fitted).transform(X)
    np.testing.assert_allclose(SquashedScaling(fitted)(X), 3 * np.tanh(z / 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("factor", "shift"), [(1e-9, 0), (1e9, 0), (1, 1e6), (-1e-4, 5)])
def test_units_and_zero_points_make_no_difference(factor, shift):
    expected = SquashedScaling(X)(X) * np.sign(factor)
    moved = X * factor + shift
    np.testing.assert_allclose(SquashedScaling(moved)(moved), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_columns_are_zero_also_where_they_vary_later(dtype):
    rows = np.full((7, 3), 0.1, dtype=dtype)
    rows[:, 1] = np.arange(7)
    rows[3:, 2] = np.nextafter(dtype(0.1), dtype(1))  # as good as constant
    scaled = SquashedScaling(rows)(np.array([[5.0, 3.0, 9.0]], dtype=dtype))
    assert scaled.tolist() == [[0.0, 0.0, 0.0]]


def test_one_row_is_constant():
    assert not SquashedScaling(X[:1])(X).any()


def test_outliers_stay_within_three():
    scaled = SquashedScaling(X[:10])(X * 1e12)
    assert scaled.dtype == np.float32 and np.abs(scaled).max() <= 3


def test_images_have_a_mean_for_each_channel():
    rng = np.random.default_rng(0)
    images = rng.normal([[[5.0]], [[-2.0]]], [[[1.0]], [[10.0]]], size=(50, 2, 6, 6))
    scaled = SquashedScaling(images)(images)
    assert scaled.shape == images.shape
    np.testing.assert_allclose(scaled.mean(axis=(0, 2, 3)), 0, atol=0.05)
    one = SquashedScaling(images[:, :1].reshape(-1, 1))(images[:, :1].reshape(-1, 1))
    np.testing.assert_allclose(scaled[:, 0].ravel(), one.ravel(), rtol=1e-5, atol=1e-6)


def test_a_row_is_scaled_alike_in_any_batch_and_stays_itself():
    before = X.copy()
    many = np.tile(X, (500, 1))  # more rows than are scaled at once
    scaling = SquashedScaling(X)
    np.testing.assert_array_equal(scaling(many)[-len(X) :], scaling(X))
    np.testing.assert_array_equal(scaling(X[3:4]), scaling(X)[3:4])
    np.testing.assert_array_equal(X, before)
