import re
from importlib.metadata import requires, version

import modal_balance
from modal_balance._utils.versions import DEPENDENCIES


def test_the_version_stands_in_one_place():
    assert modal_balance.__version__ == version("modal-balance")


def test_versions_are_shown_for_a_bug_report(capsys):
    modal_balance.show_versions()
    lines = {line.strip() for line in capsys.readouterr().out.splitlines()}
    for name in ("torch", "scikit-learn", "skorch", "numpy"):
        assert f"{name}: {version(name)}" in lines
    assert f"modal_balance: {modal_balance.__version__}" in lines


def test_every_dependency_is_shown():
    needed = [line for line in requires("modal-balance") if "extra ==" not in line]
    names = {re.match(r"[\w-]+", line)[0] for line in needed}
    assert len(names) > 5 and names <= set(DEPENDENCIES)
