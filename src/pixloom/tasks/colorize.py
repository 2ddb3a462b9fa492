"""Grey to colour: lightness in, the two colour channels of CIE Lab out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pixloom.errors import DataError
from pixloom.images import from_model, resized_columns, strips
from pixloom.tasks.base import Given, Pixels, Shown, Task, Values, lone, unit

AB_SCALE = 110.0
"""Colour channels a and b are divided by this, as pix2pix's colorization does; sRGB reaches |b| <= 108."""

# Linear sRGB to CIE XYZ (IEC 61966-2-1) and the D65 white point of the 2-degree observer.
_XYZ_FROM_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]], dtype=np.float32)
_RGB_FROM_XYZ = np.linalg.inv(_XYZ_FROM_RGB.astype(np.float64)).astype(np.float32)
_WHITE = np.array([0.95047, 1.0, 1.08883], dtype=np.float32)
_DELTA = np.float32(6 / 29)


@dataclass(frozen=True)
class Colorize(Task):
    """Lightness L (scaled to L / 50 - 1) to colour (a, b) / 110, in CIE Lab under D65 (CIE 15:2004).

    At use the source's own L is kept at its full resolution; only the colour is predicted, and resized where the network worked at
    another size. Colours outside sRGB are clipped to its surface.
    """

    name: ClassVar[str] = "colorize"
    summary: ClassVar[str] = "grey to colour; train on a folder of colour pictures"
    metrics: ClassVar[tuple[str, ...]] = ("colourfulness",)

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """One channel in, two out."""
        lone(self.name, target)
        if source != 3:
            raise DataError(
                f"the task 'colorize' learns from colour pictures, and these have {source} channel(s)",
                fix="give pictures with red, green and blue",
            )
        return 1, 2

    def encode(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> tuple[Values, Values]:
        """(L, ab) of a colour picture."""
        height, width = source.shape[:2]
        lightness, colour = np.empty((1, height, width), np.float32), np.empty((2, height, width), np.float32)
        for rows in strips(height, width=width):
            lab = rgb_to_lab(unit(source[rows]))
            lightness[:, rows], colour[:, rows] = _scaled_lightness(lab), lab[..., 1:].transpose(2, 0, 1) / AB_SCALE
        return lightness, colour

    def encode_source(self, source: Pixels, given: Given) -> Values:
        """L of a grey or colour picture."""
        height, width = source.shape[:2]
        lightness = np.empty((1, height, width), np.float32)
        for rows in strips(height, width=width):
            lightness[:, rows] = _scaled_lightness(rgb_to_lab(unit(_as_rgb(source[rows]))))
        return lightness

    def source_channels(self, picture: int, network: int) -> int:
        """Grey stays grey, everything else must be colour; either has an L."""
        return 1 if picture == 1 else 3

    def output_channels(self, network: int) -> int:
        """Red, green and blue."""
        return 3

    def compose(self, output: Values, source: Pixels, given: Given) -> Pixels:
        """The source's own L with the predicted colour."""
        height, width = source.shape[:2]
        pixels = np.empty((height, width, 3), source.dtype)
        for columns, colour in _colour(output, height=height, width=width):
            for rows in strips(height, width=colour.shape[1]):
                lab = rgb_to_lab(unit(_as_rgb(source[rows, columns])))
                lab[..., 1:] = colour[rows] * AB_SCALE
                pixels[rows, columns] = from_model(lab_to_rgb(lab).transpose(2, 0, 1) * 2 - 1, dtype=source.dtype)
        return pixels

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The picture's lightness as a neutral grey, and the picture."""
        no_colour = np.zeros((2, *source.shape[:2]), dtype=np.float32)
        return Shown(self.compose(no_colour, source, {}), source)


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
    """The inverse of :func:`rgb_to_lab`, clipped to [0, 1]."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    ratio = np.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - np.float32(4 / 29)))
    linear = np.clip((ratio * _WHITE).astype(np.float32) @ _RGB_FROM_XYZ.T, 0, 1)
    rgb: np.ndarray = np.where(linear > 0.0031308, 1.055 * linear ** np.float32(1 / 2.4) - 0.055, linear * 12.92).astype(np.float32)
    return rgb


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


def _scaled_lightness(lab: np.ndarray) -> Values:
    return lab[None, ..., 0] / 50 - 1
