"""Faults that are put into runs on purpose: how many the watchman sees, how many the autopilot mends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import pixloom
from benchmarks.quality.races import FACADES, FREE
from benchmarks.quality.running import Places, trained
from benchmarks.tasks.running import commit_of, without_places
from pixloom.training.autopilot import TOO_FAST
from pixloom.training.history import read
from pixloom.training.monitor import DIVERGED, NOT_FINITE

STEPS = 500
"""Within which a fault is to be seen."""

Pair = tuple[np.ndarray, np.ndarray]
"""Photo and label map."""

Spoil = Callable[[list[Pair]], list[Pair]]
"""What happens to the training pairs."""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    Attributes:
        spoil: the training pairs.
        settings: ``section.key=value``.
        alarms: any of which says so.
        curable: whether a setting can mend it.
    """

    alarms: tuple[str, ...]
    spoil: Spoil = list
    settings: tuple[str, ...] = ()
    curable: bool = False


def shuffled(pairs: list[Pair]) -> list[Pair]:
    """Every photo beside another's map."""
    return [(photo, pairs[(place + 7) % len(pairs)][1]) for place, (photo, _) in enumerate(pairs)]


def upside_down(pairs: list[Pair]) -> list[Pair]:
    """Maps turned over."""
    return [(photo, label[::-1]) for photo, label in pairs]


def constant(pairs: list[Pair]) -> list[Pair]:
    """The first picture's map for all."""
    return [(photo, pairs[0][1]) for photo, _ in pairs]


def ten(pairs: list[Pair]) -> list[Pair]:
    """Ten of them."""
    return pairs[:10]


