"""Answers joined with a table: what fits, what a spreadsheet changed, what is refused."""

import re
import unicodedata

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from modal_balance.table import AnswersRefused, merge_answers  # noqa: E402
from modal_balance.table.answers import join_answers  # noqa: E402
from modal_balance.table.labelled import LabelledTable  # noqa: E402
from modal_balance.table.values import Names, class_of  # noqa: E402

DAY = pd.Timestamp(2024, 5, 1)


def table(labels=("a", "b", None, None, None), **columns):
    return pd.DataFrame({"name": list("vwxyz"), "size": range(5), "kind": list(labels), **columns})


def answers(labels, **rows):
    return pd.DataFrame({"kind": labels, **rows})


def joined(frame, *several, id_column=None):
    return join_answers(LabelledTable.of(frame, "kind", id_column), several)


def test_answers_by_position_and_by_id():
    frame = table()
    before = frame.copy()
    merged = merge_answers(frame, answers(["b", None, "a"], position=[4, 3, 2]), "kind")
    assert merged.kind[[0, 1, 2, 4]].tolist() == ["a", "b", "a", "b"] and pd.isna(merged.kind[3])
    by_id = answers(["b", "  ", "a"], name=["z", "y", "x"], size=9)
    pd.testing.assert_frame_equal(merge_answers(frame, by_id, "kind", id_column="name"), merged)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(merged.drop(columns="kind"), before.drop(columns="kind"))


def test_answers_by_number_for_a_table_that_was_sorted_are_refused():
    day = ["2024-05-01", "2023-04-02", "2022-03-03", "2021-02-04", "2020-01-05"]
    frame = table([None] * 5, sex=list("fmfmm"), day=day)
    sheet = frame.loc[[1, 3], ["name", "size", "sex", "day"]].assign(
        kind=["a", "b"], position=[1, 3], day=["02/04/2023", "04/02/2021"], unknown="x"
    )  # as a spreadsheet in another country writes the days
    assert merge_answers(frame, sheet, "kind").kind[[1, 3]].tolist() == ["a", "b"]
    resorted = frame.sort_values("day")
    with pytest.raises(AnswersRefused, match="1 answer.*another row.*: position 3 in the answers"):
        merge_answers(resorted, sheet[1:], "kind")
    with pytest.raises(AnswersRefused, match="1 answer.*another row.*: position 1 in the answers"):
        merge_answers(frame.drop(index=0), sheet[:1], "kind")
    merged = merge_answers(resorted, sheet, "kind", id_column="name")
    assert merged.kind[[1, 3]].tolist() == ["a", "b"]
    by_number = merge_answers(resorted, sheet[["position", "kind"]], "kind")
    assert by_number.kind.iloc[[1, 3]].tolist() == ["a", "b"]
    # A cell that was corrected on either side makes the row no other row.
    corrected = frame.assign(size=[0, 7, 2, 3, 4])
    assert merge_answers(corrected, sheet, "kind").kind[[1, 3]].tolist() == ["a", "b"]


def test_the_index_is_kept():
    frame = table().set_axis([3, 3, "x", None, 2.5])
    merged = merge_answers(frame, answers(["a"], position=[2]), "kind")
    assert merged.index.equals(frame.index) and merged.kind.iloc[2] == "a"


@pytest.mark.parametrize(
    ("labels", "positions", "message"),
    [
        (
            ["B"],
            [2],
            "The labels 'B' and 'b' differ only in capitals, 'B' at position 2 in the answers",
        ),
        (["b"], [0], "position 0 is 'a' in the table, 'b' in the answers"),
        (["b"], [5], "no row for 1 answer(s): position 5 in the answers"),
        (["b"], [-1], "position -1"),
        (["b"], [1.5], "position 1.5"),
        (["b"], [None], "position missing"),
        (["a", "b"], [2, 2], "position 2 is 'a' in the answers, 'b' in the answers"),
    ],
)
def test_answers_that_do_not_fit_are_refused(labels, positions, message):
    with pytest.raises(AnswersRefused) as refused:
        merge_answers(table(), answers([*labels, "a"], position=[*positions, 4]), "kind")
    assert len(refused.value.problems) == 1 and message in refused.value.problems[0]


