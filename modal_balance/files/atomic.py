"""Files replaced as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that at any moment it is either the old one or the new one.

    The data go to a temporary file in the same folder, which takes the old one's place once it is
    on the disk. A symbolic link stays one, and its file is replaced; permissions stay. A process
    that is killed on the way leaves the old file, and perhaps a file ".NAME.*.part" beside it.

    Parameters
    ----------
    path : path
        The file, which need not exist.
    data : bytes
        Its new contents.

    Raises
    ------
    OSError
        If it cannot be written. The old file is then as it was.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from modal_balance.files.atomic import write_atomically
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.txt")
    >>> write_atomically(path, b"new")
    >>> path.read_bytes()
    b'new'
    """
    real = Path(os.path.realpath(path))
    if real.exists() and not os.access(real, os.W_OK):
        raise PermissionError(f"{path} is not to be written to.")  # which replacing it would ignore
    descriptor, temporary = tempfile.mkstemp(
        prefix=f".{real.name}.", suffix=".part", dir=real.parent
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if real.exists():
            with contextlib.suppress(OSError, AttributeError):  # only root may, and not everywhere
                os.chown(temporary, real.stat().st_uid, real.stat().st_gid)
            shutil.copymode(real, temporary)
        else:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)  # a temporary file is its owner's alone
        os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # the new name, too, is to survive a loss of power
        folder = os.open(real.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
