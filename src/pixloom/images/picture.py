"""The picture: what a decoded one is, and how an array or a Pillow image of any mode becomes one.

The rules are in the table of :mod:`pixloom.images`, the module to use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from pixloom.errors import ImageError, require

MAX_CHANNELS = 64

_ORIENTATION = 0x0112
# EXIF orientation -> (transpose, then flip top to bottom, flip left to right) that turns the stored rows upright.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class Header:
    """What a file will give when it is read, known without decoding it.

    Attributes:
        format: JPEG, PNG, WEBP, BMP, TIFF or NPY, recognised by content.
        width: in pixels, upright (after the EXIF orientation).
        height: in pixels, upright.
        channels: number of channels without alpha.
        depth: 8 (uint8), 16 (uint16) or 32 (float32) bits.
        alpha: whether there is transparency.
        frames: number of frames or pages.
        orientation: EXIF orientation of the stored rows, 1 to 8.
    """

    format: str
    width: int
    height: int
    channels: int
    depth: int
    alpha: bool
    frames: int
    orientation: int


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture: sRGB colour (or any channels), upright.

    Attributes:
        pixels: (height, width, channels), uint8, uint16 or float32 in [0, 1].
        alpha: (height, width) of the same type, not premultiplied; None when the picture is opaque.
        notes: every conversion that happened, in words.

    Raises:
        ImageError: shapes or types that are not these.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or 0 in self.pixels.shape or self.pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise ImageError(f"pixels {self.pixels.dtype} {self.pixels.shape} are no picture", fix="use as_picture(array)")
        if self.alpha is not None and (self.alpha.shape != self.pixels.shape[:2] or self.alpha.dtype != self.pixels.dtype):
            raise ImageError("alpha must have the height, width and type of the pixels", why=f"{self.alpha.dtype} {self.alpha.shape}")

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """Number of channels without alpha."""
        return int(self.pixels.shape[2])


def full_scale(dtype: np.dtype[Any]) -> Any:
    """The value of white, as a scalar of the type: 255, 65535 or 1.0.

    >>> int(full_scale(np.dtype(np.uint16)))
    65535
    """
    return dtype.type(np.iinfo(dtype).max if dtype.kind == "u" else 1)


def to_type(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Values clamped to the range of a pixel type, and rounded where it is one of integers; integers of that type are left alone."""
    if values.dtype == dtype and dtype.kind == "u":
        return values
    rounded = np.rint(values) if dtype.kind == "u" else values
    clamped: np.ndarray = np.clip(rounded, 0, full_scale(dtype)).astype(dtype, copy=False)
    return clamped


def strips(height: int, *, width: int, pixels: int = 2**18) -> Iterator[slice]:
    """The rows of a picture in order, about so many pixels at a time: work on a large one then needs little memory beside it.

    >>> list(strips(3, width=100, pixels=250))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, pixels // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def to_depth(picture: Picture, dtype: np.dtype[Any]) -> Picture:
    """The picture with values of another type: uint8, uint16 or float32."""
    alpha = None if picture.alpha is None else _scaled(picture.alpha, dtype)
    notes = (*picture.notes, f"{picture.pixels.dtype} to {dtype}")
    return Picture(_scaled(picture.pixels, dtype), alpha, notes)


def _scaled(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    factor = float(full_scale(dtype)) / float(full_scale(values.dtype))
    scaled = np.empty(values.shape, dtype)
    for rows in strips(len(values), width=math.prod(values.shape[1:])):
        scaled[rows] = to_type(values[rows].astype(np.float64) * factor, dtype)
    return scaled


def depth_of(dtype: np.dtype[Any]) -> int:
    """Bits per value of the picture that an array of this type becomes.

    Raises:
        ImageError: integers other than uint8 and uint16, and everything that is no number.
    """
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return 32
    if dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2):
        return 16 if dtype.itemsize == 2 else 8
    raise ImageError(
        f"values of type {dtype} are not accepted",
        fix="convert them to uint8 or uint16, or scale them to float32 in [0, 1]",
    )


def from_array(array: np.ndarray) -> np.ndarray:
    """H W or H W C of uint8, uint16, bool or float in [0, 1], as H W C of uint8, uint16 or float32.

    Raises:
        ImageError: another shape or type, or values outside [0, 1].
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise ImageError(f"an array of shape {array.shape} is no picture", fix="give height x width or height x width x channels")
    check_channels(array.shape)
    if depth_of(array.dtype) == 32:
        _check_range(array)
        return array.astype(np.float32, copy=False)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_channels(shape: tuple[int, ...]) -> None:
    """Refuse H W C shapes of too many channels; most often they are C H W."""
    if shape[2] > MAX_CHANNELS:
        turned = "; if it is channels first, use array.transpose(1, 2, 0)" if shape[0] <= MAX_CHANNELS else ""
        raise ImageError(f"{shape[2]} channels are more than {MAX_CHANNELS}", fix=f"choose the channels that matter{turned}")


