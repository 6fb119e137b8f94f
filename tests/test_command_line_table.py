"""The commands on tables: the circle, odd tables, and that nothing read is changed."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.ensemble import RandomForestClassifier

pd = pytest.importorskip("pandas")
pytest.importorskip("skrub")
openpyxl = pytest.importorskip("openpyxl")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("charset_normalizer")

from modal_balance.table import next_rows, table_status  # noqa: E402
from modal_balance.table.choices import MODELS  # noqa: E402
from modal_balance.table.commands import MODEL_NAMES, main  # noqa: E402
from modal_balance.table.files import read_table  # noqa: E402

FOREST = ["--model", "forest", "--quiet"]
LABEL = ["--target", "label"]


@pytest.fixture(autouse=True)
def small_forest(monkeypatch):
    """Fit five trees where the command fits 100: what is tried here is not how they learn."""
    monkeypatch.setitem(MODELS, "forest", lambda: RandomForestClassifier(5, oob_score=True))


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def start(*arguments, cwd, code=None):
    """Start a command as a process of its own."""
    what = ["-c", code] if code else ["-m", "modal_balance"]
    return subprocess.Popen(
        [sys.executable, *what, *map(str, arguments)],
        cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def mixed(n=60, n_labels=0, seed=0):
    """A table of all kinds of columns with gaps, as text, and the labels that it hides."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n).round(3)
    colour = rng.choice(["red", "green", "blue"], n)
    truth = np.where(size > 0.3, "up", np.where(colour == "red", "flat", "dôwn"))
    frame = pd.DataFrame(
        {
            "id": [f"{i:04}" for i in range(n)],
            "size": [f"{v:.3f}" for v in size],
            "colour": colour,
            "label": [label if i < n_labels else "" for i, label in enumerate(truth)],
            "note": [f'piece {i}, of "{rng.choice(["wood", "iron"])}"\nseen' for i in range(n)],
            "row number": list(range(n))[::-1],
        }
    )
    holes = rng.random((n, 3)) < 0.1
    columns = ["size", "colour", "note"]
    frame[columns] = frame[columns].mask(holes, rng.choice(["", "NA"], (n, 3)))
    return frame, truth


