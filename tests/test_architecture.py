"""Imports within the package follow the arrows in docs/architecture.md."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import modal_balance

ROOT = Path(modal_balance.__file__).parent
# Parts that all others may import. They import only each other.
LEAVES = {"_utils", "exceptions"}
# Part, a folder or a module at the top -> what it may import, besides the leaves and itself.
MAY_IMPORT: dict[str, set[str]] = {leaf: set() for leaf in LEAVES} | {
    "acquisition": set(),
    "equivalence": set(),
    "hypotheses": {"acquisition"},
    "estimators": {"hypotheses"},
    "pools": {"acquisition"},
    "strategies": {"acquisition", "equivalence", "hypotheses", "pools"},
    "reference": {"acquisition", "equivalence"},
    "simulation": {"acquisition", "estimators", "hypotheses", "strategies"},
    "table": {"estimators", "hypotheses", "simulation", "strategies"},
    "__main__": {"table"},
    "stopping": {"strategies"},
}


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in ROOT.rglob("*.py")}


def imports_of(module):
    """Yield the modules of the package that a module imports, as dotted names below the package."""
    path = MODULES[module]
    folder = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(name.name.split(".")[0] == "modal_balance" for name in node.names)
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            assert not isinstance(node, ast.ImportFrom) or node.module != "modal_balance"
            continue
        base = folder[: len(folder) - node.level + 1]
        source = ".".join([*base, *filter(None, [node.module])])
        if source in MODULES and MODULES[source].name != "__init__.py":
            yield source
        else:
            for name in node.names:
                inner = f"{source}.{name.name}".strip(".")
                yield inner if inner in MODULES else source


def part_of(module):
    return module.split(".")[0]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {""}))
def test_a_module_imports_only_what_its_part_may_import(module):
    part = part_of(module)
    assert part in MAY_IMPORT, f"{part} is new: say in MAY_IMPORT what it may import"
    allowed = MAY_IMPORT[part] | LEAVES | {part}
    forbidden = {other for other in imports_of(module) if part_of(other) not in allowed}
    assert not forbidden


def test_the_imports_make_no_circle():
    # An __init__ re-exports the names of its folder; modules of the folder must not import from it.
    graph = {
        module: {other for other in imports_of(module) if other != module}
        for module, path in MODULES.items()
        if path.name != "__init__.py"
    }
    TopologicalSorter(graph).prepare()


def test_every_permission_is_used():
    used = {part_of(module): set() for module in MODULES.keys() - {""}}
    for module in MODULES.keys() - {""}:
        used[part_of(module)] |= {part_of(other) for other in imports_of(module) if other}
    assert {part: others - LEAVES - {part} for part, others in used.items()} == MAY_IMPORT


def test_the_core_knows_no_estimators_and_no_modal():
    for module, path in MODULES.items():
        if part_of(module) in ("acquisition", "equivalence"):
            tree = ast.walk(ast.parse(path.read_text()))
            names = {node.module for node in tree if isinstance(node, ast.ImportFrom)}
            assert not {str(name).split(".")[0] for name in names} & {"skorch", "modAL"}
