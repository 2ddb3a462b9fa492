"""Learning the classes of label maps before anything is trained: from a table beside them, else from the maps themselves."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError, PixloomError
from pixloom.images import read
from pixloom.tasks.labels import MOST_CLASSES, NEAR, TOLERANCE, Classes, Label, Pixels, check_labels, edges, is_blurred, packed, unpacked

TABLE = "classes.csv"
"""File that lists the classes: columns name, r, g, b and, for grey label maps, id; the place counts from 0 where there is none."""

FOLDERS_UP = 3
"""The table is looked for beside a label map and in so many folders in all, upwards."""

MOST_FILES = 1000
"""So many label maps, evenly spread, are looked at; what is met later and is no class counts as no label."""

READERS = 8

PLAIN = 0.25
"""Share of the pixels of label maps that must lie within an area of one colour."""

COMPACT = 1 / 3
"""Of the pixels within the tolerance of a class's colour so many at least are near it; of a mix at edges there are fewer."""

COVERED = 0.7
"""Share of the pixels that must lie within the tolerance of some class's colour (near some class's grey) in a label map; a photograph,
which has no plain colours (as many greys as there are), has less."""

RARE = 0.001
"""A colour that JPEG has blurred needs this share of all pixels near it to be a class."""


@dataclass(frozen=True)
class Content:
    """What is in a label map.

    Attributes:
        path: of the file.
        values: the distinct values, (n, 1) or (n, 3).
        counts: how often each occurs.
        plain: how often within an area of about its colour: what lies between two areas is not there.
    """

    path: Path
    values: np.ndarray
    counts: np.ndarray
    plain: np.ndarray


