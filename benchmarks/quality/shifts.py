"""Sources unlike those that were learnt from: spoilt ones, and those of another camera or stain."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pixloom.evaluation import Example
from pixloom.tasks.degradations import blurred, through_jpeg

Spoil = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Of float pixels in [0, 1], (height, width, channels)."""


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise, sigma 25 of 255."""
    return np.clip(pixels + 25 / 255 * rng.standard_normal(pixels.shape), 0, 1)


CORRUPTIONS: dict[str, Spoil] = {
    "blur (sigma 1.5)": lambda pixels, rng: blurred(pixels, sigmas=(1.5, 1.5), angle=0.0),
    "noise (sigma 25/255)": noisy,
    "JPEG (quality 15)": lambda pixels, rng: through_jpeg(pixels, quality=15),
    "dark (gamma 2)": lambda pixels, rng: np.square(pixels),
}
"""Of the source, at one strength each."""


def spoilt(example: Example, name: str) -> Example:
    """An example whose source of eight bits is corrupted; of the same example always alike."""
    source, rng = example.shown.source, np.random.default_rng(zlib.crc32(example.id.encode()))
    assert source.dtype == np.uint8
    worse = CORRUPTIONS[name]((source / 255).astype(np.float32), rng)
    return replace(example, shown=replace(example.shown, source=np.rint(worse * 255).astype(np.uint8)))
