"""What the README shows runs, and what it points to exists."""

import re
from pathlib import Path

import pytest

import modal_balance

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.modal
def test_the_code_of_the_readme_runs():
    pytest.importorskip("modAL")
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert len(names["learner"].y_training) == 50 + 5 * 10


def test_files_that_the_readme_points_to_exist():
    if not (ROOT / "docs").exists():
        pytest.skip("a copy of the README without the files around it")
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(targets) > 20
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_the_version_to_cite_is_the_version():
    citation = ROOT / "CITATION.cff"
    if not citation.exists():
        pytest.skip("a copy of the README without the files around it")
    cited = re.search(r"^version: (\S+)$", citation.read_text("utf-8"), flags=re.MULTILINE)
    assert cited is not None and cited[1] == modal_balance.__version__