def find_classes(records: Sequence[Record], *, target: bool, labels: tuple[Label, ...] = ()) -> tuple[Label, ...]:
    """The classes of the training label maps, with their shares; every map that is looked at is checked against them.

    Args:
        records: the training examples.
        target: whether the second picture of a record is the label map, else the first.
        labels: the classes where they are given; else those of a ``classes.csv`` beside or above the maps, else what the maps hold.

    Raises:
        DataError: a map holds what is no class, the table cannot be used, or no classes can be made out.
    """
    if any(label.share for label in labels):
        return labels  # learnt before: of a run that goes on, or of a model
    spread = records[:: -(-len(records) // MOST_FILES) or 1]
    table = None if labels else table_for([file_of(record, target=target) for record in spread[:1]])
    labels = labels if table is None else read_table(table)
    with ThreadPoolExecutor(READERS) as pool:
        found = [content for content in pool.map(lambda record: content_of(record, target=target), spread) if content is not None]
    if not found:
        raise DataError("none of the label maps can be read", fix="run pixloom inspect on the data")
    found = _alike(found)
    classes = Classes(labels or learn(found))
    shares = sum(_counted(content, classes) for content in found)
    total = max(1.0, float(np.sum(shares)))
    return tuple(
        replace(label, share=round(float(count) / total, 5)) for label, count in zip(classes.labels, np.array(shares), strict=True)
    )


def file_of(record: Record, *, target: bool) -> Path:
    """Where the label map of an example lies."""
    return record.target if target and record.target is not None else record.source


def label_map(record: Record, *, target: bool) -> Pixels:
    """The pixels of an example's label map alone, at their own size."""
    pixels = read(file_of(record, target=target)).pixels
    half = pixels.shape[1] // 2
    return pixels if not record.sides else pixels[:, half:] if target else pixels[:, :half]


def content_of(record: Record, *, target: bool) -> Content | None:
    """What an example's label map holds; None where it cannot be read, which the loader reports.

    Raises:
        DataError: it has neither 1 nor 3 channels, or no whole numbers.
    """
    path = file_of(record, target=target)
    try:
        pixels = label_map(record, target=target)
    except (PixloomError, OSError):
        return None
    if pixels.shape[2] not in (1, 3) or pixels.dtype.kind == "f":
        raise DataError(
            f"this is no label map: {pixels.shape[2]} channels of {pixels.dtype}",
            where=path,
            why="it is either grey (ids) or colour, of 8 or 16 bits",
            fix="convert it, or choose the other --direction if it is the photo",
        )
    codes = pixels[..., 0] if pixels.shape[2] == 1 else packed(pixels)
    values, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    plain = np.bincount(places.ravel()[~edges(pixels, beyond=NEAR).ravel()], minlength=len(values))
    return Content(path, values[:, None] if pixels.shape[2] == 1 else unpacked(values), counts.astype(np.int32), plain.astype(np.int32))


def table_for(files: Sequence[Path]) -> Path | None:
    """The nearest table of classes beside or above a label map."""
    folders = [folder for file in files for folder in list(file.parents)[:FOLDERS_UP]]
    return next((folder / TABLE for folder in folders if (folder / TABLE).is_file()), None)


def read_table(path: Path) -> tuple[Label, ...]:
    """The classes that a table lists.

    Raises:
        DataError: no text, no such columns, a value that is none, or classes that cannot be told apart; names the file.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), skipinitialspace=True)
        columns = [name.strip().casefold() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("the table of classes cannot be read", where=path, why=str(error), fix="save it as UTF-8 text") from error
    if missing := [name for name in ("name", "r", "g", "b") if name not in columns]:
        raise DataError(
            f"the table of classes has no column '{missing[0]}'",
            where=path,
            why=f"its columns are {', '.join(columns) or 'none'}",
            fix="give it the columns name,r,g,b and, for grey label maps, id",
        )
    labels = tuple(_row(row, place=place, where=f"{path}, row {place + 1}") for place, row in enumerate(rows))
    try:
        return Classes(labels).labels
    except ConfigError as error:
        raise DataError(error.what, where=path, why=error.why, fix=error.fix) from error


def learn(found: Sequence[Content]) -> tuple[Label, ...]:
    """The classes that label maps of one kind hold: every value of plain ones, the colours that stand out of those that JPEG has blurred.

    Raises:
        DataError: there are more than :data:`labels.MOST_CLASSES`, or the pictures are no label maps.
    """
    values, plain = _joined(found)
    grey = values.shape[1] == 1
    blurred = any(is_blurred(content.path) for content in found)
    if blurred or len(values) > MOST_CLASSES:
        pixels = sum(int(content.counts.sum()) for content in found)
        centres = plain_values(values, plain) if values.max() <= 255 and plain.sum() >= PLAIN * pixels else None
        if centres is None or len(centres) > MOST_CLASSES:
            raise DataError(
                f"no classes can be made out: the label maps hold {len(values):,} different {'values' if grey else 'colours'}",
                where=found[0].path.parent,
                why=f"there may be {MOST_CLASSES} classes, each with one {'id' if grey else 'plain colour'}",
                fix="list the classes in a classes.csv beside them, or choose the other --direction if these are the photos",
            )
        values = np.unique(centres, axis=0)
    return _named(values)


def plain_values(values: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """The colours or greys round which nearly all pixels gather, (n, 3) or (n, 1), the commonest first; None where they do not.

    Greedy: the commonest colour, then the commonest of those farther than :data:`labels.TOLERANCE` from it, and so on. What is looked for
    is a crowd, for JPEG turns one colour into many.

    Args:
        values: distinct colours, (n, 3), or greys, (n, 1).
        counts: how often each occurs.
    """
    grey, values = values.shape[1] == 1, values.repeat(3 // values.shape[1], axis=1)
    left, covered, total = counts > 0, 0, counts.sum()
    found: list[np.ndarray] = []
    while left.any() and len(found) <= MOST_CLASSES:
        centre = _crowd(values[left], counts[left])
        far = np.square(values.astype(np.int32) - centre).sum(axis=1)
        near, around = (counts[left & (far <= reach**2)].sum() for reach in (NEAR, TOLERANCE))
        if near < RARE * total:
            break
        plain = near >= COMPACT * around
        if plain:
            found.append(centre)
            covered += near if grey else around
        left &= far > (TOLERANCE if plain else NEAR) ** 2
    return np.array(found)[:, : 1 if grey else 3] if found and covered >= COVERED * total else None


def _crowd(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The commonest colour in the fullest cell of 8 x 8 x 8 colours, (3,) int32."""
    _, places = np.unique(packed(values[None])[0] & ~0x070707, return_inverse=True)
    members = places == np.bincount(places, weights=counts).argmax()
    commonest: np.ndarray = values[members][counts[members].argmax()].astype(np.int32)
    return commonest


def palette(count: int) -> list[tuple[int, int, int]]:
    """Colours for classes that have none: black and white for two, else black and then ones that differ much from those before.

    The bits of a number, from the lowest, go in turn to the highest bits of red, green and blue.

    >>> palette(2), palette(4)[1:]
    ([(0, 0, 0), (255, 255, 255)], [(128, 0, 0), (0, 128, 0), (128, 128, 0)])
    """
    if count == 2:
        return [(0, 0, 0), (255, 255, 255)]
    return [(_spread_bits(number), _spread_bits(number >> 1), _spread_bits(number >> 2)) for number in range(count)]


def _spread_bits(number: int) -> int:
    """Every third bit of a number, the lowest one as the highest of eight."""
    return sum((number >> 3 * place & 1) << 7 - place for place in range(8))


def _named(values: np.ndarray) -> tuple[Label, ...]:
    """Classes for (n, 1) ids or (n, 3) colours, in their order."""
    grey, rows = values.shape[1] == 1, values.tolist()
    if grey:
        colours = palette(len(rows))
        names = ["background", "foreground"] if len(rows) == 2 else [f"class {row[0]}" for row in rows]
        return tuple(Label(name, colour, row[0]) for name, colour, row in zip(names, colours, rows, strict=True))
    mask = rows == [[0, 0, 0], [255, 255, 255]]
    names = ["background", "foreground"] if mask else [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in rows]
    return tuple(Label(name, (row[0], row[1], row[2]), place) for place, (name, row) in enumerate(zip(names, rows, strict=True)))


def _joined(found: Sequence[Content]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of all maps, and how often each occurs within areas of its colour."""
    grey = found[0].values.shape[1] == 1
    plain, there = np.zeros(2**16 if grey else 2**24, np.int64), np.zeros(2**16 if grey else 2**24, bool)
    for content in found:
        codes = content.values[:, 0] if grey else packed(content.values[None])[0]
        plain[codes] += content.plain
        there[codes] = True
    codes = np.flatnonzero(there)
    return codes[:, None] if grey else unpacked(codes), plain[codes]


def _alike(found: list[Content]) -> list[Content]:
    """All in colour where some are, as the loader has them."""
    if all(content.values.shape[1] == 1 for content in found):
        return found
    return [replace(content, values=np.repeat(content.values, 3 // content.values.shape[1], axis=1)) for content in found]


def _counted(content: Content, classes: Classes) -> np.ndarray:
    """Pixels of every class in a label map that is checked."""
    ids = check_labels(content.values, content.counts, classes=classes, where=content.path)
    labelled = ids >= 0
    return np.bincount(ids[labelled], weights=content.counts[labelled], minlength=len(classes.labels))


def _row(row: dict[str, str], *, place: int, where: str) -> Label:
    try:
        red, green, blue = (int(row[name]) for name in ("r", "g", "b"))
        id = int(row["id"]) if row.get("id") else place
        if not row["name"] or not all(0 <= value <= 255 for value in (red, green, blue)) or not 0 <= id <= 65535:
            raise ValueError("r, g and b are whole numbers from 0 to 255, an id is one from 0 to 65535, and a class has a name")
    except (TypeError, ValueError) as error:
        raise DataError("a class cannot be read", where=where, why=str(error), fix="write name,r,g,b such as road,128,64,128") from error
    return Label(row["name"].strip(), (red, green, blue), id)
