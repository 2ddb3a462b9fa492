"""The data doctor: decodes every picture and says what would hurt training, in sentences with the fix. No torch here."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from pixloom.data.kinship import kinship
from pixloom.data.pairs import Pixels, read_pair, same_aspect
from pixloom.data.sources import Listing, Record
from pixloom.errors import DataError, PixloomError
from pixloom.images import Picture, resize, write

TINY_SIDE = 16
"""Pictures with a shorter side than this carry hardly anything to learn from."""

FEW = 20
"""Different training examples below which hardly anything general is learnt."""

NAMED = 5
"""How many files a sentence names."""

TILE = 160
"""Side of one picture in the preview, in pixels."""

Progress = Callable[[int, int], None]
"""Called with the examples done and all of them."""


@dataclass(frozen=True)
class Findings:
    """What is in a data folder.

    Attributes:
        root: the folder or index.
        layout: how pairs are arranged.
        notes: what was recognised and why.
        counts: examples per split.
        sizes: "min", "median", "max" of the source pictures by area as "WxH", and how many are "distinct".
        channels: how many sources and targets have so many channels: ``{"source": {"3": 400}, ...}``.
        depths: the same for bits per value.
        orphans: files without a partner.
        corrupt: files that cannot be used, and why.
        mismatched: pairs of two sizes, and what training does with them.
        duplicates_across: groups of examples with the same pixels in more than one split.
        duplicates_within: groups with the same pixels in one split.
        constant: pictures of a single colour.
        tiny: pictures with a side below :data:`TINY_SIDE` pixels.
        problems: what would hurt training, with the fix.
        remarks: what is worth knowing and does no harm by itself.
    """

    root: str
    layout: str
    notes: tuple[str, ...]
    counts: dict[str, int]
    sizes: dict[str, str | int]
    channels: dict[str, dict[str, int]]
    depths: dict[str, dict[str, int]]
    orphans: tuple[str, ...]
    corrupt: dict[str, str]
    mismatched: dict[str, str]
    duplicates_across: tuple[tuple[str, ...], ...]
    duplicates_within: tuple[tuple[str, ...], ...]
    constant: tuple[str, ...]
    tiny: tuple[str, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing found would hurt training."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, dictionaries, numbers and texts, for JSON."""
        plain: dict[str, Any] = {name: _plain(value) for name, value in asdict(self).items()}
        return plain | {"ok": self.ok}


@dataclass(frozen=True)
class _Side:
    """What was seen of one picture."""

    width: int
    height: int
    channels: int
    depth: int
    constant: bool


@dataclass(frozen=True)
class _Seen:
    """What was seen of one example: its sides, or why there are none."""

    name: str
    split: str
    source: _Side | None = None
    target: _Side | None = None
    digest: bytes = b""
    corrupt: str | None = None
    mismatch: str | None = None

    @property
    def sides(self) -> list[tuple[str, _Side]]:
        return [(name, side) for name, side in (("source", self.source), ("target", self.target)) if side is not None]


def inspect(listing: Listing, *, channels: tuple[int, int | None] | None = None, progress: Progress | None = None) -> Findings:
    """Decode every picture of a listing and report what is there.

    Args:
        listing: from :func:`pixloom.data.sources.discover`.
        channels: what the pictures will be converted to; one that cannot be is reported. None takes them as they are.
        progress: called in this thread after each example.
    """
    examples = [(split, record) for split, records in listing.splits.items() for record in records]
    seen = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for done, one in enumerate(pool.map(lambda example: _examine(*example, channels=channels), examples), start=1):
            seen.append(one)
            if progress:
                progress(done, len(examples))
    return _findings(listing, seen)


def count_different(records: Sequence[Record]) -> int:
    """How many of some examples have files of their own, byte by byte; only files of equal size are read."""
    by_size: dict[tuple[int, ...], list[Record]] = defaultdict(list)
    for record in records:
        by_size[tuple(_file_size(path) for path in _files(record))].append(record)
    return sum(len({_contents(record) for record in alike}) if len(alike) > 1 else 1 for alike in by_size.values())


def _files(record: Record) -> list[Path]:
    return [path for path in (record.source, record.target) if path is not None]


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _contents(record: Record) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path in _files(record):
        try:
            digest.update(path.read_bytes())
        except OSError:
            digest.update(str(path).encode("utf-8", "surrogateescape"))
    return digest.digest()


