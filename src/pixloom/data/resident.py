"""Examples that stay on the device of the training: encoded once, cut and mirrored there, so that a step waits for no file and no copy.

This needs a task whose encoding is pixelwise: each pixel's values follow from that pixel alone, so that encoding commutes with cutting and
mirroring. Then a batch is, bit for bit, the one that :func:`pixloom.data.loading.training_batches` makes of the same pictures.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import numpy as np
import torch

from pixloom.data.batch import Batch, pinned
from pixloom.data.loading import Draw, Example, Pictures, as_example, own_rng, training_batches
from pixloom.data.pairs import header_of
from pixloom.data.sources import Record
from pixloom.data.transforms import Crop, fitted_size
from pixloom.errors import PixloomError

ESTIMATE_HEADERS = 512
"""How many files are looked at to estimate the memory of all; the short side is fixed, so that they differ by aspect ratio alone."""


def resident_batches(
    pictures: Pictures,
    *,
    device: torch.device,
    batch_size: int,
    seed: int,
    start_image: int,
    size: int,
    flip: bool,
    rank: int = 0,
    world_size: int = 1,
) -> Generator[Batch, None, None]:
    """The batches of :func:`pixloom.data.loading.training_batches`, made on a device from examples that are kept there.

    An example is read in a thread and copied when the run first meets it; from then on no file is read and nothing is copied to the
    device but the numbers that say where to cut, and nothing waits for the device. Memory: :func:`resident_bytes`.

    Args:
        pictures: of a task that encodes pixel by pixel.
        device: of the training; its default stream does the copies.
        batch_size: as in :func:`pixloom.data.loading.training_batches`, and so the others, and what is raised.
        seed: of the order, the crops and the flips.
        start_image: images seen so far.
        size: side of the square crop.
        flip: mirror half of the examples.
        rank: of this process.
        world_size: number of processes.
    """
    return training_batches(
        _Resident(pictures, device=device),
        batch_size=batch_size,
        seed=seed,
        start_image=start_image,
        size=size,
        flip=flip,
        rank=rank,
        world_size=world_size,
    )


def resident_bytes(pictures: Pictures) -> float:
    """Memory that :func:`resident_batches` takes on the device once it has met every example, from the headers of an even sample."""
    records = pictures.records
    sample = records[:: -(-len(records) // ESTIMATE_HEADERS) or 1]
    pixels = [count for record in sample if (count := _pixels(record, load_side=pictures.load_side)) is not None]
    return len(records) * sum(pixels) / len(pixels) * _bytes_per_pixel(pictures) if pixels else 0.0


class _Resident:
    """Encoded examples on a device; they go with the generator that cuts them."""

    def __init__(self, pictures: Pictures, *, device: torch.device) -> None:
        self._pictures, self._device = pictures, device
        self._kept: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def load_side(self) -> int:
        return self._pictures.load_side

    @property
    def bad(self) -> Mapping[str, str]:
        return self._pictures.bad

    def holds(self, index: int) -> bool:
        return index in self._kept

    def cut(self, index: int, draw: Draw, *, size: int, rng: np.random.Generator) -> Example | None:
        example = self._kept.get(index) or self._uploaded(index)
        if example is None:
            return None
        crop = draw(rng, *example.source.shape[1:])
        target = None if example.target is None else _cut(example.target, crop, size=size)
        return Example(example.id, _cut(example.source, crop, size=size), target)

    def _uploaded(self, index: int) -> Example | None:
        loaded = self._pictures.load(index)
        if loaded is None:
            return None
        example = as_example(loaded.id, *self._pictures.encode(loaded.source, loaded.target, rng=own_rng(loaded.id)))
        target = None if example.target is None else self._copied(example.target)
        return self._kept.setdefault(index, Example(example.id, self._copied(example.source), target))

    def _copied(self, values: torch.Tensor) -> torch.Tensor:
        return pinned(values).to(self._device, non_blocking=True)


def _cut(values: torch.Tensor, crop: Crop, *, size: int) -> torch.Tensor:
    """A copy: what a step does to its batch must not reach the example."""
    cut = values[:, crop.top : crop.top + size, crop.left : crop.left + size]
    return cut.flip(-1) if crop.flip else cut.clone(memory_format=torch.contiguous_format)


def _pixels(record: Record, *, load_side: int) -> int | None:
    """How many pixels each side of an example has once it is loaded; None when the header cannot be read."""
    try:
        header, width = header_of(record)
    except (PixloomError, OSError):
        return None
    height, width = fitted_size(header.height, max(width, 1), short_side=load_side)
    return height * width


def _bytes_per_pixel(pictures: Pictures) -> int:
    """Of source and target together, seen by encoding a single pixel."""
    pixel = [None if channels is None else np.zeros((1, 1, channels), dtype=np.uint8) for channels in pictures.channels]
    assert pixel[0] is not None, "every example has a source"
    source, target = pictures.encode(pixel[0], pixel[1], rng=own_rng(""))
    return source.nbytes + (0 if target is None else target.nbytes)
