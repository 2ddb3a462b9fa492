"""The tables of docs/scaling.md: what the networks cost by count, what was measured, and what many cards with many pictures would need.

    python benchmarks/scaling_paper.py            print them
    python benchmarks/scaling_paper.py --write    put them into docs/scaling.md, between their marks

Nothing is timed here. The measured figures are read from benchmarks/results/speed/scaling.json where it exists; those of a cluster follow
from the assumptions below, of which each says whether it was measured or is an estimate.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pixloom.config import override
from pixloom.files import write_text
from pixloom.nets import build
from pixloom.nets.cost import StepCost, critic_cost, generator_inputs, inference_bytes, step_cost
from pixloom.nets.layers import BatchNorm2d
from pixloom.recipes import recipe, unet_depth
from pixloom.training.counting import step_of

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "scaling.md"
MEASURED = ROOT / "benchmarks" / "results" / "speed" / "scaling.json"

SIZES = (64, 128, 256, 512, 1024)
CRITICS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"patch, {width} px": ("patch", {"layers": layers}) for layers, width in enumerate((16, 34, 70, 142, 286), start=1)},
    "pixel": ("pixel", {}),
    "image": ("image", {}),
}
PAIRED = ("encoder_decoder", "unet", "resnet", "shuffle")
"""Generators that a step of pix2pix fits; what the others cost is in docs/methods.md."""

SAVINGS = {
    "none": {},
    "`compute.accumulate=4`": {"compute.accumulate": 4},
    "`compute.recompute_activations=true`": {"compute.recompute_activations": True},
    "both": {"compute.accumulate": 4, "compute.recompute_activations": True},
}
CARDS = (8, 12, 24, 80)
"""Memory of common cards, in 10^9 bytes."""

RESERVE = 0.25
"""Share of a card's memory that is not counted on: the driver, torch, scratch space of the convolutions, what lies between tensors."""

MIB, GIB, GIGA = 2**20, 2**30, 10**9

Row = Mapping[str, Any]
"""Column -> cell; None is an empty one."""


# --- By count ------------------------------------------------------------------------------------------------------------------------


def on_paper(name: str, *, size: int, **options: Any) -> nn.Module:
    """A network for colour pictures, without values."""
    if name == "unet":
        depth = unet_depth(size)
        options |= {"depth": depth, "dropout": 0.5 if depth >= 6 else 0.0}
    with torch.device("meta"):
        return build(name, options, source_channels=3, target_channels=3, size=size)


@cache
def counted(name: str, *, size: int, batch: int = 1, saving: str = "none") -> StepCost:
    """A step of pix2pix with this generator and the 70 px patch critic; the ResNet's critic has instance norm like itself."""
    networks = on_paper(name, size=size), on_paper("patch", size=size, norm="instance" if name == "resnet" else "batch")
    config = override(recipe("pix2pix", size=size), {"training.batch_size": batch, **SAVINGS[saving]})
    return step_cost(*networks, size=size, batch=batch, play=step_of(config))


def generators() -> Iterator[Row]:
    """Every generator at every size, batch 1."""
    for name in PAIRED:
        for size in SIZES:
            step, network = counted(name, size=size), on_paper(name, size=size)
            used = inference_bytes(network, generator_inputs(network, size=size)) + 4 * step.generator.parameters
            yield {
                "generator": name,
                "size": size,
                "parameters, M": number(step.generator.parameters / 1e6),
                "GMAC forward": number(step.generator.macs / GIGA),
                "GMAC step": number(step.macs / GIGA),
                "S_G, MiB": number(step.generator.kept_bytes / MIB),
                "activations of a step, MiB": number(step.activation_bytes / MIB),
                "training, GiB": f"{step.memory_bytes / GIB:.2f}",
                "in use, MiB": number(used / MIB),
            }