def duplicated(pairs: list[Pair]) -> list[Pair]:
    """Each five times."""
    return [pair for pair in pairs[: len(pairs) // 5] for _ in range(5)]


RATES = ("generator_optimizer.learning_rate=0.05", "critic_optimizer.learning_rate=0.05")
FAULTS: dict[str, Fault] = {
    "healthy": Fault(()),
    "learning rate x 50": Fault((*TOO_FAST, NOT_FINITE), settings=RATES, curable=True),
    "frozen critic": Fault(("the critic stands still",), settings=("critic_optimizer.learning_rate=1e-12",), curable=True),
    "frozen generator": Fault(("the generator stands still",), settings=("generator_optimizer.learning_rate=1e-12",), curable=True),
    "shuffled pairs": Fault(("pairs do not belong together",), shuffled),
    "ten pictures": Fault(("pictures are few", "pictures are known by heart", "the critic knows its pictures by heart"), ten),
    "no penalty": Fault(
        ("the critic is not held", "the critic wins", "the critic's slope explodes"),
        settings=(*FREE, "training.clip_norm=null"),  # either would hold the critic
        curable=True,
    ),
    "constant inputs": Fault(("sources say nothing",), constant),
    "wrong label map": Fault(("pairs do not belong together",), upside_down),
    "duplicated data": Fault(("pictures are repeated",), duplicated),
    "bf16 overflow": Fault(
        (*TOO_FAST, NOT_FINITE), settings=("compute.precision=bf16", "generator_optimizer.learning_rate=1"), curable=True
    ),
}
"""By name."""


def run(name: str, seed: int, places: Places) -> Path:
    """Train with a fault, and again with the autopilot where it can be mended; record what rang and how good it became."""
    fault = FAULTS[name]
    record = places.results / f"fault-{name.replace(' ', '-')}-seed{seed}.json"
    if record.is_file():
        return record
    data = prepared(name, places)
    found: dict[str, Any] = {"fault": name, "seed": seed, "commit": commit_of(Path(pixloom.__file__).parent), "steps": STEPS}
    for pilot in (False, True) if fault.curable else (False,):
        folder = places.out / f"fault-{name.replace(' ', '-')}{'-autopilot' if pilot else ''}-seed{seed}"
        trained(folder, data, arguments=FACADES, recipe="auto", size=64, images=2 * STEPS, seed=seed, settings=fault.settings, pilot=pilot)
        found["autopilot" if pilot else "alone"] = outcome(folder, fault)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(without_places(json.dumps(found, indent=1), places) + "\n", encoding="utf-8")  # type: ignore[arg-type]
    return record


def prepared(name: str, places: Places) -> Path:
    """The folder of a fault: 260 pairs to learn from, spoilt, and 40 whole ones to judge."""
    folder = places.out / "faults" / name.replace(" ", "-")
    if folder.is_dir():
        return folder
    whole = [_read(places.pictures / "facades" / "train" / f"{number}.jpg") for number in range(1, 301)]
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    for split, pairs in (("train", FAULTS[name].spoil(whole[:260])), ("val", whole[260:])):
        (draft / split).mkdir(parents=True)
        for number, (photo, label) in enumerate(pairs):
            Image.fromarray(np.concatenate([photo, label], 1)).save(draft / split / f"{number}.jpg", quality=97, subsampling=0)
    shutil.copy(places.pictures / "facades" / "classes.csv", draft / "classes.csv")
    draft.rename(folder)
    return folder


def _read(path: Path) -> Pair:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return pixels[:, :256], pixels[:, 256:]


def outcome(folder: Path, fault: Fault) -> dict[str, Any]:
    """What rang, whether that says what is wrong, and the figures at the end (none where the run gave up)."""
    entries = [entry for entry in read(folder / "history.jsonl") if entry["kind"] == "event"]
    rung = [{"alarm": entry["alarm"], "images": entry["images"]} for entry in entries if entry["event"] in ("alarm", "rollback")]
    done = [entry["message"] for entry in entries if entry["event"] == "autopilot"]
    judged = folder / "evaluation" / "evaluation.json"
    means: Mapping[str, Any] = json.loads(judged.read_text(encoding="utf-8"))["means"] if judged.is_file() else {}
    figures = {metric: round(value["mean"], 6) for metric, value in means.items()}
    return {"seen": any(ring["alarm"] in fault.alarms for ring in rung), "alarms": rung, "remedies": done, "figures": figures}


@dataclass(frozen=True)
class Tally:
    """What the records say together."""

    seen: dict[str, list[bool]] = field(default_factory=dict)
    healthy: list[list[str]] = field(default_factory=list)
    shares: dict[str, list[float]] = field(default_factory=dict)


def tally(results: Path) -> Tally:
    """How many faults were seen, what healthy runs rang, and LPIPS after the autopilot as a share of the healthy run's."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("fault-*.json"))]
    healthy = {record["seed"]: record["alone"]["figures"].get("lpips") for record in records if record["fault"] == "healthy"}
    found = Tally()
    for record in records:
        if record["fault"] == "healthy":
            found.healthy.append([ring["alarm"] for ring in record["alone"]["alarms"]])
            continue
        found.seen.setdefault(record["fault"], []).append(record["alone"]["seen"])
        figure = record.get("autopilot", {}).get("figures", {}).get("lpips")
        if "autopilot" in record and healthy.get(record["seed"]):
            found.shares.setdefault(record["fault"], []).append(figure / healthy[record["seed"]] if figure else float("inf"))
    return found


def section(results: Path, healthy: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A table of the faults, and how often healthy runs rang.

    Args:
        results: the folder of the records.
        healthy: records of runs with nothing wrong, by race.
    """
    found = tally(results)
    if not found.seen:
        return ""
    lines = ["| fault | runs | seen | LPIPS after the autopilot over that of the healthy run |", "| --- | --- | --- | --- |"]
    for fault, seen in found.seen.items():
        shares = ", ".join(f"{share:.2f}" for share in found.shares.get(fault, [])) or "–"
        lines.append(f"| {fault} | {len(seen)} | {sum(seen)} | {shares} |")
    runs = [*found.healthy, *([alarm["alarm"] for alarm in record["alarms"]] for records in healthy.values() for record in records)]
    rung = [alarms for alarms in runs if alarms]
    diverged = sum(bool({DIVERGED, NOT_FINITE} & set(alarms)) for alarms in runs)
    every = [seen for row in found.seen.values() for seen in row]
    shares = [share for row in found.shares.values() for share in row]
    words = (
        f"Facades at 64 px, {2 * STEPS:,} images ({STEPS} steps of `auto`), a fault put in on purpose, watched, and again with "
        f"`--autopilot` where a setting can mend it. Seen: {sum(every)} of {len(every)}; "
        "brought back to within 10 % of the healthy run of the same seed: "
        f"{sum(share <= 1.1 for share in shares)} of {len(shares)}. Healthy runs that diverged: {diverged} of {len(runs)}; "
        f"that rang an alarm: {len(rung)}" + (f" ({', '.join(sorted({alarm for alarms in rung for alarm in alarms}))})." if rung else ".")
    )
    return "\n\n".join(["## Faults", words, "\n".join(lines)]) + "\n"