def fill_in(path, truth, id_column="id"):
    """Answer as an annotator does whose spreadsheet takes ids for numbers and commas for itself."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    for row in rows:
        assert row["label"] == ""
        row["label"] = truth[int(row[id_column])]
        row[id_column] = int(row[id_column])
    with open(path, "w", newline="", encoding="cp1252") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=",")
        writer.writeheader()
        writer.writerows(rows)
    return [int(row[id_column]) for row in rows]


# A merge that hangs just before it puts the new file into place, until it is killed.
STOPS = """
import os, signal, sys, time
from modal_balance.table.commands import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # processes in the background ignore it
os.replace = lambda *arguments: (print("here", flush=True), time.sleep(60))
main(sys.argv[1:])
"""


def test_the_loop_as_processes_one_of_them_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame, truth = mixed()
    lines = io.StringIO()
    frame.to_csv(lines, sep=";", index=False, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    table = tmp_path / "table.csv"
    table.write_bytes(lines.getvalue().encode("utf-8-sig").replace(b'"red"', b"red"))
    arguments = [*LABEL, "--id", "id"]
    asked = []
    for number in (1, 2):
        # The second round knows the first only from its answers.
        answers = ["--answers", "round1.csv"] if number == 2 else []
        command = ["next", "table.csv", *arguments, "-n", 6, "--json", *answers,
                   "--output", f"round{number}.csv", *FOREST]  # fmt: skip
        if number == 1:
            running = start(*command, cwd=tmp_path)
            out, error = running.communicate(timeout=100)
            code = running.returncode
        else:  # in this process, where everything has been imported
            done = call(*command)
            out, error, code = done.stdout, done.stderr, done.exit_code
        assert code == 0, error
        printed = json.loads(out)
        ids = fill_in(tmp_path / f"round{number}.csv", truth)
        assert [row["id"] for row in printed["rows"]] == [f"{at:04}" for at in ids]
        assert printed["labelled"] == 6 * (number - 1)
        assert (printed["reason"] is None) == (number > 1)
        assert not set(ids) & set(asked)
        asked += ids
    merge = ["merge", "table.csv", "round1.csv", "round2.csv", *arguments, "--output", "new.csv"]
    for number in (signal.SIGINT, signal.SIGKILL):
        running = start(*merge, cwd=tmp_path, code=STOPS)
        assert running.stdout.readline() == "here\n"
        running.send_signal(number)
        running.communicate(timeout=100)
        assert running.returncode != 0 and not (tmp_path / "new.csv").exists()
    done = subprocess.run(
        [sys.executable, "-m", "modal_balance", *merge], cwd=tmp_path, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("Wrote new.csv with 12 new label(s): ")
    assert (
        "round1.csv is not UTF-8" in done.stderr and "a spreadsheet has changed ids" in done.stderr
    )
    read = pd.read_csv(tmp_path / "new.csv", sep=";", dtype=str, keep_default_na=False)
    known = read.label != ""
    assert sorted(asked) == np.flatnonzero(known).tolist()
    assert (read.label[known] == truth[known]).all()
    pd.testing.assert_frame_equal(
        read.drop(columns="label"), frame.astype(str).drop(columns="label"), check_dtype=False
    )
    again = call("merge", tmp_path / "new.csv", tmp_path / "round1.csv", *arguments, "--output",
                 tmp_path / "same.csv")  # fmt: skip
    assert again.exit_code == 0 and "with 0 new label(s)" in again.stdout


@pytest.mark.parametrize("suffix", [".xlsx", ".parquet", ".tsv"])
def test_the_loop_in_other_formats(tmp_path, suffix):
    frame, truth = mixed(40, 12)
    frame = frame.assign(size=pd.to_numeric(frame["size"], errors="coerce")).replace("", None)
    table, answers = tmp_path / f"t{suffix}", tmp_path / f"a{suffix}"
    write = {".xlsx": pd.DataFrame.to_excel, ".parquet": pd.DataFrame.to_parquet}
    write.get(suffix, lambda f, p, index: f.to_csv(p, sep="\t", index=index))(
        frame, table, index=False
    )
    done = call("next", table, *LABEL, "-n", 5, "--output", answers, *FOREST)
    assert done.exit_code == 0, done.output
    rows = read_table(answers).frame
    assert rows.columns[0] == "row number (2)"  # the table has a column "row number"
    positions = rows["row number (2)"].astype(int) - 2
    assert rows.label.isna().all() or (rows.label == "").all()
    rows["label"] = truth[positions]
    write.get(suffix, lambda f, p, index: f.to_csv(p, sep="\t", index=index))(
        rows, answers, index=False
    )
    done = call("merge", table, answers, *LABEL, "--output", tmp_path / f"n{suffix}")
    assert done.exit_code == 0, done.output
    after, before = read_table(tmp_path / f"n{suffix}").frame, read_table(table).frame
    assert (after.label[positions] == truth[positions]).all()
    assert after.label[:12].tolist() == truth[:12].tolist()
    pd.testing.assert_frame_equal(after.drop(columns="label"), before.drop(columns="label"))


def test_the_command_chooses_what_the_function_chooses(tmp_path):
    frame, _ = mixed(40, 20)
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = ["next", tmp_path / "t.csv", *LABEL, "--id", "id", "-n", 4, "--strategy", "margin",
                 "--seed", 7, *FOREST]  # fmt: skip
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    rows = next_rows(frame.astype(str), "label", 4, id_column="id", model="forest",
                     strategy="margin", random_state=7)  # fmt: skip
    printed = pd.DataFrame(json.loads(done.stdout)["rows"])
    assert (printed["row number (2)"] - 2).tolist() == rows.position.tolist()
    np.testing.assert_allclose(printed.probability, rows.probability)
    assert printed.why.tolist() == rows.why.tolist()
    lines = call(*arguments).stdout.splitlines()
    assert lines[0].split()[-3:] == ["second_probability", "doubt", "why"]
    assert len(lines) == 5 and all(
        why in line for why, line in zip(rows.why, lines[1:], strict=True)
    )


def test_progress_goes_to_stderr_and_results_to_stdout(tmp_path):
    mixed(30, 12)[0].to_csv(tmp_path / "t.csv", index=False)
    arguments = ["next", tmp_path / "t.csv", *LABEL, "-n", 2, "--model", "forest"]
    done = call(*arguments)
    assert done.exit_code == 0
    assert "30 rows, 12 labelled" in done.stderr and "100%" in done.stderr
    assert "Chosen by the strategy 'balance-margin' with the model 'forest'" in done.stderr
    assert len(done.stdout.splitlines()) == 3
    quiet = call(*arguments, "--quiet")
    assert quiet.stdout == done.stdout and quiet.stderr == ""


def test_merge_counts_unsure_answers_apart(tmp_path):
    table, answers = tmp_path / "t.csv", tmp_path / "r.csv"
    table.write_text(rows_of(9, [" a ", "b"]))
    answers.write_text("row number,label\n5,a\n6,?\n7,?\n")
    arguments = ["merge", table, answers, *LABEL, "--output"]
    done = call(*arguments, tmp_path / "m.csv")
    assert f"Wrote {tmp_path / 'm.csv'} with 1 new label(s): a 1\n" in done.stdout
    assert "2 row(s) are marked '?', without a label." in done.stdout
    found = json.loads(call(*arguments, tmp_path / "n.csv", "--json").stdout)
    assert (found["written"], found["classes"], found["unsure"]) == (1, {"a": 1}, 2)


def test_status_in_words_and_as_json(tmp_path):
    frame, truth = mixed(40, 20)
    frame.loc[20, "label"] = "?"
    frame.to_csv(tmp_path / "t.csv", index=False)
    rounds = [frame.loc[10:14, ["id", "label"]], frame.loc[15:19, ["id", "label"]]]
    for number, answers in enumerate(rounds):
        answers.to_csv(tmp_path / f"r{number}.csv", index=False)
    # The way a shell expands "--answers r*.csv".
    arguments = ["status", tmp_path / "t.csv", *LABEL, "--id", "id", "--model", "forest",
                 "--answers", tmp_path / "r0.csv", tmp_path / "r1.csv"]  # fmt: skip
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    expected = table_status(frame.astype(str), "label", id_column="id", model="forest",
                            random_state=0, answers=rounds)  # fmt: skip
    found = json.loads(call(*arguments, "--json").stdout)
    assert found["accuracy"]["n_right"] == expected.accuracy.n_right
    assert found["kappas"] == pytest.approx(list(expected.kappas)) and len(found["kappas"]) == 2
    lines = done.stdout.splitlines()
    assert lines[0] == "40 rows: 20 labelled, 1 unsure, 19 to label"
    counts = {line.split()[0]: int(line.split()[1]) for line in lines[1:4]}
    assert counts == pd.Series(truth[:20]).value_counts().to_dict()
    assert f"({expected.accuracy.n_right} of {expected.accuracy.n_tested} labelled" in done.stdout
    assert lines[-1].startswith("Predictions have")
    assert lines[-2].endswith(f"a round: {expected.kappas[-1]:.2f}")


def test_answers_that_do_not_fit_are_reported_and_nothing_is_written(tmp_path):
    frame, _ = mixed(30, 10)
    frame.to_csv(tmp_path / "t.csv", index=False)
    bad = pd.DataFrame({"id": ["0020", "0021", "0000", "0099"], "label": ["up", "Up", "x", "up"]})
    bad.to_csv(tmp_path / "a.csv", index=False)
    arguments = [tmp_path / "t.csv", "--answers", tmp_path / "a.csv", *LABEL, "--id", "id"]
    done = call("merge", *arguments, "--output", tmp_path / "n.csv")
    assert done.exit_code == 1 and not (tmp_path / "n.csv").exists() and done.stdout == ""
    capitals, lost, conflict, last = done.stderr.splitlines()
    assert "'Up' and 'up' differ only in capitals" in capitals
    assert "id '0099' in" in lost and "row 2 is" in conflict and last == "Nothing was written."
    printed = json.loads(call("merge", *arguments, "--output", tmp_path / "n.csv", "--json").stdout)
    assert printed["written"] == 0 and len(printed["problems"]) == 3
    for command in (["next", *arguments, *FOREST], ["status", *arguments]):
        done = call(*command)
        assert done.exit_code == 2 and "'0099'" in done.stderr and done.stdout == ""


def test_pending_files_are_left_out(tmp_path):
    frame, _ = mixed(40, 30)
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = ["next", tmp_path / "t.csv", *LABEL, *FOREST]
    out, asked = [], set()
    for name, n in (("a.csv", 3), ("b.xlsx", 3), ("c.csv", 10)):
        done = call(*arguments, "-n", n, "--output", tmp_path / name, "--json", *out)
        assert done.exit_code == 0, done.output
        rows = {row["row number (2)"] for row in json.loads(done.stdout)["rows"]}
        assert not rows & asked
        asked |= rows
        out += ["--pending", tmp_path / name]
    assert asked == set(range(32, 42))
    names = out[1::2]
    for given in (out, ["--pending", *names], [f"--pending={names[0]}", *names[1:]]):
        done = call(*arguments, *given)
        assert done.exit_code == 1 and "No row is left" in done.stderr and done.stdout == ""
    pending = ["--answers", tmp_path / "t.csv", "--pending", *names, "--id", "id"]
    assert call(*arguments, *pending).exit_code == 1


def test_existing_files_are_replaced_only_by_force_and_inputs_never(tmp_path):
    frame, truth = mixed(30, 10)
    table, answers, there = (tmp_path / name for name in ("t.csv", "a.csv", "there.csv"))
    frame.to_csv(table, index=False)
    frame[["id", "label"]][:10].to_csv(answers, index=False)
    (tmp_path / "link.csv").symlink_to(table)
    os.link(answers, tmp_path / "hard.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    commands = [
        ["merge", table, answers, *LABEL, "--id", "id"],
        ["next", table, answers, *LABEL, "--id", "id", "-n", 2, *FOREST],
    ]
    for command in commands:
        there.write_text("old")
        done = call(*command, "--output", there)
        assert (
            done.exit_code == 2 and "already exists" in done.stderr and there.read_text() == "old"
        )
        assert call(*command, "--output", there, "--force").exit_code == 0
        assert there.read_text() != "old"
        for name in ("t.csv", "a.csv", "link.csv", "hard.csv"):
            done = call(*command, "--output", tmp_path / name, "--force")
            assert done.exit_code == 2 and "never changed" in done.stderr
        for name, message in (
            ("pipe.csv", "not a regular file"), ("no/n.csv", "There is no folder"),
            ("n.doc", "ends in '.doc'"),
        ):  # fmt: skip
            done = call(*command, "--output", tmp_path / name, "--force")
            assert done.exit_code == 2 and message in done.stderr


# --- tables of all kinds --------------------------------------------------------------------------


def rows_of(n, labels=("a", "b"), column="size", values=None):
    """A small table as text, of which the first rows are labelled."""
    values = range(n) if values is None else values
    cells = [f"{v},{labels[i] if i < len(labels) else ''}" for i, v in enumerate(values)]
    return "\n".join([f"{column},label", *cells, ""])


def book(*rows, **changes):
    """An Excel workbook as bytes."""
    made = openpyxl.Workbook()
    for row in rows or (["size", "label"], [1, "a"], [2, "b"], [3, None], [4, None]):
        made.active.append(row)
    for cell, value in changes.items():
        made.active[cell] = value
    stored = io.BytesIO()
    made.save(stored)
    return stored.getvalue()


def arrow(**columns):
    """A Parquet file as bytes, its first rows labelled."""
    n = len(next(iter(columns.values())))
    stored = io.BytesIO()
    columns.setdefault("label", ["a", "b", *[None] * (n - 2)])
    parquet.write_table(pa.table(columns), stored)
    return stored.getvalue()


MANY = rows_of(600, [f"v{i}" for i in range(500)])
SPREAD = rows_of(99, [f"{i / 7:.4f}" for i in range(80)])
GOOD = rows_of(9, ["a", "b", "a", "b"])
ID = ["--id", "id"]
WORD = rows_of(12, ["a", "b"], values=[*range(11), "#N/A"])

# Name -> contents, more arguments, exit code of `next`, part of its output.
TABLES = {
    "empty": ("", [], 2, "t.csv is empty."),
    "blank lines": ("\n\n  \n", [], 2, "t.csv is empty."),
    "header only": ("size,label\n", [], 2, "no rows below its header"),
    "one column": ("label\na\nb\n", [], 2, "no column to learn from"),
    "target and id": ("id,label\n1,a\n2,\n", ID, 2, "no column to learn from"),
    "duplicate ids": ("id,size,label\n1,1,a\n1,2,\n", ID, 2, "'1' occurs twice in column 'id'"),
    "ids alike": ("id,size,label\n1,1,a\n1.0,2,\n", ID, 2, "at row 2 and row 3"),
    "empty id": ("id,size,label\n1,1,a\n,2,\n", ID, 2, "is empty at row 3"),
    "duplicate names": ("size,size,label\n1,1,a\n", [], 2, "more than one column 'size'"),
    "duplicate targets": ("label,size,label\na,1,a\n", [], 2, "more than one column 'label'"),
    "no target": (GOOD, ["--target", "kind"], 2, "add an empty column 'kind'"),
    "wrong target": (GOOD, ["--target", "lable"], 2, "Did you mean 'label'?"),
    "wrong id": (GOOD, ["--id", "key"], 2, "no id column 'key'"),
    "target as id": (GOOD, ["--id", "label"], 2, "both the target and the id"),
    "for Excel": ("sep=;\nsize;label\n1;a\n", [], 2, "begins with 'sep=;', a line for Excel"),
    "for Excel, commas": ("sep=,\n" + GOOD, [], 2, "begins with 'sep=,', a line for Excel"),
    "too many cells": (GOOD + "1,a,b\n", [], 2, "line 11 (row 11) has 3 cells"),
    "a title": ("My wines\n" + GOOD, [], 2, "If 'My wines' is a title, delete all above"),
    "too few cells": (GOOD + "1\n", [], 2, "the header has 2. Cells that contain a line break"),
    "open quote": (GOOD + '"1,a\n', [], 2, "line 11: a quotation mark"),
    "stray quote": (GOOD + '"1"0",a\n', [], 2, "line 11: a quotation mark"),
    "binary": (b"\x00\x01\x02size,label\n", [], 2, "null characters"),
    "latin-1": (GOOD.replace("size", "größe").encode("latin-1"), [], 0, "read as cp1252"),
    "wrong encoding": ("größe,label\n1,a\n".encode("latin-1"), ["--encoding", "utf-8"], 2,
                       "byte 0xf6 in line 1"),
    "no such encoding": (GOOD, ["--encoding", "latin1x"], 2, "no encoding 'latin1x'"),
    "no encoding of text": (GOOD, ["--encoding", "base64"], 2, "no encoding 'base64'"),
    "500 values": (MANY, [], 2, "500 different values in 500 labels"),
    "measurements": (SPREAD, [], 2, "80 different values"),
    "empty columns": (rows_of(9, ["a", "b"], values=["NA"] * 9), [], 2, "nothing to learn from"),
    "constant": (rows_of(9, ["a", "b"], values=["x"] * 9), [], 2, "nothing to learn from"),
    "why": ("why,label\n1,a\n2,\n", ["--id", "why"], 2, "cannot be called"),
    "all labelled": (rows_of(2), [], 1, "No row is left."),
    "all unsure": (rows_of(4, ["a", "b", "?", "?"]), [], 1, "2 row(s) are marked '?'"),
    "capitals": (rows_of(9, ["a", "b", "A"]), [], 0, "'A', 'a' differ only in capitals"),
    "tabs in a csv": (GOOD.replace(",", "\t"), [], 0, ""),
    "BOM": (GOOD.encode("utf-8-sig"), ["--id", "size"], 2, "no column to learn from"),
    "UTF-16": (GOOD.encode("utf-16"), [], 0, ""),
    "2 rows": (rows_of(2, ["a"]), [], 0, "All labels so far (1) are of one class, 'a'"),
    "1 row": (rows_of(1, []), [], 2, "nothing to learn from"),
    "no labels": (rows_of(9, []), [], 0, "There are no labels yet"),
    "blank labels": (rows_of(9, ["  ", "NA", "a", "b"]), [], 0, "Only 7 row(s) are left"),
    "unsure": (rows_of(9, ["a", "b", "?", "?"]), [], 0, "Only 5 row(s) are left"),
    "unsure, otherwise": (rows_of(9, ["a", "b", "??"]), ["--unsure", "??"], 0, "Only 6 row(s)"),
    "bad dates": (
        rows_of(9, ["a", "b"], "day", ["2024-01-01", "31.02.2024", "soon", "", *"?????"]),
        [], 0, "",
    ),
    "infinite": (
        rows_of(9, ["a", "b"], values=["inf", "-inf", "1e308", "NaN", *"12345"]), [], 0, "",
    ),
    "mixed": (rows_of(9, ["a", "b"], values=["1", "two", "3.5", *"456789"]), [], 0, ""),
    "error values": (WORD, [], 0, "spreadsheet errors, and count as gaps: '#N/A' (row 13)"),
    "a dash": (WORD.replace("#N/A", "-"), [], 0, "not numbers, and count as gaps: '-' (row 13)"),
    "thousands": ("size;label\n1,234;a\n999;b\n12,500;\n", [], 0, "1,234 is read as 1234"),
    "long text": (rows_of(9, ["a", "b"], values=["x" * 200_000, *"12345678"]), [], 0, ""),
    "other scripts": (rows_of(9, ["猫", "🐕"], "大きさ"), [], 0, ""),
    "empty rows": ("size,label\n1,a\n,\n2,b\n3,\n,\n,\n", [], 0, "1 empty row(s) are left out, the "
                   "first is row 3"),
    "no name": ("size,,label\n1,8,a\n2,7,b\n3,6,\n", [], 0, "1 column(s) without a name"),
    "all without a name": (",label\n1,a\n2,\n", [], 2, "no column to learn from"),
    "every row its class": (rows_of(40, [f"c{i}" for i in range(20)]), [], 0, ""),
    "names of all kinds": ("=a,+b,$$,<i>,row number,label\n1,2,3,4,5,a\n2,3,4,5,6,b\n3,4,5,6,7,\n",
                           [], 0, "row number (2)"),
    "carriage returns": ('size,label\n"1\r2",a\n"\r",b\n"3\r\n",\n', [], 0, ""),
    "book.xlsx": (book(), [], 0, ""),
    "title above.xlsx": (book([], ["size", "label"], [1, "a"], [2, "b"], [3, None]), [], 0, ""),
    "formula.xlsx": (book(C1="f", C2="=A2"), [], 2, "1 formula(s) without a value, the first in"),
    "errors.xlsx": (book(*[["size", "label"], *([i, "ab"[i % 2] if i < 4 else None]
                    for i in range(12)), ["#DIV/0!", None]]), [], 0, "'#DIV/0!' (row 14)"),
    "control.xlsx": (b"PK", [], 2, "not an Excel workbook"),
    "text.xlsx": (GOOD, [], 2, "not an Excel workbook"),
    "numbers.parquet": (arrow(size=[1.5, 2.5, None, 4.0]), [], 0, ""),
    "lists.parquet": (arrow(tags=[["a"], ["b"], [], None]), [], 2, "'tags' holds a list at row 2"),
    "structs.parquet": (arrow(meta=[{"k": 1}] * 4), [], 2, "'meta' holds a dict at row 2"),
    "nulls.parquet": (arrow(size=[1, 2, 3, 4], gone=pa.nulls(4)), [], 0, ""),
    "no labels.parquet": (arrow(size=[1, 2, 3, 4], label=pa.nulls(4)), [], 0, "no labels yet"),
    "flags.parquet": (arrow(size=[1, 2, 3, 4], label=[True, False, None, None]), [], 0, ""),
    "zones.parquet": (arrow(when=pa.array([1, 2, 3, 4], pa.timestamp("s", "Europe/Berlin"))),
                      [], 0, ""),
    "text.parquet": (GOOD, [], 2, "cannot be read as a Parquet file"),
    "table.json": ("{}", [], 2, "ends in '.json'. Expected .csv"),
    "table.xls": ("x", [], 2, "Save it as .xlsx"),
}  # fmt: skip


def state(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize("name", TABLES)
def test_no_command_changes_the_table_or_the_answers(name, tmp_path, monkeypatch):
    contents, further, code, sentence = TABLES[name]
    monkeypatch.chdir(tmp_path)
    table = name if "." in name else "t.csv"
    (tmp_path / table).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    (tmp_path / "a.csv").write_text("id,row number,label\n1,4,a\n")
    (tmp_path / "b.csv").write_text("id,row number,label\n1,,\n")
    before = state(tmp_path)
    target = [] if "--target" in further else LABEL
    arguments = [*target, *further]
    rows = f"r{('.csv', '.xlsx', '.parquet')[list(TABLES).index(name) % 3]}"
    done = call("next", table, *arguments, "-n", 20, "--output", rows, *FOREST)
    assert done.exit_code == code, done.output
    assert sentence in done.output and "Warning" not in done.output
    assert (done.stdout == "") == (code != 0)
    assert (tmp_path / rows).exists() == (code == 0)
    if code == 2:
        *remarks, error = done.stderr.splitlines()
        assert error.startswith("Error: ") and all("left out" in text for text in remarks)
    new = f"new{os.path.splitext(table)[1]}"
    simulation = ["--model", "forest", "--strategy", "random", "--seeds", 1, "--budget", 2,
                  "--quiet", "--results", "r.jsonl"]  # fmt: skip
    commands = [
        ["merge", table, "a.csv", "b.csv", *arguments, "--output", new],
        ["merge", table, "a.csv", *arguments, "--output", table, "--force"],
        ["status", table, "a.csv", *arguments, "--model", "forest"],
        ["simulate", "--data", table, "--answers", "a.csv", *arguments, *simulation],
    ]
    for command in commands if code == 0 else commands[:2]:  # all read a table in the same way
        done = call(*command)
        assert done.exit_code in (0, 1, 2), done.output
        assert "Traceback" not in done.output and "Internal error of" not in done.output
        if done.exit_code == 2:
            assert done.stderr.splitlines()[-1].startswith("Error: ") and done.stdout == ""
    after = state(tmp_path)
    assert {name: after[name] for name in before} == before


def test_a_missing_file_and_a_folder_are_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.csv").mkdir()
    for name, message in (("no.csv", "There is no file no.csv."), ("d.csv", "d.csv is a folder")):
        for command in (
            ["next", name],
            ["status", name],
            ["merge", name, name, "--output", "n.csv"],
        ):
            done = call(*command, *LABEL)
            assert done.exit_code == 2 and message in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "best"], "no strategy 'best'"),
        (["--strategy", "coreset"], "RandomForestClassifier has no network"),
        (["-n", "0"], "0 is not in the range"),
        (["--pending", "t.csv"], "no column 'row number' in t.csv"),
        (["--answers", "t.csv"], "no column 'row number' in t.csv"),
    ],
)
def test_errors_in_the_command_are_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(GOOD)
    done = call("next", "t.csv", *LABEL, *FOREST, *arguments)
    assert done.exit_code == 2 and message in done.stderr and done.stdout == ""


def test_debug_shows_the_traceback_of_internal_errors_too(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(GOOD)
    monkeypatch.setattr("modal_balance.table.files.read_table", lambda *arguments: {}["gone"])
    arguments = ["next", tmp_path / "t.csv", *LABEL]
    done = call(*arguments)
    assert done.exit_code == 1 and "Internal error of modal-balance, KeyError" in done.stderr
    assert isinstance(call(*arguments, "--debug").exception, KeyError)


def test_help_and_merging_import_no_heavy_libraries(tmp_path):
    (tmp_path / "t.csv").write_text(GOOD)
    (tmp_path / "a.csv").write_text("row number,label\n7,a\n")
    code = """
import sys
from modal_balance.table.commands import main
main(['next', '--help'], standalone_mode=False)
print({'torch', 'sklearn', 'pandas', 'modAL'} & set(sys.modules))
command = 'merge t.csv a.csv --target label --output n.csv'
main(command.split(), standalone_mode=False)
print({'torch', 'sklearn'} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[-3:] == ["set()", "Wrote n.csv with 1 new label(s): a 1", "set()"]


def test_the_names_of_the_models_are_those_of_the_table():
    assert tuple(MODELS) == MODEL_NAMES
