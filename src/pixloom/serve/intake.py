"""From the bytes of a request to what a network is to see, within the limits; nothing here waits for a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from pixloom.errors import PixloomError
from pixloom.images import Header, Picture, read, read_header
from pixloom.images.codecs import sniff
from pixloom.inference.tiling import MAX_PIXELS_AT_ONCE
from pixloom.inference.translator import Prepared, Translator, as_given, working_size
from pixloom.serve.contract import Wishes
from pixloom.serve.limits import Limits
from pixloom.serve.refusal import RefusedError, refusal_of

Result = TypeVar("Result")

FORMATS = ("JPEG", "PNG", "WEBP")
"""What is read, whatever a client calls it; told by the first bytes."""


MOST_SCANS = 100
"""Of a JPEG: each goes over all of its pixels, and takes but a few bytes; cameras and programs make about ten."""

MOST_SEGMENTS = 10_000
"""Of a picture's file: 20 MB of the shortest would keep a decoder busy for a minute; programs make one for every 8 KB or so."""


_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})  # markers that are a segment by themselves


@dataclass(frozen=True)
class Sent:
    """What a client sent.

    Attributes:
        pictures: files by the name of their part; ``source`` is what is to be translated.
        fields: parameters.
    """

    pictures: Mapping[str, bytes]
    fields: Mapping[str, str]


def check_samples(translator: Translator, wishes: Wishes) -> None:
    """Refuse to ask for several answers where there is one.

    Raises:
        RefusedError: it is so.
    """
    if wishes.samples > 1 and not translator.has_answers:
        raise RefusedError(
            "this model has one answer for each picture",
            code="one-answer",
            status=422,
            why="it was trained without noise",
            fix="leave samples out, or serve a model with noise",
        )


def prepare(translator: Translator, sent: Sent, *, wishes: Wishes, limits: Limits) -> Prepared:
    """Decode the pictures of a request and make of them what the network is to see.

    Raises:
        RefusedError: a picture is no picture, too large, or does not go with the others; or the model does not take what was given.
    """
    check_samples(translator, wishes)
    stated = _told(lambda: wishes.stated)
    names = {name: "style" if name == "reference" else name for name in sent.pictures if name != "source"}
    _told(lambda: translator.beside.check([*names.values(), *stated]))
    headers = {name: header_of(data, name=name, limits=limits) for name, data in sent.pictures.items()}
    check_sizes(headers, limits=limits)
    check_work(translator, headers["source"], wishes=wishes, limits=limits)
    pictures = {name: decoded(data, name=name, limits=limits) for name, data in sent.pictures.items()}
    given = as_given({names[name]: picture for name, picture in pictures.items() if name != "source"} | stated)
    return _told(lambda: translator.prepare(pictures["source"], size=wishes.working_size, given=given))


def header_of(data: bytes, *, name: str, limits: Limits) -> Header:
    """What the first bytes of a picture say; nothing is decoded.

    Raises:
        RefusedError: no JPEG, PNG or WebP, too many pixels, or more than one frame.
    """
    try:
        kind = sniff(data[:32])
    except PixloomError as error:
        raise RefusedError("this is no picture", code="not-a-picture", status=415, where=name, fix="send JPEG, PNG or WebP") from error
    if kind not in FORMATS:
        raise RefusedError(f"{kind} is not read here", code="not-a-picture", status=415, where=name, fix="send JPEG, PNG or WebP")
    check_segments(data, kind, where=name)
    try:
        header = read_header(data, max_pixels=limits.pixels)
    except PixloomError as error:
        if error.what.startswith("the picture is too large"):
            raise too_many_pixels(error.what, limits, where=name) from error
        raise refusal_of(error, where=name) from error
    if header.frames > limits.frames:
        what = f"this picture has {header.frames} frames"
        why = "one is translated" if limits.frames == 1 else f"the limit is {limits.frames}, and the first is translated"
        raise RefusedError(what, code="several-frames", status=422, where=name, why=why, fix="send a single frame")
    return header


def check_segments(data: bytes, kind: str, *, where: str | None = None) -> None:
    """Refuse a file that is cut into so many parts that decoding it would take very long, however few pixels it has.

    Raises:
        RefusedError: it is so.
    """
    walk = {"PNG": png_chunks, "JPEG": jpeg_segments}.get(kind)
    parts = 0 if walk is None else sum(1 for _ in islice(walk(data), MOST_SEGMENTS + 1))
    if parts > MOST_SEGMENTS or (kind == "JPEG" and data.count(b"\xff\xda") > MOST_SCANS):
        raise RefusedError("this file is cut into too many parts", code="too-many-segments", status=422, where=where, fix="save it anew")


