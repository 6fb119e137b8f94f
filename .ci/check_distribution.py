"""Check what is in a wheel and an sdist: python .ci/check_distribution.py FILE FILE."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = {str(path.relative_to(ROOT)) for path in ROOT.glob("modal_balance/**/*.py")}
OF_THE_SDIST = {
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "conftest.py",
    "docs/conf.py",
    "docs/toy.png",
    "examples/GALLERY_HEADER.rst",
    "examples/notebook.ipynb",
    "examples/plot_quickstart.py",
    "pyproject.toml",
    "tests/conftest.py",
    "tests/test_readme.py",
}
MEGABYTES = 4


def names_of(path: Path) -> set[str]:
    """Return the names of the files in a distribution, of an sdist without its top folder."""
    if path.suffix == ".whl":
        return set(zipfile.ZipFile(path).namelist())
    with tarfile.open(path) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    return {name.partition("/")[2] for name in files}


def faults(path: Path) -> list[str]:
    """Return what is wrong with a distribution."""
    names = names_of(path)
    needed = SOURCES | {"modal_balance/py.typed"}
    if path.suffix == ".whl":
        strange = {n for n in names if not n.startswith(("modal_balance/", "modal_balance-"))}
        metadata = {n.partition("/")[2] for n in names if ".dist-info/" in n}
        missing = (needed - names) | ({"entry_points.txt", "licenses/LICENSE"} - metadata)
    else:
        needed |= OF_THE_SDIST
        strange = {n for n in names if n.startswith(("docs/_build", "docs/auto_examples", ".git/"))}
        missing = needed - names
    found = [f"{name} is missing" for name in sorted(missing)]
    found += [f"{name} does not belong there" for name in sorted(strange)]
    if (size := path.stat().st_size / 1e6) > MEGABYTES:
        found.append(f"it has {size:.1f} MB, more than {MEGABYTES}")
    return [f"{path.name}: {fault}" for fault in found]


def main() -> None:
    """Check a wheel and an sdist, or exit with what is wrong."""
    paths = [Path(argument) for argument in sys.argv[1:]]
    kinds = sorted("wheel" if path.suffix == ".whl" else "sdist" for path in paths)
    if kinds != ["sdist", "wheel"]:
        sys.exit(f"expected a wheel and an sdist, got {kinds}")
    if found := [fault for path in paths for fault in faults(path)]:
        sys.exit("\n".join(found))
    print(f"{len(SOURCES)} modules in the wheel and the sdist, and what belongs beside them")


if __name__ == "__main__":
    main()
