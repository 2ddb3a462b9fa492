"""Whole processes that translate a folder of 256 px pictures with a U-Net, and a single one: from the command to the last file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.speed.harness import Comparison, Options, Outcome, Reading, alternate, run_command
from benchmarks.speed.peer import run_test
from benchmarks.speed.prepare import PIXLOOM, PYTHON, Trained, own_cache, trained

PICTURES, QUICK_PICTURES = 32, 2
ROUNDS = 3
"""A round takes the better part of a minute."""


def run(options: Options) -> Outcome:
    """The folder, then one picture of it."""
    number = QUICK_PICTURES if options.quick else PICTURES
    ready = trained(options, photos=number)
    single = options.scratch / "single"
    single.mkdir()
    first = min(ready.photos.glob("*.png"))
    (single / first.name).symlink_to(first)
    works = {f"{number} pictures": ready.photos, "first picture": single}
    return Outcome(
        [Comparison(name, alternate(ways(options, ready, folder), rounds=ROUNDS)) for name, folder in works.items()], notes=NOTES
    )


def ways(options: Options, ready: Trained, folder: Path) -> dict[str, Callable[[], Reading]]:
    """Every way to translate a folder, each time into a new one."""
    numbers, peer = count(), options.peer

    def plain(out: Path) -> Reading:
        return run_command([PYTHON, "-m", "benchmarks.speed.plain_translate", ready.plain, folder, out])

    def ours(model: Path, out: Path) -> Reading:
        return run_command([PIXLOOM, "translate", model, folder, "--out", out], env=own_cache(options))

    found: dict[str, Callable[[Path], Reading]] = {"plain script": plain}
    if peer is not None:
        found["peer, test.py --eval"] = lambda out: run_test(peer, pictures=folder, checkpoints=ready.checkpoints, out=out)
    found |= {"pixloom, not exported": partial(ours, ready.model), "pixloom, exported": partial(ours, ready.exported)}
    wanted = len(list(folder.iterdir()))

    def complete(way: Callable[[Path], Reading]) -> Reading:
        out = options.scratch / f"out-{folder.name}-{next(numbers)}"
        reading = way(out)
        if (written := len(list(out.rglob("*.png")))) < wanted:
            raise RuntimeError(f"only {written} of {wanted} pictures were written")
        return reading

    return {name: partial(complete, way) for name, way in found.items()}


NOTES = (
    "The plain script (`benchmarks/speed/plain_translate.py`) loads the weights with `torch.load`, runs eager torch in evaluation "
    "mode and writes PNGs with Pillow's defaults. `pixloom translate` reads a model folder, once as trained and once after `pixloom "
    "export`, whose time is not counted. The peer also writes each input again; where its package `dominate` is not installed its web "
    "page stays empty.",
)
