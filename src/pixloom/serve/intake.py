"""From the bytes of a request to what a network is to see, within the limits; nothing here waits for a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
        raise RefusedError("this model has one answer for each picture", code="one-answer", status=422, fix="leave samples out")


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
    kind = _told(lambda: sniff(data[:32]), where=name)
    if kind not in FORMATS:
        raise RefusedError(f"{kind} is not read here", code="not-a-picture", status=415, where=name, fix="send JPEG, PNG or WebP")
    try:
        header = read_header(data, max_pixels=limits.pixels)
    except PixloomError as error:
        if error.what.startswith("the picture is too large"):
            raise too_many_pixels(error.what, limits, where=name) from error
        raise refusal_of(error, where=name) from error
    if header.frames > 1:
        what = f"this picture has {header.frames} frames"
        raise RefusedError(what, code="several-frames", status=422, where=name, why="one is translated", fix="send a single frame")
    return header


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
