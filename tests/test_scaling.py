import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from modal_balance.estimators.scaling import PiecewiseLinearEncoding, SquashedScaling

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


def encoding(fitted, n_bins, rows):
    """Return the encoding that follows the scaled columns."""
    return PiecewiseLinearEncoding(fitted, n_bins)(rows)[:, rows.shape[1] :]


def test_scaled_columns_come_first_and_are_those_of_squashed_scaling():
    inputs = PiecewiseLinearEncoding(X, 4)(X)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, : X.shape[1]], SquashedScaling(X)(X))


def test_each_bin_is_half_of_a_ramp_between_two_quantiles():
    fitted, expected = X[:50], []
    for column in range(X.shape[1]):
        edges = np.unique(np.quantile(fitted[:, column], np.arange(5) / 4, method="nearest"))
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            expected.append(np.interp(X[:, column], [low, high], [0.0, 0.5]))
    np.testing.assert_allclose(encoding(fitted, 4, X), np.transpose(expected), atol=1e-6)


def test_words_constants_and_rounding_errors_have_no_bins():
    rows = np.zeros((30, 4))
    rows[:, 0] = np.arange(30) % 2
    rows[:, 1] = 7
    rows[::3, 2] = np.nextafter(0.1, 1)
    rows[1::3, 2] = np.nextafter(0.1, 0)
    rows[2::3, 2] = 0.1
    rows[:, 3] = np.r_[np.zeros(28), 5, 9]  # all quantiles but the last are 0
    assert encoding(rows, 8, rows).shape == (30, 0)


def test_a_column_of_few_values_has_a_bin_between_each_two():
    rows = np.repeat([[0.0], [1.0], [5.0]], 40, axis=0)
    assert encoding(rows, 100, np.array([[-1.0], [1.0], [3.0], [6.0]])).tolist() == [
        [0.0, 0.0],
        [0.5, 0.0],
        [0.5, 0.25],
        [0.5, 0.5],
    ]


@pytest.mark.parametrize(("n_features", "n_bins"), [(20, 8), (60, 4), (128, 2), (129, 0)])
def test_many_columns_share_256_bins(n_features, n_bins):
    rows = np.random.default_rng(0).normal(size=(100, n_features))
    assert encoding(rows, 8, rows).shape[1] == n_features * n_bins


@pytest.mark.parametrize(("n_rows", "n_bins"), [(9, 0), (10, 2), (29, 5), (500, 8)])
def test_a_bin_takes_five_rows(n_rows, n_bins):
    rows = np.random.default_rng(0).normal(size=(n_rows, 1))
    assert encoding(rows, 8, rows).shape[1] == n_bins


@pytest.mark.parametrize("n_bins", [0, 1])
def test_less_than_two_bins_are_none(n_bins):
    assert encoding(X, n_bins, X).shape[1] == 0


def test_units_make_no_difference_to_bins_and_a_row_is_encoded_alike_in_any_batch():
    moved = PiecewiseLinearEncoding(X * 1e9 + 7, 4)
    np.testing.assert_allclose(moved(X * 1e9 + 7), PiecewiseLinearEncoding(X, 4)(X), atol=1e-5)
    many = np.tile(X, (100, 1))  # more rows than are encoded at once
    encode = PiecewiseLinearEncoding(X, 4)
    np.testing.assert_array_equal(encode(many)[-len(X) :], encode(X))
    np.testing.assert_array_equal(encode(X[3:4]), encode(X)[3:4])