def _check_range(array: np.ndarray) -> None:
    low, high = float(array.min()), float(array.max())
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        raise ImageError("the picture holds values that are not finite (NaN or infinity)", fix="numpy.nan_to_num replaces them")
    if low < 0 or high > 1:
        raise ImageError(
            f"float values must lie in [0, 1]; these lie in [{low:g}, {high:g}]",
            fix="scale them: x / 255 for 8-bit values, (x + 1) / 2 for [-1, 1], else (x - x.min()) / (x.max() - x.min())",
        )


_EXPANSIONS = {
    "P": ("RGB", "palette expanded"),
    "PA": ("RGBA", "palette expanded"),
    "La": ("LA", "alpha unmultiplied"),
    "RGBa": ("RGBA", "alpha unmultiplied"),
    "RGBX": ("RGB", "unused fourth channel left out"),
    "YCbCr": ("RGB", "YCbCr to RGB"),
    "HSV": ("RGB", "HSV to RGB"),
    "LAB": ("RGB", "CIELAB to sRGB"),
}


def from_pil(image: Image.Image) -> Picture:
    """A Pillow image of any mode, by the written rules: palette, transparency, ICC profile, orientation."""
    image.load()
    colour, alpha, notes = _split(image)
    if profile := image.info.get("icc_profile"):
        colour, note = _to_srgb(colour, profile)
        notes += note
    if colour.mode == "CMYK":
        colour = colour.convert("RGB")
        notes += ("CMYK to RGB without a profile",)
    if colour.mode == "1":
        notes += ("1 bit to 8 bits",)
    picture = Picture(from_array(_values(colour)), alpha, notes)
    return upright(picture, orientation_of(image))


def _split(image: Image.Image) -> tuple[Image.Image, np.ndarray | None, tuple[str, ...]]:
    """Colour without palette, alpha if there is any, and notes."""
    mode, note = _EXPANSIONS.get(image.mode, (image.mode, ""))
    notes = (note,) if note else ()
    if image.mode == "P" and image.has_transparency_data:
        mode = "RGBA"
    key = None if image.mode in ("P", "PA") else image.info.get("transparency")
    colour = image if mode == image.mode else image.convert(mode)
    if mode in ("LA", "RGBA"):
        return colour.convert(mode[:-1]), _array(colour.getchannel("A")), notes
    if key is not None:
        return colour, _keyed(from_array(_values(colour)), key), (*notes, "transparent colour to alpha")
    return colour, None, notes


def _keyed(pixels: np.ndarray, key: int | tuple[int, ...]) -> np.ndarray:
    """Alpha that is zero where the pixels have the one transparent colour."""
    opaque = (pixels != np.atleast_1d(key)).any(axis=2)
    return np.where(opaque, full_scale(pixels.dtype), 0).astype(pixels.dtype)


def _values(image: Image.Image) -> np.ndarray:
    array = _array(image)
    if image.mode != "I":
        return array
    if array.min() < 0 or array.max() > 65535:
        raise ImageError("32-bit integer values outside 0 to 65535 are not accepted", fix="scale them to uint16, or to float32 in [0, 1]")
    return array.astype(np.uint16)


def _array(image: Image.Image) -> np.ndarray:
    """The values of a Pillow image; strip by strip, because at once Pillow would make two more copies on the way."""
    corner = np.asarray(image.crop((0, 0, 1, 1)))
    array = np.empty((image.height, image.width, *corner.shape[2:]), corner.dtype)
    for rows in strips(image.height, width=image.width):
        array[rows] = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
    return array


