"""Tables in files: what is read, and that replacing a cell changes nothing else."""

import csv
import io
import os
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pd = pytest.importorskip("pandas")

from modal_balance.files import open_table, table_format, write_atomically, write_frame  # noqa: E402
from modal_balance.files.delimited import DelimitedTable  # noqa: E402


def text_table(folder, data, name="t.csv", **options):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_table(path, **options)


cells = st.text(st.sampled_from(list('ab,;"\n\r é 1')), max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=5),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_cells_are_those_that_csv_reads_and_replacing_one_changes_no_other(
    tmp_path_factory, rows, quoting, end
):
    rows.append(["x", "y", "z"])  # a last line with cells
    if any("\r" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL  # csv itself leaves it bare
    written = io.StringIO()
    writer = csv.writer(written, quoting=quoting, lineterminator=end)
    writer.writerow(["one", "two", "three"])
    writer.writerows(rows)
    data = written.getvalue().encode()
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(data)
    table = DelimitedTable.read(path)
    expected = list(csv.reader(io.StringIO(data.decode(), newline="")))
    read = [[table.text[slice(*p)] for p in record] for record in table.places]
    assert len(read) == len(expected) - 1
    two = [cell if cell.strip() else None for cell in (row[1] for row in expected[1:])]
    assert table.column("two") == two
    assert table.with_cells("two", {}) == data
    assert table.frame(["one", "two", "three"]).shape == (len(rows), 3)
    new = 'n"e,w\n'
    changed = table.with_cells("two", {0: new, len(rows) - 1: "w"})
    after = list(csv.reader(io.StringIO(changed.decode(), newline="")))
    expected[1][1], expected[-1][1] = new, "w"
    if len(rows) == 1:
        expected[1][1] = "w"
    assert after == expected
    before, rest = data.decode().split(end, 1)[0], changed.decode().split(end, 1)[0]
    assert before == rest


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_bytes_around_a_cell_stay(tmp_path, end, last, mark, delimiter):
    lines = ['name;"note";kind', '007;"a ""b"" é";', '"8";  ;x', "", "9;'q';"]
    text = end.join(lines).replace(";", delimiter) + (end if last else "")
    table = text_table(tmp_path, mark + text.encode())
    assert table.header == ["name", "note", "kind"]
    assert table.column("name") == ["007", "8", "9"]
    assert table.column("kind") == [None, "x", None]
    lines[1] += "up"
    lines[4] += "down"
    expected = end.join(lines).replace(";", delimiter) + (end if last else "")
    assert table.with_cells("kind", {0: "up", 2: "down"}) == mark + expected.encode()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig", "utf-8"])
def test_the_encoding_stays(tmp_path, encoding):
    text = "größe,kind\n1,\n2,é\n"
    named = encoding if encoding in ("latin-1", "cp1252") else None
    table = text_table(tmp_path, text.encode(encoding), encoding=named)
    assert table.header == ["größe", "kind"] and table.column("kind") == [None, "é"]
    assert table.with_cells("kind", {0: "é"}) == text.replace("1,", "1,é").encode(encoding)


def test_letters_that_the_encoding_has_not(tmp_path):
    table = text_table(tmp_path, "a,kind\nß,\n".encode("latin-1"), encoding="latin-1")
    with pytest.raises(ValueError, match="written in latin-1, which has no '猫'"):
        table.with_cells("kind", {0: "猫"})


def test_a_column_that_is_quoted_stays_quoted(tmp_path):
    quoted = text_table(tmp_path, '"a","kind"\n"1",""\n"2","x"\n')
    assert quoted.with_cells("kind", {0: "y"}) == b'"a","kind"\n"1","y"\n"2","x"\n'
    bare = text_table(tmp_path, "a,kind\n1,\n2,x\n")
    assert bare.with_cells("kind", {0: "y z"}) == b"a,kind\n1,y z\n2,x\n"


def test_a_file_that_changes_meanwhile_is_not_overwritten(tmp_path):
    table = text_table(tmp_path, "a,kind\n1,\n")
    (tmp_path / "t.csv").write_text("a,kind\n1,\n2,\n")
    with pytest.raises(ValueError, match="changed meanwhile"):
        table.with_cells("kind", {0: "x"})


def test_numbers_words_and_holes_become_columns(tmp_path):
    text = "a,b,c,d,kind\n1,x,,true,01\n2.5,NA,3,false,NA\n,y,4,true,1.0\n"
    frame = text_table(tmp_path, text).frame(as_text=["kind"])
    assert frame.a.tolist()[:2] == [1, 2.5] and np.isnan(frame.a[2])
    assert frame.b.isna().tolist() == [False, True, False]
    assert frame.d.tolist() == [True, False, True]
    assert frame.kind.tolist() == ["01", None, "1.0"]


def test_decimal_commas_where_the_delimiter_leaves_them_free(tmp_path):
    with_commas = text_table(tmp_path, "a;b\n1,5;2\n2,5;3\n").frame()
    assert with_commas.a.tolist() == [1.5, 2.5]
    with_points = text_table(tmp_path, "a;b\n1.5;2\n2.5;3\n").frame()
    assert with_points.a.tolist() == [1.5, 2.5]


def test_a_label_none_is_no_hole(tmp_path):
    assert text_table(tmp_path, "a,kind\n1,None\n2,NA\n").column("kind") == ["None", None]


def test_workbooks(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["id", "size", "kind"], ["a", 1.5, "up"], ["b", None, None], ["c", 2, " "]):
        sheet.append(row)
    sheet["A2"].font = openpyxl.styles.Font(bold=True)
    sheet.column_dimensions["B"].width = 33
    book.create_sheet("other")["B7"] = "stays"
    sheet["A9"].font = openpyxl.styles.Font(bold=True)  # formatted, but empty
    book.save(tmp_path / "t.xlsx")
    table = open_table(tmp_path / "t.xlsx")
    assert table.column("kind") == ["up", None, None]
    frame = table.frame(["kind"])
    assert frame.shape == (3, 3) and frame["size"].dtype == "float64"
    (tmp_path / "new.xlsx").write_bytes(table.with_cells("kind", {1: "=down"}))
    after = openpyxl.load_workbook(tmp_path / "new.xlsx")
    assert [c.value for c in after.worksheets[0]["C"]][:4] == ["kind", "up", "=down", " "]
    assert after.worksheets[0]["C3"].data_type == "s"  # no formula
    assert after.worksheets[0]["A2"].font.bold
    assert after.worksheets[0].column_dimensions["B"].width == 33
    assert after["other"]["B7"].value == "stays"


def test_labels_that_are_numbers_stay_numbers_in_a_workbook(tmp_path):
    pytest.importorskip("openpyxl")
    write_frame(pd.DataFrame({"a": [1, 2, 3], "kind": [0, 1, None]}), tmp_path / "t.xlsx")
    (tmp_path / "n.xlsx").write_bytes(open_table(tmp_path / "t.xlsx").with_cells("kind", {2: "2"}))
    assert open_table(tmp_path / "n.xlsx").column("kind") == [0, 1, 2]


@pytest.mark.parametrize("what", ["formula", "chart"])
def test_what_openpyxl_would_lose_is_not_written(tmp_path, what):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["a", "kind"], [1, "x"], [2, None]):
        book.active.append(row)
    if what == "formula":
        book.active["A4"] = "=A2+A3"
    else:
        chart = openpyxl.chart.BarChart()
        chart.add_data(openpyxl.chart.Reference(book.active, min_col=1, min_row=1, max_row=3))
        book.active.add_chart(chart, "E5")
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match=f"would lose.*{what}"):
        open_table(tmp_path / "t.xlsx").with_cells("kind", {1: "x"})


