"""Files and folders that are either there whole or not there: written aside, forced to the disk, then renamed."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from pixloom.errors import OutputError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where there is no more space."""


def cache_folder() -> Path:
    """Where what can be made again is kept for this user: ``$PIXLOOM_CACHE``, else ``pixloom`` in the system's place for caches."""
    own = os.environ.get("PIXLOOM_CACHE")
    return Path(own).expanduser() if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixloom"


@contextmanager
def writing(what: str, where: Path) -> Iterator[None]:
    """Turn the system's refusals (disk full, not writable) into one clear error.

    Raises:
        OutputError: naming what could not be written, where, and why.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error_number(error)
        why = os.strerror(number) if number else str(error)
        fix = "free some space, or choose a place on another disk" if number in FULL else "choose a place that you may write to"
        raise OutputError(f"{what} could not be written", where=where, why=why, fix=fix) from error


def error_number(error: BaseException | None) -> int | None:
    """The system's number of an error; safetensors gives it in words only.

    >>> error_number(SafetensorError("I/O error: No space left on device (os error 28)")) == errno.ENOSPC
    True
    """
    if isinstance(error, OSError):
        return error.errno
    stated = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, SafetensorError) else None
    return int(stated[1]) if stated else None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file in one piece; see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one piece, or leave the old one as it was.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    with new_file(path, what=f"the file {path.name}") as draft:
        draft.write_bytes(data)


@contextmanager
def new_file(path: Path, *, what: str) -> Iterator[Path]:
    """A draft file to fill; when the block ends well it stands under its name, else nothing has changed.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    with writing(what, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=f"{_DRAFT}{path.suffix}", dir=path.parent)
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            sync(draft)
            draft.chmod(0o644)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def remove_old_drafts(path: Path) -> None:
    """Remove the drafts of a file that killed processes left an hour ago or more; other processes may be writing newer ones."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}-????????{_DRAFT}{glob.escape(path.suffix)}"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > OLD_SECONDS:
                draft.unlink()


@contextmanager
def new_folder(folder: Path, *, what: str) -> Iterator[Path]:
    """A draft folder to fill; when the block ends well it stands under its name, else nothing has changed.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    folder = folder.resolve() if folder.is_symlink() else folder.absolute()  # of a link, what it leads to
    with writing(what, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=_DRAFT, dir=folder.parent))
        try:
            yield draft
            _put_in_place(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Bring back the former folder when a kill fell between the two renames of a replacement, and remove abandoned drafts.

    Only for the one process that owns the folder's parent.
    """
    retired = _retired(folder)
    if retired.is_dir() and not folder.exists():
        retired.rename(folder)
    shutil.rmtree(retired, ignore_errors=True)
    for draft in folder.parent.glob(f".{glob.escape(folder.name)}-????????{_DRAFT}"):
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(folder: Path) -> None:
    """Remove the drafts of files that killed processes left in a folder and in those inside it.

    Only for the one process that owns the folder.
    """
    for path in folder.rglob(".*"):
        if path.is_file() and _DRAFT_FILE.fullmatch(path.name):
            path.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


OLD_SECONDS = 3600
"""The age from which on an unfinished file is taken for abandoned."""

_DRAFT, _RETIRED = ".draft", ".retired"
_DRAFT_FILE = re.compile(r"\..+-[a-z0-9_]{8}\.draft(\.[^.]+)?")  # as new_file names them


def _put_in_place(draft: Path, folder: Path) -> None:
    for path in draft.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors makes files that nobody else may read
        sync(path)
    sync(draft)
    draft.chmod(0o755)
    retired = _retired(folder)
    if folder.exists():
        shutil.rmtree(retired, ignore_errors=True)
        folder.rename(retired)
    try:
        draft.rename(folder)
    except BaseException:
        if retired.is_dir() and not folder.exists():
            retired.rename(folder)
        raise
    sync(folder.parent)
    shutil.rmtree(retired, ignore_errors=True)


def _retired(folder: Path) -> Path:
    return folder.parent / f".{folder.name}{_RETIRED}"


def sync(path: Path) -> None:
    """Make sure that a file, or a folder's entries, are on the disk (Windows has no such call for what is open for reading)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
