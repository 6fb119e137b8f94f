"""The notebook among the examples runs from its first cell to its last."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="a copy of the tests without the examples")
def test_the_notebook_runs(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel chooses: pictures are output
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = [len(cell.get("outputs", [])) for cell in notebook.cells]
    n_rounds = "n_rounds=8"
    assert sum(n_rounds in cell.source for cell in notebook.cells) == 1
    for cell in notebook.cells:
        cell.source = cell.source.replace(n_rounds, "n_rounds=1")
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
    assert any(shown), "the notebook is committed without what it shows"