def _to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """8-bit colour from its ICC profile to sRGB; a profile that is broken or of another colour space is noted and left alone."""
    if image.mode not in ("L", "RGB", "CMYK"):
        return image, ("ICC profile ignored: not 8-bit colour",)
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if image.mode != "CMYK" and ImageCms.getProfileDescription(source).startswith("sRGB"):
            return image, ()
        turned = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception as error:  # a damaged profile can raise anything; the pixels are sound without it
        return image, (f"ICC profile ignored: {error}",)
    assert turned is not None  # only the in-place form returns nothing
    return turned.convert("L") if image.mode == "L" else turned, ("ICC profile to sRGB",)


def wide_to_srgb(pixels: np.ndarray, profile: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    """RGB from its ICC profile to sRGB in 8 or 16 bits; a profile that cannot be used is noted and left alone."""
    if pixels.dtype == np.float32 or pixels.shape[2] != 3:
        return pixels, ("ICC profile ignored: not RGB of 8 or 16 bits",)
    try:
        codecs = require("imagecodecs", extra="data", purpose="an ICC profile in a 16-bit picture")
        exact = {"colorspace": "rgb", "outcolorspace": "rgb", "flags": codecs.CMS.FLAGS.NOOPTIMIZE}  # else by a coarse table
        turned = codecs.cms_transform(np.ascontiguousarray(pixels), profile, codecs.cms_profile("srgb"), **exact)
    except Exception as error:  # as above
        return pixels, (f"ICC profile ignored: {error}",)
    return turned, ("ICC profile to sRGB",)


def upright(picture: Picture, orientation: int) -> Picture:
    """The picture turned from the stored rows of an EXIF orientation."""
    if orientation == 1:
        return picture
    pixels, alpha = _turn(picture.pixels, orientation), picture.alpha
    turned = None if alpha is None else _turn(alpha, orientation)
    return Picture(pixels, turned, (*picture.notes, turn_note(orientation)))


def turn_note(orientation: int) -> str:
    """The note on a picture that was turned."""
    return f"turned upright (EXIF orientation {orientation})"


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    transpose, rows, columns = _TURNS[orientation]
    array = array.swapaxes(0, 1) if transpose else array
    return np.ascontiguousarray(array[:: -1 if rows else 1, :: -1 if columns else 1])


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none, or EXIF that cannot be read."""
    try:
        return valid_orientation(Image.Image.getexif(image).get(_ORIENTATION, 1))  # the plug-in's own method may decode the picture
    except Exception:  # broken EXIF raises whatever its bytes lead to, and is no reason to refuse a sound picture
        return 1


def valid_orientation(value: Any) -> int:
    """An EXIF orientation, or 1 for a value that is none."""
    return value if value in _TURNS else 1


def to_pil(picture: Picture) -> Image.Image:
    """The picture as a Pillow image: L, LA, RGB or RGBA of 8 bits, or I;16.

    Raises:
        ImageError: a picture that no Pillow mode holds: other channel counts, 16-bit colour or alpha, floats.
    """
    if not fits_pil(picture):
        raise ImageError(
            f"Pillow has no mode for {picture.channels} channels of {picture.pixels.dtype}{'' if picture.alpha is None else ' with alpha'}",
            fix="work with picture.pixels, write it as .tif or .npy, or reduce it to 8 bits and 1 or 3 channels",
        )
    return Image.fromarray(stacked(picture))


def fits_pil(picture: Picture) -> bool:
    """Whether a Pillow mode holds this picture without loss."""
    narrow = picture.pixels.dtype == np.uint8 and picture.channels in (1, 3)
    wide = picture.pixels.dtype == np.uint16 and picture.channels == 1 and picture.alpha is None
    return narrow or wide


def stacked(picture: Picture) -> np.ndarray:
    """Pixels with alpha as the last channel; H W when that is one channel only."""
    if picture.alpha is not None:
        return np.dstack([picture.pixels, picture.alpha])
    return picture.pixels[:, :, 0] if picture.channels == 1 else picture.pixels
