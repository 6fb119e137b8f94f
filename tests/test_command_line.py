import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from modal_balance.simulation.report import verdicts, write_report  # noqa: E402
from modal_balance.simulation.results import (  # noqa: E402
    normalised_areas,
    pairwise,
    read_results,
)
from modal_balance.table.choices import MODELS  # noqa: E402
from modal_balance.table.commands import main  # noqa: E402

QUICK = [
    "--model",
    "forest",
    "--seeds",
    "2",
    "--batch",
    "5",
    "--budget",
    "14",
    "--initial",
    "3",
]


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def small_forest():
    """Fit five trees where the command fits 100: what is tried here is not how they learn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "forest", lambda: RandomForestClassifier(5, oob_score=True))
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory, small_forest):
    path = tmp_path_factory.mktemp("results") / "r.jsonl"
    for data in ("iris", "wine"):
        done = call("simulate", "--data", data, "--results", path, *QUICK)
        assert done.exit_code == 0, done.output
    return path


def test_a_simulation_of_a_users_table(tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.assign(kind=np.array(["a", "b", "c"])[y]).to_csv(tmp_path / "mine.csv", index=False)
    path = tmp_path / "r.jsonl"
    arguments = ["--data", tmp_path / "mine.csv", "--target", "kind", "--results", path, *QUICK]
    arguments += ["--strategy", "margin", "--strategy", "power-bald"]
    done = call("simulate", *arguments)
    assert done.exit_code == 0, done.output
    frame = read_results(path)
    assert set(frame.strategy) == {"margin", "power-bald"} and set(frame.dataset) == {"mine"}
    assert frame.groupby(["strategy", "seed"]).n_labelled.max().tolist() == [14] * 4
    means = done.stdout.splitlines()
    assert means[0] == "Mean accuracy over the learning curve:" and len(means) == 3
    before = path.read_bytes()
    assert call("simulate", *arguments).stdout == done.stdout  # nothing is left to run
    assert path.read_bytes() == before


def test_a_table_as_next_takes_it_is_simulated(tmp_path):
    rng = np.random.default_rng(0)
    size = rng.normal(size=60).round(2)
    frame = pd.DataFrame(
        {
            "id": [f"{i:03}" for i in range(60)],
            "size": [f"{v}".replace(".", ",") for v in size],
            "colour": rng.choice(["red", "blue", ""], 60),
            "day": pd.date_range("2024", periods=60).astype(str),
            "kind": np.where(size > 0, "gro\u00df", "klein"),
        }
    )
    answers = frame.loc[40:49, ["id", "kind"]]
    frame.loc[40:, "kind"] = ""
    frame.loc[55, "kind"] = "?"
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", encoding="cp1252")
    answers.to_csv(tmp_path / "a.csv", index=False)
    done = call("simulate", "--data", tmp_path / "t.csv", "--target", "kind", "--id", "id",
                "--encoding", "cp1252", "--answers", tmp_path / "a.csv", "--strategy", "margin",
                "--strategy", "balance", "--strategy", "balance_margin", *QUICK, "--quiet",
                "--results", tmp_path / "r.jsonl")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "10 row(s) without a label are left out" in done.stderr
    assert "t.csv: 50 rows, 2 classes" in done.stderr
    assert set(read_results(tmp_path / "r.jsonl").strategy) == {
        "margin",
        "balance",
        "balance_margin",
    }


@pytest.mark.parametrize("content", ["one long line of notes, no newline", "a\nb\n", '{"a": 1}\n'])
def test_a_file_without_results_is_refused_and_unchanged(content, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    done = call("simulate", "--data", "iris", "--results", path, *QUICK, "--quiet")
    assert done.exit_code == 2 and "is not a results file" in done.stderr
    assert path.read_text() == content


def test_results_never_replace_the_data_and_a_missing_folder_is_an_early_error(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,label\n" + "".join(f"{k},{'xy'[k % 2]}\n" for k in range(20)) + "9,x")
    before = table.read_bytes()
    for results, message in ((table, "is the data"), (tmp_path / "no" / "r", "There is no folder"),
                             (tmp_path, "cannot be written to")):  # fmt: skip
        done = call("simulate", "--data", table, "--results", results, *QUICK)
        assert done.exit_code == 2 and message in done.stderr and "runs" not in done.stderr
    assert table.read_bytes() == before


def test_a_report_has_tables_pictures_and_a_page(results, tmp_path):
    done = call("report", results, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    sentences = done.stdout.splitlines()
    assert len(sentences) == 3 and sentences[0].startswith("iris, forest: ")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"index.html", "learning_curves.png", "ranks.png", "areas.png"} <= names
    assert {"mean_over_the_curve.md", "against_the_baseline.md", "labels_needed.md"} <= names
    table = (tmp_path / "out" / "mean_over_the_curve.md").read_text()
    areas = read_results(results).query("strategy == 'balance-margin' and dataset == 'iris'")
    assert "| iris | forest | balance-margin |" in table and len(areas) == 4

    class Page(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.images = [], 0

        def handle_starttag(self, tag, attrs):
            if tag == "img":
                self.images += 1
                assert dict(attrs)["src"].startswith("data:image/png;base64,")
            elif tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    page = Page()
    page.feed((tmp_path / "out" / "index.html").read_text("utf-8"))
    assert page.images == 3 and page.open == []


def test_the_report_explains_its_terms(results, tmp_path):
    page = write_report(read_results(results), tmp_path).read_text("utf-8")
    for word in ("nll", "ece", "p_holm", "reached", "labels", "mean rank"):
        assert f"<dt>{word}</dt><dd>" in page, word
    needed = (tmp_path / "labels_needed.md").read_text("utf-8")
    assert "* reached: Share of the runs" in needed and "never reach it" in needed


def test_the_headline_says_what_the_table_says(results):
    frame = read_results(results)
    # A strategy that was run on one seed only, an easy one.
    lucky = frame.query("strategy == 'random' and seed == 1 and dataset == 'iris'")
    lucky = lucky.assign(strategy="lucky", accuracy=lucky.accuracy - 0.01)
    frame = pd.concat([frame, lucky], ignore_index=True)
    areas = normalised_areas(frame)
    table = pairwise(areas, "random").query("dataset == 'iris'").set_index("strategy").difference
    headline = verdicts(frame, "random")[0]
    best = table.idxmax() if table.max() > 0 else "random"
    mean = areas.groupby(["dataset", "strategy"]).mean()["iris", best]
    assert headline.startswith(f"iris, forest: {best} leads with {mean:.3f}")
    if best != "random":
        assert f"{table.max():+.3f} against random" in headline


NAMES = ["<script>x</script>", "a/b|c", "$$x_{$", "é", "_y"]


def test_names_of_all_kinds_are_safe_in_a_report_in_any_locale(results, tmp_path):
    frame = read_results(results)
    strategies = sorted(frame.strategy.unique())
    names = dict(zip(strategies, NAMES, strict=False)) | {"margin": "a/b|c"}
    frame = frame.replace({"strategy": names, "dataset": {"iris": "<b>/$|é"}})
    lines = [json.dumps(row) for row in frame.replace({np.nan: None}).to_dict("records")]
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "modal_balance", "report", "r.jsonl", "--output", "out",
         "--baseline", "a/b|c"],
        cwd=tmp_path, env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}, capture_output=True,
        text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    page = (out / "index.html").read_text("utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>" not in page
    for path in out.glob("*.md"):
        table = [line for line in path.read_text("utf-8").splitlines() if line.startswith("| ")]
        bars = {re.sub(r"\\.", "", line).count("|") for line in table}
        assert len(bars) == 1 and not any("<b>" in line for line in table)
    assert all(path.parent == out for path in out.rglob("*"))


def test_a_report_on_one_strategy(results, tmp_path):
    frame = read_results(results).query("strategy == 'random'")
    assert write_report(frame, tmp_path).exists()
    with pytest.raises(ValueError, match="no rounds"):
        write_report(frame[:0], tmp_path)


def test_a_simulation_that_begins_without_labels(tmp_path):
    path = tmp_path / "r.jsonl"
    arguments = ["--initial", 0, "--strategy", "margin", "--model", "forest", "--seeds", 1]
    arguments += ["--batch", 9, "--budget", 18, "--results", path]
    done = call("simulate", "--data", "iris", *arguments)
    assert done.exit_code == 0, done.output
    assert read_results(path).n_labelled.tolist() == [0, 9, 18]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "--data", "irs", "--results", "r"], "'irs' is neither a file"),
        (["simulate", "--data", "no.csv", "--results", "r"], "There is no file no.csv"),
        (
            ["simulate", "--data", "iris", "--strategy", "best", "--results", "r"],
            "no strategy 'best'",
        ),
        (["simulate", "--data", "iris", "--initial", "60", "--results", "r"], "n_initial=60 rows"),
        (["simulate", "--data", "iris", "--seeds", "0", "--results", "r"], "0 is not in the range"),
        (["simulate", "--data", "iris"], "Missing option '--results'"),
        (["simulate", "--data", "cinic10", "--results", "r"], "Get it from https"),
        (["report", "no.jsonl", "--output", "out"], "No such file"),
        (["report", "--output", "out"], "Missing argument"),
    ],
)
def test_user_errors_are_one_sentence_with_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.output and "Traceback" not in done.output
    assert done.stdout == ""


def test_debug_shows_the_traceback():
    done = call("simulate", "--data", "irs", "--results", "r", "--debug")
    assert isinstance(done.exception, ValueError)


def test_other_settings_are_refused(results):
    done = call("simulate", "--data", "iris", "--results", results, *QUICK, "--batch", "6")
    assert done.exit_code == 2 and "other settings" in done.output
