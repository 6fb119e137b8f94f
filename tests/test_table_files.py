"""Tables in files: what is read, and what is written."""

import csv
import datetime
import io
import os
import stat
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pd = pytest.importorskip("pandas")
openpyxl = pytest.importorskip("openpyxl")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("charset_normalizer")
pytest.importorskip("skrub")

from modal_balance._utils.atomic import replacing  # noqa: E402
from modal_balance.table import files  # noqa: E402
from modal_balance.table.files import read_table, table_format, write_filled, write_rows  # noqa: E402
from modal_balance.table.preparation import prepare, typed  # noqa: E402


def text_table(folder, data, name="t.csv", **options):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_table(path, **options)


def rows_in(path, **options):
    with open(path, newline="", **options) as file:
        return list(csv.reader(file))


def workbook(path, *rows, **sheets):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name, state in sheets.items():
        book.create_sheet(name).sheet_state = state
    book.save(path)
    return path


cells = st.text(st.sampled_from(list('ab,;"\n\r é 1=')), max_size=6)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_every_cell_of_a_csv_file_is_read_as_it_stands_and_comes_back(tmp_path_factory, rows, end):
    rows.append(["x", "y", "z"])  # a last line with cells
    written = io.StringIO()
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator=end)
    writer.writerows([["one", "two", "three"], *rows])
    folder = tmp_path_factory.mktemp("t")
    table = text_table(folder, written.getvalue())
    assert table.frame.astype(object).values.tolist() == rows
    new = 'n"e,w\n\r'
    write_filled(table, "two", {0: new}, folder / "new.csv")
    expected = [row[:] for row in rows]
    expected[0][1] = new
    assert rows_in(folder / "new.csv", encoding="utf-8") == [["one", "two", "three"], *expected]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_the_filled_cell_changes_in_the_bytes_of_a_csv_file(tmp_path, end):
    text = end.join(["", 'Größe ;" Klasse ";', "1,50;;", '"a\n""b"""; x ;7.0', ""])
    table = text_table(tmp_path, text.encode("utf-8-sig"))
    assert list(table.frame.columns) == ["Größe", "Klasse", ""]
    write_filled(table, "Klasse", {0: "ja"}, tmp_path / "new.csv")
    expected = text.replace('" Klasse "', " Klasse ").replace("1,50;;", "1,50;ja;")
    assert (tmp_path / "new.csv").read_bytes() == expected.encode("utf-8-sig")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("within", ["\n", "\r\n", "\r"])
