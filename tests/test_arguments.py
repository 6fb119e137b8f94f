import numpy as np
import pandas as pd
import pytest
from sklearn.utils import check_random_state

from modal_balance._utils.arguments import as_random_state, check_validation_pair, draw_seed


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), 2**32 - 1, True])
def test_an_int_gives_the_random_state_of_scikit_learn(seed):
    ours, theirs = as_random_state(seed), check_random_state(seed)
    np.testing.assert_array_equal(ours.rand(5), theirs.rand(5))


def test_a_random_state_and_none_stand_for_themselves():
    rng = np.random.RandomState(0)
    assert as_random_state(rng) is rng
    assert as_random_state(None) is check_random_state(None)


def test_a_generator_gives_other_numbers_every_time_and_repeats_by_its_seed():
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    numbers = [[as_random_state(rng).rand() for _ in range(3)] for rng in (first, second)]
    assert numbers[0] == numbers[1]
    assert len(set(numbers[0])) == 3


@pytest.mark.parametrize("value", ["lucky", 1.0, [1], np.random.default_rng])
def test_anything_else_is_refused(value):
    for function in (as_random_state, draw_seed):
        with pytest.raises(TypeError) as error:
            function(value)
        assert str(error.value) == (
            "random_state must be an int, a numpy RandomState or Generator, or None, got "
            f"{value!r}."
        )


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=rf"^random_state must be from 0 to .* got {value}\.$"):
        as_random_state(value)


def test_seeds_are_ints_that_any_library_takes():
    rng = np.random.RandomState(0)
    seeds = [draw_seed(rng) for _ in range(1000)]
    assert all(type(seed) is int and 0 <= seed < 2**31 - 1 for seed in seeds)
    assert len(set(seeds)) > 990
    assert max(seeds) > 2**30


@pytest.mark.parametrize("as_type", [list, np.array, pd.DataFrame])
def test_validation_data_are_a_pair_of_one_length(as_type):
    X_val = as_type([[1.0], [2.0], [3.0]])
    check_validation_pair(None, None)
    check_validation_pair(X_val, [0, 1, 1])
    message = r"^{} was given without {}\. Pass both or neither\.$"
    with pytest.raises(ValueError, match=message.format("X_val", "y_val")):
        check_validation_pair(X_val, None)
    with pytest.raises(ValueError, match=message.format("y_val", "X_val")):
        check_validation_pair(None, [0, 1])
    with pytest.raises(ValueError, match=r"^X_val has 3 rows but y_val has 2 labels\.$"):
        check_validation_pair(X_val, pd.Series([0, 1]))
