"""The code on the pages of the site runs, page by page, and every public name has a page."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from toy import fast_classifier

from modal_balance import MCDropoutClassifier

pytest.importorskip("modAL")
pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.modal

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
PAGES = {
    str(path.relative_to(DOCS)): blocks
    for path in sorted(DOCS.rglob("*.md"))
    if "_build" not in path.parts and (blocks := BLOCK.findall(path.read_text("utf-8")))
}
# Pages whose code is about files, or a cluster, that are there.
ABOUT_FILES = {"large_pools.md", "own_table.md", "tables.md"}


@pytest.mark.parametrize("page", sorted(PAGES.keys() - ABOUT_FILES))
def test_the_code_of_a_page_runs(page, monkeypatch):
    # Fewer steps of training: what is tried here is not how well a network learns.
    monkeypatch.setitem(MCDropoutClassifier.__init__.__kwdefaults__, "n_steps", 20)
    names: dict[str, object] = {"__name__": "__page__"}
    for block in PAGES[page]:
        exec(block, names)


@pytest.mark.skipif(not PAGES, reason="a copy of the tests without the pages")
def test_the_code_of_the_page_on_large_pools_runs(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    in_files, in_processes, on_a_cluster = PAGES["large_pools.md"]
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    np.save(tmp_path / "pool.npy", X)
    folder = tmp_path / "folder" / "of" / "parquet"
    folder.mkdir(parents=True)
    parquet.write_table(pyarrow.table(pd.DataFrame(X)), folder / "part.parquet")
    monkeypatch.chdir(tmp_path)
    names = {"classifier": fast_classifier().fit(X[:40], (X[:40, 0] > 0).astype(int))}
    exec(in_files, names)
    exec(in_processes, names)
    assert names["indices"].shape == names["scores"].shape == (100,)
    compile(on_a_cluster, "large_pools.md", "exec")


def documented():
    """Yield the full names that the API pages list."""
    module = ""
    for line in (DOCS / "api" / "index.rst").read_text("utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            yield f"{module}.{line.strip()}"


PACKAGES = ["", ".acquisition", ".equivalence", ".estimators", ".hypotheses", ".strategies"]
PACKAGES += [".simulation", ".simulation.datasets", ".simulation.networks", ".simulation.results"]
PACKAGES += [".stopping", ".table"]


@pytest.mark.skipif(not DOCS.exists(), reason="a copy of the tests without the pages")
def test_every_public_name_is_on_the_api_pages():
    listed = list(documented())
    assert len(listed) == len(set(listed)) > 80
    things = [
        getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
        for name in listed
    ]
    for package in PACKAGES:
        module = importlib.import_module("modal_balance" + package)
        public = {name: getattr(module, name) for name in module.__all__}
        left_out = {name for name, thing in public.items() if callable(thing)}
        left_out -= {name for name, thing in public.items() if any(thing is t for t in things)}
        assert not left_out, package