def test_line_breaks_in_a_header_are_not_its_end(tmp_path, end, within):
    table = text_table(tmp_path, f'"size{within}(cm)",kind{end}1,{end}2,b{end}'.encode())
    write_filled(table, "kind", {0: "a"}, tmp_path / "new.csv")
    new = read_table(tmp_path / "new.csv")
    assert new.frame.values.tolist() == [["1", "a"], ["2", "b"]]
    assert new.header == table.header and new.line_end == end


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_line_ends_and_blank_lines(tmp_path, end, last, delimiter):
    lines = ["", 'name;"note";kind', '007;"a ""b"" é";', '"8";  ;x', "", "9;'q;r';up", ";;"]
    lines[5] = '9;"q;r";up'
    text = end.join(lines).replace(";", delimiter) + (end if last else "")
    table = text_table(tmp_path, b"\xef\xbb\xbf" + text.encode())
    assert table.delimiter == delimiter and table.first == 3
    assert list(table.frame.columns) == ["name", "note", "kind"]
    assert table.frame.name.tolist() == ["007", "8", "", "9"]
    assert table.frame.note.tolist() == ['a "b" é', "  ", "", f"q{delimiter}r"]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";"),  # csv.Sniffer says ","
        ('a;b\n"x, y\nz, w";1\n"u, v\nt, s";2\n', ";"),  # more lines with commas than records
        ("a,b\n1;2;3,4\n5;6;7,8\n", ","),
        ("one column\nx; y\n", ","),
        ("a,b c;d\n1,2\n", ","),
    ],
)
def test_the_delimiter_is_found_over_records(tmp_path, text, delimiter):
    assert text_table(tmp_path, text).delimiter == delimiter


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-32", "utf-8-sig", "utf-8"])
def test_encodings_are_known_and_kept(tmp_path, encoding):
    table = text_table(tmp_path, "größe,kind\nä,\nß,é\n".encode(encoding))
    assert list(table.frame.columns) == ["größe", "kind"] and table.frame.kind[1] == "é"
    assert len(table.notes) == (encoding == "cp1252")
    write_filled(table, "kind", {0: "ö"}, tmp_path / "n.csv")
    assert read_table(tmp_path / "n.csv", table.encoding).frame.kind.tolist() == ["ö", "é"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Łódź,żółw\nświeży chleb,źdźbło trawy\nciężki kamień,późno w noc\n"),
        ("cp1251", "имя,тип\nкошка спит,да\nсобака лает громко,нет\nстарый дом у реки,нет\n"),
        ("shift_jis", "名前,種類\n猫,はい\n犬,いいえ\n"),
        ("cp1252", "café,x\n"),
        ("cp1252", "naïve,Ångström\n"),
    ],
)
def test_a_guessed_encoding_is_reported_with_a_sample(tmp_path, encoding, text):
    table = text_table(tmp_path, text.encode(encoding))
    assert ",".join(table.frame.columns) == text.splitlines()[0]
    assert text.splitlines()[0] in table.notes[0] and "--encoding" in table.notes[0]


def test_a_named_encoding_is_used_and_a_fallback_comes_second(tmp_path):
    data = "Łódź,ü\n".encode("cp1250")
    assert list(text_table(tmp_path, data, encoding="cp1252").frame.columns)[0] != "Łódź"
    assert list(text_table(tmp_path, data, or_else="cp1250").frame.columns) == ["Łódź", "ü"]
    utf8 = text_table(tmp_path, "Łódź,ü\n".encode(), or_else="cp1250")
    assert list(utf8.frame.columns) == ["Łódź", "ü"]


def test_letters_that_the_encoding_lacks_are_an_error(tmp_path):
    table = text_table(tmp_path, "a,kind\nß,\n".encode("latin-1"), encoding="latin-1")
    with pytest.raises(ValueError, match="written in latin-1, which has no '猫'"):
        write_filled(table, "kind", {0: "猫"}, tmp_path / "n.csv")
    assert not (tmp_path / "n.csv").exists()


def test_a_cell_of_many_letters(tmp_path):
    assert len(text_table(tmp_path, f"a,kind\n{'x' * 200_000},\n").frame.a[0]) == 200_000


# --- preparation ----------------------------------------------------------------------------------


def numbers(*values, **options):
    return typed(pd.DataFrame({"x": list(values)}), **options).x.tolist()


@pytest.mark.parametrize(
    ("cells", "expected", "message"),
    [
        (["1,234", "999", "12,500"], [1234, 999, 12500], "1,234 is read as 1234"),
        (["1,234.5", "-2"], [1234.5, -2], "1,234.5 is read as 1234.5"),
        (["1,5", "2", "0,125"], [1.5, 2, 0.125], None),
        (["1.234,5", "2,25"], [1234.5, 2.25], None),
        (["0.5", "1e3", "-.5", "+2."], [0.5, 1000, -0.5, 2], None),
        (["1", "", "NA", "3"], [1, np.nan, np.nan, 3], None),
        (
            [*"1234567890", "-"],
            [*range(1, 10), 0, np.nan],
            r"1 cell.* not numbers.*'-' \(position 10",
        ),
        ([*"1234567890", "<5"], [*range(1, 10), 0, np.nan], "'<5'"),
        (["1", "#DIV/0!", "#N/A"], [1, np.nan, np.nan], "2 cell.*spreadsheet errors"),
        (
            [1, 2.5, None, "#VALUE!"],
            [1, 2.5, np.nan, np.nan],
            "spreadsheet errors.*position 3",
        ),
    ],
)
def test_cells_of_numbers(cells, expected, message):
    if message is None:
        found = numbers(*cells)
    else:
        with pytest.warns(UserWarning, match=message):
            found = numbers(*cells)
    np.testing.assert_array_equal(found, np.array(expected, dtype=float))


