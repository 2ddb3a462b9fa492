"""Which pictures lie beside a source: matched by split and path, so that a picture is never anybody else's. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from pixloom.data.naming import place, split_of
from pixloom.errors import DataError

Key = tuple[str, str | None, str]
"""Kind, split, and path below the kind's folder without suffix."""


def pictures_beside(
    sources: Mapping[str, PurePath], pictures: Sequence[PurePath], folders: Mapping[str, str], *, root: Path
) -> dict[str, dict[str, PurePath]]:
    """The pictures of each source by kind, where there are some.

    Args:
        sources: paths below the root, by id.
        pictures: those that may lie beside them, below the root too.
        folders: the name of the folder of each kind.
        root: for messages.

    Raises:
        DataError: two pictures of one name, or one picture that two sources would have.
    """
    found = _by_key(pictures, folders, root=root)
    taken: dict[PurePath, str] = {}
    matched: dict[str, dict[str, PurePath]] = {}
    for name, source in sources.items():
        matched[name] = {kind: path for kind in folders if (path := _of(source, kind, found)) is not None}
        for kind, path in matched[name].items():
            if (other := taken.setdefault(path, name)) != name:
                raise DataError(
                    f"'{other}' and '{name}' have one {kind}: {path.as_posix()}",
                    where=root,
                    fix=f"give '{folders[kind]}' the sub-folders of the sources, or list the examples in an index file",
                )
    return matched


def _by_key(pictures: Sequence[PurePath], folders: Mapping[str, str], *, root: Path) -> dict[Key, PurePath]:
    found: dict[Key, PurePath] = {}
    for kind, folder in folders.items():
        for path in pictures:
            there = place(path, (folder,))
            if there.side is None:
                continue
            key = (kind, there.split, there.stem)
            if key in found:
                raise DataError(
                    f"two pictures of one name: {found[key].as_posix()} and {path.as_posix()}",
                    where=root,
                    why=f"what lies in '{folder}' is matched to the sources by name",
                    fix="keep one of them, or list the examples in an index file",
                )
            found[key] = path
    return found


def _of(source: PurePath, kind: str, found: Mapping[Key, PurePath]) -> PurePath | None:
    """The picture with the longest path in common: a side has a folder of its own, which is not in the others' paths."""
    splits = [split_of(PurePath(part, "x")) for part in source.parts[:-1]]
    split = next((split for split in splits if split is not None), None)
    parts = [part for part in source.with_suffix("").parts if split_of(PurePath(part, "x")) is None]
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((found[key] for tail in tails if (key := (kind, split, tail)) in found), None)
