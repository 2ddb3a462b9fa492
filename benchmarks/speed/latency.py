"""One 256 px picture through a U-Net, in a process that has done it before: picture in, picture out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import Any

from benchmarks.speed.harness import Comparison, Options, Outcome, Reading, Worker, alternate
from benchmarks.speed.prepare import own_cache, trained

PICTURES, QUICK_PICTURES = 10, 1
PLAIN = "plain torch"


def run(options: Options) -> Outcome:
    """Eager torch against every runtime that is installed, and whether they give the same picture."""
    ready, pictures = trained(options, photos=4), QUICK_PICTURES if options.quick else PICTURES
    picture = min(ready.photos.glob("*.png"))
    runtimes = ["torch", *(name for name in ("onnxruntime", "openvino") if find_spec(name))]
    with ExitStack() as stack:
        starts = {PLAIN: ("plain", ready.plain)} | {f"pixloom, {runtime}": (runtime, ready.exported) for runtime in runtimes}
        workers = {
            name: stack.enter_context(Worker("translating", *start, picture, env=own_cache(options))) for name, start in starts.items()
        }
        readings = alternate({name: partial(read, worker, pictures) for name, worker in workers.items()}, rounds=options.rounds)
        results = {name: worker.ask("result") for name, worker in workers.items()}
    rows = [{"candidate": name, "largest difference in levels of 255": most(results[PLAIN], result)} for name, result in results.items()]
    return Outcome([Comparison("one 256 px picture", readings)], rows=rows[1:], notes=NOTES)


def read(worker: Worker, pictures: int) -> Reading:
    """The time of a picture, over so many."""
    reading: Reading = worker.ask("run", count=pictures)
    return {**reading, "peak_mib": worker.ask("peak")}


def most(one: Any, other: Any) -> int:
    """The largest difference of two equally nested lists of numbers.

    >>> most([[1, 2], [3, 4]], [[1, 5], [2, 4]])
    3
    """
    if isinstance(one, Sequence):
        return max(most(first, second) for first, second in zip(one, other, strict=True))
    difference: int = abs(one - other)
    return difference


NOTES = (
    "The pix2pix U-Net (depth 8, 54.4 M parameters) with batch norm in evaluation mode; 8-bit array in, 8-bit array out, weights in "
    "memory. Pixloom is called as `Translator(picture)`; peak memory is that of the whole process, its imports and the loading of the "
    "model included.",
)