def critics() -> Iterator[Row]:
    """Every critic at three sizes; empty where the picture is too small for it."""
    for title, (name, options) in CRITICS.items():
        networks = {size: on_paper(name, size=size, **options) for size in SIZES[::2]}
        costs = {size: critic_cost(network, size=size) for size, network in networks.items() if size >= int(network.min_size)}
        yield {
            "critic": title,
            "parameters at 256 px, M": number(costs[256].parameters / 1e6),
            **{f"GMAC at {size}": number(costs[size].macs / GIGA) if size in costs else None for size in networks},
            **{f"S_D at {size}, MiB": number(costs[size].kept_bytes / MIB) if size in costs else None for size in networks},
        }


def savings() -> Iterator[Row]:
    """A batch as it is, in parts, and with activations computed anew."""
    for name in PAIRED:
        whole = counted(name, size=256, batch=8)
        for saving in SAVINGS:
            step = counted(name, size=256, batch=8, saving=saving)
            yield {
                "generator": name,
                "saving": saving,
                "GMAC step": number(step.macs / GIGA),
                "more multiply-adds": f"{step.macs / whole.macs - 1:.0%}",
                "activations of a step, MiB": number(step.activation_bytes / MIB),
                "training, GiB": f"{step.memory_bytes / GIB:.2f}",
            }


