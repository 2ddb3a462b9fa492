"""From records to batches: a cache of decoded pairs, an order that resumes at the exact sample, and threads that decode ahead.

All randomness is a pure function of the seed and of where a sample stands in the run:

    order of pass p           permutation drawn from SeedSequence([seed, 0, p])
    sample i                  position i mod n of pass i div n
    crop and flip of sample i drawn from SeedSequence([seed, 1, i]), and after them whatever the task leaves to chance

so the number of images seen is all the state that a resumed run needs, and the number of processes changes nothing.

Threads are for files. An example whose pixels are in memory is made where it is asked for: that takes a fraction of a millisecond, and a
thread would take the core from the network for as long, and for the two switches as well.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from pixloom.data import transforms
from pixloom.data.batch import Batch
from pixloom.data.pairs import align, probe_channels, read_pair
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError, PixloomError
from pixloom.images import read

__all__ = [
    "Encode",
    "Example",
    "Examples",
    "Loaded",
    "Pictures",
    "evaluation_batches",
    "own_rng",
    "probe_channels",
    "read_pair",
    "training_batches",
]


class Encode(Protocol):
    """The task's: H W C pixels of source and target, and where chance comes from -> C H W float32 in [-1, 1], in memory of their own."""

    def __call__(
        self, source: np.ndarray, target: np.ndarray | None, /, *, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Encode an example."""
        ...


WORKERS = max(1, min(8, (os.cpu_count() or 2) - 1))
"""Decoding threads; reading and resizing leave the interpreter lock free."""

AHEAD = 2
"""Batches prepared ahead of the one in use."""


Draw = Callable[[np.random.Generator, int, int], transforms.Crop]
"""Draws the crop of a sample from the height and width of its picture."""


@dataclass(frozen=True)
class Loaded:
    """One example in memory: H W C pixels of one height and width for both sides, and for conditions that are pictures."""

    id: str
    source: np.ndarray
    target: np.ndarray | None
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory of the pixels."""
        return sum(pixels.nbytes for pixels in (self.source, self.target, *self.beside.values()) if pixels is not None)


@dataclass(frozen=True)
class Example:
    """One example as a network sees it: C H W, float32 in [-1, 1]."""

    id: str
    source: torch.Tensor
    target: torch.Tensor | None
    condition: Mapping[str, torch.Tensor] = field(default_factory=dict)
    own: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Examples(Protocol):
    """The examples of one split, by their place in it, wherever they are kept. Used from several threads."""

    @property
    def load_side(self) -> int:
        """Short side in pixels; no larger square can be cut."""
        ...

    @property
    def bad(self) -> Mapping[str, str]:
        """Why an example could not be used, by its id; filled as they are met."""
        ...

    def __len__(self) -> int: ...

    def holds(self, index: int) -> bool:
        """Whether an example is at hand, so that cutting it reads no file."""
        ...

    def cut(self, index: int, draw: Draw, *, size: int, rng: np.random.Generator) -> Example | None:
        """A square of an example, what chance decides drawn from ``rng``; None when it is bad."""
        ...


@runtime_checkable
class Steer(Protocol):
    """What gives the conditions of an example."""

    def files(self, record: Record) -> Mapping[str, tuple[Path, bool]]:
        """The files of its pictures that are conditions, by name, each with whether it is a label map."""
        ...

    def example(
        self,
        records: Sequence[Record],
        index: int,
        pictures: Mapping[str, np.ndarray],
        pair: tuple[np.ndarray, np.ndarray | None],
        *,
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What the translation is to show and what the source shows already, tensors by kind.

        Args:
            records: all examples.
            index: place of this one.
            pictures: its pictures that are conditions, cut as the source is.
            pair: its own two pictures, cut alike; the second one is None where there is one.
            size: height and width of the source.
            rng: where chance comes from.
        """
        ...


class Pictures:
    """The decoded pairs of one split with their short side at ``load_side``; as many are kept in memory as fit.

    Pixels stay in the file's type (8 or 16 bit) until :data:`Encode`. It may be used from several threads.

    Args:
        records: the examples of one split.
        encode: from pixels to what the network sees.
        load_side: short side in pixels.
        channels: of source and target pictures; None for the target when the task makes it from the source.
        cache_gib: memory for decoded pictures in GiB, per process.
        nearest: whether source and target are label maps, of which the nearest pixel is taken when they are resized.
        steer: what gives the conditions; None: there are none.

    Attributes:
        bad: why an example could not be used, by its id; filled as they are met.
        resized: targets that were resized to the size of their source, by id.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        encode: Encode,
        load_side: int,
        channels: tuple[int, int | None],
        cache_gib: float,
        nearest: tuple[bool, bool] = (False, False),
        steer: Steer | None = None,
    ) -> None:
        self.records, self.steer = tuple(records), steer
        self.encode, self.load_side, self.channels, self.nearest = encode, load_side, channels, nearest
        self.bad: dict[str, str] = {}
        self.resized: dict[str, str] = {}
        self._room = cache_gib * 2**30
        self._kept: dict[int, Loaded] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.records)

    def holds(self, index: int) -> bool:
        """Whether the example at a place in the records is in memory."""
        return index in self._kept

    @property
    def is_held(self) -> bool:
        """Whether all of them are in memory."""
        return len(self._kept) == len(self.records)

    def load(self, index: int) -> Loaded | None:
        """The example at a place in the records; None when it is bad, which is recorded once in :attr:`bad`."""
        if (kept := self._kept.get(index)) is not None:
            return kept
        record = self.records[index]
        if record.id in self.bad:
            return None
        try:
            return self._keep(index, self._decode(record))
        except (PixloomError, OSError, MemoryError) as error:
            self.refuse(index, error)
            return None

    def refuse(self, index: int, error: BaseException) -> None:
        """Note that the example at a place in the records cannot be used, and why."""
        with self._lock:
            self.bad.setdefault(self.records[index].id, _reason(error))

    def cut(self, index: int, draw: Draw, *, size: int, rng: np.random.Generator) -> Example | None:
        """A square of the example at a place in the records, encoded; None when it is bad."""
        loaded = self.load(index)
        if loaded is None or loaded.id in self.bad:
            return None
        try:
            return self.encoded(index, loaded, draw(rng, *loaded.source.shape[:2]), size=size, rng=rng)
        except PixloomError as error:
            self.refuse(index, error)
            return None

    def encoded(self, index: int, loaded: Loaded, crop: transforms.Crop, *, size: int, rng: np.random.Generator) -> Example:
        """A square of an example as networks see it.

        Raises:
            PixloomError: the task or a condition cannot use it.
        """
        source = transforms.apply(crop, loaded.source, size=size)
        target = None if loaded.target is None else transforms.apply(crop, loaded.target, size=size)
        x, y = self.encode(source, target, rng=rng)
        example = Example(loaded.id, _tensor(x), None if y is None else _tensor(y))
        if self.steer is None:
            return example
        beside = {name: transforms.apply(crop, pixels, size=size) for name, pixels in loaded.beside.items()}
        condition, own = self.steer.example(self.records, index, beside, (source, target), size=(size, size), rng=rng)
        return replace(example, condition=_tensors(condition), own=_tensors(own))

    def _keep(self, index: int, loaded: Loaded) -> Loaded:
        """What was decoded; kept where there is still room. Nothing is thrown out: a pass asks for each once, in a new order."""
        with self._lock:
            if index not in self._kept and loaded.nbytes <= self._room:
                self._room -= loaded.nbytes
                self._kept[index] = loaded
            return loaded

    def _decode(self, record: Record) -> Loaded:
        source, target = read_pair(record, self.channels)
        if target is not None:
            size = f"{target.shape[1]}x{target.shape[0]}"
            target, resized = align(source, target, nearest=self.nearest[1])
            if resized:
                with self._lock:
                    self.resized[record.id] = f"the target was resized from {size} to {source.shape[1]}x{source.shape[0]}"
            target = self._fitted(target, nearest=self.nearest[1])
        beside = {name: self._beside(path, source, nearest=nearest) for name, (path, nearest) in self.files(record).items()}
        return Loaded(record.id, self._fitted(source, nearest=self.nearest[0]), target, beside)

    def files(self, record: Record) -> Mapping[str, tuple[Path, bool]]:
        """The files of an example's pictures that are conditions, by name, each with whether it is a label map."""
        return {} if self.steer is None else self.steer.files(record)

    def _beside(self, path: Path, source: np.ndarray, *, nearest: bool) -> np.ndarray:
        """A picture that is a condition, at the size of the source."""
        return self._fitted(align(source, read(path).pixels, nearest=nearest)[0], nearest=nearest)

    def _fitted(self, pixels: np.ndarray, *, nearest: bool) -> np.ndarray:
        # Halves of a side-by-side file are views: laid out anew, so that the whole file is not kept in memory.
        return transforms.planar(transforms.fit(pixels, short_side=self.load_side, nearest=nearest))


