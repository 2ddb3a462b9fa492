"""Pictures in and out: the one way from files, arrays and Pillow images to pixels, and back.

The rules, by what comes in. Nothing is clipped, and every conversion leaves a note in ``Picture.notes``.

=================================  ==================================================================================
in                                 out
=================================  ==================================================================================
grey, RGB of 8 bits                1 or 3 channels, uint8
1 bit                              1 channel, 0 or 255
2 or 4 bits, grey                  1 channel, uint8, spread over 0 to 255
palette                            RGB; with transparency RGB and alpha
transparent colour (PNG tRNS)      alpha that is 0 where the pixels have this colour
alpha                              split off; premultiplied alpha (TIFF) is divided out
16 bits                            uint16 as it is; colour needs the extra ``data``
float TIFF, .npy, Pillow "F"       float32; must lie in [0, 1], without NaN
32-bit integers                    Pillow "I" within 0 to 65535 becomes uint16; everything else is refused
multi-channel TIFF, .npy           up to 64 channels, as they are; .npy is H W or H W C, and names no channel alpha
bool array                         0 or 255
CMYK                               RGB, by its ICC profile where it has one, else by Pillow's formula
YCbCr, HSV, CIELAB                 RGB
ICC profile                        applied, to sRGB; one that is broken or unfit is ignored, with a note
EXIF orientation                   applied
several frames or pages            the first
another format, suffix or none     recognised by content: JPEG, PNG, WebP, BMP, TIFF, .npy; else :class:`ImageError`
more than ``max_pixels`` pixels    :class:`ImageError`, from the header, before anything is decoded
truncated, damaged, hostile        :class:`ImageError` with the file's name
=================================  ==================================================================================

And by what goes out (the suffix chooses). Metadata of the source (EXIF, GPS, ICC) is not carried over.

===============  ====================================================================================================
.png             8 or 16 bits, 1 or 3 channels, alpha (16-bit colour needs the extra ``data``)
.jpg, .jpeg      8 bits, 1 or 3 channels, quality 95 without chroma subsampling; alpha and 16 bits are refused
.webp            8 bits, lossless, alpha; grey becomes three equal channels, for the format has no other
.bmp             8 bits, 1 or 3 channels
.tif, .tiff      everything, losslessly compressed
.npy             everything; alpha becomes the last channel
===============  ====================================================================================================
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pixloom.errors import ImageError, OutputError, PixloomError, nearest
from pixloom.images.codecs import ENCODERS, decode, encode, inspect
from pixloom.images.picture import Header, Picture, depth_of, from_array, from_pil, full_scale, strips, to_depth, to_pil, to_type

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Header",
    "Picture",
    "as_picture",
    "from_model",
    "list_pictures",
    "read",
    "read_header",
    "resize",
    "resized_columns",
    "strips",
    "to_depth",
    "to_model",
    "to_pil",
    "with_channels",
    "write",
]

SUFFIXES: frozenset[str] = frozenset(ENCODERS)
"""Lower-case suffixes of the files that are pictures."""

MAX_PIXELS = 100_000_000
"""Largest picture that is read unless the caller says otherwise (of up to four channels)."""

_DAMAGED = "the file is truncated or damaged: copy or download it again"
_AT_ONCE = 2**21  # pixels of which Pillow may make copies while it resizes
_LUMA = np.array([0.299, 0.587, 0.114])


def read_header(path: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """What a file, or bytes of one, will give; never decodes.

    Raises:
        ImageError: as :func:`read`, as far as the header shows it.
    """
    with _opened(path) as stream:
        return inspect(stream, max_pixels=max_pixels)


def read(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the first frame of a file, or of bytes that hold one, by the rules above.

    Raises:
        ImageError: missing, not a picture of an accepted format, truncated, damaged or too large; with the file's name.
        DependencyError: a picture that needs the extra ``data``.
    """
    with _opened(source) as stream:
        return decode(stream, inspect(stream, max_pixels=max_pixels))


def write(picture: Picture, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a file in the format of its suffix; it is there whole or not at all.

    Raises:
        OutputError: the file exists and ``overwrite`` is not set, the format cannot hold the picture, no space, no permission.
        DependencyError: 16-bit colour, floats or many channels without the extra ``data``.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"no picture format has the suffix '{path.suffix}'", where=path, fix=nearest(suffix, SUFFIXES))
    with _writing(path):
        if not overwrite and path.exists():
            raise OutputError("the file exists already", fix="choose another name, or allow it to be overwritten")
        data = encode(picture, suffix)
        _write_atomically(path, data)


def as_picture(thing: Path | str | bytes | Image.Image | np.ndarray | Picture) -> Picture:
    """Whatever holds a picture, as a :class:`Picture`; arrays and pixels are shared where they need no conversion.

    >>> as_picture(np.array([[False, True]])).pixels[..., 0]
    array([[  0, 255]], dtype=uint8)

    Raises:
        ImageError: a file, mode, type or range that the rules refuse.
    """
    if isinstance(thing, Picture):
        return thing
    if isinstance(thing, np.ndarray):
        return Picture(from_array(thing))
    if isinstance(thing, Image.Image):
        with _reading(getattr(thing, "filename", "") or "a Pillow image"):
            return from_pil(thing)
    if isinstance(thing, (str, bytes, Path)):
        return read(thing)
    raise ImageError(f"a {type(thing).__name__} is no picture", fix="give a path, a Pillow image or a NumPy array (H W C)")