def preview(listing: Listing, path: Path, *, count: int = 6, overwrite: bool = False) -> None:
    """Write a PNG contact sheet of some pairs, evenly chosen from all splits: each source above its target.

    Raises:
        DataError: none of the chosen examples can be read.
        OutputError: the file exists already, or cannot be written.
    """
    records = [record for records in listing.splits.values() for record in records]
    chosen = [records[index] for index in np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int)]
    columns = [column for record in chosen if (column := _column(record)) is not None]
    if not columns:
        raise DataError(
            "none of the pictures chosen for the preview can be read", where=listing.root, fix="see the report of pixloom inspect"
        )
    height = max(len(column) for column in columns)
    padded = [np.pad(column, ((0, height - len(column)), (0, 0), (0, 0)), constant_values=255) for column in columns]
    write(Picture(np.concatenate(padded, axis=1)), path, overwrite=overwrite)


# --- One example ---------------------------------------------------------------------------------------------------------------------


def _examine(split: str, record: Record, *, channels: tuple[int, int | None] | None) -> _Seen:
    try:
        source, target = read_pair(record, channels)
    except (PixloomError, OSError, MemoryError) as error:
        return _Seen(record.id, split, corrupt=" ".join(str(error).split()) or type(error).__name__)
    return _Seen(
        record.id,
        split,
        _side(source),
        None if target is None else _side(target),
        digest=_digest(source) + (b"" if target is None else _digest(target)),
        mismatch=None if target is None else _mismatch(source, target),
    )


def _side(pixels: Pixels) -> _Side:
    height, width, channels = pixels.shape
    constant = bool((pixels == pixels[:1, :1]).all())
    return _Side(width, height, channels, pixels.dtype.itemsize * 8, constant)


def _digest(pixels: Pixels) -> bytes:
    """A hash of the decoded pixels: the same picture in another lossless file, or under another name, has the same."""
    head = f"{pixels.shape}{pixels.dtype.str}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest()


def _mismatch(source: Pixels, target: Pixels) -> str | None:
    """What training does with a target of another size."""
    if source.shape[:2] == target.shape[:2]:
        return None
    sizes = f"source {source.shape[1]}x{source.shape[0]}, target {target.shape[1]}x{target.shape[0]}"
    return f"{sizes}: {'the target is resized' if same_aspect(source, target) else 'skipped'}"


# --- All of them ---------------------------------------------------------------------------------------------------------------------