def training_batches(
    examples: Examples,
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
        examples: loaded with a short side of at least ``size``.
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
    if examples.load_side < size:
        raise ConfigError(f"pictures loaded at {examples.load_side} pixels hold no crop of {size}", fix="set data.jitter to 1 or more")
    if not len(examples):
        raise DataError("there is no example to train on")
    share = batch_size // world_size
    starts = count(start_image + rank * share, batch_size)
    groups = (range(start, start + share) for start in starts)
    return _batches(
        groups,
        partial(_training_example, examples, seed=seed, size=size, flip=flip),
        at_hand=lambda image: examples.holds(_place(image, seed=seed, length=len(examples))),
        ahead=max(AHEAD, -(-WORKERS // share)),
    )


def evaluation_batches(pictures: Pictures, *, size: int, batch_size: int = 1) -> Generator[Batch, None, None]:
    """Every example once, in order: short side to ``size``, then the centre crop.

    Bad examples are left out (and recorded in ``pictures.bad``), so a batch may be smaller. Load the pictures at ``size``: at another
    load side they are resized twice.
    """
    groups = (range(start, min(start + batch_size, len(pictures))) for start in range(0, len(pictures), batch_size))
    return _batches(groups, partial(_evaluation_example, pictures, size=size), at_hand=pictures.holds, ahead=AHEAD)


def _training_example(examples: Examples, image: int, *, seed: int, size: int, flip: bool) -> Example:
    """Sample ``image`` of the run: the example at its position of the pass, or the next good one after it."""

    def draw(rng: np.random.Generator, height: int, width: int) -> transforms.Crop:
        return transforms.draw_crop(rng, height=height, width=width, size=size, flip=flip)

    epoch, position = divmod(image, len(examples))
    order = _order(seed, epoch, len(examples))
    for step in range(len(order)):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 1, image]))
        example = examples.cut(int(order[(position + step) % len(order)]), draw, size=size, rng=rng)
        if example is not None:
            return example
    reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(examples.bad.items())[:3])
    raise DataError("none of the examples can be used", why=reasons, fix="run pixloom inspect on the data")


