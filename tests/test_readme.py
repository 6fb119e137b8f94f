"""What the README shows runs."""

import re
from pathlib import Path

import pytest

pytest.importorskip("modAL")
pytestmark = pytest.mark.modal

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_code_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert 50 + 5 * 10 < len(names["learner"].y_training) <= 200 + 20
    assert len(set(names["indices"])) == 10