def _findings(listing: Listing, seen: Sequence[_Seen]) -> Findings:
    across, within = _duplicates(seen)
    corrupt = {one.name: one.corrupt for one in seen if one.corrupt}
    mismatched = {one.name: one.mismatch for one in seen if one.mismatch}
    constant = tuple(f"{one.name} ({name})" for one in seen for name, side in one.sides if side.constant)
    tiny = tuple(f"{one.name} ({name})" for one in seen for name, side in one.sides if min(side.width, side.height) < TINY_SIDE)
    channels = _tally(seen, lambda side: side.channels)
    related = kinship(listing.splits.get("train", ()))
    alike = [related.alike(targets=place == 1, called=side) for place, side in enumerate(("sources", "targets"))] if related else []
    problems = [
        *_named(corrupt, "cannot be read and will be skipped", fix="replace or delete them"),
        *_named(listing.orphans, "have no partner and will be left out", fix="add the missing files or delete these"),
        *_named(mismatched, "are pairs of two sizes", fix="export source and target at one size"),
        *_named(["=".join(group) for group in across], "are in more than one split, so that scores would flatter", fix="keep each in one"),
        *_channel_problems(channels),
        *(f"{word[0].upper()}{word[1:]}. Fix: put different ones there." for word in alike if word),
        *([f"{related.complaint}. Fix: look at the pairs with --preview."] if related and related.complaint else []),
        *([] if listing.splits.get("train") else ["There is no training example: add pictures to a train folder."]),
    ]
    different = count_different(listing.splits.get("train", ()))
    remarks = [
        *(
            [f"{different} different training examples: hardly anything general is learnt from so few. Fix: more pictures."]
            if 0 < different < FEW
            else []
        ),
        *_named(["=".join(group) for group in within], "have the same pixels", fix="keep one of each unless the weight is wanted"),
        *_named(constant, "are of a single colour", fix="take them out unless that is a real case"),
        *_named(tiny, f"have a side below {TINY_SIDE} pixels", fix="take them out"),
    ]
    return Findings(
        root=str(listing.root),
        layout=listing.layout,
        notes=listing.notes,
        counts={split: len(records) for split, records in listing.splits.items()},
        sizes=_size_summary(seen),
        channels=channels,
        depths=_tally(seen, lambda side: side.depth),
        orphans=listing.orphans,
        corrupt=corrupt,
        mismatched=mismatched,
        duplicates_across=across,
        duplicates_within=within,
        constant=constant,
        tiny=tiny,
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _duplicates(seen: Iterable[_Seen]) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Groups of examples with equal pixels on both sides: over splits, and inside one."""
    groups: dict[bytes, list[_Seen]] = defaultdict(list)
    for one in seen:
        if one.digest:
            groups[one.digest].append(one)
    repeated = [group for group in groups.values() if len(group) > 1]
    across = tuple(tuple(one.name for one in group) for group in repeated if len({one.split for one in group}) > 1)
    within = tuple(tuple(one.name for one in group) for group in repeated if len({one.split for one in group}) == 1)
    return across, within


def _size_summary(seen: Iterable[_Seen]) -> dict[str, str | int]:
    sizes = sorted((one.source.width * one.source.height, one.source.width, one.source.height) for one in seen if one.source)
    if not sizes:
        return {}
    summary = {"min": sizes[0], "median": median_low(sizes), "max": sizes[-1]}
    return {name: f"{width}x{height}" for name, (_, width, height) in summary.items()} | {"distinct": len(set(sizes))}


def _tally(seen: Sequence[_Seen], key: Callable[[_Side], int]) -> dict[str, dict[str, int]]:
    """How many sources and targets have each value, in text for JSON's sake."""
    tallies: dict[str, Counter[int]] = {}
    for one in seen:
        for name, side in one.sides:
            tallies.setdefault(name, Counter())[key(side)] += 1
    return {name: {str(value): number for value, number in sorted(tally.items())} for name, tally in tallies.items()}


def _channel_problems(channels: dict[str, dict[str, int]]) -> list[str]:
    """Channel counts that no rule converts into each other (grey and colour may be mixed)."""
    return [
        f"The {name} pictures have different numbers of channels ({', '.join(counts)}). Convert them to one."
        for name, counts in channels.items()
        if len(counts) > 1 and set(counts) != {"1", "3"}
    ]


def _named(names: Iterable[str], what: str, *, fix: str) -> list[str]:
    """One sentence on some files, or none when there are none.

    >>> _named(["a", "b"], "cannot be read", fix="delete them")
    ['2 cannot be read: a, b. Fix: delete them.']
    """
    listed = list(names)
    if not listed:
        return []
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return [f"{len(listed)} {what}: {', '.join(listed[:NAMED])}{more}. Fix: {fix}."]


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


# --- Preview -------------------------------------------------------------------------------------------------------------------------


def _column(record: Record) -> np.ndarray | None:
    """The tiles of one example below each other, or None when it cannot be read."""
    try:
        pair = read_pair(record, None)
    except (PixloomError, OSError):
        return None
    return np.concatenate([_tile(pixels) for pixels in pair if pixels is not None])


def _tile(pixels: Pixels) -> np.ndarray:
    """A picture in the middle of a white square, 8-bit colour; of other channel counts the first three are shown, or one as grey."""
    shown = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    top = 1.0 if np.issubdtype(shown.dtype, np.floating) else float(np.iinfo(shown.dtype).max)
    scale = (TILE - 4) / max(shown.shape[:2])
    height, width = (max(1, round(side * scale)) for side in shown.shape[:2])
    small = resize(shown, height=height, width=width).astype(np.float64) / top
    tile = np.full((TILE, TILE, 3), 255, dtype=np.uint8)
    y, x = (TILE - height) // 2, (TILE - width) // 2
    tile[y : y + height, x : x + width] = (small.clip(0, 1) * 255).round().astype(np.uint8)
    return tile