def with_channels(picture: Picture, channels: int) -> Picture:
    """The picture with 1 or 3 channels: grey is repeated, colour becomes Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Raises:
        ImageError: any other change of the number of channels, which would have to invent or drop some.
    """
    if picture.channels == channels:
        return picture
    if (picture.channels, channels) == (1, 3):
        return replace(picture, pixels=np.repeat(picture.pixels, 3, axis=2), notes=(*picture.notes, "grey repeated to 3 channels"))
    if (picture.channels, channels) == (3, 1):
        grey = np.empty((picture.height, picture.width, 1), picture.pixels.dtype)
        for rows in strips(picture.height, width=picture.width):
            grey[rows, :, 0] = to_type(picture.pixels[rows] @ _LUMA, grey.dtype)
        return replace(picture, pixels=grey, notes=(*picture.notes, "colour to grey (ITU-R BT.601 luma)"))
    raise ImageError(
        f"a picture of {picture.channels} channels cannot become one of {channels}",
        fix=f"give pictures of {channels} channels (grey and RGB are converted into each other, nothing else)",
    )


def resize(pixels: np.ndarray, *, height: int, width: int, nearest: bool = False) -> np.ndarray:
    """Antialiased bicubic resampling, rounded and clamped to the type's range; or nearest neighbour, which keeps exact values.

    Args:
        pixels: (H, W) or (H, W, C); uint8, uint16 or floats in [0, 1]; of any type for ``nearest``.
        height: of the result.
        width: of the result.
        nearest: for label maps.

    Returns:
        The result, of the same type; ``pixels`` itself when it has that size already.

    Raises:
        ImageError: an empty size, or a type that bicubic resampling has no range for.
    """
    if min(height, width) < 1:
        raise ImageError(f"{width} x {height} pixels is no size", fix="give at least 1 x 1")
    if pixels.shape[:2] == (height, width):
        return pixels
    if nearest:
        rows = (np.arange(height) * 2 + 1) * pixels.shape[0] // (2 * height)
        columns = (np.arange(width) * 2 + 1) * pixels.shape[1] // (2 * width)
        picked: np.ndarray = pixels[rows[:, None], columns]
        return picked
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise ImageError(f"{pixels.dtype} values cannot be interpolated", fix="resize with nearest=True, or convert them to uint8")
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    resized = np.empty((height, width, planes.shape[2]), pixels.dtype)
    at_once = 3 if _is_rgb(planes) else 1
    for first in range(0, planes.shape[2], at_once):
        channels = slice(first, first + at_once)
        for columns, part in resized_columns(planes[:, :, channels], height=height, width=width):
            resized[:, columns, channels] = part
    return resized[:, :, 0] if pixels.ndim == 2 else resized


def resized_columns(pixels: np.ndarray, *, height: int, width: int) -> Iterator[tuple[slice, np.ndarray]]:
    """What :func:`resize` gives (bicubic), some columns at a time from left to right: a large result need never be there as a whole.

    Args:
        pixels: (H, W, C); uint8, uint16 or floats in [0, 1].
        height: of the result.
        width: of the result.

    Yields:
        The columns and their pixels, (height, columns, C) of the same type.
    """
    if max(pixels.shape[0] * pixels.shape[1], height * width) <= _AT_ONCE:
        yield slice(0, width), to_type(_bicubic(pixels, height=height, width=width), pixels.dtype)
        return
    # The filter is separable: first along rows, which need nothing of each other, then along columns.
    widened = np.empty((pixels.shape[0], width, pixels.shape[2]), np.uint8 if pixels.dtype == np.uint8 else np.float32)
    for rows in strips(pixels.shape[0], width=max(pixels.shape[1], width), pixels=_AT_ONCE):
        widened[rows] = _bicubic(pixels[rows], height=rows.stop - rows.start, width=width)
    for columns in strips(width, width=max(pixels.shape[0], height), pixels=_AT_ONCE):
        part = _bicubic(widened[:, columns], height=height, width=columns.stop - columns.start)
        yield columns, to_type(part, pixels.dtype)


def to_model(pixels: np.ndarray) -> np.ndarray:
    """Pixels as a network sees them: v / (max / 2) - 1, so that 0 becomes -1 and white becomes 1.

    Args:
        pixels: (H, W, C) of uint8, uint16 or floats in [0, 1].

    Returns:
        (C, H, W) float32 in [-1, 1]; :func:`from_model` gives every uint8 and uint16 value back exactly.

    Raises:
        ImageError: another type of values.
    """
    depth_of(pixels.dtype)
    half = np.float32(full_scale(pixels.dtype) / 2)
    values = np.array(pixels.transpose(2, 0, 1), dtype=np.float32, order="C")
    values /= half
    values -= 1
    return values