def _place(image: int, *, seed: int, length: int) -> int:
    """Which example sample ``image`` of the run is, unless it is bad."""
    epoch, position = divmod(image, length)
    return int(_order(seed, epoch, length)[position])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence([seed, 0, epoch])).permutation(length)


def _evaluation_example(pictures: Pictures, index: int, *, size: int) -> Example | None:
    loaded = pictures.load(index)
    if loaded is None:
        return None
    source = transforms.fit(loaded.source, short_side=size, nearest=pictures.nearest[0])
    target = None if loaded.target is None else transforms.fit(loaded.target, short_side=size, nearest=pictures.nearest[1])
    height, width = source.shape[:2]
    crop = transforms.center_crop(height=height, width=width, size=size)
    nearest = {name: near for name, (_, near) in pictures.files(pictures.records[index]).items()}
    beside = {name: transforms.fit(pixels, short_side=size, nearest=nearest[name]) for name, pixels in loaded.beside.items()}
    return pictures.encoded(index, Loaded(loaded.id, source, target, beside), crop, size=size, rng=own_rng(loaded.id))


def own_rng(id: str) -> np.random.Generator:
    """Chance that is an example's own: the same whenever it is judged or shown.

    >>> own_rng("a").random() == own_rng("a").random()
    True
    """
    return np.random.default_rng(list(hashlib.blake2b(id.encode(errors="surrogateescape"), digest_size=16).digest()))


def as_example(id: str, source: np.ndarray, target: np.ndarray | None) -> Example:
    """Encoded values as tensors, C H W."""
    return Example(id, _tensor(source), None if target is None else _tensor(target))


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {kind: _tensor(values) for kind, values in arrays.items()}


def _batches(
    groups: Iterable[range], make: Callable[[int], Example | None], *, at_hand: Callable[[int], bool], ahead: int
) -> Generator[Batch, None, None]:
    """Every group of examples as a batch. Those whose pixels must be read are made in threads, some groups ahead of their use."""
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="pixloom-loader")
    waiting: deque[list[Callable[[], Example | None]]] = deque()
    try:
        for group in groups:
            waiting.append([partial(make, index) if at_hand(index) else pool.submit(make, index).result for index in group])
            if len(waiting) > ahead and (batch := _collate(waiting.popleft())) is not None:
                yield batch
        while waiting:
            if (batch := _collate(waiting.popleft())) is not None:
                yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collate(coming: Sequence[Callable[[], Example | None]]) -> Batch | None:
    """Each example is copied into the batch as soon as it is there, while it is still in the processor's cache."""
    ids: list[str] = []
    source: torch.Tensor | None = None
    target: torch.Tensor | None = None
    conditions: list[Mapping[str, torch.Tensor]] = []
    owns: list[Mapping[str, torch.Tensor]] = []
    for give in coming:
        if (example := give()) is None:
            continue
        source = _with_row(source, example.source, row=len(ids), rows=len(coming))
        target = None if example.target is None else _with_row(target, example.target, row=len(ids), rows=len(coming))
        ids.append(example.id)
        conditions.append(example.condition)
        owns.append(example.own)
    if source is None:
        return None
    rows = None if target is None else target[: len(ids)]
    return Batch(source[: len(ids)], rows, tuple(ids), _stacked(conditions), _stacked(owns))


def _stacked(examples: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {kind: torch.stack([example[kind] for example in examples]) for kind in examples[0]}


def _with_row(batch: torch.Tensor | None, values: torch.Tensor, *, row: int, rows: int) -> torch.Tensor:
    if rows == 1:
        return values.unsqueeze(0)
    batch = values.new_empty((rows, *values.shape)) if batch is None else batch
    batch[row] = values
    return batch


def _reason(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
