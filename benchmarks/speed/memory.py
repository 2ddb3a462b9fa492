"""Peak memory of translating large pictures, one process each: what a machine must have, not how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.speed.harness import Options, Outcome, Reading, Worker, run_command
from benchmarks.speed.prepare import PIXLOOM, PYTHON, Trained, own_cache, pairs, trained

LARGE, QUICK_LARGE = 8000, 512
WHOLE, QUICK_WHOLE = 2048, 256
"""Small enough for the plain script, which has no tiles."""


def run(options: Options) -> Outcome:
    """At the trained size in 8 and 16 bits, and at a native size that a network can still take as a whole."""
    ready, large = trained(options, photos=4), QUICK_LARGE if options.quick else LARGE
    whole = QUICK_WHOLE if options.quick else WHOLE
    rows = [ours(options, ready, side=large, size="trained", bits=bits) for bits in (8, 16)]
    folder = picture(options, side=whole)
    plain = run_command([PYTHON, "-m", "benchmarks.speed.plain_translate", ready.plain, folder, options.scratch / "plain-out"])
    rows += [row("plain script", whole, "native", 8, plain), ours(options, ready, side=whole, size="native")]
    return Outcome(rows=rows, notes=NOTES)


def run_native(options: Options) -> Outcome:
    """A large picture in its own size: the network works in tiles."""
    ready = trained(options, photos=4)
    return Outcome(rows=[ours(options, ready, side=QUICK_LARGE if options.quick else LARGE, size="native")], notes=NOTES)


def ours(options: Options, ready: Trained, *, side: int, size: str, bits: int = 8) -> dict[str, Any]:
    """One process of ``pixloom translate``."""
    folder, out = picture(options, side=side, bits=bits), options.scratch / f"out-{side}-{size}-{bits}"
    reading = run_command([PIXLOOM, "translate", ready.exported, folder, "--size", size, "--out", out], env=own_cache(options))
    return row("pixloom translate", side, size, bits, reading)


def picture(options: Options, *, side: int, bits: int = 8) -> Path:
    """A folder with one square PNG."""
    folder = options.scratch / f"large-{side}-{bits}"
    if not folder.is_dir():
        folder.mkdir()
        with Worker("pictures") as worker:
            worker.ask("large", path=str(folder / "large.png"), pairs=str(pairs(options)), side=side, bits=bits)
    return folder


def row(candidate: str, side: int, size: str, bits: int, reading: Reading) -> dict[str, Any]:
    """One process in a row."""
    return {
        "candidate": candidate,
        "picture": f"{side} x {side}, {bits} bits",
        "--size": size,
        "peak_mib": reading["peak_mib"],
        "seconds": reading["seconds"],
    }


NOTES = (
    "The pix2pix U-Net of the other benchmarks, exported; one process each, so that seconds are a rough guide. Peak memory is the largest "
    "resident set of the whole process. The plain script has no tiles: it would need many times a machine's memory for the large picture.",
)
