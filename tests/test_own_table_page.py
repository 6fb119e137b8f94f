"""What the page on one's own table shows runs, in the order in which it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("skrub")

from modal_balance.commands import main

PAGE = Path(__file__).parent.parent / "docs" / "own_table.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the tests run without the documentation")
def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(bash|python|text)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    *others, (_, made) = blocks
    names: dict[str, object] = {}
    exec(made, names)
    shown = iter([text for kind, text in others if kind == "text"])
    assert (tmp_path / "wines.csv").read_text().startswith(next(shown))
    n_commands = 0
    for kind, block in others:
        if kind == "python":
            exec(block, names)
        for line in block.splitlines() if kind == "bash" else []:
            command, *arguments = shlex.split(line)
            if command != "modal-balance":
                continue
            if arguments[0] == "merge" and "more.csv" not in arguments:
                names["answer"](arguments[2])
            # The page leaves the merges of rounds 2 to 4 to the reader.
            if arguments[0] == "next" and arguments[-1] == "round3.csv":
                merge(names["answer"], "round2.csv")
            if arguments[0] == "status":
                merge(names["answer"], "round3.csv")
                merge(names["answer"], "round4.csv")
                arguments += ["--model", "forest"]
            done = run(*arguments)
            n_commands += 1
            assert done.exit_code == (1 if "more.csv" in arguments else 0), done.output
    assert n_commands == 7
    assert names["frame"]["cultivar"].notna().sum() == 23 + 6


def run(*arguments):
    """Run a command; which classes turn up first is chance, so new ones are taken."""
    force = ["--force"] if arguments[0] == "merge" and "more.csv" not in arguments else []
    return CliRunner().invoke(main, [*arguments, *force])


def merge(answer, path):
    answer(path)
    options = ["--target", "cultivar", "--id", "bottle", "--output", "wines.csv"]
    merged = run("merge", "wines.csv", path, *options)
    assert merged.exit_code == 0, merged.output
