"""The notebook among the examples runs from its first cell to its last."""

import json
from pathlib import Path

import pytest

from modal_balance import MCDropoutClassifier

plt = pytest.importorskip("matplotlib.pyplot")

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="a copy of the tests without the examples")
def test_the_notebook_runs(monkeypatch):
    # Fewer steps of training: what is tried here is not how well a network learns.
    monkeypatch.setitem(MCDropoutClassifier.__init__.__kwdefaults__, "n_steps", 20)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert any(cell.get("outputs") for cell in cells), "committed without what it shows"
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    n_rounds = "n_rounds=8"
    assert sum(n_rounds in source for source in code) == 1
    names: dict[str, object] = {"__name__": "__main__"}
    plt.close("all")
    try:
        for source in code:
            exec(source.replace(n_rounds, "n_rounds=1"), names)
        assert len(plt.get_fignums()) == 2
    finally:
        plt.close("all")
