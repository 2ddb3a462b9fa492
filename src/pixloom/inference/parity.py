"""Whether an exported model gives what the network gives, how far it is from it, and what either takes in time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pixloom.config import load_config
from pixloom.data.pairs import read_pair
from pixloom.data.sources import discover, with_holdout
from pixloom.errors import ConfigError, ModelError, PixloomError
from pixloom.images import Picture, list_pictures, read
from pixloom.inference.choice import config_of_run
from pixloom.inference.onnxfile import Signature
from pixloom.inference.runtimes import Runtime, no_condition
from pixloom.inference.tiling import TILE
from pixloom.inference.translator import Translator
from pixloom.modelfile import ModelDescription
from pixloom.tasks import build_task

MOST_DIFFERENCE = 1e-4
"""How far a value in [-1, 1] may be from torch's; half a grey level of 8 bits is 4e-3."""

MOST_PICTURES = 8
"""Real pictures that outputs are compared on."""

MOST_RECORDS = 64
"""Of a run's held-out examples, that are read."""

_MOST_ROUNDS, _ENOUGH_SECONDS = 5, 20.0
_SEED = 0


@dataclass(frozen=True)
class Input:
    """What a network is given.

    Attributes:
        source: (B, C, H, W) float32 in [-1, 1].
        condition: tensors by kind, (B, ...).
    """

    source: np.ndarray
    condition: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How far outputs in [-1, 1] are from torch's.

    Attributes:
        largest, mean: of the absolute differences.
        psnr: 10 log10(4 / mean square), in dB; infinite for equal outputs.
    """

    largest: float
    mean: float
    psnr: float = math.inf


class _Recorder:
    """A runtime that notes what it is given."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.noted = runtime, list[Input]()
        self.name, self.signature, self.batch_size = runtime.name, runtime.signature, runtime.batch_size

    def run(self, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int) -> np.ndarray:
        """See :meth:`Runtime.run`."""
        self.noted.append(Input(source.copy(), {kind: values.copy() for kind, values in (condition or {}).items()}))
        return self.runtime.run(source, condition=condition, seed=seed)


def real(
    model: Path, runtime: Runtime, description: ModelDescription, *, folder: Path | None = None, most: int = MOST_PICTURES
) -> list[Input]:
    """What the network is given for real pictures: those of a folder, or else the held-out ones of the model's own run.

    Nothing where neither is there, or where a picture is not all that must be given.

    Raises:
        ConfigError: a folder without pictures that the model takes.
    """
    recorder = _Recorder(runtime)
    translate = Translator(recorder, description)
    why = None
    for picture in _pictures(model, description, folder=folder):
        try:
            translate.translate(picture)
        except PixloomError as error:
            why = error.what
        if len(recorder.noted) >= most:
            break
    if folder is not None and not recorder.noted:
        raise ConfigError("there are no pictures here that this model takes", where=folder, why=why, fix="give a folder of sources")
    return recorder.noted[:most]


