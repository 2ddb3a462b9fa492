"""Time and memory of a training step and of a translation, for every generator from 64 to 1024 pixels, one process each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.speed.harness import FEWEST_ROUNDS, Options, Outcome, Worker, summarise

NETWORKS = ("encoder_decoder", "unet", "resnet")
SIZES, QUICK_SIZES = (64, 128, 256, 512, 1024), (64,)
MOST_SECONDS, MOST_MIB = 60.0, 16 * 1024
GROWTH = 4
"""Four times the pixels take about four times the time and memory."""

Measured = Mapping[str, Any]
"""``seconds`` of every round, and ``peak_mib``."""

NOTHING: Measured = {"seconds": [], "peak_mib": 0.0}


def run(options: Options) -> Outcome:
    """Sizes in ascending order, until the next would take too much."""
    rows = [row for network in NETWORKS for row in rows_of(network, sizes=QUICK_SIZES if options.quick else SIZES)]
    return Outcome(rows=rows, notes=NOTES)


def rows_of(network: str, *, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """One network at growing sizes; what is predicted to be too much is not tried, nor is anything larger."""
    rows, former = [], dict.fromkeys(("train", "translate"), NOTHING)
    for size in sizes:
        former = {work: measure(network, size, work) for work, taken in former.items() if fits(taken)}
        rows.append(row(network, size, former))
    return rows


def measure(network: str, size: int, work: str) -> Measured:
    """One process."""
    with Worker("scaling_run", network, size) as worker:
        measured: Measured = worker.ask(work, rounds=FEWEST_ROUNDS)
        return measured


def fits(former: Measured) -> bool:
    """Whether the next size may be tried, from what the size before took (its first round is not among its seconds)."""
    seconds = sum(former["seconds"]) * (1 + 1 / FEWEST_ROUNDS)
    return GROWTH * former["peak_mib"] <= MOST_MIB and GROWTH * seconds <= MOST_SECONDS


def row(network: str, size: int, found: Mapping[str, Measured]) -> dict[str, Any]:
    """The medians, and the readings that they are from; None for what was not tried."""
    step, picture = found.get("train"), found.get("translate")
    return {
        "network": network,
        "size": size,
        "batch": 1,
        "seconds_per_step": step and summarise(step["seconds"])["median"],
        "step_peak_mib": step and step["peak_mib"],
        "seconds_per_picture": picture and summarise(picture["seconds"])["median"],
        "picture_peak_mib": picture and picture["peak_mib"],
        "step_readings": step and step["seconds"],
        "picture_readings": picture and picture["seconds"],
    }


NOTES = (
    f"Recipe pix2pix with each generator, batch 1, {FEWEST_ROUNDS} readings after one that is thrown away; the ResNet and its critic "
    "with instance norm. A size is left empty where four times the time and memory of the size before would be over "
    f"{MOST_SECONDS:.0f} s or {MOST_MIB // 1024} GiB. Translation is eager torch, of an 8-bit picture of the trained size. Peak memory "
    "includes about a quarter of a GiB for torch itself.",
)
