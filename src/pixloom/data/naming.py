"""What the names of folders say: the split and the side that a picture belongs to. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

SIDE_NAMES = (("A", "B"), ("source", "target"), ("input", "target"), ("input", "output"))
"""Names of source and target folders that need no telling."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of splits, in folders and in indexes, and what they mean."""


@dataclass(frozen=True)
class Place:
    """Where a picture belongs: its split, its side, and the rest of its path without suffix."""

    split: str | None
    side: int | None
    stem: str


def place(path: PurePath, sides: Sequence[str]) -> Place:
    """Read split and side from the leading folders of a relative path, in either order or joined as in ``trainA``."""
    known = [name.casefold() for name in sides]
    split, side, folders = None, None, list(path.parts[:-1])
    while folders:
        name = folders[0].casefold()
        if side is None and name in known:
            side = known.index(name)
        elif split is None and name in SPLITS:
            split = SPLITS[name]
        elif split is None and side is None and (both := _joined(name, known)):
            split, side = both
        else:
            break
        folders.pop(0)
    return Place(split, side, PurePath(*folders, path.stem).as_posix())


def _joined(name: str, sides: Sequence[str]) -> tuple[str, int] | None:
    """Split and side of a name like ``trainA`` or ``val_b``."""
    for prefix, split in SPLITS.items():
        if name.startswith(prefix) and (rest := name.removeprefix(prefix).lstrip("_- ")) in sides:
            return split, sides.index(rest)
    return None


def split_of(path: PurePath) -> str | None:
    """The split of a picture: the first of its two outer folders that is called like one."""
    names = [name.casefold() for name in path.parts[:-1][:2]]
    if names and (joined := _joined(names[0], ["a", "b"])):
        return joined[0]
    return next((SPLITS[name] for name in names if name in SPLITS), None)


def domain_of(path: PurePath) -> str | None:
    """The class that a picture's folders name: the outermost that is no split, ``A`` of ``trainA``; None where there is no such folder.

    >>> [domain_of(PurePath(path)) for path in ("train/cat/1.png", "cat/train/1.png", "trainA/1.png", "val/1.png")]
    ['cat', 'cat', 'A', None]
    """
    for part in path.parts[:-1]:
        if part.casefold() in SPLITS:
            continue
        joined = next((part[-1] for prefix in SPLITS if part.casefold() in (f"{prefix}a", f"{prefix}b")), None)
        return joined or part
    return None


def known_sides(pictures: Sequence[PurePath]) -> tuple[str, str] | None:
    """The first of :data:`SIDE_NAMES` of which both folders hold pictures."""
    return next((names for names in SIDE_NAMES if {0, 1} <= {place(path, names).side for path in pictures}), None)


def folder_stems(pictures: Iterable[PurePath]) -> dict[str, set[str]]:
    """The names of pictures (with their split) in each folder that could be a side."""
    stems: dict[str, set[str]] = {}
    for path in pictures:
        name = next((part for part in path.parts[:-1][:2] if part.casefold() not in SPLITS), None)
        if name is not None:
            found = place(path, (name,))
            stems.setdefault(name, set()).add(f"{found.split}/{found.stem}")
    return stems


def folders_alike(pictures: Sequence[PurePath]) -> list[str]:
    """The folders that share at least half of the names in the fullest one, itself among them."""
    stems = folder_stems(pictures)
    fullest = max(stems.values(), key=len, default=set())
    return sorted(name for name, own in stems.items() if len(own & fullest) * 2 >= len(fullest))
