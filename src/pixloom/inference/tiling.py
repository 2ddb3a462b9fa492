"""Pictures too large to go through a network at once: cut into overlapping tiles, and put together again.

An output pixel of a network whose layers are all local depends on the source within a radius only. Tiles that overlap by that radius on
each side, and begin on the grid of the network's strides, therefore give exactly what the whole picture would. Where the normalisation is
over the whole picture there is no such radius, and where it is too large tiles would be all overlap: then neighbours fade into each other.

The functions are blind to what is computed: ``run`` is any function of arrays (..., height, width) that keeps height and width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]
"""(..., height, width) to (..., height, width); the leading axes may differ."""

Progress = Callable[[float], None]
"""Called with the share of the tiles that are done."""

Read = Callable[[slice, slice], np.ndarray]
"""The source in some rows and columns, (..., rows, columns): a large one need never be there as a whole."""

MAX_PIXELS_AT_ONCE = 2**20
"""Pixels above which a picture is cut into tiles. The generators take 300 to 1100 bytes for each at their default widths, so about 1 GB."""

TILE = 768
"""Longest side of a tile in pixels, as far as the network's strides allow; about half of :data:`MAX_PIXELS_AT_ONCE` as a square."""

_FADE = 128  # pixels over which neighbours fade into each other, at least


@dataclass(frozen=True)
class Tiling:
    """How large pictures are cut for one network.

    Attributes:
        tile: longest side of a tile, in pixels.
        margin: the pixels at each side of a tile that its neighbours cover as well.
        multiple: tiles begin at multiples of this; the network's strides.
        blend: neighbours fade into each other instead of meeting in the middle of their overlap.
        note: what to say of a picture that was cut so.
    """

    tile: int
    margin: int
    multiple: int
    blend: bool
    note: str


@dataclass(frozen=True, eq=False)
class Span:
    """What one tile covers along one axis.

    Attributes:
        read: of the source.
        keep: of the output: the part of ``read`` for which the tile is good.
        weight: of the tile at each kept pixel, float32; the weights of all spans add up to 1 everywhere.
    """

    read: slice
    keep: slice
    weight: np.ndarray