def made_up(description: ModelDescription, signature: Signature) -> list[Input]:
    """Random pictures: one of the trained size first, one of the smallest if that is another, and two that are not square."""
    multiple, channels = signature.size_multiple, int(description.generator.options["source_channels"])
    smallest = -(-signature.min_size // multiple) * multiple
    trained = max(smallest, -(-min(description.size, TILE) // multiple) * multiple)
    shapes = dict.fromkeys([(1, trained, trained), (1, smallest, smallest), (2, trained, trained + multiple)])
    sources = [_like_pictures(count, channels, height=height, width=width) for count, height, width in shapes]
    return [Input(source, _drawn(signature, source)) for source in sources]


def sizes_of(inputs: Sequence[Input]) -> tuple[tuple[int, int], ...]:
    """Their heights and widths, each once."""
    return tuple(dict.fromkeys((given.source.shape[2], given.source.shape[3]) for given in inputs))


def flat(signature: Signature, like: Input) -> list[Input]:
    """Pictures of one value."""
    return [Input(np.full_like(like.source, value), like.condition) for value in (-1.0, 1.0)]


def answer(runtime: Runtime, given: Input) -> np.ndarray:
    """What a runtime makes of it."""
    return runtime.run(given.source, condition=given.condition or None, seed=_SEED)


def compare(runtime: Runtime, inputs: Sequence[Input], expected: Sequence[np.ndarray]) -> Difference:
    """How far what a runtime makes of some inputs is from what is expected."""
    distances = [np.abs(answer(runtime, given) - output) for given, output in zip(inputs, expected, strict=True)]
    count = sum(distance.size for distance in distances)
    square = sum(float(np.square(distance, dtype=np.float64).sum()) for distance in distances) / count
    return Difference(
        largest=float(max(distance.max() for distance in distances)),
        mean=float(sum(distance.sum(dtype=np.float64) for distance in distances) / count),
        psnr=10 * math.log10(4 / square) if square else math.inf,
    )


def check(difference: Difference, *, what: str) -> None:
    """That an export gives what the network gives.

    Raises:
        ModelError: it does not.
    """
    if not difference.largest <= MOST_DIFFERENCE:
        raise ModelError(
            f"{what} gives something else than the network",
            why=f"values in [-1, 1] differ by up to {difference.largest:.2g}, and {MOST_DIFFERENCE:.0e} is allowed",
            fix="use the model with torch, and report this with the model's config.json",
        )


def seconds_of(runtimes: Mapping[str, Runtime], given: Input) -> dict[str, float]:
    """The median time of each, in turns, so that a busy machine is slow for all of them."""
    taken: dict[str, list[float]] = {name: [] for name in runtimes}
    first, begun = next(iter(taken.values())), time.perf_counter()
    while len(first) < _MOST_ROUNDS and (not first or time.perf_counter() - begun < _ENOUGH_SECONDS):
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            answer(runtime, given)
            taken[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in taken.items()}


def _pictures(model: Path, description: ModelDescription, *, folder: Path | None) -> Iterator[Picture]:
    """Sources as people give them."""
    if folder is not None:
        yield from _readable(list_pictures(folder))
        return
    config = config_of_run(model)
    if config is None:
        return
    task = build_task(description.task)
    try:
        data = load_config(config).data
        splits = with_holdout(discover(data, paired=task.needs_pairs), share=data.holdout).splits
    except PixloomError:
        return  # the data has moved
    for record in islice(splits.get("val", ()), MOST_RECORDS):
        try:
            source, target = read_pair(record, None)
            shown = task.views(source, target if task.needs_pairs else None, rng=np.random.default_rng(_SEED))
        except (PixloomError, OSError):
            continue
        yield Picture(np.ascontiguousarray(shown.source))


def _readable(paths: Sequence[Path]) -> Iterator[Picture]:
    for path in paths:
        try:
            yield read(path)
        except PixloomError:
            continue


def _drawn(signature: Signature, source: np.ndarray) -> dict[str, np.ndarray]:
    """All conditions, stated in some way: of words and objects numbers, of all else anything."""
    random = np.random.default_rng(_SEED)
    nothing: Mapping[str, Any] = no_condition(signature, source)
    return {
        kind: random.integers(0, 4 if kind == "objects" else 2, zeros.shape).astype(zeros.dtype)
        if kind == "objects" or zeros.dtype == np.int64
        else random.uniform(-1, 1, zeros.shape).astype(np.float32)
        for kind, zeros in nothing.items()
    }


def _like_pictures(count: int, channels: int, *, height: int, width: int) -> np.ndarray:
    """Random pictures (B, C, H, W) in [-1, 1] that have what photographs have: more of the coarse than of the fine, and edges."""
    random = np.random.default_rng(_SEED)
    pictures = np.zeros((count, channels, height, width))
    for cell in (2**power for power in range(7) if 2**power <= min(height, width)):
        coarse = random.standard_normal((count, channels, -(-height // cell), -(-width // cell)))
        pictures += cell**0.5 * coarse.repeat(cell, axis=2).repeat(cell, axis=3)[..., :height, :width]
    pictures /= np.abs(pictures).max() or 1.0
    return pictures.astype(np.float32)
