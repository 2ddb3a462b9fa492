"""Picture formats: what a header says, how a file becomes a :class:`Picture`, and how a picture becomes a file's bytes.

The rules are in the table of :mod:`pixloom.images`, the module to use. Pillow's plug-ins are opened directly: ``Image.open`` would
compare the size with a limit that is global to the process, while here it is an argument and is checked before anything is decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from pixloom.errors import ImageError, OutputError, require
from pixloom.images.picture import (
    Header,
    Picture,
    check_channels,
    depth_of,
    fits_pil,
    from_array,
    from_pil,
    orientation_of,
    stacked,
    to_pil,
    upright,
    wide_to_srgb,
)
from pixloom.images.tiff import decode_tiff, inspect_tiff

_MAGIC = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "NPY": rb"\x93NUMPY",
}
_PLUGINS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}


def sniff(start: bytes) -> str:
    """The format that the first bytes of a file belong to.

    >>> sniff(b"BM and more")
    'BMP'
    """
    for name, pattern in _MAGIC.items():
        if re.match(pattern, start, re.DOTALL):
            return name
    if not start:
        raise ImageError("the file is empty", fix="copy or download it again")
    raise ImageError(
        "this is not a picture of an accepted format",
        why=f"it begins with {start[:12]!r}",
        fix="use JPEG, PNG, WebP, BMP, TIFF or .npy; convert anything else to PNG",
    )


def inspect(stream: BinaryIO, *, max_pixels: int) -> Header:
    """Read what the header says; nothing is decoded.

    Raises:
        ImageError: a format that is not accepted, or more than ``max_pixels`` pixels (or four times as many values).
    """
    start = stream.read(32)
    name = sniff(start)
    _check_size(*_stated_size(name, start), 1, max_pixels=max_pixels)
    stream.seek(0)
    header = {"TIFF": inspect_tiff, "NPY": _inspect_npy}.get(name, _inspect_pillow)(stream, name)
    _check_size(header.width, header.height, header.channels, max_pixels=max_pixels)
    return header


def decode(stream: BinaryIO, header: Header) -> Picture:
    """Decode the first frame of a file that :func:`inspect` accepted."""
    stream.seek(0)
    picture = _DECODERS[header.format](stream, header)
    if (picture.height, picture.width, picture.channels) != (header.height, header.width, header.channels):
        raise ImageError("the content does not have the size that the header states", fix="copy or download the file again")
    if header.frames > 1:
        picture = replace(picture, notes=(*picture.notes, f"first of {header.frames} frames"))
    return picture


def encode(picture: Picture, suffix: str) -> bytes:
    """The bytes of a file of the format that a (lower-case) suffix stands for.

    Raises:
        OutputError: the format cannot hold this picture without loss of a channel, of alpha or of depth.
    """
    return ENCODERS[suffix](picture)


# Headers


def _check_size(width: int, height: int, channels: int, *, max_pixels: int) -> None:
    if width * height > max_pixels or width * height * channels > 4 * max_pixels:
        raise ImageError(
            f"the picture is too large: {width} x {height} pixels, {channels} channels",
            why=f"the limit is {max_pixels} pixels, of four channels",
            fix="make it smaller, or read it with a larger max_pixels",
        )


def _stated_size(name: str, start: bytes) -> tuple[int, int]:
    """Width and height in the first bytes of those formats whose Pillow plug-in takes memory when it is opened; else (0, 0)."""
    if name == "PNG":
        width, height = struct.unpack(">II", start[16:24])
        return width, height
    if name == "WEBP":
        if start[12:16] == b"VP8X":
            return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
        if start[12:16] == b"VP8L":
            bits = int.from_bytes(start[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF
    return 0, 0


def _inspect_pillow(stream: BinaryIO, name: str) -> Header:
    image = _open(stream, name)
    if name == "PNG" and "exif" not in image.info:
        image.info["exif"] = _png_exif(stream)
    channels, depth = (1 if image.mode in ("1", "L") else 3), 8
    if name == "PNG":  # of 16-bit files Pillow's mode does not tell
        bits, colour = _png_kind(stream)
        channels, depth = (1 if colour in (0, 4) else 3), (16 if bits == 16 else 8)
    orientation = orientation_of(image)
    width, height = image.size if orientation < 5 else image.size[::-1]
    return Header(name, width, height, channels, depth, image.has_transparency_data, getattr(image, "n_frames", 1), orientation)


def _open(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    stream.seek(0)
    return _PLUGINS[name](stream)


def _png_kind(stream: BinaryIO) -> tuple[int, int]:
    """Bits per sample and colour type."""
    stream.seek(24)
    bits, colour = stream.read(2)
    return bits, colour


def _png_exif(stream: BinaryIO) -> bytes | None:
    """The EXIF chunk wherever it stands; many tools append it after the pixels."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return stream.read(length)
        stream.seek(length + 4, 1)
    return None


def _inspect_npy(stream: BinaryIO, name: str) -> Header:
    shape, dtype = _npy_header(stream)
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ImageError(f"an array of shape {shape} is no picture", fix="save it as height x width or height x width x channels")
    height, width, channels = (*shape, 1)[:3]
    check_channels((height, width, channels))
    return Header(name, width, height, channels, depth_of(dtype), False, 1, 1)


def _npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ImageError(f"version {version} of the .npy format is not accepted", fix="save a plain numeric array with numpy.save")
    shape, _, dtype = readers[version](stream)
    return shape, dtype


