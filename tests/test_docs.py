"""The code on the pages of the site runs, page by page, and every public name has a page."""

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("modAL")
pytest.importorskip("pandas")
pytestmark = pytest.mark.modal

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
PAGES = {
    str(path.relative_to(DOCS)): blocks
    for path in sorted(DOCS.rglob("*.md"))
    if "_build" not in path.parts and (blocks := BLOCK.findall(path.read_text("utf-8")))
}


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page):
    names: dict[str, object] = {"__name__": "__page__"}
    for block in PAGES[page]:
        exec(block, names)


def documented():
    """Yield the full names that the API pages list."""
    module = ""
    for line in (DOCS / "api" / "index.rst").read_text("utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            yield f"{module}.{line.strip()}"


ROOMS = ["", ".acquisition", ".equivalence", ".estimators", ".hypotheses", ".strategies"]
ROOMS += [".datasets", ".networks", ".simulation", ".simulation.results", ".stopping"]


@pytest.mark.skipif(not DOCS.exists(), reason="a copy of the tests without the pages")
def test_every_public_name_is_on_the_api_pages():
    listed = list(documented())
    assert len(listed) == len(set(listed)) > 80
    things = [
        getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
        for name in listed
    ]
    for room in ROOMS:
        module = importlib.import_module("modal_balance" + room)
        public = {name: getattr(module, name) for name in module.__all__}
        left_out = {name for name, thing in public.items() if callable(thing)}
        left_out -= {name for name, thing in public.items() if any(thing is t for t in things)}
        assert not left_out, room
