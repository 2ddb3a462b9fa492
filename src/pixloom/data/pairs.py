"""Reading one example: from a record to the pixels of its source and target. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pixloom.data.sources import Record
from pixloom.errors import DataError, ImageError, PixloomError
from pixloom.images import Header, Picture, read, read_header, resize, with_channels

Pixels = np.ndarray
"""H W C, uint8, uint16 or float32 in [0, 1]."""

ASPECT_TOLERANCE = 0.01
"""A target of another size is resized to its source when their aspect ratios differ by no more than this share."""

READERS = 8
"""Threads that read headers; they mostly wait for the disk."""


def read_pair(record: Record, channels: tuple[int, int | None] | None) -> tuple[Pixels, Pixels | None]:
    """The pixels of source and target as they are in the files, at their own sizes.

    Args:
        record: the example; side-by-side files are cut in two halves of one width.
        channels: wanted channels of source and target (None: no target is read), or None to take each file as it is.

    Raises:
        ImageError: a file cannot be read or converted, or a side-by-side file has an odd width.
        DataError: a target is wanted and the record has none.
    """
    source_channels, target_channels = channels or (None, None)
    with_target = record.paired if channels is None else target_channels is not None
    if with_target and not record.paired:
        raise DataError(f"'{record.id}' has no target picture", where=record.source)
    source = _convert(read(record.source), source_channels)
    if record.sides:
        left, right = _halves(source, record)
        return left, _convert(Picture(right), target_channels).pixels if with_target else None
    target = _convert(read(record.target), target_channels).pixels if with_target and record.target else None
    return source.pixels, target


def align(source: Pixels, target: Pixels, *, nearest: bool = False) -> tuple[Pixels, bool]:
    """The target at the size of the source, and whether it had to be resized for that.

    Raises:
        ImageError: the aspect ratios differ by more than 1 %, so that no resizing would put one on the other.
    """
    (height, width), (target_height, target_width) = source.shape[:2], target.shape[:2]
    if (height, width) == (target_height, target_width):
        return target, False
    if not same_aspect(source, target):
        raise ImageError(
            f"source and target do not match: {width}x{height} and {target_width}x{target_height}",
            why="their aspect ratios differ by more than 1 %",
            fix="crop or pad one of them",
        )
    return resize(target, height=height, width=width, nearest=nearest), True


def same_aspect(source: Pixels, target: Pixels) -> bool:
    """Whether one can be resized onto the other."""
    (height, width), (target_height, target_width) = source.shape[:2], target.shape[:2]
    return bool(abs(target_width * height / (target_height * width) - 1) <= ASPECT_TOLERANCE)


def probe_channels(records: Sequence[Record]) -> tuple[int, int | None]:
    """Channels of sources and targets, from the files' headers: 1 if all are grey, 3 if some are colour, N if all have N.

    Raises:
        DataError: channel counts that cannot be converted into each other, naming the odd file; or no header can be read.
    """
    source = _common_channels({str(record.source): record for record in records}, lambda record: header_of(record)[0])
    if not any(record.paired for record in records):
        return source, None
    targets = {str(record.target or record.source): record for record in records if record.paired}
    return source, _common_channels(targets, lambda record: header_of(record, target=True)[0])


def header_of(record: Record, *, target: bool = False) -> tuple[Header, int]:
    """The header of the source's or target's file, and the width of the picture itself (half of a side-by-side file)."""
    header = read_header(record.target if target and record.target else record.source)
    return header, header.width // 2 if record.sides else header.width


def _common_channels(files: dict[str, Record], header: Callable[[Record], Header]) -> int:
    def channels(record: Record) -> int | None:
        try:
            return header(record).channels
        except PixloomError:
            return None  # a bad file is reported when it is loaded

    with ThreadPoolExecutor(READERS) as pool:
        found = {name: count for name, count in zip(files, pool.map(channels, files.values()), strict=True) if count is not None}
    if not found:
        raise DataError("none of the pictures can be read", where=next(iter(files), None), fix="run pixloom inspect to see why")
    counts = list(found.values())
    common = 3 if set(counts) == {1, 3} else max(set(counts), key=counts.count)
    odd = next((name for name, count in found.items() if count != common and {count, common} != {1, 3}), None)
    if odd is not None:
        raise DataError(
            f"one picture has {found[odd]} channels where most have {common}", where=odd, fix="convert it, or take it out of the data"
        )
    return common


def _convert(picture: Picture, channels: int | None) -> Picture:
    return picture if channels is None else with_channels(picture, channels)


def _halves(picture: Picture, record: Record) -> tuple[Pixels, Pixels]:
    height, width = picture.pixels.shape[:2]
    if width % 2:
        raise ImageError(f"an A|B picture of odd width has no two halves ({width}x{height})", where=record.source)
    return picture.pixels[:, : width // 2], picture.pixels[:, width // 2 :]