def choose_tiling(*, radius: int | None, multiple: int) -> Tiling:
    """Exact tiles where their margins take at most half of a side (so at most four times the work), else blended ones.

    Args:
        radius: the largest distance in pixels at which the source acts on the output; None where there is no bound.
        multiple: of which the sides must be multiples; the network's strides.

    >>> choose_tiling(radius=45, multiple=16).margin, choose_tiling(radius=765, multiple=256).blend
    (48, True)
    """
    margin = 0 if radius is None else _up(radius, multiple)
    if radius is not None and 4 * margin <= TILE:
        return Tiling(2 * margin + _down(TILE - 2 * margin, multiple), margin, multiple, False, "translated in tiles")
    why = "the network looks at the whole picture" if radius is None else f"the network looks {radius} pixels far"
    fade = _up(_FADE, multiple)
    note = f"translated in tiles that fade into each other, since {why}: not quite what the whole at once would be"
    return Tiling(max(_down(TILE, multiple), 2 * fade), fade // 2, multiple, True, note)


def tiled(
    run: Run, values: np.ndarray, *, tile: int, margin: int, multiple: int, blend: bool = False, progress: Progress | None = None
) -> np.ndarray:
    """``run`` on (..., height, width), tile by tile.

    Args:
        run: the network; a tile at the right or bottom end need not have sides that are multiples.
        values: the source.
        tile: longest side of a tile, in pixels.
        margin: at least the network's radius, unless ``blend``; twice the margin must be a multiple of ``multiple``.
        multiple: tiles begin at multiples of this.
        blend: neighbours fade into each other over twice the margin.
        progress: called after every tile.

    Returns:
        The output. Without ``blend`` that of the whole, up to the rounding of floats.
    """
    height, width = values.shape[-2:]
    rows, columns = plan_tiles(height, width, tile=tile, margin=margin, multiple=multiple, blend=blend)
    output: np.ndarray | None = None
    for kept, band in bands(run, lambda down, across: values[..., down, across], rows=rows, columns=columns, progress=progress):
        output = np.empty((*band.shape[:-2], height, width), np.float32) if output is None else output
        output[..., kept, :] = band
    assert output is not None
    return output


def bands(
    run: Run, read: Read, *, rows: list[Span], columns: list[Span], progress: Progress | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """The output of ``run`` from top to bottom: (its rows, (..., rows, width) float32). Only one row of tiles is held at a time."""
    width, begun = columns[-1].keep.stop, None
    for number, row in enumerate(rows):
        band = None
        for place, column in enumerate(columns, start=1):
            part = _kept(run(read(row.read, column.read)), row, column)
            band = np.zeros((*part.shape[:-1], width), np.float32) if band is None else band
            band[..., column.keep] += part
            if progress is not None:
                progress((number * len(columns) + place) / (len(rows) * len(columns)))
        assert band is not None
        if begun is not None:
            band[..., : begun.shape[-2], :] += begun
        top = row.keep.start
        below = rows[number + 1].keep.start if number + 1 < len(rows) else row.keep.stop
        yield slice(top, below), band[..., : below - top, :]
        begun = band[..., below - top :, :]


def plan_tiles(height: int, width: int, *, tile: int, margin: int, multiple: int, blend: bool = False) -> tuple[list[Span], list[Span]]:
    """The spans of the tiles down and across; every pair of them is a tile. All tiles have one size, but where a picture is smaller.

    >>> rows, columns = plan_tiles(10, 20, tile=12, margin=2, multiple=4)
    >>> [(span.read, span.keep) for span in columns]
    [(slice(0, 12, None), slice(0, 10, None)), (slice(8, 20, None), slice(10, 20, None))]
    """
    assert tile - 2 * margin >= multiple, "a tile must be more than its margins"
    assert 2 * margin % multiple == 0, "or tiles would end off the network's grid"
    down, across = (_starts(length, tile=tile, margin=margin, multiple=multiple) for length in (height, width))
    weigh = _fading if blend else _cut
    return weigh(down, length=height, margin=margin), weigh(across, length=width, margin=margin)


def _starts(length: int, *, tile: int, margin: int, multiple: int) -> list[slice]:
    """Where tiles read along an axis: as few as possible, of equal size, the last one moved back to the end."""
    if length <= tile:
        return [slice(0, length)]
    inner = _down(tile - 2 * margin, multiple)
    count = math.ceil((length - 2 * margin) / inner)
    step = _up(math.ceil((length - 2 * margin) / count), multiple)
    size = step + 2 * margin
    last = _up(length - size, multiple)
    starts = sorted({min(number * step, last) for number in range(count)})
    return [slice(start, min(start + size, length)) for start in starts]


def _cut(reads: list[slice], *, length: int, margin: int) -> list[Span]:
    """Each tile keeps what is a margin away from where it was cut; the next one goes on from there."""
    edges = [0, *(read.start + margin for read in reads[1:]), length]
    return [
        Span(read, slice(start, stop), np.ones(stop - start, np.float32))
        for read, (start, stop) in zip(reads, pairwise(edges), strict=True)
    ]


def _fading(reads: list[slice], *, length: int, margin: int) -> list[Span]:
    """Each tile keeps everything, with less weight the nearer to where it was cut: 3 d^2 - 2 d^3 over the overlap, d from 0 to 1."""
    slopes = np.zeros((len(reads), length), np.float32)
    for slope, read in zip(slopes, reads, strict=True):
        places = np.arange(read.start, read.stop) + 0.5
        from_start = places - read.start if read.start > 0 else np.inf
        from_stop = read.stop - places if read.stop < length else np.inf
        near = np.minimum(np.minimum(from_start, from_stop) / (2 * margin), np.ones(len(places)))
        slope[read] = near**2 * (3 - 2 * near)
    weights = slopes / slopes.sum(axis=0)
    return [Span(read, read, weight[read]) for read, weight in zip(reads, weights, strict=True)]


def _kept(output: np.ndarray, row: Span, column: Span) -> np.ndarray:
    """The part of a tile's output that counts, weighted."""
    down = slice(row.keep.start - row.read.start, row.keep.stop - row.read.start)
    across = slice(column.keep.start - column.read.start, column.keep.stop - column.read.start)
    kept: np.ndarray = output[..., down, across] * (row.weight[:, None] * column.weight)
    return kept


def _down(number: int, multiple: int) -> int:
    return number // multiple * multiple


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