def from_model(values: np.ndarray, *, dtype: Any = np.uint8) -> np.ndarray:
    """A network's output as pixels: (v + 1) max / 2, rounded to the nearest integer and clamped.

    Args:
        values: (C, H, W) in [-1, 1]; what lies beyond is clamped.
        dtype: uint8, uint16 or float32.

    Returns:
        (H, W, C) of ``dtype``.

    Raises:
        ImageError: NaN or infinity among the values.
    """
    pixels = np.empty((*values.shape[1:], len(values)), dtype)
    half = np.float32(full_scale(pixels.dtype) / 2)
    for rows in strips(pixels.shape[0], width=pixels.shape[1]):
        if not np.isfinite(values[:, rows]).all():
            raise ImageError(
                "the output holds values that are not finite (NaN or infinity)", fix="the model is damaged, or overflows at this precision"
            )
        part = np.array(values[:, rows].transpose(1, 2, 0), dtype=np.float32)
        part += 1
        part *= half
        pixels[rows] = to_type(part, pixels.dtype)
    return pixels


def list_pictures(folder: Path | str, *, recursive: bool = True) -> list[Path]:
    """Picture files by suffix, sorted by path; hidden files and folders are left out.

    Raises:
        ImageError: the folder is missing, or it or one inside it cannot be listed.
    """
    folder = Path(folder)
    with _reading(folder):
        if not folder.is_dir():
            raise ImageError("there is no such folder" if not folder.exists() else "this is not a folder")
        return sorted(_pictures_in(folder, recursive=recursive, above=frozenset()))


def _pictures_in(folder: Path, *, recursive: bool, above: frozenset[str]) -> Iterator[Path]:
    """Links to folders are followed, except those that lead back to a folder above."""
    here = os.path.realpath(folder)
    with os.scandir(folder) as entries:
        seen = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in seen:
        path = folder / entry.name
        if not _is_folder(entry):
            if path.suffix.lower() in SUFFIXES:
                yield path
        elif recursive and os.path.realpath(path) not in above | {here}:
            yield from _pictures_in(path, recursive=True, above=above | {here})


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself is a bad file, and is reported as one when it is read
        return False


def _is_rgb(pixels: np.ndarray) -> bool:
    """Whether Pillow takes all channels at once."""
    return pixels.dtype == np.uint8 and pixels.shape[2] == 3


def _bicubic(pixels: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(H, W, C) through Pillow's filter: uint8 as it is, all other types as float32."""
    values = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32, copy=False)
    planes = [values] if _is_rgb(values) else [values[:, :, channel] for channel in range(values.shape[2])]
    images = [Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BICUBIC) for plane in planes]
    return np.asarray(images[0]) if _is_rgb(values) else np.dstack([np.asarray(image) for image in images])


@contextmanager
def _opened(source: Path | str | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        with _reading(f"{len(source)} bytes"):
            yield BytesIO(source)
        return
    path = Path(source)
    with _reading(path):
        if not path.exists():
            raise ImageError("this is a link to nothing" if path.is_symlink() else "there is no such file", fix="check the path")
        if not path.is_file():
            raise ImageError("this is not a file", why="it is a folder" if path.is_dir() else "it is a device or a pipe")
        with path.open("rb") as stream:
            yield stream


@contextmanager
def _reading(where: object) -> Iterator[None]:
    """Any failure as an ImageError that names the file."""
    try:
        yield
    except ImageError as error:
        raise ImageError(error.what, where=where, why=error.why, fix=error.fix) from error
    except PixloomError:
        raise
    except OSError as error:
        fix = None if error.errno else _DAMAGED
        raise ImageError("the picture cannot be read", where=where, why=error.strerror or str(error), fix=fix) from error
    except MemoryError as error:
        raise ImageError("the picture needs more memory than there is", where=where, fix="make it smaller") from error
    except Exception as error:  # decoders of damaged or hostile bytes raise anything
        why = f"{type(error).__name__}: {error}"
        raise ImageError("the picture cannot be read", where=where, why=why, fix=_DAMAGED) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Any failure as an OutputError that names the file."""
    try:
        yield
    except OutputError as error:
        raise OutputError(error.what, where=path, why=error.why, fix=error.fix) from error
    except PixloomError:
        raise
    except Exception as error:  # encoders refuse sizes beyond their format in their own ways
        number = error.errno if isinstance(error, OSError) else None
        what = "the picture cannot be written" if number else "the picture cannot be written in this format"
        fixes = {
            None: "choose .png or .tif",
            errno.ENOSPC: "free some space",
            errno.EDQUOT: "free some space",
            errno.EFBIG: "free some space",
            errno.ENOENT: "create the folder",
        }
        fix = fixes.get(number, "choose a place that you may write to")
        raise OutputError(what, where=path, why=str(getattr(error, "strerror", None) or error), fix=fix) from error


def _write_atomically(path: Path, data: bytes) -> None:
    draft = path.parent / f".{secrets.token_hex(8)}.part"  # a dot: a crash leaves nothing that is taken for a picture
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