def one_card() -> Iterator[Row]:
    """The largest batch that fits on a card, and the pictures a second of the slower one."""
    for name in ("unet", "resnet"):
        for size in SIZES[2:]:
            few, more = (counted(name, size=size, batch=batch) for batch in (2, 4))
            of_picture = (more.activation_bytes - few.activation_bytes) / 2
            fixed = few.memory_bytes - 2 * of_picture
            room = {gigabytes: (1 - RESERVE) * gigabytes * 1e9 - fixed for gigabytes in CARDS}
            seconds = 2 * few.macs / few.batch / (CLUSTERS["slower cards, one box"].tflops * 1e12)
            yield {
                "generator": name,
                "size": size,
                "a picture more, MiB": number(of_picture / MIB),
                **{f"{gigabytes} GB": str(max(0, int(left // of_picture))) for gigabytes, left in room.items()},
                "pictures/s at 20 TFLOP/s": number(1 / seconds),
            }


# --- Measured ------------------------------------------------------------------------------------------------------------------------


def measured(path: Path = MEASURED) -> str:
    """The recorded times and peaks beside what was counted for the same step."""
    if not path.is_file():
        return "Not measured yet: `python -m benchmarks.speed scaling` records the figures, and this script puts them here."
    record = json.loads(path.read_text(encoding="utf-8"))
    machine = record["machine"]
    on = f"{machine['processor']}, {machine['cores']} cores, torch {machine['versions']['torch']}"
    return "\n\n".join(
        [table(map(measured_row, record["rows"])), f"{on}, commit {record['commit']}, {record['date'][:10]}.", *record["notes"]]
    )


def measured_row(row: Mapping[str, Any]) -> Row:
    """One network at one size; empty where it was not tried."""
    step, seconds = counted(row["network"], size=row["size"], batch=row["batch"]), row["seconds_per_step"]
    return {
        "network": row["network"],
        "size": row["size"],
        "batch": row["batch"],
        "seconds per step": number(seconds),
        "GMAC per second": seconds and number(step.macs / GIGA / seconds),
        "peak of the process, MiB": number(row["step_peak_mib"]),
        "by count, MiB": number(step.memory_bytes / MIB),
        "seconds per picture translated": number(row["seconds_per_picture"]),
        "peak then, MiB": number(row["picture_peak_mib"]),
    }


# --- A cluster -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assumptions:
    """What the figures of a cluster rest on; rates are of one card or one process.

    Attributes:
        cards: how many.
        tflops: sustained by a card in these layers, 10^12 multiplications or additions a second (ESTIMATE).
        link_gbytes: what an all-reduce gets through for each card, 10^9 bytes a second (ESTIMATE).
        reduction_us: one small all-reduce that everybody waits for, in microseconds (ESTIMATE).
        launch_ms: the least that a step takes, as its kernels are launched one after the other (ESTIMATE).
        decode_ms: processor time to read, decode and resize a 512 x 256 JPEG pair to 286 px (measured: median of 200).
        cut_ms: processor time to cut and encode a pair that is in memory (measured: median of 200).
        file_bytes: of such a pair (measured: mean of 400).
        kept_bytes: of a pair in memory, 286 px, 8 bits.
        record_bytes: of an example in the listing, which every process has (measured: 20,000 pairs).
        listing_us: processor time to list a pair from a local disk (measured: 20,000 pairs).
        checkpoint_mbytes: written in a second with checksums, forced to the disk, 10^6 bytes (measured: 686 MB, the slowest of three).
    """

    cards: int
    tflops: float
    link_gbytes: float
    reduction_us: float
    launch_ms: float = 10
    decode_ms: float = 4.6
    cut_ms: float = 0.26
    file_bytes: float = 50_300
    kept_bytes: float = 2 * 3 * 286**2
    record_bytes: float = 980
    listing_us: float = 114
    checkpoint_mbytes: float = 128


CLUSTERS = {
    "slower cards, one box": Assumptions(cards=8, tflops=20, link_gbytes=12, reduction_us=30),
    "fast cards, one box": Assumptions(cards=8, tflops=100, link_gbytes=200, reduction_us=20),
    "fast cards, 64 boxes": Assumptions(cards=512, tflops=100, link_gbytes=20, reduction_us=40),
}


@dataclass(frozen=True)
class Load:
    """What a step of pix2pix at 256 px asks, with a share of the batch on each card.

    Attributes:
        compute_ms: of the networks on their card.
        gradients_ms: the all-reduce of both networks' gradients, which goes on beside the backward passes.
        statistics_ms: batch norm's reductions, which everybody waits for.
        step_ms: all of it.
    """

    compute_ms: float
    gradients_ms: float
    statistics_ms: float

    @property
    def step_ms(self) -> float:
        """Backward passes are two thirds of a step; gradients that take longer are waited for."""
        return self.compute_ms + self.statistics_ms + max(0.0, self.gradients_ms - 2 / 3 * self.compute_ms)


def load_of(given: Assumptions, *, share: int, cards: int) -> Load:
    """The load of a step on some of the cards."""
    step = counted("unet", size=256)
    return Load(
        compute_ms=max(given.launch_ms, 1e3 * 2 * step.macs * share / (given.tflops * 1e12)),
        gradients_ms=1e3 * gradient_bytes(step, cards=cards) / (given.link_gbytes * GIGA),
        statistics_ms=1e-3 * num_statistics_reductions() * given.reduction_us if cards > 1 else 0.0,
    )


def gradient_bytes(step: StepCost, *, cards: int) -> float:
    """What each card sends in a step, and receives: 2 (N - 1) / N times the gradients of both networks."""
    return 2 * (cards - 1) / cards * step.state_bytes / 4


def num_statistics_reductions() -> int:
    """Batch norm's all-reduces in a step of pix2pix at 256 px: mean and variance, forward and backward, of every layer in every pass."""
    generator, critic = (
        sum(isinstance(module, BatchNorm2d) for module in on_paper(name, size=256).modules()) for name in ("unet", "patch")
    )
    return 4 * (generator + 3 * critic)


def cards() -> Iterator[Row]:
    """A step on one card and on all of them."""
    for name, given in CLUSTERS.items():
        for share in (1, 16, 64):
            load, alone = (load_of(given, share=share, cards=count) for count in (given.cards, 1))
            rate = 1e3 * share / load.step_ms
            yield {
                "machine": name,
                "cards": given.cards,
                "batch of a card": share,
                "compute, ms": number(load.compute_ms),
                "gradients, ms": number(load.gradients_ms),
                "statistics, ms": number(load.statistics_ms),
                "pictures/s of a card": number(rate),
                "of one card alone": f"{alone.step_ms / load.step_ms:.0%}",
                "cores per card to decode": number(rate * given.decode_ms / 1e3),
                "to cut from memory": number(rate * given.cut_ms / 1e3),
            }


def pictures() -> Iterator[Row]:
    """What a number of pairs needs, and how long 200 passes take with 16 pictures on every card."""
    for pairs in (10**3, 10**5, 10**6, 10**7, 10**8):
        box, boxes = (CLUSTERS[name] for name in ("fast cards, one box", "fast cards, 64 boxes"))
        passes = {
            f"200 passes on {given.cards} cards": in_time(
                200 * pairs / (given.cards * 16) * load_of(given, share=16, cards=given.cards).step_ms / 1e3
            )
            for given in (box, boxes)
        }
        yield {
            "pairs": f"{pairs:,}",
            "files": in_bytes(pairs * box.file_bytes),
            "decoded": in_bytes(pairs * box.kept_bytes),
            "listing, every process": in_bytes(pairs * box.record_bytes),
            "time to list": in_time(pairs * box.listing_us * 1e-6),
            "order of a pass": in_bytes(pairs * 8),
            "to decode a pass, one core": in_time(pairs * box.decode_ms / 1e3),
            **passes,
        }


def checkpoints() -> Iterator[Row]:
    """What is written, and how long everybody waits."""
    for name in PAIRED:
        step = counted(name, size=256)
        model, state = 4 * step.generator.parameters, 3 * step.state_bytes / 4
        yield {
            "generator at 256 px": name,
            "model": in_bytes(model),
            "checkpoint": in_bytes(state),
            "with the average": in_bytes(state + model),
            "to write": in_time(state / 1e6 / CLUSTERS["fast cards, 64 boxes"].checkpoint_mbytes),
        }


# --- The document --------------------------------------------------------------------------------------------------------------------


BLOCKS: dict[str, Callable[[], str]] = {
    "generators": lambda: table(generators()),
    "critics": lambda: table(critics()),
    "savings": lambda: table(savings()),
    "one card": lambda: table(one_card()),
    "measured": measured,
    "cards": lambda: table(cards()),
    "pictures": lambda: table(pictures()),
    "checkpoints": lambda: table(checkpoints()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    if parser.parse_args().write:
        write_text(DOCUMENT, filled(DOCUMENT.read_text(encoding="utf-8")))
    else:
        print("\n\n".join(f"{name}\n\n{make()}" for name, make in BLOCKS.items()))


def filled(document: str) -> str:
    """The document with every block made anew.

    Raises:
        ValueError: a block has no place in it.
    """
    for name, make in BLOCKS.items():
        begin, end = f"<!-- {name}: made by benchmarks/scaling_paper.py -->\n", f"<!-- end of {name} -->"
        before, opened, rest = document.partition(begin)
        _, closed, after = rest.partition(end)
        if not (opened and closed):
            raise ValueError(f"the document must hold {begin}...\n{end}")
        document = f"{before}{begin}\n{make()}\n\n{end}{after}"
    return document


def table(rows: Iterator[Row]) -> str:
    """Rows of the same columns as Markdown."""
    found = list(rows)
    lines = [list(found[0]), ["---"] * len(found[0]), *(["" if cell is None else str(cell) for cell in row.values()] for row in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str | None:
    """Three significant digits."""
    if value is None:
        return None
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.3g}"


def in_bytes(count: float) -> str:
    """Bytes in the unit that suits them."""
    unit, factor = next(((unit, factor) for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)) if count >= factor), ("kB", 1e3))
    return f"{count / factor:.3g} {unit}"


def in_time(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    unit, factor = next(((unit, factor) for unit, factor in (("days", 86400), ("h", 3600), ("min", 60)) if seconds >= factor), ("s", 1))
    return f"{seconds / factor:.3g} {unit}"


if __name__ == "__main__":
    main()
