"""Reading what a followed folder holds, and nothing else: links out of it, pipes and devices are as if they were not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def real(folder: Path, name: str) -> Path:
    """Where something lies that lies inside a folder really.

    Raises:
        OSError: it does not, or is not there.
    """
    path = Path(os.path.realpath(folder / name, strict=True))  # Path.resolve says of a circle of links that it is no OSError
    if not path.is_relative_to(os.path.realpath(folder, strict=True)):
        raise FileNotFoundError(f"{name} leads out of its folder")
    return path


def opened(folder: Path, name: str) -> BinaryIO:
    """A file of a folder, to be read.

    Raises:
        OSError: it is not there, leads out of the folder, or is no regular file; a pipe is not waited for.
    """
    flags = [getattr(os, flag, 0) for flag in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY", "O_CLOEXEC")]  # those that the system has
    descriptor = os.open(real(folder, name), os.O_RDONLY | sum(flags))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{name} is no regular file")
    return os.fdopen(descriptor, "rb")


def there(folder: Path, name: str) -> bool:
    """Whether a file of a folder can be read."""
    try:
        return real(folder, name).is_file()
    except OSError:
        return False
