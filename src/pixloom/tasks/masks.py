"""Holes to be filled: shapes drawn by chance, or taken from a person's own masks. True is a hole, white in a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pixloom.errors import DataError, ImageError
from pixloom.images import list_pictures, read, resize
from pixloom.images.picture import full_scale

Mask = np.ndarray
"""(height, width) bool."""

Draw = Callable[[np.random.Generator, int, int, float], Mask]
"""Chance, height, width and the share of the picture that is to be a hole."""

MOST_SHAPES = 200
"""After so many strokes or boxes a mask is as it is."""

READERS = 8


def strokes(rng: np.random.Generator, height: int, width: int, share: float) -> Mask:
    """Thick broken lines that turn at random, as of a brush (Yu et al., "Free-Form Image Inpainting with Gated Convolution", 2019)."""
    side = min(height, width)

    def stroke(pencil: ImageDraw.ImageDraw) -> None:
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, 2 * math.pi)
        thick = max(1, round(rng.uniform(0.04, 0.12) * side))
        for _ in range(int(rng.integers(3, 9))):
            angle += rng.uniform(-1.2, 1.2)
            reach = rng.uniform(0.05, 0.25) * side
            then = x + reach * math.cos(angle), y + reach * math.sin(angle)
            pencil.line([(x, y), then], fill=1, width=thick)
            pencil.ellipse([then[0] - thick / 2, then[1] - thick / 2, then[0] + thick / 2, then[1] + thick / 2], fill=1)
            x, y = then

    return _until(share, height, width, stroke)


def boxes(rng: np.random.Generator, height: int, width: int, share: float) -> Mask:
    """Rectangles."""

    def box(pencil: ImageDraw.ImageDraw) -> None:
        area, aspect = share * rng.uniform(0.3, 1.0) * height * width, math.exp(rng.uniform(-0.7, 0.7))
        tall, wide = min(height, math.sqrt(area / aspect)), min(width, math.sqrt(area * aspect))
        top, left = rng.uniform(0, height - tall), rng.uniform(0, width - wide)
        pencil.rectangle([left, top, left + max(0.0, wide - 1), top + max(0.0, tall - 1)], fill=1)

    return _until(share, height, width, box)


def half(rng: np.random.Generator, height: int, width: int, share: float) -> Mask:
    """One side of the picture, as much of it as is to be a hole."""
    mask, side = np.zeros((height, width), bool), int(rng.integers(4))
    rows, columns = max(1, round(share * height)), max(1, round(share * width))
    mask[(slice(rows), slice(height - rows, None), slice(None), slice(None))[side]] |= side < 2
    mask[:, (slice(None), slice(None), slice(columns), slice(width - columns, None))[side]] |= side >= 2
    return mask


def outpaint(rng: np.random.Generator, height: int, width: int, share: float) -> Mask:
    """All but a rectangle of the picture's shape somewhere within it."""
    scale = math.sqrt(1 - share)
    tall, wide = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    mask = np.ones((height, width), bool)
    mask[top : top + tall, left : left + wide] = False
    return mask


def blobs(rng: np.random.Generator, height: int, width: int, share: float) -> Mask:
    """Round shapes like those of objects: smooth noise, above the height at which it covers the share."""
    cell = min(height, width) / 6
    rows, columns = (max(2, round(side / cell)) for side in (height, width))
    heights = rng.random((rows, columns, 1), dtype=np.float32) / 2 + np.float32(0.25)  # resizing would cut off what leaves 0 to 1
    ranks = resize(heights, height=height, width=width).ravel().argsort(kind="stable")
    mask = np.zeros(height * width, bool)
    mask[ranks[len(ranks) - max(1, round(share * len(ranks))) :]] = True
    return mask.reshape(height, width)


MASKS: dict[str, Draw] = {"strokes": strokes, "boxes": boxes, "half": half, "outpaint": outpaint, "blobs": blobs}
"""Shapes of holes by name."""


def draw_mask(rng: np.random.Generator, *, height: int, width: int, shape: str, least: float, most: float) -> Mask:
    """A hole of a share between ``least`` and ``most`` of the picture, about; at least a pixel, and never all of it.

    Args:
        rng: where chance comes from.
        height: of the picture.
        width: of the picture.
        shape: a name in :data:`MASKS`, or ``mixed`` for any of them.
        least: smallest share.
        most: largest share.
    """
    name = list(MASKS)[int(rng.integers(len(MASKS)))] if shape == "mixed" else shape
    return _proper(MASKS[name](rng, height, width, float(rng.uniform(least, most))))


def own_mask(rng: np.random.Generator, folder: Path, *, height: int, width: int) -> Mask:
    """One of the masks in a folder, brought to the size; at least a pixel is a hole, and never all of it.

    Raises:
        DataError: the folder holds no pictures.
    """
    files = _masks_in(folder)
    return _proper(as_mask(resize(_pixels(files[int(rng.integers(len(files)))]), height=height, width=width, nearest=True)))


def check_masks(folder: Path) -> None:
    """Refuse a folder of masks before anything is learnt with them.

    Raises:
        DataError: it holds no pictures, or a mask is all black or all white.
        ImageError: one cannot be read.
    """
    with ThreadPoolExecutor(READERS) as pool:
        for path, mask in zip(_masks_in(folder), pool.map(lambda path: as_mask(_pixels(path)), _masks_in(folder)), strict=True):
            if mask.all() or not mask.any():
                what = f"this mask is all {'white' if mask.all() else 'black'}"
                raise DataError(what, where=path, why="white is the hole, black is what is known", fix="take it out of the folder")


def check_mask(mask: Mask) -> None:
    """Refuse a mask by which nothing can be filled.

    Raises:
        ImageError: it is all black, or all white.
    """
    if not mask.any():
        raise ImageError("the mask has no hole", why="it is all black, and white is the hole", fix="paint white what is to be filled")
    if mask.all():
        why = "it is all white, and white is the hole"
        raise ImageError("the mask leaves nothing of the picture", why=why, fix="paint black what is to stay")


def as_mask(pixels: np.ndarray) -> Mask:
    """The hole that the pixels (height, width, channels) of a mask mean: where its first channel is brighter than half.

    Of two or four channels the last is alpha: what is transparent is no hole.
    """
    middle = full_scale(pixels.dtype) / 2
    hole: Mask = pixels[..., 0] > middle
    return hole & (pixels[..., -1] > middle) if pixels.shape[2] in (2, 4) else hole


@lru_cache(maxsize=4)
def _masks_in(folder: Path) -> tuple[Path, ...]:
    files = tuple(list_pictures(folder)) if folder.is_dir() else ()
    if not files:
        raise DataError("there are no masks here", where=folder, fix="give a folder of pictures in which white is the hole")
    return files


def _pixels(path: Path) -> np.ndarray:
    """Of a mask's file, transparency as the last channel."""
    picture = read(path)
    return picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])


def _until(share: float, height: int, width: int, draw: Callable[[ImageDraw.ImageDraw], None]) -> Mask:
    """Shapes, one after the other, until they cover the share."""
    canvas = Image.new("L", (width, height))
    pencil = ImageDraw.Draw(canvas)
    for _ in range(MOST_SHAPES):
        draw(pencil)
        mask = np.asarray(canvas) > 0
        if mask.mean() >= share:
            break
    return np.asarray(canvas) > 0


def _proper(mask: Mask) -> Mask:
    """The mask with at least one pixel on each side."""
    mask = mask.copy()
    if mask.all():
        mask.flat[0] = False
    elif not mask.any():
        mask.flat[mask.size // 2] = True
    return mask
