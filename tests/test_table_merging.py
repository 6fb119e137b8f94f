"""Answers brought back into a table."""

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from modal_balance.table import AnswersRefused, merge_answers  # noqa: E402
from modal_balance.table.labels import class_of  # noqa: E402
from modal_balance.table.merging import plan_merge  # noqa: E402


def table(labels=("a", "b", None, None, None), **columns):
    return pd.DataFrame({"name": list("vwxyz"), "size": range(5), "kind": list(labels), **columns})


def answers(labels, **rows):
    return pd.DataFrame({"kind": labels, **rows})


def test_answers_by_position_and_by_id():
    frame = table()
    before = frame.copy()
    merged = merge_answers(frame, answers(["b", None, "a"], position=[4, 3, 2]), "kind")
    assert merged.kind[[0, 1, 2, 4]].tolist() == ["a", "b", "a", "b"] and pd.isna(merged.kind[3])
    by_id = answers(["b", "  ", "a"], name=["z", "y", "x"], size=9)
    pd.testing.assert_frame_equal(merge_answers(frame, by_id, "kind", id_column="name"), merged)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(merged.drop(columns="kind"), before.drop(columns="kind"))


def test_the_index_is_kept():
    frame = table().set_axis([3, 3, "x", None, 2.5])
    merged = merge_answers(frame, answers(["a"], position=[2]), "kind")
    assert merged.index.equals(frame.index) and merged.kind.iloc[2] == "a"


MISFITS = {
    "new": (["c"], [2], "the label 'c' is new; the table has 'a', 'b'.", ["a", "b", "c"]),
    "case": (["B"], [2], "Did you mean 'b'?", ["a", "b", "B"]),
    "labelled": (["b"], [0], "the row has the label 'a' already, not 'b'.", ["b", "b", None]),
    "outside": (["b"], [5], "(position 5): the table has no such row.", ["a", "b", None]),
    "negative": (["b"], [-1], "(position -1): the table has no such row.", ["a", "b", None]),
    "fraction": (["b"], [1.5], "(position 1.5): the table has no such row.", ["a", "b", None]),
    "no position": (["b"], [None], "(position missing): the table has no", ["a", "b", None]),
    "twice": (["a", "b"], [2, 2], "Answer 2 (position 2): it has also the answer 'a'.",
              ["a", "b", "b"]),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_said_and_forced_only_by_force(case):
    labels, positions, message, forced = MISFITS[case]
    frame = table()
    misfits = answers([*labels, "a"], position=[*positions, 4])
    with pytest.raises(AnswersRefused) as refused:
        merge_answers(frame, misfits, "kind")
    assert len(refused.value.problems) == 1 and message in refused.value.problems[0]
    assert message in str(refused.value)
    merged = merge_answers(frame, misfits, "kind", force=True)
    assert [None if pd.isna(v) else v for v in merged.kind[:3]] == forced
    assert merged.kind[4] == "a"


def test_every_answer_that_does_not_fit_is_named():
    bad = answers(["c", "d", "b", "b"], position=[2, 3, 0, 9])
    problems = plan_merge(table(), bad, "kind").problems
    assert [problem[:9] for problem in problems] == [f"Answer {i} " for i in (1, 2, 3, 4)]


def test_answers_that_the_table_has_already_change_nothing():
    once = merge_answers(table(), answers(["b", "b"], position=[2, 3]), "kind")
    twice = merge_answers(once, answers(["b", "b", "a"], position=[2, 3, 4]), "kind")
    assert twice.kind.tolist() == ["a", "b", "b", "b", "a"]
    assert plan_merge(once, answers(["b", "b"], position=[2, 3]), "kind").n_unchanged == 2


def test_the_first_labels_of_a_table_are_of_any_class():
    merged = merge_answers(table([None] * 5), answers(["c", "d"], position=[0, 3]), "kind")
    assert merged.kind[0] == "c" and merged.kind[3] == "d"


@pytest.mark.parametrize(
    ("labels", "answer", "expected"),
    [
        ([1.0, 0.0, None, None, None], "1", 1.0),  # pandas writes integers with holes like this
        ([1.0, 0.0, None, None, None], 0, 0.0),
        (["1.0", "0.0", "1.0", "", ""], 1, "1.0"),
        (["1", "1.0", "1", "0", None], "1.00", "1"),
        ([" up", "down", None, None, None], "up ", " up"),
        ([True, False, None, None, None], "True", True),
    ],
)
def test_known_classes_are_spelled_as_in_the_table(labels, answer, expected):
    merged = merge_answers(table(labels), answers([answer], position=[4]), "kind")
    assert merged.kind[4] == expected and isinstance(merged.kind[4], type(expected))
    assert merged.kind[:2].tolist() == labels[:2]


def test_dtypes_stay_where_the_labels_allow_it():
    def kind(values, dtype):
        return table().assign(kind=pd.array(values, dtype=dtype))

    some = [1, 0, None, None, None]
    one = answers(["1"], position=[2])
    assert merge_answers(kind(some, "Int64"), one, "kind").kind.dtype == "Int64"
    assert merge_answers(kind(some, "float64"), one, "kind").kind.dtype == "float64"
    words = kind(["a", "b", None, None, None], "category")
    merged = merge_answers(words, answers(["a"], position=[2]), "kind")
    pd.testing.assert_index_equal(merged.kind.cat.categories, words.kind.cat.categories)
    new = merge_answers(words, answers(["c"], position=[2]), "kind", force=True)
    assert new.kind.cat.categories.tolist() == ["a", "b", "c"] and new.kind[2] == "c"
    flags = kind([True, False, True, True, True], "bool")
    forced = merge_answers(flags, answers(["no"], position=[2]), "kind", force=True)
    assert forced.kind.tolist() == [True, False, "no", True, True]
    counts = kind([1, 0, 1, 1, 1], "int64")
    assert merge_answers(counts, answers([1.5], position=[2]), "kind", force=True).kind[2] == 1.5


def test_ids_are_text_except_for_whole_numbers():
    frame = table().assign(name=["007", "7", "A1", "1.0", "x"])
    by_id = answers(["a", "b"], name=["A1 ", 1])
    merged = merge_answers(frame, by_id, "kind", id_column="name")
    assert merged.kind[2] == "a" and merged.kind[3] == "b"
    merged = merge_answers(frame, answers(["a"], name=["x"]), "kind", id_column="name")
    assert merged.kind[4] == "a"


@pytest.mark.parametrize(
    ("wrong", "id_column", "message"),
    [
        (
            pd.DataFrame({"position": [1]}),
            None,
            "no column 'kind', to be the target, in",
        ),
        (pd.DataFrame({"kind": ["a"]}), None, "no column 'position' in the answers"),
        (pd.DataFrame({"kind": ["a"], "position": [1]}), "name", "no column 'name'.*leave out"),
    ],
)
def test_missing_columns_get_a_sentence(wrong, id_column, message):
    with pytest.raises(ValueError, match=message):
        merge_answers(table(), wrong, "kind", id_column=id_column)


def test_classes_of_many_kinds_of_values():
    values = [np.float32(2), np.int8(2), "2", "2.", "02", -0.5, pd.NA, pd.NaT, np.nan, True, [1]]
    expected = ["2", "2", "2", "2", "02", "-0.5", None, None, None, "True", "[1]"]
    assert [class_of(value) for value in values] == expected
