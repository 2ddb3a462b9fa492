"""Grey to colour: lightness in, and perhaps hints; the two colour channels of CIE Lab out, or RGB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from PIL import Image

from pixloom.errors import DataError, PixloomError
from pixloom.images import from_model, read, read_header, resized_columns, strips, to_model
from pixloom.tasks.base import Given, Pixels, Shown, Task, Values, lone, unit
from pixloom.tasks.hints import drawn_hints, is_coloured, painted_hints, smaller_hints

if TYPE_CHECKING:
    from pixloom.data.sources import Record

AB_SCALE = 110.0
"""Colour channels a and b are divided by this, as pix2pix's colorization does; sRGB reaches |b| <= 108."""

# Linear sRGB to CIE XYZ (IEC 61966-2-1) and the D65 white point of the 2-degree observer.
_XYZ_FROM_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]], dtype=np.float32)
_RGB_FROM_XYZ = np.linalg.inv(_XYZ_FROM_RGB.astype(np.float64)).astype(np.float32)
_WHITE = np.array([0.95047, 1.0, 1.08883], dtype=np.float32)
_DELTA = np.float32(6 / 29)
_OUTSIDE = 1e-5  # of linear light: a hundredth of a grey level of 8 bits, even in the dark
_HALVINGS = 10  # to a thousandth of the chroma

READERS = 8

GLANCE = 128
"""Pixels of the short side at which a JPEG is looked at for colour, at least."""


MOST_GLANCED = 10_000
"""So many training pictures are looked at for grey ones, which takes about a minute; in a larger set some grey ones do no harm."""