def test_each_cause_is_named_once_with_its_rows():
    many = answers(["a"] * 40 + ["b"], position=[*range(100, 140), 0])
    with pytest.raises(AnswersRefused) as refused:
        merge_answers(table(), many, "kind")
    lost, conflict = refused.value.problems
    assert "40 answer(s)" in lost and "position 104 in the answers and 35 more" in lost
    assert "1 answer(s)" in conflict


def test_several_files_mix_with_labels_in_the_table_and_say_the_same_twice():
    one, two = answers(["b"], position=[2]), answers(["b", "a", "a"], position=[2, 3, 0])
    merged = merge_answers(table(), [one, two], "kind")
    assert merged.kind[:4].tolist() == ["a", "b", "b", "a"]
    again = merge_answers(merged, [two, one], "kind")
    pd.testing.assert_frame_equal(again, merged)
    assert [rows.tolist() for rows in joined(table(), one, two).rounds] == [[2], [2, 3, 0]]


def test_new_and_misspelt_classes_are_reported():
    known = joined(table(), answers(["merlot", "bb"], position=[2, 3]))
    assert known.counts == {"a": 1, "b": 1, "bb": 1, "merlot": 1}
    assert "The class 'bb' is new (1 label(s)). Did you mean 'b'?" in known.notes
    assert "The class 'merlot' is new (1 label(s))." in known.notes
    assert joined(table([None] * 5), answers(["c", "d"], position=[0, 3])).notes == ()


def test_unsure_is_no_class_and_is_not_asked_again():
    given = answers(["?", "b", "?"], position=[2, 3, 0])  # row 0 has a label
    known = joined(table(), given)
    assert known.unlabelled.tolist() == [4] and known.counts == {"a": 1, "b": 2}
    merged = merge_answers(table(), given, "kind")
    assert merged.kind[:4].tolist() == ["a", "b", "?", "b"]
    assert LabelledTable.of(merged, "kind").unlabelled.tolist() == [4]
    assert set(LabelledTable.of(merged, "kind", unsure=None).counts) == {"?", "a", "b"}
    surer = joined(table(), given, answers(["a"], position=[2]))  # another annotator knows
    assert surer.counts == {"a": 2, "b": 2}
    assert joined(table(), answers(["a"], position=[2]), given).counts == surer.counts


@pytest.mark.parametrize(
    ("labels", "answer", "expected"),
    [
        ([1.0, 0.0, None, None, None], "1", 1.0),  # pandas writes integers with holes like this
        ([1.0, 0.0, None, None, None], 0, 0.0),
        (["1.0", "0.0", "1.0", "", ""], 1, "1.0"),
        (["1", "1.0", "1", "0", None], "1.00", "1"),
        ([" up", "down", None, None, None], "up ", " up"),
        ([True, False, None, None, None], "True", True),
        ([True, False, None, None, None], "TRUE", True),
        (["true", "false", None, None, None], "TRUE", "true"),
        (["007", "12E4", None, None, None], "7", "007"),
        (["007", "12E4", None, None, None], "1.20E+05", "12E4"),
        ([DAY, pd.Timestamp(2024, 5, 2), None, None, None], "2024-05-01", DAY),
        (["2024-05-01", "b", None, None, None], DAY, "2024-05-01"),
        (["café", "b", None, None, None], unicodedata.normalize("NFD", "café"), "café"),
    ],
)
def test_known_classes_are_spelled_as_in_the_table(labels, answer, expected):
    merged = merge_answers(table(labels), answers([answer], position=[4]), "kind")
    assert merged.kind[4] == expected and isinstance(merged.kind[4], type(expected))
    assert merged.kind[:2].tolist() == labels[:2]


