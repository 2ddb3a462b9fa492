"""From records to batches: a cache of decoded pairs, an order that resumes at the exact sample, and threads that work ahead.

All randomness is a pure function of the seed and of where a sample stands in the run:

    order of pass p           permutation drawn from SeedSequence([seed, 0, p])
    sample i                  position i mod n of pass i div n
    crop and flip of sample i drawn from SeedSequence([seed, 1, i])

so the number of images seen is all the state that a resumed run needs, and the number of processes changes nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count
from threading import Lock

import numpy as np
import torch

from pixloom.data import transforms
from pixloom.data.batch import Batch
from pixloom.data.pairs import align, header_of, probe_channels, read_pair
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError, PixloomError

__all__ = ["Encode", "Loaded", "Pictures", "evaluation_batches", "probe_channels", "read_pair", "training_batches"]

Encode = Callable[[np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray | None]]
"""The task's: H W C pixels of source and target -> C H W float32 in [-1, 1]."""

ESTIMATE_HEADERS = 512
"""How many files are looked at to estimate the memory of all; the short side is fixed, so that they differ by aspect ratio alone."""

WORKERS = max(1, min(8, (os.cpu_count() or 2) - 1))
"""Decoding threads; reading and resizing leave the interpreter lock free."""

AHEAD = 2
"""Batches prepared ahead of the one in use."""


@dataclass(frozen=True)
class Loaded:
    """One example in memory: H W C pixels of one height and width for both sides."""

    id: str
    source: np.ndarray
    target: np.ndarray | None


@dataclass(frozen=True)
class _Example:
    """One example ready for a batch: C size size, float32 in [-1, 1]."""

    id: str
    source: np.ndarray
    target: np.ndarray | None


class Pictures:
    """The decoded pairs of one split with their short side at ``load_side``, kept in memory when they all fit.

    Pixels stay in the file's type (8 or 16 bit) until :data:`Encode`. It may be used from several threads.

    Args:
        records: the examples of one split.
        encode: from pixels to what the network sees.
        load_side: short side in pixels.
        channels: of source and target pictures; None for the target when the task makes it from the source.
        cache_gib: memory for decoded pictures in GiB, per process.

    Attributes:
        bad: why an example could not be used, by its id; filled as they are met.
        resized: targets that were resized to the size of their source, by id.
        cached: whether decoded pictures are kept.
    """

    def __init__(
        self, records: Sequence[Record], *, encode: Encode, load_side: int, channels: tuple[int, int | None], cache_gib: float
    ) -> None:
        self.records = tuple(records)
        self.encode, self.load_side, self.channels = encode, load_side, channels
        self.bad: dict[str, str] = {}
        self.resized: dict[str, str] = {}
        self.cached = estimate_bytes(self.records, load_side=load_side, channels=channels) <= cache_gib * 2**30
        self._cache: dict[int, Loaded] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.records)

    def load(self, index: int) -> Loaded | None:
        """The example at a place in the records; None when it is bad, which is recorded once in :attr:`bad`."""
        record = self.records[index]
        if (loaded := self._cache.get(index)) is not None:
            return loaded
        if record.id in self.bad:
            return None
        try:
            loaded = self._decode(record)
        except (PixloomError, OSError, MemoryError) as error:
            with self._lock:
                self.bad.setdefault(record.id, _reason(error))
            return None
        if self.cached:
            self._cache[index] = loaded
        return loaded

    def _decode(self, record: Record) -> Loaded:
        source, target = read_pair(record, self.channels)
        if target is not None:
            size = f"{target.shape[1]}x{target.shape[0]}"
            target, resized = align(source, target)
            if resized:
                with self._lock:
                    self.resized[record.id] = f"the target was resized from {size} to {source.shape[1]}x{source.shape[0]}"
            target = np.ascontiguousarray(transforms.fit(target, short_side=self.load_side))
        # Halves of a side-by-side file are views: copied, so that the whole file is not kept in memory.
        return Loaded(record.id, np.ascontiguousarray(transforms.fit(source, short_side=self.load_side)), target)