@dataclass(frozen=True)
class Colorize(Task):
    """Lightness L (scaled to L / 50 - 1) to colour (a, b) / 110, in CIE Lab under D65 (CIE 15:2004), or to RGB in [-1, 1].

    In Lab the source's own L is kept at its full resolution; only the colour is predicted, and resized where the network worked at
    another size. Colours outside sRGB are clipped to its surface. RGB is taken as the network gives it.

    Attributes:
        space: what the network gives, ``lab`` or ``rgb``.
        hints: whether it also sees places of known colour, see :mod:`pixloom.tasks.hints`; it is judged without any.
    """

    space: Literal["lab", "rgb"] = "lab"
    hints: bool = False

    name: ClassVar[str] = "colorize"
    summary: ClassVar[str] = "grey to colour; train on a folder of colour pictures"
    metrics: ClassVar[tuple[str, ...]] = ("colourfulness",)

    @property
    def detail_from_source(self) -> bool:
        """The source's lightness stays as it is beside colours alone, whose finest detail nobody sees: JPEG halves their resolution."""
        return self.space == "lab"

    @property
    def pixelwise(self) -> bool:
        """Unless hints are drawn."""
        return not self.hints

    @property
    def optional(self) -> tuple[str, ...]:
        """Hints, where the network sees them."""
        return ("hints",) if self.hints else ()

    def unfit(self, records: Sequence[Record]) -> Mapping[str, str]:
        """Pictures without colour, among the first :data:`MOST_GLANCED`."""
        glanced = records[:MOST_GLANCED]
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda record: is_grey(record.source), glanced)
            return {record.id: "grey, with no colour to learn" for record, grey in zip(glanced, found, strict=True) if grey}

    def settings(self, recipe: str) -> dict[str, Any]:
        """In ``auto`` L1 as heavy as in pix2pix: better by every measure than the recipe's 20, see docs/log.md."""
        return {"losses.pixel_weight": 100.0} if recipe == "auto" else {}

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """L, and three of hints, in; a and b, or red, green and blue out."""
        lone(self.name, target)
        if source != 3:
            raise DataError(
                f"the task 'colorize' learns from colour pictures, and these have {source} channel(s)",
                fix="give pictures with red, green and blue",
            )
        return 4 if self.hints else 1, 2 if self.space == "lab" else 3

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The picture's lightness as a neutral grey, and the picture."""
        return Shown(_coloured(np.zeros((2, *source.shape[:2]), np.float32), source), source)

    def encode(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> tuple[Values, Values]:
        """(L and hints, ab or RGB) of a colour picture."""
        lightness, colour = _planes(source)
        values = np.concatenate([lightness, drawn_hints(colour, rng)]) if self.hints else lightness
        return values, colour if self.space == "lab" else to_model(source)

    def accepted(self, source: Pixels, given: Given) -> Given:
        """Hints as RGB and alpha."""
        return {name: painted_hints(pixels) for name, pixels in given.items()}

    def fit_given(self, name: str, pixels: Pixels, *, height: int, width: int) -> Pixels:
        """Hints of which none is lost."""
        if height * width < pixels.shape[0] * pixels.shape[1]:
            return smaller_hints(pixels, height=height, width=width)
        return super().fit_given(name, pixels, height=height, width=width)

    def encode_source(self, source: Pixels, given: Given) -> Values:
        """L of a grey or colour picture, and the hints."""
        height, width = source.shape[:2]
        values = np.empty((4 if self.hints else 1, height, width), np.float32)
        values[1:3], values[3:] = 0, -1
        for rows in strips(height, width=width):
            values[:1, rows] = _planes(_as_rgb(source[rows]))[0]
            if "hints" in given:
                there = given["hints"][rows, :, 3] > 0
                values[1:3, rows] = np.where(there, _planes(given["hints"][rows, :, :3])[1], 0)
                values[3, rows] = np.where(there, 1, -1)
        return values

    def source_channels(self, picture: int, network: int) -> int:
        """Grey stays grey, everything else must be colour; either has an L."""
        return 1 if picture == 1 else 3

    def output_channels(self, network: int) -> int:
        """Red, green and blue."""
        return 3

    def compose(self, output: Values, source: Pixels, given: Given) -> Pixels:
        """The source's own L with the predicted colour, or the predicted picture."""
        return _coloured(output, source) if self.space == "lab" else super().compose(output, source, given)


def is_grey(path: Path) -> bool:
    """Whether a picture file shows no colour but noise. False where it cannot be read: that is the loader's to say."""
    try:
        header = read_header(path)
        if header.channels != 3:
            return header.channels == 1
        return not is_coloured(_glance(path) if header.format == "JPEG" else read(path).pixels).any()
    except (PixloomError, OSError):
        return False


def _glance(path: Path) -> Pixels:
    """A JPEG decoded at a fraction of its size, which takes a fraction of the time."""
    with Image.open(path) as image:
        image.draft("RGB", (GLANCE, GLANCE))
        return np.asarray(image.convert("RGB"))


def _planes(rgb: Pixels) -> tuple[Values, Values]:
    """L and (a, b) of a picture, scaled, (1, height, width) and (2, height, width)."""
    height, width = rgb.shape[:2]
    lightness, colour = np.empty((1, height, width), np.float32), np.empty((2, height, width), np.float32)
    for rows in strips(height, width=width):
        lab = rgb_to_lab(unit(rgb[rows]))
        lightness[:, rows], colour[:, rows] = lab[None, ..., 0] / 50 - 1, lab[..., 1:].transpose(2, 0, 1) / AB_SCALE
    return lightness, colour


def _coloured(output: Values, source: Pixels) -> Pixels:
    """The lightness of a picture with the colour (a, b) of an output of any size."""
    height, width = source.shape[:2]
    pixels = np.empty((height, width, 3), source.dtype)
    for columns, colour in _colour(output, height=height, width=width):
        for rows in strips(height, width=colour.shape[1]):
            lab = rgb_to_lab(unit(_as_rgb(source[rows, columns])))
            lab[..., 1:] = colour[rows] * AB_SCALE
            pixels[rows, columns] = from_model(lab_to_rgb(lab).transpose(2, 0, 1) * 2 - 1, dtype=source.dtype)
    return pixels


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """SRGB (..., 3) in [0, 1] to CIE Lab (..., 3): L in [0, 100], a and b within about +-110.

    >>> rgb_to_lab(np.ones((1, 1, 3), dtype=np.float32)).round(2).tolist()[0][0][0]
    100.0
    """
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92).astype(np.float32)
    ratio = linear @ _XYZ_FROM_RGB.T / _WHITE
    f = np.where(ratio > _DELTA**3, np.cbrt(ratio), ratio / (3 * _DELTA**2) + np.float32(4 / 29))
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """The inverse of :func:`rgb_to_lab`, in [0, 1]; what sRGB cannot show keeps its L and its hue, and loses chroma until sRGB can."""
    linear = _linear(lab)
    outside = ((linear < -_OUTSIDE) | (linear > 1 + _OUTSIDE)).any(-1)
    if outside.any():
        linear[outside] = _linear(_within(lab[outside]))
    linear = np.clip(linear, 0, 1)
    rgb: np.ndarray = np.where(linear > 0.0031308, 1.055 * linear ** np.float32(1 / 2.4) - 0.055, linear * 12.92).astype(np.float32)
    return rgb


def _linear(lab: np.ndarray) -> np.ndarray:
    """CIE Lab (..., 3) as linear sRGB, outside [0, 1] where sRGB has no such colour."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    ratio = np.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - np.float32(4 / 29)))
    linear: np.ndarray = (ratio * _WHITE).astype(np.float32) @ _RGB_FROM_XYZ.T
    return linear


def _within(lab: np.ndarray) -> np.ndarray:
    """Colours (n, 3) with as much of their chroma as sRGB can show at their lightness, found by halving."""
    low, high = np.zeros(len(lab), np.float32), np.ones(len(lab), np.float32)
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        linear = _linear(np.concatenate([lab[:, :1], lab[:, 1:] * share[:, None]], axis=1))
        fits = ((linear >= -_OUTSIDE) & (linear <= 1 + _OUTSIDE)).all(-1)
        low, high = np.where(fits, share, low), np.where(fits, high, share)
    return np.concatenate([lab[:, :1], lab[:, 1:] * low[:, None]], axis=1)


def _as_rgb(pixels: Pixels) -> Pixels:
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def _colour(output: Values, *, height: int, width: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The two colour channels at a size, H W C; of a large picture some columns at a time."""
    colour = output.transpose(1, 2, 0)
    if colour.shape[:2] == (height, width):
        yield slice(0, width), colour
        return
    positive = colour / 2 + 0.5  # the range in which pictures are resized
    for columns, part in resized_columns(positive, height=height, width=width):
        yield columns, part * 2 - 1
