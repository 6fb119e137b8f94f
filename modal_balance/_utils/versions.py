"""Print the versions of the package and its dependencies, for bug reports."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

__version__ = "0.1.0"

DEPENDENCIES = (
    "torch",
    "scikit-learn",
    "skorch",
    "modAL-python",
    "numpy",
    "scipy",
    "joblib",
    "cloudpickle",
    "click",
    "threadpoolctl",
    "tqdm",
    "pandas",
    "matplotlib",
    "laplace-torch",
)


def show_versions() -> None:
    """Print the versions of the system, Python, this package and its dependencies.

    Examples
    --------
    >>> import modal_balance
    >>> modal_balance.show_versions()  # doctest: +ELLIPSIS
    <BLANKLINE>
    System:
    ...
    """
    system = {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "machine": platform.platform(),
    }
    packages = {"modal_balance": __version__} | {name: _installed(name) for name in DEPENDENCIES}
    compute = {
        "threads": str(torch.get_num_threads()),
        "CUDA": torch.cuda.get_device_name() if torch.cuda.is_available() else "not available",
    }
    sections = {"System": system, "Packages": packages, "torch": compute}
    for title, lines in sections.items():
        print(f"\n{title}:")
        for name, value in lines.items():
            print(f"{name:>15}: {value}")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
