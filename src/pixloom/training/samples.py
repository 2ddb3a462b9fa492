"""The preview grid: the same few pictures at every preview, one row each, so that progress can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4
PAPER, INK = (255, 255, 255), (60, 60, 60)


def preview_grid(rows: Sequence[Sequence[np.ndarray]], *, labels: Sequence[str]) -> np.ndarray:
    """One picture with a row per example and a titled column per role (source, output, target).

    Args:
        rows: at least one row of at least one picture, each (height, width, channels) uint8. The first three channels are shown as
            colour, fewer as grey. Within a row the pictures are resized to the first; rows may differ in size and length.
        labels: column titles.

    Returns:
        (height, width, 3) uint8.
    """
    pictures = [_as_row(row) for row in rows]
    widths = [max(row[0].width for row in pictures)] * max(len(row) for row in pictures)
    title_height = _title_size(widths[0]) + 2 * GAP
    height = title_height + sum(row[0].height + GAP for row in pictures)
    canvas = Image.new("RGB", (GAP + sum(width + GAP for width in widths), height), PAPER)
    lefts = [GAP + column * (widths[0] + GAP) for column in range(len(widths))]
    for left, label in zip(lefts, labels, strict=False):
        canvas.paste(_title(label, widths[0], title_height), (left, 0))
    top = title_height
    for row in pictures:
        for left, picture in zip(lefts, row, strict=False):
            canvas.paste(picture, (left, top))
        top += row[0].height + GAP
    return np.asarray(canvas)


def _as_row(row: Sequence[np.ndarray]) -> list[Image.Image]:
    pictures = [_as_colour(pixels) for pixels in row]
    size = pictures[0].size
    return [picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC) for picture in pictures]


def _as_colour(pixels: np.ndarray) -> Image.Image:
    channels = pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    return Image.fromarray(np.ascontiguousarray(channels), mode=None)


def _title(label: str, width: int, height: int) -> Image.Image:
    """A strip of its own, so that a long title is cut at its column's edge."""
    strip = Image.new("RGB", (width, height), PAPER)
    font = ImageFont.load_default(size=_title_size(width))
    ImageDraw.Draw(strip).text((0, height // 2), label, fill=INK, font=font, anchor="lm")
    return strip


def _title_size(width: int) -> int:
    return min(max(width // 12, 9), 16)