@pytest.mark.parametrize(
    "cells", [["007", "12", "3"], ["a", "1", "2"], ["1-2", "3-4"], ["2024-01-01", "2024-02-01"]]
)
def test_codes_words_and_dates_stay_text(cells):
    assert numbers(*cells) == cells


def test_rows_are_named_as_in_the_spreadsheet():
    with pytest.warns(UserWarning, match=r"'-' \(row 12\)"):
        numbers(*"1234567890", "-", row=lambda at: f"row {at + 2}")


@pytest.mark.parametrize("bad", ["#N/A", "#DIV/0!", "-", "<5"])
def test_a_stray_cell_leaves_a_column_of_numbers_one_feature(tmp_path, bad):
    values = [f"{v:.3f}" for v in np.random.default_rng(0).normal(size=40)]
    values[4] = bad
    with pytest.warns(UserWarning, match="Column 'x'"):
        assert prepare(pd.DataFrame({"x": values})).shape == (40, 1)


def test_dates_of_a_csv_file_are_dates(tmp_path):
    days = pd.date_range("2020-01-01", periods=60, freq="11D")
    lines = ["day,size", *(f"{day:%Y-%m-%d},{i}" for i, day in enumerate(days))]
    read = text_table(tmp_path, "\n".join(lines)).frame
    np.testing.assert_array_equal(
        prepare(read), prepare(pd.DataFrame({"day": days, "size": range(60)}))
    )


def test_many_rows_are_prepared_like_few(monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300), "w": rng.choice(list("abc"), 300)})
    whole = prepare(frame, 0)
    monkeypatch.setattr("modal_balance.table.preparation.N_AT_ONCE", 70)
    np.testing.assert_array_equal(prepare(frame, 0), whole)


def test_lists_are_named_with_their_column_and_row():
    frame = pd.DataFrame({"x": [1, 2], "tags": [None, ["a"]]})
    with pytest.raises(ValueError, match="Column 'tags' holds a list at position 1"):
        typed(frame)


# --- Excel ----------------------------------------------------------------------------------------


def test_a_workbook_is_read_by_value_and_merged_into_a_new_one(tmp_path):
    day = datetime.datetime(2024, 5, 1)
    path = workbook(
        tmp_path / "t.xlsx",
        ["id", "day", "kind"],
        ["=x", day, "up"],
        ["b", None, None],
        ["c", 2, " "],
    )
    with pytest.raises(ValueError, match="formula"):
        read_table(path)
    workbook(path, ["id", "day", "kind"], ["x", day, "up"], ["b", None, None], ["c", 2, " "])
    table = read_table(path)
    assert table.frame.day.tolist() == [day, None, 2]
    notes = write_filled(table, "kind", {1: "=down", 2: "01"}, tmp_path / "new.xlsx")
    assert "formats" in notes[0]
    sheet = openpyxl.load_workbook(tmp_path / "new.xlsx").active
    assert [c.value for c in sheet["C"]] == ["kind", "up", "=down", "01"]
    assert [c.value for c in sheet["B"]] == ["day", day, None, 2]
    assert sheet["C3"].data_type == "s"  # no formula


