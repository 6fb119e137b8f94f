"""The commands on one's own table: the whole circle, killed merges, broken tables."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

pd = pytest.importorskip("pandas")
pytest.importorskip("skrub")
pytest.importorskip("openpyxl")
pytest.importorskip("pyarrow")

from modal_balance.commands import main  # noqa: E402
from modal_balance.commands.options import MODEL_NAMES  # noqa: E402
from modal_balance.files import open_table, write_frame  # noqa: E402
from modal_balance.table import next_rows, table_status  # noqa: E402
from modal_balance.table.choices import MODELS  # noqa: E402

FOREST = ["--model", "forest", "--quiet"]


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def process(*arguments, cwd):
    """Run a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "modal_balance", *map(str, arguments)],
        cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, check=False,
    )  # fmt: skip


def mixed(n=90, n_labels=0, seed=0):
    """A table of all kinds of columns with holes, as text, and the labels that it hides."""
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
            "day": pd.date_range("2024-01-01", periods=n).astype(str),
        }
    )
    holes = rng.random((n, 4)) < 0.1
    columns = ["size", "colour", "note", "day"]
    frame[columns] = frame[columns].mask(holes, rng.choice(["", "NA"], (n, 4)))
    return frame, truth


def fill_in(path, truth, target="label"):
    """Answer as an annotator who opens the file would."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    for row in rows:
        assert row[target] == ""
        row[target] = truth[int(row["position"])]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=",")  # saved as others do
        writer.writeheader()
        writer.writerows(rows)
    return [int(row["position"]) for row in rows]


def test_the_whole_circle_as_processes(tmp_path, monkeypatch):
    frame, truth = mixed()
    lines = io.StringIO()
    frame.to_csv(lines, sep=";", index=False, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    table = tmp_path / "table.csv"
    original = lines.getvalue().encode("utf-8-sig").replace(b'"red"', b"red")  # quoted by whim
    table.write_bytes(original)
    asked = []
    for number in range(1, 6):
        answers = f"round{number}.csv"
        done = process("next", "table.csv", "--target", "label", "--id", "id", "-n", 6, "--json",
                       "--output", answers, "--seed", number, *FOREST, cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        printed = json.loads(done.stdout)
        positions = fill_in(tmp_path / answers, truth)
        assert [row["position"] for row in printed["rows"]] == positions
        assert [row["id"] for row in printed["rows"]] == [f"{at:04}" for at in positions]
        assert printed["labelled"] == 6 * (number - 1)
        assert (printed["reason"] is None) == (number > 1)
        assert not set(positions) & set(asked)
        asked += positions
        done = process("merge", "table.csv", answers, "--target", "label", "--id", "id",
                       "--output", "table.csv", "--force", cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode().startswith("6 labels written to table.csv: ")
        # The label is all that has changed, byte by byte: taken out again, the old file is left.
        changed = table.read_bytes()
        assert re.sub('"(up|flat|dôwn)";'.encode(), b'"";', changed) == original
        read = pd.read_csv(table, sep=";", dtype=str, keep_default_na=False, encoding="utf-8-sig")
        known = read.label != ""
        assert sorted(asked) == np.flatnonzero(known).tolist()
        assert (read.label[known] == truth[known]).all()
        pd.testing.assert_frame_equal(
            read.drop(columns="label"), frame.astype(str).drop(columns="label"), check_dtype=False
        )
    rounds = [argument for i in (4, 5) for argument in ("--round", f"round{i}.csv")]
    monkeypatch.chdir(tmp_path)
    done = call("status", "table.csv", "--target", "label", "--id", "id", "--model", "forest",
                *rounds, "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    status = json.loads(done.stdout)
    assert status["n_labelled"] == 30 and sum(status["counts"].values()) == 30
    assert status["accuracy"]["value"] > status["accuracy"]["most_frequent"]
    assert len(status["kappas"]) == 2 and status["settled"] in (True, False)


@pytest.mark.parametrize("suffix", [".xlsx", ".parquet", ".tsv"])
def test_the_circle_in_other_formats(tmp_path, suffix):
    frame, truth = mixed(60, 12)
    frame = frame.assign(size=pd.to_numeric(frame["size"], errors="coerce")).replace("", None)
    table, answers = tmp_path / f"t{suffix}", tmp_path / f"a{suffix}"
    write_frame(frame, table)
    before = open_table(table).frame(["id", "label"])
    for _ in range(2):
        arguments = [table, "--target", "label", "--id", "id"]
        done = call("next", *arguments, "-n", 5, "--output", answers, *FOREST)
        assert done.exit_code == 0, done.output
        rows = open_table(answers).frame(["id", "label"])
        assert rows.label.isna().all() and len(rows) == 5
        write_frame(rows.assign(label=truth[rows.id.astype(int)]), answers)
        done = call("merge", table, answers, *arguments[1:], "--output", table)
        assert done.exit_code == 0, done.output
    after = open_table(table).frame(["id", "label"])
    assert after.label.notna().sum() == 22
    known = after.label.notna().to_numpy()
    assert (after.label[known] == truth[known]).all()
    pd.testing.assert_frame_equal(after.drop(columns="label"), before.drop(columns="label"))


def test_the_command_chooses_what_the_function_chooses(tmp_path):
    frame, _ = mixed(60, 20)
    frame.to_csv(tmp_path / "t.csv", index=False)
    done = call("next", tmp_path / "t.csv", "--target", "label", "--id", "id", "-n", 4,
                "--strategy", "margin", "--seed", 7, "--json", *FOREST)  # fmt: skip
    assert done.exit_code == 0, done.output
    typed = pd.read_csv(tmp_path / "t.csv", dtype={"id": str})
    rows = next_rows(typed, "label", 4, id_column="id", model="forest", strategy="margin",
                     random_state=7)  # fmt: skip
    printed = pd.DataFrame(json.loads(done.stdout)["rows"])
    assert printed.position.tolist() == rows.position.tolist()
    np.testing.assert_allclose(printed.probability, rows.probability)
    assert printed.likeliest.tolist() == rows.likeliest.tolist()
    text = call("next", tmp_path / "t.csv", "--target", "label", "--id", "id", "-n", 4,
                "--strategy", "margin", "--seed", 7, *FOREST)  # fmt: skip
    lines = text.stdout.splitlines()
    assert lines[0].split() == ["position", "id", "likeliest", "probability", "second",
                                "second_probability", "gain"]  # fmt: skip
    assert [int(line.split()[0]) for line in lines[1:]] == rows.position.tolist()


def test_progress_goes_to_stderr_and_results_to_stdout(tmp_path):
    mixed(40, 12)[0].to_csv(tmp_path / "t.csv", index=False)
    arguments = ["next", tmp_path / "t.csv", "--target", "label", "-n", 2, "--model", "mcdropout"]
    done = call(*arguments)
    assert done.exit_code == 0
    assert "40 rows, 12 labelled" in done.stderr and "Batch: 100%" in done.stderr
    assert len(done.stdout.splitlines()) == 3
    quiet = call(*arguments, "--quiet")
    assert quiet.stdout == done.stdout and quiet.stderr == ""


def test_status_in_words_and_as_json(tmp_path):
    frame, truth = mixed(60, 20)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.loc[15:19, ["id", "label"]].to_csv(tmp_path / "r.csv", index=False)
    arguments = ["status", tmp_path / "t.csv", "--target", "label", "--id", "id", "--model",
                 "forest", "--round", tmp_path / "r.csv"]  # fmt: skip
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    typed = pd.read_csv(tmp_path / "t.csv", dtype={"id": str})
    expected = table_status(typed, "label", id_column="id", model="forest", random_state=0,
                            rounds=[frame.id[15:20].tolist()])  # fmt: skip
    found = json.loads(call(*arguments, "--json").stdout)
    assert found["accuracy"]["n_right"] == expected.accuracy.n_right
    assert found["kappas"] == pytest.approx(list(expected.kappas))
    lines = done.stdout.splitlines()
    assert lines[0] == "60 rows: 20 labelled, 40 not"
    counts = {line.split()[0]: int(line.split()[1]) for line in lines[1:4]}
    assert counts == pd.Series(truth[:20]).value_counts().to_dict()
    assert f"({expected.accuracy.n_right} of {expected.accuracy.n_tested} labelled" in done.stdout
    assert lines[-1].startswith("Predictions have")
    assert lines[-2].endswith(f"r.csv and with it: {expected.kappas[0]:.2f}")


# A merge that stops at a given step of writing until it is killed there.
STOPS = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
def stop(*arguments):
    print("here", flush=True)
    time.sleep(60)
setattr(os, {step!r}, stop)
from modal_balance.commands import main
main(["merge", "t.csv", "a.csv", "--target", "label", "--output", "t.csv"])
"""


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_merge_that_is_killed_leaves_the_old_table(tmp_path, step, number):
    frame, truth = mixed(50, 20)
    table = tmp_path / "t.csv"
    frame.to_csv(table, index=False)
    before = table.read_bytes()
    pd.DataFrame({"position": [30, 31], "label": truth[30:32]}).to_csv(tmp_path / "a.csv")
    running = subprocess.Popen(
        [sys.executable, "-c", STOPS.format(step=step)], cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert running.stdout.readline() == b"here\n"
    part = [path for path in tmp_path.iterdir() if path.name.startswith(".t.csv.")]
    assert len(part) == 1
    running.send_signal(number)
    assert running.wait(30) != 0
    running.stdout.close()
    assert table.read_bytes() == before
    # After Ctrl-C nothing else is left. After SIGKILL the new file may lie beside the old one.
    left = {path.name for path in tmp_path.iterdir()} - {"t.csv", "a.csv"}
    assert left == ({part[0].name} if number == signal.SIGKILL else set())
    done = call("merge", table, tmp_path / "a.csv", "--target", "label", "--output", table)
    assert done.exit_code == 0 and table.read_bytes() != before


def test_a_merge_killed_at_any_time_leaves_the_old_table_or_the_new_one(tmp_path):
    frame, truth = mixed(4000, 1000)
    table = tmp_path / "t.csv"
    frame.to_csv(table, index=False)
    before = table.read_bytes()
    rows = range(1000, 4000)
    pd.DataFrame({"position": rows, "label": truth[rows]}).to_csv(tmp_path / "a.csv")
    arguments = ["merge", "t.csv", "a.csv", "--target", "label", "--output", "t.csv"]
    started = time.perf_counter()
    assert process(*arguments, cwd=tmp_path).returncode == 0
    whole = time.perf_counter() - started
    after = table.read_bytes()
    for share in np.linspace(0.3, 1.1, 6):
        table.write_bytes(before)
        running = subprocess.Popen(
            [sys.executable, "-m", "modal_balance", *arguments],
            cwd=tmp_path, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(share * whole)
        running.kill()
        running.wait()
        assert table.read_bytes() in (before, after)


def test_answers_that_do_not_fit_are_said_row_by_row_and_nothing_is_written(tmp_path):
    frame, _ = mixed(50, 20)
    table = tmp_path / "t.csv"
    frame.to_csv(table, index=False)
    before = table.read_bytes()
    bad = pd.DataFrame({"position": [30, 31, 0, 99], "label": ["up", "Up", "x", "up"]})
    bad.to_csv(tmp_path / "a.csv", index=False)
    arguments = ["merge", table, tmp_path / "a.csv", "--target", "label", "--output", table]
    done = call(*arguments)
    assert done.exit_code == 1 and table.read_bytes() == before and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Answer 2 (position 31): the label 'Up' is new")
    assert "Did you mean 'up'?" in lines[0]
    assert lines[1].startswith("Answer 3 (position 0): the row has the label")
    assert lines[2] == "Answer 4 (position 99): the table has no such row."
    printed = json.loads(call(*arguments, "--json").stdout)
    assert printed["written"] == 0 and printed["problems"] == lines[:3]
    forced = call(*arguments, "--force")
    assert forced.exit_code == 0
    labels = open_table(table).frame(["label"]).label
    assert labels[[0, 30, 31]].tolist() == ["x", "up", "Up"]


def test_answers_go_to_another_file_and_the_table_stays(tmp_path):
    frame, truth = mixed(50, 20)
    frame.to_csv(tmp_path / "t.csv", index=False)
    before = (tmp_path / "t.csv").read_bytes()
    pd.DataFrame({"position": [30, 31], "label": [truth[30], " "]}).to_csv(tmp_path / "a.csv")
    arguments = [tmp_path / "t.csv", tmp_path / "a.csv", "--target", "label", "--output"]
    done = call("merge", *arguments, tmp_path / "new.csv")
    assert done.exit_code == 0 and "1 rows of" in done.stderr
    assert (tmp_path / "t.csv").read_bytes() == before
    assert open_table(tmp_path / "new.csv").frame(["label"]).label.notna().sum() == 21
    refused = call("merge", *arguments, tmp_path / "new.xlsx")
    assert refused.exit_code == 2 and "has the format of the table" in refused.stderr


def test_answers_not_merged_yet_are_not_overwritten(tmp_path):
    frame, truth = mixed(50, 20)
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = ["next", tmp_path / "t.csv", "--target", "label", "-n", 3, *FOREST, "--output"]
    assert call(*arguments, tmp_path / "a.csv").exit_code == 0
    assert call(*arguments, tmp_path / "a.csv").exit_code == 0  # nothing is filled in
    rows = pd.read_csv(tmp_path / "a.csv")
    rows["label"] = truth[rows.position]
    rows.to_csv(tmp_path / "a.csv", index=False)
    kept = (tmp_path / "a.csv").read_bytes()
    done = call(*arguments, tmp_path / "a.csv")
    assert done.exit_code == 2 and "3 answers that the table does not have" in done.stderr
    assert (tmp_path / "a.csv").read_bytes() == kept
    itself = call(*arguments, tmp_path / "t.csv", "--force")
    assert itself.exit_code == 2 and "is the table itself" in itself.stderr
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    other = call(*arguments, tmp_path / "other.csv")
    assert other.exit_code == 2 and "is no file of this command" in other.stderr
    assert call(*arguments, tmp_path / "a.csv", "--force").exit_code == 0
    assert (tmp_path / "a.csv").read_bytes() != kept


def test_pending_files_are_left_out(tmp_path):
    frame, _ = mixed(40, 30)
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = ["next", tmp_path / "t.csv", "--target", "label", *FOREST]
    out = []
    asked = set()
    for name, n in (("a.csv", 3), ("b.xlsx", 3), ("c.csv", 10)):
        done = call(*arguments, "-n", n, "--output", tmp_path / name, "--json", *out)
        assert done.exit_code == 0, done.output
        rows = {row["position"] for row in json.loads(done.stdout)["rows"]}
        assert not rows & asked
        asked |= rows
        out += ["--pending", tmp_path / name]
    assert asked == set(range(30, 40))
    done = call(*arguments, *out)
    assert done.exit_code == 1 and "No row is left" in done.stderr and done.stdout == ""


def rows_of(n, labels=("a", "b"), column="size", values=None):
    """A small table as text, of which the first rows are labelled."""
    values = range(n) if values is None else values
    cells = [f"{v},{labels[i] if i < len(labels) else ''}" for i, v in enumerate(values)]
    return "\n".join([f"{column},label", *cells, ""])


MANY = rows_of(600, [f"v{i}" for i in range(500)])
SPREAD = rows_of(99, [f"{i / 7:.4f}" for i in range(80)])
GOOD = rows_of(9, ["a", "b", "a", "b"])
ID = ["--id", "id"]

# Name -> contents, further arguments, exit code, part of the sentence.
BROKEN = {
    "empty": ("", [], 2, "t.csv is empty."),
    "blank lines": ("\n\n  \n", [], 2, "t.csv is empty."),
    "header only": ("size,label\n", [], 2, "no rows below its header"),
    "one column": ("label\na\nb\n", [], 2, "no column to learn from"),
    "target and id": ("id,label\n1,a\n2,\n", ID, 2, "no column to learn from"),
    "duplicate ids": ("id,size,label\n1,1,a\n1,2,\n", ID, 2, "The id '1' is there twice"),
    "ids alike": ("id,size,label\n1,1,a\n1.0,2,\n", ID, 2, "is there twice"),
    "empty id": ("id,size,label\n1,1,a\n,2,\n", ID, 2, "is empty at position 1"),
    "duplicate names": ("size,size,label\n1,1,a\n", [], 2, "more than one column 'size'"),
    "duplicate targets": ("label,size,label\na,1,a\n", [], 2, "more than one column 'label'"),
    "wrong target": (GOOD, ["--target", "lable"], 2, "Did you mean 'label'?"),
    "wrong id": (GOOD, ["--id", "key"], 2, "no column 'key', to be the id"),
    "target as id": (GOOD, ["--id", "label"], 2, "both the target and the id"),
    "too many cells": (GOOD + "1,a,b\n", [], 2, "line 11 (position 9) has 3 cells"),
    "too few cells": (GOOD + "1\n", [], 2, "has 1 cells, but the header has 2"),
    "open quote": (GOOD + '"1,a\n', [], 2, "line 11: a quotation mark"),
    "stray quote": (GOOD + '"1"0",a\n', [], 2, "line 11: a quotation mark"),
    "binary": (b"\x00\x01\x02size,label\n", [], 2, "null characters"),
    "latin-1": ("größe,label\n1,a\n".encode("latin-1"), [], 2, "byte 0xf6 in line 1"),
    "latin-1, wrong name": (GOOD, ["--encoding", "latin1x"], 2, "no encoding 'latin1x'"),
    "500 values": (MANY, [], 2, "500 different values in 500 labels"),
    "measurements": (SPREAD, [], 2, "80 different values"),
    "empty columns": (rows_of(9, ["a", "b"], values=["NA"] * 9), [], 2, "nothing to learn from"),
    "constant": (rows_of(9, ["a", "b"], values=["x"] * 9), [], 2, "nothing to learn from"),
    "position": ("position,label\n1,a\n2,\n", ["--id", "position"], 2, "cannot be called"),
    "all labelled": (rows_of(2), [], 1, "No row is left to label."),
    "tabs in a csv": (GOOD.replace(",", "\t"), [], 0, ""),
    "BOM": (GOOD.encode("utf-8-sig"), ["--id", "size"], 2, "no column to learn from"),
    "BOM, fine": (("id," + GOOD.replace("\n", "\n1,")[:-2]).encode("utf-8-sig"), [], 0, ""),
    "UTF-16": (GOOD.encode("utf-16"), [], 0, ""),
    "named latin-1": (
        GOOD.replace("size", "größe").encode("latin-1"), ["--encoding", "latin-1"], 0, "",
    ),
    "2 rows": (rows_of(2, ["a"]), [], 0, "All labels so far (1) are of one class, 'a'"),
    "1 row": (rows_of(1, []), [], 2, "nothing to learn from"),
    "no labels": (rows_of(9, []), [], 0, "There are no labels yet"),
    "blank labels": (rows_of(9, ["  ", "NA", "a", "b"]), [], 0, "Only 7 rows are left"),
    "bad dates": (
        rows_of(9, ["a", "b"], "day", ["2024-01-01", "31.02.2024", "soon", "", *"?????"]),
        [], 0, "",
    ),
    "infinite": (
        rows_of(9, ["a", "b"], values=["inf", "-inf", "1e308", "NaN", *"12345"]), [], 0, "",
    ),
    "mixed": (rows_of(9, ["a", "b"], values=["1", "two", "3.5", *"456789"]), [], 0, ""),
    "long text": (rows_of(9, ["a", "b"], values=["x" * 100_000, *"12345678"]), [], 0, ""),
    "other scripts": (rows_of(9, ["猫", "🐕"], "大きさ"), [], 0, ""),
    "empty rows at the end": (GOOD + ",\n,\n", [], 0, ""),
    "no name": ("size,,label\n1,8,a\n2,7,b\n3,6,\n", [], 0, ""),
    "all without a name": (",label\n1,a\n2,\n", [], 2, "no column to learn from"),
    "every row its class": (rows_of(40, [f"c{i}" for i in range(20)]), [], 0, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_tables_get_a_sentence(name, tmp_path, monkeypatch):
    contents, further, code, sentence = BROKEN[name]
    monkeypatch.chdir(tmp_path)
    data = contents if isinstance(contents, bytes) else contents.encode()
    (tmp_path / "t.csv").write_bytes(data)
    arguments = ["--target", "label", "-n", 20, *FOREST, *further]
    done = call("next", "t.csv", *arguments, "--output", "rows.csv")
    assert done.exit_code == code, done.output
    assert sentence in done.stderr
    assert "Traceback" not in done.output and "Warning" not in done.output
    assert (done.stdout == "") == (code != 0)
    assert (tmp_path / "rows.csv").exists() == (code == 0)
    assert (tmp_path / "t.csv").read_bytes() == data
    if code == 2:
        assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("Error: ")


@pytest.mark.parametrize("name", [n for n, case in BROKEN.items() if case[2] == 2])
def test_status_and_merge_of_broken_tables_get_a_sentence_or_work(name, tmp_path, monkeypatch):
    contents, further, _, _ = BROKEN[name]
    monkeypatch.chdir(tmp_path)
    data = contents if isinstance(contents, bytes) else contents.encode()
    (tmp_path / "t.csv").write_bytes(data)
    (tmp_path / "a.csv").write_text("id,position,label\n1,1,a\n")
    arguments = ["--target", "label", *further]
    for done in (
        call("status", "t.csv", *arguments, "--model", "forest"),
        call("merge", "t.csv", "a.csv", *arguments, "--output", "t.csv"),
    ):
        assert done.exit_code in (0, 1, 2)
        assert "Traceback" not in done.output and "should not happen" not in done.output
        if done.exit_code == 2:
            assert done.stderr.startswith("Error: ") and done.stdout == ""


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("no.csv", None, "There is no file no.csv."),
        ("t.json", "{}", "t.json ends in '.json'. Expected .csv"),
        ("t.xls", "x", "Save it as .xlsx"),
        ("t.xlsx", "size,label\n1,a\n", "cannot be read as an Excel workbook"),
        ("t.parquet", "size,label\n1,a\n", "cannot be read as a Parquet file"),
    ],
)
def test_files_that_are_no_tables(name, contents, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if contents is not None:
        (tmp_path / name).write_text(contents)
    for command in (["next", name], ["status", name], ["merge", name, name, "--output", name]):
        done = call(*command, "--target", "label")
        assert done.exit_code == 2 and message in done.stderr and done.stdout == ""


def test_an_empty_workbook_and_a_folder(tmp_path):
    write_frame(pd.DataFrame(), tmp_path / "t.xlsx")
    (tmp_path / "d.csv").mkdir()
    for name, message in (("t.xlsx", "nothing on its first sheet"), ("d.csv", "is no file")):
        done = call("next", tmp_path / name, "--target", "label")
        assert done.exit_code == 2 and message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "best"], "no strategy 'best'"),
        (["--strategy", "coreset"], "RandomForestClassifier has no network"),
        (["-n", "0"], "0 is not in the range"),
        (["--pending", "t.csv"], "t.csv has no column 'position'"),
        (["--output", "no/rows.csv"], "There is no folder no"),
        (["--output", "rows.doc"], "rows.doc ends in '.doc'"),
    ],
)
def test_mistakes_in_the_command_get_a_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(GOOD)
    done = call("next", "t.csv", "--target", "label", *FOREST, *arguments)
    assert done.exit_code == 2 and message in done.stderr and done.stdout == ""


