"""The code on the pages of the site runs, page by page."""

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
