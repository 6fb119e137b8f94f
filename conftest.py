"""Examples in docstrings that cannot run, because they need a package that is not installed."""

from importlib.util import find_spec

NEEDS = {
    "laplace": ["estimators/laplace.py"],
    "skrub": ["table/choosing.py", "table/preparation.py", "table/status.py"],
}

collect_ignore = [
    f"modal_balance/{module}"
    for package, modules in NEEDS.items()
    if not find_spec(package)
    for module in modules
]