def test_debug_shows_the_traceback_also_of_ones_own_faults(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(GOOD)
    monkeypatch.setattr("modal_balance.files.open_table", lambda *arguments: {}["gone"])
    arguments = ["next", tmp_path / "t.csv", "--target", "label"]
    done = call(*arguments)
    assert done.exit_code == 1 and "should not happen" in done.stderr
    assert isinstance(call(*arguments, "--debug").exception, KeyError)


def test_help_needs_none_of_the_heavy_libraries():
    code = "import sys; from modal_balance.commands import main\ntry: main(['next', '--help'])\n"
    code += "finally: print({'torch', 'sklearn', 'pandas', 'modAL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout and done.stdout.endswith("set()\n")


def test_merging_needs_no_torch(tmp_path):
    (tmp_path / "t.csv").write_text(GOOD)
    (tmp_path / "a.csv").write_text("position,label\n5,a\n")
    code = "import sys; from modal_balance.commands import main\n"
    code += "try: main(['merge', 't.csv', 'a.csv', '--target', 'label', '--output', 't.csv'])\n"
    code += "finally: print({'torch', 'sklearn'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 labels written to t.csv: a 1\nset()\n"


def test_the_names_of_the_models_are_those_of_the_table():
    assert tuple(MODELS) == MODEL_NAMES
