import numpy as np
import pytest

from modal_balance.estimators.base import COUNT, POSITIVE, between, one_of

SHARE = between(0, 1, "a number in [0, 1)", low_itself=True)


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (COUNT, [1, 7, np.int64(3)], [0, -1, 2.0, True, None, "3"]),
        (POSITIVE, [1e-9, 3, np.float32(0.1)], [0, -1.0, np.inf, np.nan, None, "1"]),
        (SHARE, [0, 0.0, 0.5, np.float64(0.99)], [1, 1.0, -0.1, np.nan, "0.5"]),
        (between(0, 1, "a number in (0, 1)"), [0.5], [0, 1]),
        (one_of("kron", "full"), ["kron", "full"], ["diag", None, ["kron"], 1.0]),
        (one_of("marglik", otherwise=POSITIVE), ["marglik", 2.0], ["kron", 0.0, None]),
    ],
)
def test_a_constraint_tells_good_values_from_bad_ones(constraint, good, bad):
    for value in good:
        constraint.check("size", value)
    for value in bad:
        with pytest.raises(ValueError) as error:
            constraint.check("size", value)
        assert str(error.value) == f"size={value!r}. Expected {constraint.expected}."


def test_choices_are_listed_as_in_a_sentence():
    assert one_of("kron", "full", "diag").expected == "'kron', 'full' or 'diag'"
    assert one_of("marglik", otherwise=POSITIVE).expected == "'marglik' or a number above 0"
