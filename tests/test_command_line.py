import os
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_iris

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from modal_balance.commands import main  # noqa: E402
from modal_balance.simulation.report import write_report  # noqa: E402
from modal_balance.simulation.results import read_results  # noqa: E402

QUICK = [
    "--estimator",
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


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "r.jsonl"
    for data in ("iris", "wine"):
        done = call("simulate", "--data", data, "--results", path, *QUICK)
        assert done.exit_code == 0, done.output
    return path


def test_a_simulation_of_ones_own_table(tmp_path):
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


def test_a_report_has_tables_pictures_and_a_page(results, tmp_path):
    done = call("report", results, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    sentences = done.stdout.splitlines()
    assert len(sentences) == 3 and sentences[0].startswith("iris, forest: ")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"index.html", "learning_curves.png", "ranks.png", "areas.png"} <= names
    assert {"mean_over_the_curve.md", "against_margin.md", "labels_needed.md"} <= names
    table = (tmp_path / "out" / "mean_over_the_curve.md").read_text()
    areas = read_results(results).query("strategy == 'balance' and dataset == 'iris'")
    assert "| iris | forest | balance |" in table and len(areas) == 4

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
    page.feed((tmp_path / "out" / "index.html").read_text())
    assert page.images == 3 and page.open == []


def test_names_in_a_report_are_escaped(results, tmp_path):
    frame = read_results(results).replace({"dataset": {"iris": "<script>x</script>"}})
    page = write_report(frame, tmp_path).read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_report_on_one_strategy(results, tmp_path):
    frame = read_results(results).query("strategy == 'random'")
    assert write_report(frame, tmp_path).exists()
    with pytest.raises(ValueError, match="no rounds"):
        write_report(frame[:0], tmp_path)


def test_a_simulation_that_begins_without_labels(tmp_path):
    path = tmp_path / "r.jsonl"
    call("simulate", "--data", "iris", "--results", path, "--initial", "0", "--strategy", "margin",
         "--seeds", "1", "--batch", "9", "--budget", "18")  # fmt: skip
    assert read_results(path).n_labelled.tolist() == [0, 9, 18]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "--data", "irs", "--results", "r"], "'irs' is neither a file"),
        (["simulate", "--data", "no.csv", "--results", "r"], "no.csv is no file"),
        (
            ["simulate", "--data", "iris", "--strategy", "best", "--results", "r"],
            "no strategy 'best'",
        ),
        (["simulate", "--data", "iris", "--initial", "60", "--results", "r"], "n_initial=60 rows"),
        (
            ["simulate", "--data", "iris", "--estimator", "forest", "--initial", "0", "--results"]
            + ["r"],
            "cannot begin without labels",
        ),
        (["simulate", "--data", "iris", "--seeds", "0", "--results", "r"], "0 is not in the range"),
        (["simulate", "--data", "iris"], "Missing option '--results'"),
        (["simulate", "--data", "cinic10", "--results", "r"], "Get it from https"),
        (["report", "no.jsonl", "--output", "out"], "No such file"),
        (["report", "--output", "out"], "Missing argument"),
    ],
)
def test_mistakes_get_a_sentence_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
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


def test_it_runs_as_a_module(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "modal_balance", "simulate", "--data", "iris", "--quiet",
         "--strategy", "random", "--results", "r.jsonl", *QUICK],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "random" in done.stdout and done.stderr.startswith("scikit-learn")
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 4
