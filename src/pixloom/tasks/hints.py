"""Colour hints: a few places of known colour that steer the colouring of a grey picture, drawn by chance or painted by a person.

For the network a hint is three planes: a and b of CIE Lab (scaled), 0 where there is no hint, and a mask, 1 where there is one, else -1
(Zhang, Zhu, Isola et al., "Real-Time User-Guided Image Colorization with Learned Deep Priors", 2017, section 3.1).
"""

from __future__ import annotations

import numpy as np

from pixloom.errors import ImageError
from pixloom.images.picture import full_scale
from pixloom.tasks.base import Pixels, Values

GREY = 12 / 255
"""Channels that differ by no more than this share of white are grey; JPEG does not make more of it."""

NONE = 0.5
"""How often a training picture has no hint, so that a model works without any."""

FEWER = 1 / 8
"""Their number is drawn from a geometric distribution of this parameter: eight in the mean, often one, seldom forty."""

LONGEST = 9
"""Longest side of a drawn hint, in pixels."""


def drawn_hints(colour: Values, rng: np.random.Generator) -> Values:
    """Rectangles of the mean of the true colour beneath them; often none.

    Args:
        colour: the two planes of the true colour, (2, height, width).
        rng: where chance comes from.

    Returns:
        Two planes of colour and the mask, (3, height, width).
    """
    planes = np.concatenate([np.zeros_like(colour), np.full_like(colour[:1], -1)])
    count = 0 if rng.random() < NONE else int(rng.geometric(FEWER))
    for _ in range(count):
        (rows, columns), (top, left) = rng.integers(1, LONGEST + 1, 2), rng.integers(colour.shape[1:])
        place = (slice(None), slice(top, top + rows), slice(left, left + columns))
        planes[2:][place] = 1
        planes[:2][place] = colour[place].mean(axis=(1, 2), keepdims=True)
    return planes


def painted_hints(pixels: Pixels) -> Pixels:
    """What a person painted, as RGB and alpha: white alpha where there is a hint, else all 0.

    With transparency, what is at least half opaque is a hint, grey as well; without it, what is coloured.

    Raises:
        ImageError: no hint in it, or channels that mean no colour.
    """
    channels = pixels.shape[2]
    if channels > 4:
        raise ImageError(f"hints of {channels} channels are no colours", why="they are RGB, or RGB and alpha", fix="save them as PNG")
    colour = np.repeat(pixels[..., :1], 3, axis=2) if channels < 3 else pixels[..., :3]
    white = full_scale(pixels.dtype)
    there = pixels[..., -1] > white / 2 if channels in (2, 4) else is_coloured(colour)
    if not there.any():
        raise ImageError(
            "there are no hints in this picture",
            why="it is transparent all over" if channels in (2, 4) else "none of its pixels is coloured, and it has no transparency",
            fix="paint some colours on it, or leave it out",
        )
    return np.where(there[..., None], np.dstack([colour, np.full_like(pixels[..., 0], white)]), pixels.dtype.type(0))


def smaller_hints(hints: Pixels, *, height: int, width: int) -> Pixels:
    """Hints of :func:`painted_hints` at a smaller size: each pixel has the mean of those that fall into it, so that no dot is lost."""
    rows, columns = np.nonzero(hints[..., 3])
    places = (rows * height // hints.shape[0]) * width + columns * width // hints.shape[1]
    counts = np.bincount(places, minlength=height * width)
    found = hints[rows, columns].astype(np.float64)
    sums = np.stack([np.bincount(places, weights=values, minlength=height * width) for values in found.T], axis=1)
    means = sums / np.maximum(counts, 1)[:, None]
    smaller: Pixels = (means if hints.dtype.kind == "f" else np.rint(means)).astype(hints.dtype).reshape(height, width, 4)
    return smaller


def is_coloured(colour: Pixels) -> np.ndarray:
    """Where RGB pixels are not grey, (height, width) bool.

    >>> is_coloured(np.array([[[9, 9, 9], [255, 0, 0]]], dtype=np.uint8)).tolist()
    [[False, True]]
    """
    coloured: np.ndarray = colour.max(axis=2) - colour.min(axis=2) > GREY * float(full_scale(colour.dtype))
    return coloured