def test_labels_become_numbers_in_a_workbook_only_without_loss(tmp_path):
    table = read_table(workbook(tmp_path / "t.xlsx", ["a", "kind"], *([i, None] for i in range(6))))
    texts = ["1", "007", "1_0", "1582218195625938945", "1.0"]
    write_filled(table, "kind", dict(enumerate(texts)), tmp_path / "n.xlsx")
    assert read_table(tmp_path / "n.xlsx").frame.kind.tolist()[:5] == [1, *texts[1:]]


def test_sheets_that_are_not_read_are_reported_and_hidden_ones_skipped(tmp_path):
    path = workbook(tmp_path / "t.xlsx", ["a", "kind"], [1, "x"], Notes="visible", Old="hidden")
    assert "not 'Notes', 'Old' (hidden)" in read_table(path).notes[0]
    book = openpyxl.load_workbook(path)
    book["Sheet"].sheet_state = "hidden"
    book["Notes"].append(["b", "kind"])
    book["Notes"].append([2, "y"])
    book.save(path)
    table = read_table(path)
    assert list(table.frame.columns) == ["b", "kind"] and "'Sheet' (hidden)" in table.notes[0]


def test_workbooks_without_a_table_are_refused(tmp_path):
    path = tmp_path / "t.xlsx"
    book = openpyxl.Workbook()
    book.create_chartsheet("Chart")
    book.remove(book["Sheet"])
    chart = openpyxl.chart.BarChart()
    book["Chart"].add_chart(chart)
    book.save(path)
    with pytest.raises(ValueError, match="no visible sheet with cells"):
        read_table(path)
    book = openpyxl.Workbook()
    for row in (["a", "kind"], [1, "x"], [None, "y"]):
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    book.save(path)
    with pytest.raises(ValueError, match="merged cells: 'A2:A3'. Unmerge"):
        read_table(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0 protected")
    with pytest.raises(ValueError, match="not an Excel workbook. If it has a password"):
        read_table(path)
    workbook(path)
    with pytest.raises(ValueError, match="is empty: its sheet 'Sheet' has no cells"):
        read_table(path)


def test_formulas_that_were_never_computed_are_refused_and_computed_ones_are_read(tmp_path):
    path = workbook(tmp_path / "t.xlsx", ["a", "b"], [1, "=A2*2"], [2, "=A3*2"])
    with pytest.raises(ValueError, match="2 formula.* first in cell B2.*Open the file in Excel"):
        read_table(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "n.xlsx", "w") as new:
        for name in old.namelist():
            new.writestr(
                name, old.read(name).replace(b"<v />", b"<v>4</v>").replace(b"<v/>", b"<v>4</v>")
            )
    assert read_table(tmp_path / "n.xlsx").frame.b.tolist() == [4, 4]


def test_distant_stray_cells_are_ignored(tmp_path):
    book = openpyxl.Workbook()
    for row in (["a", "kind"], [1, "x"]):
        book.active.append(row)
    book.active["XFD1"].font = openpyxl.styles.Font(bold=True)
    book.active["C200000"].font = openpyxl.styles.Font(bold=True)
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx").frame.shape == (1, 2)


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = workbook(tmp_path / "t.xlsx", ["a", "kind"], *([i, "x" * 100] for i in range(50)))
    monkeypatch.setattr(files, "MAX_UNPACKED", 5000)
    with pytest.raises(ValueError, match="unpacks to"):
        read_table(path)


# --- Parquet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["str", "Int64", "float64", "category", "boolean"])
def test_parquet_keeps_its_schema(tmp_path, kind):
    values = {"str": ["x", None, "y"], "category": ["x", None, "y"]}.get(kind, [1, None, 0])
    frame = pd.DataFrame({"tags": [["a"], [], None], "kind": pd.Series(values, dtype=kind)})
    frame.to_parquet(tmp_path / "t.parquet", compression="gzip")
    table = read_table(tmp_path / "t.parquet")
    label = table.frame.kind[0]
    write_filled(table, "kind", {1: label}, tmp_path / "n.parquet")
    before, after = (parquet.read_table(tmp_path / name) for name in ("t.parquet", "n.parquet"))
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.column("kind").to_pylist() == [label, label, values[2]]
    assert after.column("tags").equals(before.column("tags"))
    metadata = parquet.ParquetFile(tmp_path / "n.parquet").metadata
    assert metadata.row_group(0).column(0).compression == "GZIP"


def test_parquet_labels_must_be_of_the_type_of_the_column(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "kind": pd.array([1, None], dtype="Int64")})
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    write_filled(table, "kind", {1: "2.0"}, tmp_path / "n.parquet")
    assert parquet.read_table(tmp_path / "n.parquet").column("kind").to_pylist() == [1, 2]
    with pytest.raises(ValueError, match="'x' cannot be written to the column 'kind'.*int64"):
        write_filled(table, "kind", {1: "x"}, tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()
    (note,) = write_filled(table, "kind", {1: "?"}, tmp_path / "m.csv")
    assert "without their types" in note
    assert rows_in(tmp_path / "m.csv") == [["a", "kind"], ["1", "1"], ["2", "?"]]
    with pytest.raises(ValueError, match="Name a .parquet file"):
        write_filled(table, "kind", {1: "?"}, tmp_path / "m.xlsx")


def test_a_parquet_table_as_csv_keeps_every_digit(tmp_path):
    frame = pd.DataFrame(
        {
            "n": pd.array([2**60 + 1, None, 3], dtype="Int64"),
            "x": [0.1 + 0.2, np.nan, 1e-300],
            "day": [pd.Timestamp(2024, 2, 29), None, pd.Timestamp("1999-01-01 12:30")],
            "kind": pd.array([True, None, None], dtype="boolean"),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    write_filled(read_table(tmp_path / "t.parquet"), "kind", {1: "?"}, tmp_path / "t.csv")
    assert rows_in(tmp_path / "t.csv")[1:] == [
        ["1152921504606846977", "0.30000000000000004", "2024-02-29", "True"],
        ["", "", "", "?"],
        ["3", "1e-300", "1999-01-01 12:30:00", ""],
    ]


def test_text_that_parquet_stores_as_bytes_is_text(tmp_path):
    table = pa.table({"name": [b"\xc3\xa4", b"b"], "raw": [b"\xff", b"c"], "kind": [b"x", None]})
    parquet.write_table(table, tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.frame.name.tolist() == ["ä", "b"] and read.frame.kind[0] == "x"
    assert read.frame.raw.tolist() == [b"\xff", b"c"]
    write_filled(read, "kind", {1: "y"}, tmp_path / "n.parquet")
    filled = parquet.read_table(tmp_path / "n.parquet")
    assert filled.equals(table.set_column(2, "kind", pa.array([b"x", b"y"])))


def test_a_column_of_nulls_takes_labels_and_whole_numbers_stay_whole(tmp_path):
    table = pa.table({"n": [2**60 + 1, None], "kind": pa.nulls(2)})
    parquet.write_table(table, tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert str(read.frame.n[0]) == str(2**60 + 1)
    write_filled(read, "kind", {0: "x"}, tmp_path / "n.parquet")
    assert parquet.read_table(tmp_path / "n.parquet").column("kind").to_pylist() == ["x", None]


def test_the_index_stored_by_pandas_is_not_a_column(tmp_path):
    frame = pd.DataFrame({"size": range(9), "kind": ["a", "b", None] * 3}).sample(
        frac=1, random_state=0
    )
    frame.to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").frame.columns) == ["size", "kind"]


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx", ".parquet"])
def test_annotators_see_the_text_of_the_table(tmp_path, suffix):
    cells = ["02494", "12E4", "1582218195625938945", "=1+1", "+x", "@y", 'a"b', "1.50"]
    rows = pd.DataFrame({"row number": range(8), "=code": cells, "kind": [None] * 8})
    write_rows(rows, tmp_path / f"t{suffix}")
    back = read_table(tmp_path / f"t{suffix}").frame
    assert back["=code"].tolist() == cells and all(v in ("", None) for v in back.kind)
    if suffix == ".xlsx":
        sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
        assert {cell.data_type for row in sheet["B1:B9"] for cell in row} == {"s"}


def test_what_excel_cannot_hold_is_written_as_text_left_out_or_refused(tmp_path):
    when = pd.Timestamp("2024-05-01 12:00", tz="Europe/Berlin")
    rows = pd.DataFrame({"when": [when], "note": ["page\x0cone\x0b"], "mixed": [1]})
    write_rows(rows, tmp_path / "t.xlsx")
    back = read_table(tmp_path / "t.xlsx").frame
    assert back.when[0] == "2024-05-01 12:00:00+02:00" and back.note[0] == "pageone"
    with pytest.raises(ValueError, match="Column 'note', row 2, has 40000 characters"):
        write_rows(pd.DataFrame({"note": ["x" * 40_000]}), tmp_path / "u.xlsx")
    assert not (tmp_path / "u.xlsx").exists()


def test_mixed_values_are_text_in_parquet(tmp_path):
    write_rows(pd.DataFrame({"mixed": [1, "n2", 2.5, None]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").frame.mixed.tolist() == ["1", "n2", "2.5", ""]


def test_a_new_file_has_the_format_of_the_table(tmp_path):
    table = text_table(tmp_path, "a,kind\n1,\n")
    for name in ("n.xlsx", "n.parquet", "n"):
        with pytest.raises(ValueError, match=r"Name a \.csv file|Expected \.csv"):
            write_filled(table, "kind", {}, tmp_path / name)


def test_row_numbers_stay_the_same_below_empty_lines(tmp_path):
    text = "\n\na,kind\n1,x\n2,\n"
    table = text_table(tmp_path, text)
    write_filled(table, "kind", {1: "y"}, tmp_path / "n.csv")
    assert (tmp_path / "n.csv").read_text() == text.replace("2,", "2,y")
    book = read_table(workbook(tmp_path / "t.xlsx", [], [], ["a", "kind"], [1, "x"], [2, None]))
    write_filled(book, "kind", {1: "y"}, tmp_path / "n.xlsx")
    for old, name in ((table, "n.csv"), (book, "n.xlsx")):
        new = read_table(tmp_path / name)
        assert new.first == old.first == 4 and new.frame.kind.tolist() == ["x", "y"]


def test_files_named_tsv_are_written_with_tabs(tmp_path):
    write_filled(text_table(tmp_path, "a;kind\n1;x\n"), "kind", {}, tmp_path / "n.tsv")
    assert (tmp_path / "n.tsv").read_text() == "a\tkind\n1\tx\n"


def test_a_line_of_blanks_is_an_empty_row(tmp_path):
    frame = text_table(tmp_path, "a,kind\n1,x\n   \n2,y\n").frame
    assert frame.kind.fillna("").tolist() == ["x", "", "y"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(ValueError, match=f"The folder {tmp_path} is write-protected"):
        files.check_output(tmp_path / "n.csv", [], force=False)


def test_formats_by_name():
    assert table_format("a/B.XLSX") == "excel"
    with pytest.raises(ValueError, match=r"ends in '\.xls'.*Save it as \.xlsx"):
        table_format("a.xls")


def test_links_and_permissions_are_kept(tmp_path):
    (tmp_path / "real.csv").write_bytes(b"old")
    os.chmod(tmp_path / "real.csv", 0o640)
    os.symlink("real.csv", tmp_path / "link.csv")
    with replacing(tmp_path / "link.csv") as new:
        new.write_bytes(b"new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real.csv").stat().st_mode) == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.csv", "real.csv"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise OSError("no space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, fail)
            with pytest.raises(OSError, match="no space"), replacing(path) as new:
                new.write_bytes(b"new")
        assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"), replacing(tmp_path / "pipe"):
        pass