@pytest.mark.parametrize("kind", ["str", "Int64", "float64", "category", "boolean"])
def test_parquet(tmp_path, kind):
    parquet = pytest.importorskip("pyarrow.parquet")
    values = {"str": ["x", None, "y"], "category": ["x", None, "y"]}.get(kind, [1, None, 0])
    frame = pd.DataFrame({"a": [1, 2, 3], "kind": pd.Series(values, dtype=kind)})
    frame.to_parquet(tmp_path / "t.parquet", compression="gzip")
    table = open_table(tmp_path / "t.parquet")
    label = table.column("kind")[0]
    (tmp_path / "n.parquet").write_bytes(table.with_cells("kind", {1: label}))
    before, after = (parquet.read_table(tmp_path / name) for name in ("t.parquet", "n.parquet"))
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.column("kind").to_pylist() == [label, label, values[2]]
    assert after.column("a").equals(before.column("a"))
    metadata = parquet.ParquetFile(tmp_path / "n.parquet").metadata
    assert metadata.row_group(0).column(0).compression == "GZIP"


def test_labels_must_be_of_the_type_of_a_parquet_column(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, 2], "kind": pd.array([1, None], dtype="Int64")})
    write_frame(frame, tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert isinstance(table.with_cells("kind", {1: "2"}), bytes)
    with pytest.raises(ValueError, match="'x' cannot be written to the column 'kind'.*int64"):
        table.with_cells("kind", {1: "x"})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx", ".parquet"])
def test_frames_come_back_as_they_were_written(tmp_path, suffix):
    pytest.importorskip("openpyxl")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"id": ["=1", 'a"b'], "size": [1.5, None], "kind": [None, "x"]})
    write_frame(frame, tmp_path / f"t{suffix}")
    table = open_table(tmp_path / f"t{suffix}")
    read = table.frame(["id", "kind"])
    assert read.id.tolist() == ["=1", 'a"b'] and read["size"][0] == 1.5
    assert read["size"].isna()[1] and pd.isna(read.kind[0]) and read.kind[1] == "x"


def test_a_frame_is_written_like_the_table(tmp_path):
    table = text_table(tmp_path, "a;kind\né;\n".encode("utf-8-sig"))
    write_frame(pd.DataFrame({"a": ["é"], "b": [1]}), tmp_path / "n.csv", like=table)
    assert (tmp_path / "n.csv").read_bytes() == "a;b\né;1\n".encode("utf-8-sig")


def test_formats_by_name():
    assert table_format("a/B.XLSX") == "excel"
    with pytest.raises(ValueError, match=r"ends in '\.xls'.*Save it as \.xlsx"):
        table_format("a.xls")


def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "real.csv").write_bytes(b"old")
    os.chmod(tmp_path / "real.csv", 0o640)
    os.symlink("real.csv", tmp_path / "link.csv")
    write_atomically(tmp_path / "link.csv", b"new")
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
            with pytest.raises(OSError, match="no space"):
                write_atomically(path, b"new")
        assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
