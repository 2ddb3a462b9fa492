"""Files and folders that are either there whole or not there: written aside, forced to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixloom.errors import OutputError


@contextmanager
def writing(what: str, where: Path) -> Iterator[None]:
    """Turn the system's refusals (disk full, not writable) into one clear error."""
    try:
        yield
    except OSError as error:
        fix = "free some space" if error.errno in (28, 122, 27) else "choose a place that you may write to"
        raise OutputError(f"{what} could not be written", where=where, why=error.strerror or str(error), fix=fix) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file in one piece, or leave the old one as it was.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    with writing(f"the file {path.name}", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        draft = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o644)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path, *, what: str) -> Iterator[Path]:
    """A draft folder to fill; when the block ends well it stands under its name, else nothing has changed.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    with writing(what, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield draft
            _put_in_place(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Bring back the former folder when a kill fell between the two renames of a replacement, and remove abandoned drafts.

    Only for the one process that owns the folder's parent.
    """
    old = _retired(folder)
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    for draft in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(draft, ignore_errors=True)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_in_place(draft: Path, folder: Path) -> None:
    for path in draft.iterdir():
        _sync(path)
    _sync(draft)
    draft.chmod(0o755)
    old = _retired(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    draft.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _retired(folder: Path) -> Path:
    return folder.parent / f".{folder.name}-old"


def _sync(path: Path) -> None:
    """Make sure that a file, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
