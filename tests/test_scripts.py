"""The scripts behind the numbers of the documentation still start."""

import runpy
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
SCRIPTS = sorted(p for folder in ("evidence", "studies") for p in (DOCS / folder).rglob("*.py"))


def test_every_script_can_be_imported(monkeypatch):
    optional = {"matplotlib", "modAL", "pandas", "skactiveml"}
    assert SCRIPTS
    for script in SCRIPTS:
        before = set(sys.modules)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(script.parent))
            try:
                runpy.run_path(str(script), run_name="imported")
            except ModuleNotFoundError as error:
                if error.name.split(".")[0] not in optional:
                    raise
        # Scripts of two folders may share a name.
        for name in set(sys.modules) - before:
            if DOCS in Path(getattr(sys.modules[name], "__file__", None) or "").parents:
                del sys.modules[name]
