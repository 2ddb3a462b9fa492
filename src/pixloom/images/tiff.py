"""TIFF files: Pillow reads those that it can hold, tifffile the rest (16-bit colour, floats, any number of channels).

The rules are in the table of :mod:`pixloom.images`, the module to use.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

from pixloom.errors import ImageError, require
from pixloom.images.picture import (
    MAX_CHANNELS,
    Header,
    Picture,
    from_array,
    from_pil,
    full_scale,
    to_type,
    turn_note,
    upright,
    valid_orientation,
    wide_to_srgb,
)

_TYPES = {1: "B", 3: "H", 4: "L", 16: "Q"}
# (photometric interpretation, colour samples) -> bits per sample that Pillow keeps as they are
_PILLOW_TIFFS = {
    (0, 1): (1, 2, 4, 8),
    (1, 1): (1, 2, 4, 8, 16),
    (2, 3): (8,),
    (3, 1): (1, 2, 4, 8),
    (5, 4): (8,),
    (6, 3): (8,),
    (8, 3): (8,),
}
_TIFFFILE_DEPTHS = {(1, 8): 8, (1, 16): 16, (3, 16): 32, (3, 32): 32, (3, 64): 32}  # (sample format, bits) -> depth


class _Layout(NamedTuple):
    """What the tags of the first page say about its samples."""

    width: int
    height: int
    photometric: int
    samples: int
    bits: int
    sample_format: int
    extras: tuple[int, ...]  # 1: premultiplied alpha, 2: alpha, 0: anything
    orientation: int
    pages: int
    magic: bytes

    @property
    def alpha(self) -> bool:
        return bool(self.extras) and self.extras[-1] in (1, 2)

    @property
    def for_pillow(self) -> bool:
        bits = _PILLOW_TIFFS.get((self.photometric, self.samples - len(self.extras)), ())
        plain = not self.extras or (len(self.extras) == 1 and self.alpha and self.photometric in (1, 2) and self.bits == 8)
        # Beyond its global limit Pillow would warn or refuse; the limit here is the caller's.
        small = self.width * self.height <= (Image.MAX_IMAGE_PIXELS or math.inf)
        known = self.magic != b"MM\0+"  # it takes a big-endian BigTIFF for another format
        return known and self.sample_format == 1 and self.bits in bits and plain and small


def inspect_tiff(stream: BinaryIO, name: str) -> Header:
    """What the tags of the first page say.

    Raises:
        ImageError: samples of a kind that is not accepted.
    """
    layout = _layout(stream)
    depth = _TIFFFILE_DEPTHS.get((layout.sample_format, layout.bits))
    if layout.for_pillow:
        channels, depth = (1 if layout.photometric < 2 else 3), 16 if layout.bits == 16 else 8
    else:
        channels = layout.samples - layout.alpha
    if depth is None or not (layout.for_pillow or layout.photometric < 3) or not 1 <= channels <= MAX_CHANNELS:
        raise ImageError(
            "this kind of TIFF is not accepted",
            why=", ".join(f"{field} {value}" for field, value in layout._asdict().items()),
            fix="save it as grey, RGB or multi-channel TIFF of 8 or 16 bits, or of floats in [0, 1]",
        )
    width, height = (layout.width, layout.height) if layout.orientation < 5 else (layout.height, layout.width)
    return Header(name, width, height, channels, depth, layout.alpha, layout.pages, layout.orientation)


def _layout(stream: BinaryIO) -> _Layout:
    stream.seek(0)
    tags, lengths, pages = _tags(stream)
    width, height = tags[256][0], tags[257][0]
    bits, formats = tags.get(258, (1,)), tags.get(339, (1,))
    samples = tags.get(277, (len(bits),))[0]
    if len(set(bits)) != 1 or len(set(formats)) != 1 or width * height == 0:
        raise ImageError("the TIFF's tags contradict each other", why=f"{width} x {height}, bits {bits}, formats {formats}")
    _check_segments(tags, stated=max(lengths.get(273, 0), lengths.get(324, 0)), planes=samples if tags.get(284) == (2,) else 1)
    stream.seek(0)
    return _Layout(
        width=width,
        height=height,
        photometric=tags.get(262, (0,))[0],
        samples=samples,
        bits=bits[0],
        sample_format=formats[0],
        extras=tags.get(338, ()),
        orientation=valid_orientation(tags.get(274, (1,))[0]),
        pages=pages,
        magic=stream.read(4),
    )


def _check_segments(tags: dict[int, tuple[int, ...]], *, stated: int, planes: int) -> None:
    """Strips or tiles that are too large or too few for the picture would cost a decoder minutes and gigabytes."""
    width, height = tags[256][0], tags[257][0]
    across, down = tags.get(322, (width,))[0], tags.get(323, tags.get(278, (height,)))[0]
    needed = planes * math.ceil(width / across) * math.ceil(height / down)
    area = across * min(down, height) if 323 not in tags else across * down
    if stated < needed or area > 4 * width * height + 2**20:
        why = f"{width} x {height} pixels in {stated} parts of {across} x {down}"
        raise ImageError("the TIFF's strips or tiles do not make up its picture", why=why)


def _tags(stream: BinaryIO) -> tuple[dict[int, tuple[int, ...]], dict[int, int], int]:
    """The short integer tags of the first page, the lengths of all, and the number of pages (TIFF 6.0, section 2; BigTIFF)."""
    start = stream.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = 43 in start[2:4]
    count_format, entry_format, offset_format = (order + f for f in (("Q", "HHQ8s", "Q") if big else ("H", "HHL4s", "L")))
    (offset,) = struct.unpack(offset_format, start[8:16] if big else start[4:8])
    tags: dict[int, tuple[int, ...]] = {}
    lengths: dict[int, int] = {}
    seen: set[int] = set()
    while offset and offset not in seen:
        stream.seek(offset)
        (count,) = struct.unpack(count_format, stream.read(struct.calcsize(count_format)))
        directory = stream.read(count * struct.calcsize(entry_format))
        (following,) = struct.unpack(offset_format, stream.read(struct.calcsize(offset_format)))
        if not seen:
            for tag, kind, length, value in struct.iter_unpack(entry_format, directory):
                if tag in lengths:
                    continue  # the first counts, as it does for the decoders
                lengths[tag] = length
                if kind in _TYPES and length <= 4 * MAX_CHANNELS:
                    tags[tag] = _values(stream, f"{order}{length}{_TYPES[kind]}", value, offset_format)
        seen.add(offset)
        offset = following
    return tags, lengths, len(seen)


def _values(stream: BinaryIO, layout: str, value: bytes, offset_format: str) -> tuple[int, ...]:
    """Integers that stand in the entry itself, or where it points to."""
    size = struct.calcsize(layout)
    if size > len(value):
        stream.seek(struct.unpack(offset_format, value)[0])
        value = stream.read(size)
    return struct.unpack(layout, value[:size])


def decode_tiff(stream: BinaryIO, header: Header) -> Picture:
    """Decode the first page."""
    layout = _layout(stream)
    if layout.for_pillow:
        return _decode_plain(stream, layout)
    tifffile = require("tifffile", extra="data", purpose="a TIFF of 16-bit colour, floats or many channels")
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page = file.pages[0]
        _check_agreement((page.imagewidth, page.imagelength, page.samplesperpixel), (layout.width, layout.height, layout.samples))
        array, profile, channels_first = page.asarray(maxworkers=1), page.iccprofile, page.axes.startswith("S")
    pixels = from_array(np.moveaxis(array, 0, -1) if channels_first else array)
    return upright(_picture(pixels, layout, profile), header.orientation)


def _decode_plain(stream: BinaryIO, layout: _Layout) -> Picture:
    """Pillow turns a TIFF and divides alpha out while loading it, without a word."""
    stream.seek(0)
    image = TiffImagePlugin.TiffImageFile(stream)
    upright_size = (layout.width, layout.height) if layout.orientation < 5 else (layout.height, layout.width)
    _check_agreement(image.size, upright_size)
    picture = from_pil(image)
    unmultiplied = ("alpha unmultiplied",) if layout.extras == (1,) and layout.photometric == 2 else ()
    turned = (turn_note(layout.orientation),) if layout.orientation != 1 else ()
    return replace(picture, notes=picture.notes + unmultiplied + turned)


def _check_agreement(decoder: tuple[int, ...], checked: tuple[int, ...]) -> None:
    """A tag that stands twice or in an odd type may mean another size to a decoder than the one that was found acceptable."""
    if decoder != checked:
        raise ImageError("the TIFF's tags contradict each other", why=f"the size may be {decoder} or {checked}")


def _picture(pixels: np.ndarray, layout: _Layout, profile: bytes | None) -> Picture:
    alpha: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    if layout.photometric == 0:
        pixels, notes = full_scale(pixels.dtype) - pixels, ("white is zero: inverted",)
    if layout.alpha:
        pixels, alpha = pixels[:, :, :-1], pixels[:, :, -1]
        if layout.extras[-1] == 1:
            pixels, notes = _unmultiplied(pixels, alpha), (*notes, "alpha unmultiplied")
    if profile:
        pixels, more = wide_to_srgb(pixels, profile)
        notes += more
    return Picture(pixels, alpha, notes)


def _unmultiplied(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colour / alpha; black where nothing shows."""
    shown = alpha[:, :, None] > 0
    ratio = np.divide(pixels, alpha[:, :, None], out=np.zeros(pixels.shape), where=shown)
    return to_type(ratio * full_scale(pixels.dtype), pixels.dtype)