def estimate_bytes(records: Sequence[Record], *, load_side: int, channels: tuple[int, int | None]) -> float:
    """Memory of all decoded pairs, from the headers of an even sample of the files."""
    sample = records[:: -(-len(records) // ESTIMATE_HEADERS) or 1]
    sizes = [_decoded_bytes(record, load_side, channels) for record in sample]
    readable = [size for size in sizes if size is not None]
    return len(records) * sum(readable) / len(readable) if readable else 0.0


def _decoded_bytes(record: Record, load_side: int, channels: tuple[int, int | None]) -> int | None:
    total = 0
    for target, wanted in enumerate(channels):
        try:
            header, width = header_of(record, target=bool(target))
        except (PixloomError, OSError):
            return None
        height, width = transforms.fitted_size(header.height, max(width, 1), short_side=load_side)
        total += height * width * (wanted or 0) * header.depth // 8
    return total


def training_batches(
    pictures: Pictures,
    *,
    batch_size: int,
    seed: int,
    start_image: int,
    size: int,
    flip: bool,
    rank: int = 0,
    world_size: int = 1,
) -> Generator[Batch, None, None]:
    """Endless training batches of random crops, starting at any image of the run; close it to end its threads.

    A bad example is replaced by the next good one in the order of its pass.

    Args:
        pictures: loaded with a short side of at least ``size``.
        batch_size: images per batch over all processes; this process gets the share of its rank.
        seed: of the order, the crops and the flips.
        start_image: images seen so far.
        size: side of the square crop.
        flip: mirror half of the examples.
        rank: of this process.
        world_size: number of processes.

    Raises:
        ConfigError: the batch cannot be shared evenly, or pictures are loaded smaller than the crop.
        DataError: there is no usable example.
    """
    if batch_size % world_size:
        raise ConfigError(f"a batch of {batch_size} cannot be shared by {world_size} processes", fix="choose a multiple of the processes")
    if pictures.load_side < size:
        raise ConfigError(f"pictures loaded at {pictures.load_side} pixels hold no crop of {size}", fix="set data.jitter to 1 or more")
    if not pictures.records:
        raise DataError("there is no example to train on")
    share = batch_size // world_size
    starts = count(start_image + rank * share, batch_size)
    groups = (range(start, start + share) for start in starts)
    return _batches(groups, partial(_training_example, pictures, seed=seed, size=size, flip=flip), ahead=max(AHEAD, -(-WORKERS // share)))


def evaluation_batches(pictures: Pictures, *, size: int, batch_size: int = 1) -> Generator[Batch, None, None]:
    """Every example once, in order: short side to ``size``, then the centre crop.

    Bad examples are left out (and recorded in ``pictures.bad``), so a batch may be smaller. Load the pictures at ``size``: at another
    load side they are resized twice.
    """
    groups = (range(start, min(start + batch_size, len(pictures))) for start in range(0, len(pictures), batch_size))
    return _batches(groups, partial(_evaluation_example, pictures, size=size), ahead=AHEAD)


def _training_example(pictures: Pictures, image: int, *, seed: int, size: int, flip: bool) -> _Example:
    """Sample ``image`` of the run."""
    loaded = _good_example(pictures, *divmod(image, len(pictures)), seed=seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1, image]))
    height, width = loaded.source.shape[:2]
    return _encode(pictures, loaded, transforms.draw_crop(rng, height=height, width=width, size=size, flip=flip), size=size)


def _good_example(pictures: Pictures, epoch: int, position: int, *, seed: int) -> Loaded:
    """The example at a position of a pass, or the next good one after it."""
    order = _order(seed, epoch, len(pictures))
    for step in range(len(order)):
        loaded = pictures.load(int(order[(position + step) % len(order)]))
        if loaded is not None:
            return loaded
    reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(pictures.bad.items())[:3])
    raise DataError("none of the examples can be used", why=reasons, fix="run pixloom inspect on the data")


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence([seed, 0, epoch])).permutation(length)


def _evaluation_example(pictures: Pictures, index: int, *, size: int) -> _Example | None:
    loaded = pictures.load(index)
    if loaded is None:
        return None
    source = transforms.fit(loaded.source, short_side=size)
    target = None if loaded.target is None else transforms.fit(loaded.target, short_side=size)
    height, width = source.shape[:2]
    crop = transforms.center_crop(height=height, width=width, size=size)
    return _encode(pictures, Loaded(loaded.id, source, target), crop, size=size)


def _encode(pictures: Pictures, loaded: Loaded, crop: transforms.Crop, *, size: int) -> _Example:
    target = None if loaded.target is None else transforms.apply(crop, loaded.target, size=size)
    return _Example(loaded.id, *pictures.encode(transforms.apply(crop, loaded.source, size=size), target))


def _batches(groups: Iterable[range], make: Callable[[int], _Example | None], *, ahead: int) -> Generator[Batch, None, None]:
    """Make every group of examples in threads, some groups ahead of their use.

    A batch is put together in the same pool as its examples. It cannot wait for ever: tasks start in the order in which they were
    submitted, so that all of its examples are under way or done when it starts.
    """
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="pixloom-loader")
    waiting: deque[Future[Batch | None]] = deque()
    try:
        for group in groups:
            examples = [pool.submit(make, index) for index in group]
            waiting.append(pool.submit(_collate, examples))
            if len(waiting) > ahead and (batch := waiting.popleft().result()) is not None:
                yield batch
        while waiting:
            if (batch := waiting.popleft().result()) is not None:
                yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collate(futures: Sequence[Future[_Example | None]]) -> Batch | None:
    examples = [example for future in futures if (example := future.result()) is not None]
    if not examples:
        return None
    targets = [example.target for example in examples if example.target is not None]
    return Batch(
        source=torch.from_numpy(np.stack([example.source for example in examples])),
        target=torch.from_numpy(np.stack(targets)) if targets else None,
        ids=tuple(example.id for example in examples),
    )


def _reason(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
