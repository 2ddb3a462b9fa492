"""The page's own files, read once at the start: a client names a file of this list or none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("page")

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
"""Types of the files of a page by suffix; others are not served."""

INDEX = "index.html"


@dataclass(frozen=True)
class File:
    """A file of the page."""

    content: bytes
    media_type: str


@cache
def files(folder: Path = FOLDER) -> dict[str, File]:
    """The index and everything below ``assets``, by the name relative to the folder."""
    found = [folder / INDEX, *sorted((folder / "assets").rglob("*"))]
    return {
        path.relative_to(folder).as_posix(): File(path.read_bytes(), TYPES[path.suffix])
        for path in found
        if path.suffix in TYPES and path.is_file()
    }
