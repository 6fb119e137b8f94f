"""Replace files atomically."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path whose content replaces a file atomically at the end of the block.

    The temporary file is in the same folder, and replaces the old file once it is on the disk. For
    a symbolic link the file it points to is replaced; permissions are kept. After an error the old
    file is unchanged. A process that is killed leaves the old file, and possibly a file
    ".NAME.*.part" beside it.

    The file at ``path`` need not exist. Raise OSError if it cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance._utils.atomic import replacing
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.txt")
    >>> with replacing(path) as new:
    ...     _ = new.write_text("new")
    >>> path.read_text()
    'new'
    """
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {real.parent} to write {real.name} to.")
    if real.exists() and not real.is_file():
        raise OSError(f"{path} is not a regular file, so it is not replaced.")
    if real.exists() and not os.access(real, os.W_OK):
        raise PermissionError(f"{path} is write-protected.")  # replacing it would ignore that
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", suffix=".part", dir=real.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if real.exists():
            with contextlib.suppress(OSError, AttributeError):  # needs root
                os.chown(temporary, real.stat().st_uid, real.stat().st_gid)
            shutil.copymode(real, temporary)
        else:
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)  # a temporary file is private to its owner
        os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    with contextlib.suppress(OSError):  # the new name must survive a power failure as well
        folder = os.open(real.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
