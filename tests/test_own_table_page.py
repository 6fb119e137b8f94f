"""What the pages on tables show runs, in the order in which it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from sklearn.ensemble import RandomForestClassifier
from toy import quick

pytest.importorskip("skrub")
pytest.importorskip("matplotlib")

from modal_balance.table.choices import MODELS
from modal_balance.table.commands import main

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("own_table.md", "tables.md")
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)


@pytest.mark.skipif(not DOCS.exists(), reason="the tests run without the documentation")
def test_the_commands_of_the_pages_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What is tried here is not how they learn.
    monkeypatch.setitem(MODELS, "forest", lambda: RandomForestClassifier(5, oob_score=True))
    monkeypatch.setitem(MODELS, "network-and-trees", quick)
    pages = [BLOCK.findall((DOCS / name).read_text("utf-8")) for name in PAGES]
    *others, (_, made) = [block for page in pages for block in page]
    names: dict[str, object] = {}
    exec(made, names)
    table = (tmp_path / "wines.csv").read_bytes()
    commands = []
    for kind, block in others:
        if kind == "python":
            exec(block, names)
        for line in block.splitlines() if kind == "bash" else []:
            program, *arguments = shlex.split(line)
            if program != "modal-balance":
                continue
            done = CliRunner().invoke(main, arguments)
            assert done.exit_code == 0, done.output
            commands.append(arguments[0])
            if arguments[0] == "next" and "--pending" not in arguments:
                names["answer"](arguments[-1])
    assert commands == ["next", "next", "status", "merge", "next", "simulate", "report"]
    assert (tmp_path / "wines.csv").read_bytes() == table
    assert names["frame"]["cultivar"].notna().sum() == 12 + 6
