"""When what is due: the sizes that a run goes through, and the intervals between previews, validations and checkpoints, in images seen."""

from __future__ import annotations

import math

from pixloom.config import DataConfig

SHORTEST_INTERVAL_IMAGES = 50
"""Previews and validations are at least so far apart."""


def stages(data: DataConfig) -> list[int]:
    """The sides of the training crops, one after the other: doubled from ``data.first_size`` up to ``data.size``.

    >>> stages(DataConfig(size=256, first_size=64)), stages(DataConfig(size=96))
    ([64, 128, 256], [96])
    """
    sizes = [data.size if data.first_size is None else data.first_size]
    while sizes[-1] < data.size:
        sizes.append(sizes[-1] * 2)
    return sizes


def stage_ends(data: DataConfig, *, total: int, batch: int) -> list[int]:
    """The images at which each stage ends, the run's end last, in whole batches.

    >>> stage_ends(DataConfig(size=256, first_size=64), total=1000, batch=8)
    [336, 672, 1000]
    """
    count = len(stages(data))
    return [min(total, round_up(total * (place + 1) / count, batch)) for place in range(count)]


def size_at(images: int, data: DataConfig, *, total: int) -> int:
    """The side of the crops after so many images: every stage has an equal share of the run.

    >>> [size_at(images, DataConfig(size=256, first_size=64), total=300) for images in (0, 99, 100, 299)]
    [64, 64, 128, 256]
    """
    sizes = stages(data)
    return sizes[min(len(sizes) - 1, images * len(sizes) // total)]


def interval(setting: int | None, *, total: int, times: int, batch: int, least: int = SHORTEST_INTERVAL_IMAGES) -> int:
    """An interval in images: as set, or an equal share of the run, of at most so many and none shorter than ``least``, in whole batches.

    >>> interval(None, total=1000, times=10, batch=8), interval(None, total=120, times=10, batch=1)
    (104, 60)
    """
    return setting or round_up(total / max(1, min(times, total // max(SHORTEST_INTERVAL_IMAGES, least))), batch)


def round_up(value: float, multiple: int) -> int:
    """The next whole multiple.

    >>> round_up(13.2, 4)
    16
    """
    return max(1, math.ceil(value / multiple)) * multiple
