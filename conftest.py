"""Examples in docstrings that cannot run, because they need a package that is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("laplace") else ["modal_balance/estimators/laplace.py"]