def png_chunks(data: bytes) -> Iterator[int]:
    r"""Where the chunks of a PNG begin.

    >>> list(png_chunks(b"........" + b"\0\0\0\1IHDRx...." + b"\0\0\0\0IEND...."))
    [8, 21]
    """
    place = 8
    while place + 8 <= len(data):
        yield place
        place += 12 + int.from_bytes(data[place : place + 4], "big")


def jpeg_segments(data: bytes) -> Iterator[int]:
    r"""Where the segments of a JPEG begin, up to its first scan; and what is none, byte by byte, as Pillow goes over it.

    >>> list(jpeg_segments(b"\xff\xd8" + b"\xff\xe0\0\3x" + b"\xff\xff\xfe\0\2" + b"." + b"\xff\xda"))
    [2, 7, 8, 12, 13]
    """
    place = 2
    while place + 2 <= len(data):
        yield place
        marker = data[place + 1] if data[place] == 0xFF else None
        if marker == 0xDA:
            return
        if marker in (None, 0xFF):
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4], "big"))


def decoded(data: bytes, *, name: str, limits: Limits) -> Picture:
    """A picture whose header was accepted.

    Raises:
        RefusedError: it is damaged.
    """
    return _told(lambda: read(data, max_pixels=limits.pixels), where=name)


def check_sizes(headers: Mapping[str, Header], *, limits: Limits) -> None:
    """Refuse, before anything is decoded, pictures beside the source that are not of its size, and too many pixels of all together.

    Raises:
        RefusedError: it is so.
    """
    source = headers["source"]
    for name, header in headers.items():
        if name != "reference" and (header.width, header.height) != (source.width, source.height):
            raise RefusedError(
                f"the {name} has another size than the source",
                code="sizes-differ",
                status=422,
                where=name,
                why=f"{header.width} x {header.height} and {source.width} x {source.height} pixels",
                fix=f"send a {name} of the source's size",
            )
    if sum(header.width * header.height for header in headers.values()) > 2 * limits.pixels:
        raise too_many_pixels("the pictures of this request have too many pixels together", limits, allowed=2 * limits.pixels)


def check_work(translator: Translator, source: Header, *, wishes: Wishes, limits: Limits) -> None:
    """Refuse what would make too large a result, or need too much memory on the way.

    Raises:
        RefusedError: it is so.
    """
    scale = translator.task.magnification
    made = source.width * source.height * scale**2
    if made * wishes.samples > limits.pixels:
        raise too_many_pixels(f"{made * wishes.samples:,} pixels would come out", limits)
    height, width = _worked(translator, source, wishes)
    channels = int(translator.description.generator.options["source_channels"]) + sum(translator.conditions.planes.values())
    if height * width > limits.pixels or height * width * channels * 4 > limits.waiting_bytes / 2:
        raise too_many_pixels(f"the network would work at {width} x {height} pixels", limits)


def too_many_pixels(what: str, limits: Limits, *, where: str | None = None, allowed: int | None = None) -> RefusedError:
    """More pixels than are taken on."""
    why = f"the limit is {allowed or limits.pixels:,} pixels"
    return RefusedError(what, code="too-many-pixels", status=413, where=where, why=why, fix="send a smaller picture, or ask for less")


def memory_of(prepared: Prepared) -> int:
    """Bytes that a picture takes while it waits."""
    arrays = [prepared.picture.pixels, prepared.picture.alpha, prepared.values, *prepared.given.values(), *prepared.condition.values()]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def _worked(translator: Translator, source: Header, wishes: Wishes) -> tuple[int, int]:
    """Height and width of what is held as floats; of what goes through in bands, that of one piece."""
    task, size = translator.task, wishes.working_size
    if task.native or size == "native":
        height, width = source.height * task.magnification, source.width * task.magnification
        return (1, MAX_PIXELS_AT_ONCE) if task.local and height * width > MAX_PIXELS_AT_ONCE else (height, width)
    side = translator.description.size if size == "trained" else int(size)
    signature = translator.runtime.signature
    return working_size(source.height, source.width, short_side=side, multiple=max(signature.size_multiple, signature.min_size))


def _told(do: Callable[[], Result], *, where: str | None = None) -> Result:
    """What a function gives; its errors as a client may be told them."""
    try:
        return do()
    except PixloomError as error:
        raise refusal_of(error, where=where) from error