def test_a_known_class_is_not_taken_for_one_that_a_spreadsheet_changed():
    merged = merge_answers(
        table(["007", "7", None, None, None]), answers(["7"], position=[4]), "kind"
    )
    assert merged.kind[4] == "7"
    with pytest.raises(AnswersRefused, match="'7' may be '007', '07'"):
        merge_answers(table(["007", "07", None, None, None]), answers(["7"], position=[4]), "kind")


def test_annotators_that_differ_in_capitals_from_the_first_round_on_are_refused():
    with pytest.raises(AnswersRefused, match="'barolo' and 'Barolo' differ only in capitals"):
        joined(table([None] * 5), answers(["Barolo", "barolo"], position=[0, 1]))
    frame = table(["A", "a", None, None, None])  # a table may have such classes
    known = joined(frame, answers(["A", "a"], position=[2, 3]))
    assert known.counts == {"A": 2, "a": 2}
    assert known.notes == (
        "The labels 'A', 'a' differ only in capitals, and count as different classes.",
    )


def test_annotators_with_and_without_a_spreadsheet_agree():
    empty = table([None] * 5)
    plain, excel = answers(["true", "01"], position=[0, 1]), answers(["TRUE", 1], position=[2, 3])
    for pair in ([plain, excel], [excel, plain]):
        known = joined(empty, *pair)
        assert known.counts == {"01": 2, "true": 2}
        assert any("'TRUE' is read as 'true'" in note for note in known.notes)


def test_ids_that_a_spreadsheet_changed_are_found_and_reported():
    frame = table().assign(name=["00123", "12E4", "0.10", "1582218195625938945", "x"])
    changed = answers(["a", "b", "a", "b"], name=["123", "1.20E+05", "0.1", "1.58222E+18"])
    known = joined(frame.assign(kind=None), changed, id_column="name")
    assert known.classes == ["a", "b", "a", "b", None]
    assert "name '123' as '00123'" in known.notes[0]


def test_ids_that_may_be_one_of_two_are_refused_with_the_cause():
    frame = table().assign(
        name=["00123", "0123", "1582218195625938945", "1582218195625938947", "x"]
    )
    for lost, like in (("123", "'00123', '0123'"), ("1582218195625930000", "5938945', '158221")):
        with pytest.raises(AnswersRefused) as refused:
            joined(frame, answers(["a"], name=[lost]), id_column="name")
        assert like in str(refused.value) and "A spreadsheet may have changed" in str(refused.value)


@pytest.mark.parametrize(
    "one, other",
    [("1.1", "1.10"), ("1,1", "1,10"), ("7", "007"), ("TRUE", "true"), ("1.20E+05", "12E4")],
)
def test_an_id_that_a_spreadsheet_may_have_made_of_another_is_checked_by_cells(one, other):
    frame = table([None] * 5, name=[one, "x", other, "y", "z"])

    def merged(**cells):
        return merge_answers(frame, answers(["a"], **cells), "kind", id_column="name").kind

    assert merged(name=[one], size=[0])[0] == merged(name=[other], size=[2])[2] == "a"
    with pytest.raises(AnswersRefused, match=f"cells of another row.*name '{re.escape(one)}'"):
        merged(name=[one], size=[2])
    # No spreadsheet changes the id of a third row into this one, and none writes the other id.
    assert merged(name=[one], size=[1])[0] == merged(name=[other], size=[0])[2] == "a"
    # No row has such a cell, so it was changed, and shows nothing.
    with pytest.warns(UserWarning, match=f"those of other rows: name '{re.escape(one)}'"):
        assert merged(name=[one], size=[9])[0] == "a"


def test_an_id_that_may_be_another_is_reported_if_no_cell_decides():
    frame = table([None] * 5, name=["007", "7", "1.0", "x", "y"], size=1)
    for cells in ({}, {"size": 1}):
        with pytest.warns(UserWarning, match="ids from those of other rows: name '7' in"):
            merged = merge_answers(
                frame, answers(["a"], name=["7"], **cells), "kind", id_column="name"
            )
        assert merged.kind[1] == "a"
        # No spreadsheet writes 007.
        merged = merge_answers(
            frame, answers(["a"], name=["007"], **cells), "kind", id_column="name"
        )
        assert merged.kind[0] == "a"


