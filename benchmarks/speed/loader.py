"""Training examples made ready: Pixloom's loader once its cache is warm, against Pillow from the file every time."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from benchmarks.speed.harness import Comparison, Options, Outcome, Reading, Worker, alternate
from benchmarks.speed.prepare import pairs

COUNT, QUICK_COUNT = 200, 20


def run(options: Options) -> Outcome:
    """Seconds per pair, on the clock and of the processors."""
    folder, count = pairs(options), QUICK_COUNT if options.quick else COUNT
    with ExitStack() as stack:
        sides = ["pillow", *(["peer"] if options.peer else []), "pixloom"]
        checkout = ["--checkout", options.peer.resolve()] if options.peer else []
        workers = {side: stack.enter_context(Worker("loading", side, "--folder", folder, *checkout)) for side in sides}
        candidates = {side: partial(read_pairs, worker, count=count) for side, worker in workers.items()}
        return Outcome(
            [Comparison("a pair, 512 x 256 JPEG to two 256 px tensors", alternate(candidates, rounds=options.rounds))], notes=NOTES
        )


def read_pairs(worker: Worker, *, count: int) -> Reading:
    """The time of a pair, over so many of them."""
    reading: Reading = worker.ask("draw", count=count)
    return {**reading, "peak_mib": worker.ask("peak")}


NOTES = (
    "Pillow: open, convert, part, resize to 286 px (bicubic), crop to 256 px, mirror half of them, scale to [-1, 1]; in one thread, "
    "as a worker of torch's loader. Pixloom: `training_batches` with a batch of one, all pairs decoded and resized before. The "
    "processor time counts all threads.",
)