# Files


def _decode_pillow(stream: BinaryIO, header: Header) -> Picture:
    return from_pil(_open(stream, header.format))


def _decode_npy(stream: BinaryIO, header: Header) -> Picture:
    return Picture(from_array(np.lib.format.read_array(stream, allow_pickle=False)))


def _decode_png(stream: BinaryIO, header: Header) -> Picture:
    bits, colour = _png_kind(stream)
    image = _open(stream, "PNG")
    if bits == 16 and colour != 0:
        return _decode_wide_png(stream, header, profile=image.info.get("icc_profile"), size=image.size)
    if bits in (2, 4) and "transparency" in image.info and colour == 0:
        image.info["transparency"] *= 255 // (2**bits - 1)  # Pillow widens the samples to 8 bits, but not the key
    return from_pil(image)


def _decode_wide_png(stream: BinaryIO, header: Header, *, profile: bytes | None, size: tuple[int, int]) -> Picture:
    """16-bit colour, which Pillow would reduce to 8 bits."""
    codecs = require("imagecodecs", extra="data", purpose="a PNG of 16-bit colour")
    stream.seek(0)
    # Given an array to fill, a damaged file is a clean error; without one, imagecodecs 2026.3 loses a reference to None each time.
    array = codecs.png_decode(stream.read(), out=np.empty((size[1], size[0], header.channels + header.alpha), np.uint16))
    pixels, alpha = (array[..., :-1], array[..., -1]) if header.alpha else (array, None)
    pixels, notes = wide_to_srgb(pixels, profile) if profile else (pixels, ())
    return upright(Picture(pixels, alpha, notes), header.orientation)


_DECODERS: dict[str, Callable[[BinaryIO, Header], Picture]] = {
    "JPEG": _decode_pillow,
    "PNG": _decode_png,
    "WEBP": _decode_pillow,
    "BMP": _decode_pillow,
    "TIFF": decode_tiff,
    "NPY": _decode_npy,
}


# Writing

_PNG_LEVEL = 1  # three to four times as fast as the usual 6, and photographs become 3 to 14 % larger; see docs/pictures.md


def _encode_png(picture: Picture) -> bytes:
    _check_holds("PNG", picture, types=(np.uint8, np.uint16), alpha=True)
    if fits_pil(picture):
        return _saved(to_pil(picture), "PNG", compress_level=_PNG_LEVEL)
    codecs = require("imagecodecs", extra="data", purpose="a PNG of 16-bit colour")
    return bytes(codecs.png_encode(np.ascontiguousarray(stacked(picture)), level=_PNG_LEVEL))


def _encode_jpeg(picture: Picture) -> bytes:
    _check_holds("JPEG", picture, types=(np.uint8,), alpha=False)
    return _saved(to_pil(picture), "JPEG", quality=95, subsampling=0)


def _encode_webp(picture: Picture) -> bytes:
    _check_holds("WebP", picture, types=(np.uint8,), alpha=True)
    image = to_pil(picture).convert("RGB" if picture.alpha is None else "RGBA")  # the format knows no grey
    return _saved(image, "WEBP", lossless=True, exact=True)


def _encode_bmp(picture: Picture) -> bytes:
    _check_holds("BMP", picture, types=(np.uint8,), alpha=False)
    return _saved(to_pil(picture), "BMP")


def _encode_tiff(picture: Picture) -> bytes:
    if fits_pil(picture):
        return _saved(to_pil(picture), "TIFF", compression="tiff_adobe_deflate")
    tifffile = require("tifffile", extra="data", purpose="a TIFF of 16 bits, floats or many channels")
    array, buffer = stacked(picture), BytesIO()
    colours = 3 if picture.channels == 3 else 1
    extras = ["unspecified"] * (picture.channels - colours) + ["unassalpha"] * (picture.alpha is not None)
    layout = {"planarconfig": "contig", "extrasamples": extras} if array.ndim == 3 else {}
    photometric = "rgb" if colours == 3 else "minisblack"
    tifffile.imwrite(buffer, array, photometric=photometric, compression="zlib", metadata=None, software=False, **layout)
    return buffer.getvalue()


def _encode_npy(picture: Picture) -> bytes:
    buffer = BytesIO()
    np.save(buffer, stacked(picture), allow_pickle=False)
    return buffer.getvalue()


def _saved(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _check_holds(name: str, picture: Picture, *, types: tuple[type, ...], alpha: bool) -> None:
    if picture.channels not in (1, 3):
        raise OutputError(f"{name} cannot hold {picture.channels} channels", fix="choose .tif or .npy, or select 1 or 3 channels")
    if picture.pixels.dtype not in types:
        fix = "choose .tif or .npy (or .png for uint16), or convert the pixels to 8 bits first"
        raise OutputError(f"{name} cannot hold {picture.pixels.dtype} values", fix=fix)
    if picture.alpha is not None and not alpha:
        fix = "choose .png, .webp or .tif, or leave alpha out with dataclasses.replace(picture, alpha=None)"
        raise OutputError(f"{name} cannot hold alpha", fix=fix)


ENCODERS: dict[str, Callable[[Picture], bytes]] = {
    ".png": _encode_png,
    ".jpg": _encode_jpeg,
    ".jpeg": _encode_jpeg,
    ".webp": _encode_webp,
    ".bmp": _encode_bmp,
    ".tif": _encode_tiff,
    ".tiff": _encode_tiff,
    ".npy": _encode_npy,
}