def test_ids_are_text_except_for_whole_numbers():
    frame = table().assign(name=["007", "7", "A1", "1.0", "x"])
    by_id = answers(["a", "b"], name=["A1 ", 1])
    merged = merge_answers(frame, by_id, "kind", id_column="name")
    assert merged.kind[2] == "a" and merged.kind[3] == "b"


def test_dates_are_ids_with_or_without_the_time_of_midnight():
    frame = table().assign(name=pd.date_range("2024-05-01", periods=5))
    merged = merge_answers(frame, answers(["b"], name=["2024-05-03"]), "kind", id_column="name")
    assert merged.kind[2] == "b"
    times = frame.assign(name=pd.date_range("2024-05-01", periods=5, freq="6h").astype(str))
    merged = merge_answers(times, answers(["b"], name=["2024-05-02"]), "kind", id_column="name")
    assert merged.kind[4] == "b"


def test_names_like_a_number():
    names = Names(["1e999999999", "5", "+5.0", "abc", "TRUE"])
    assert names.like("5.00") == ["5", "+5.0"]
    assert names.like("true") == ["TRUE"] and names.like("abd") == []
    commas = Names(["1,0", "2,50", "3,000", "12E4"])
    found = [commas.like(text) for text in ("1", "2.5", "3", "1,20E+05")]
    assert found == [["1,0"], ["2,50"], [], ["12E4"]]


def test_a_table_with_a_column_called_position_is_not_mistaken_for_answers():
    frame = table(position=[4, 3, 2, 1, 0])
    with pytest.raises(ValueError, match=r"no column 'position \(2\)' in the answers"):
        merge_answers(frame, frame.assign(kind=["a", "b", "b", None, None]), "kind")
    by_number = answers(["b"], **{"position (2)": [2]})
    assert merge_answers(frame, by_number, "kind").kind[2] == "b"


def test_dtypes_are_kept_if_the_labels_allow_it():
    def kind(values, dtype):
        return table().assign(kind=pd.array(values, dtype=dtype))

    some = [1, 0, None, None, None]
    one = answers(["1"], position=[2])
    assert merge_answers(kind(some, "Int64"), one, "kind").kind.dtype == "Int64"
    assert merge_answers(kind(some, "float64"), one, "kind").kind.dtype == "float64"
    words = kind(["a", "b", None, None, None], "category")
    merged = merge_answers(words, answers(["a"], position=[2]), "kind")
    pd.testing.assert_index_equal(merged.kind.cat.categories, words.kind.cat.categories)
    new = merge_answers(words, answers(["c"], position=[2]), "kind")
    assert new.kind.cat.categories.tolist() == ["a", "b", "c"] and new.kind[2] == "c"
    half = merge_answers(kind(some, "Int64"), answers([1.5], position=[2]), "kind")
    assert half.kind[2] == 1.5


@pytest.mark.parametrize(
    ("wrong", "id_column", "message"),
    [
        (pd.DataFrame({"position": [1]}), None, "no target column 'kind' in"),
        (pd.DataFrame({"kind": ["a"]}), None, "no column 'position' in the answers"),
        (pd.DataFrame({"kind": ["a"], "position": [1]}), "name", "no column 'name' in the"),
    ],
)
def test_missing_columns_are_named(wrong, id_column, message):
    with pytest.raises(ValueError, match=message):
        merge_answers(table(), wrong, "kind", id_column=id_column)


def test_classes_of_many_kinds_of_values():
    values = [np.float32(2), np.int8(2), "2", "2.", "02", -0.5, pd.NA, pd.NaT, np.nan, True, [1]]
    expected = ["2", "2", "2", "2", "02", "-0.5", None, None, None, "True", "[1]"]
    assert [class_of(value) for value in values] == expected
