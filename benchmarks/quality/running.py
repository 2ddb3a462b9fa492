"""One arm of a race: its length found, trained or gone on with, judged along the way, recorded."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import pixloom
from benchmarks.quality.pictures import DATA_SETS
from benchmarks.quality.races import RACES, Arm, Race
from benchmarks.quality.shifts import CORRUPTIONS, spoilt
from benchmarks.tasks.running import commit_of, without_places
from pixloom.config import DataConfig, load_config, parse_settings
from pixloom.data.sources import discover
from pixloom.evaluation import Example, choose_records, judged, judges_for, open_examples, translated
from pixloom.inference.translator import Translator
from pixloom.metrics.features import LPIPS
from pixloom.metrics.judging import Judged, Verdict, judge
from pixloom.training.engine import Engine
from pixloom.training.history import read
from pixloom.training.plan import make_plan
from pixloom.training.preflight import measure
from pixloom.training.state import Checkpoint, list_checkpoints, read_checkpoint, restore_module

PIXLOOM = (sys.executable, "-m", "pixloom")
SHOWN = 8
WHOLE = 8
"""Lengths between looks are multiples of it, whatever the batch."""


@dataclass(frozen=True)
class Places:
    """Where things lie: pictures, weights of feature networks, run folders, records."""

    pictures: Path
    weights: Path
    out: Path
    results: Path


@dataclass(frozen=True)
class Entry:
    """One run of a race."""

    race: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """For files."""
        return "-".join((self.race, *self.arm.replace(",", "").replace(" +", "").split(), f"seed{self.seed}"))

    @property
    def rules(self) -> tuple[Race, Arm]:
        """Of the race, and of this arm."""
        return RACES[self.race], RACES[self.race].arms[self.arm]

    @property
    def minutes(self) -> float:
        """How long it may take."""
        race, arm = self.rules
        return race.minutes if arm.minutes is None else arm.minutes


def run(entry: Entry, places: Places, *, again: bool = False) -> Path:
    """Train what is not trained, judge it, and write its record; what is recorded already is left alone unless ``again``."""
    record = places.results / f"{entry.name}.json"
    if record.is_file() and not again:
        return record
    folder = places.out / entry.name
    data = DATA_SETS[entry.rules[0].data].prepare(places.pictures, places.out / "data" / entry.rules[0].data)
    images = length(entry, places, data=data)
    train(entry, folder, data=data, images=images)
    print(f"judging {entry.name}", flush=True)
    text = json.dumps(described(entry, places, folder=folder, images=images), indent=1, ensure_ascii=False)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(without_places(text, places) + "\n", encoding="utf-8")  # type: ignore[arg-type]
    shutil.rmtree(folder / "checkpoints")
    return record


def length(entry: Entry, places: Places, *, data: Path) -> int:
    """The images that an arm sees in its time, from measured steps; measured once on a machine, so that seeds are equally long."""
    path = places.out / "pace.json"
    known: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    race, arm = entry.rules
    key = f"{entry.race}: {entry.arm}"
    if key not in known:
        torch.set_num_threads(1)
        options = {"task": race.arguments[1], "recipe_name": arm.recipe, "size": race.size, "images": 1000}
        plan = make_plan(str(data), settings=_settings(race, arm), **options)  # type: ignore[arg-type]
        known[key] = min(measure(plan, Engine(plan.config)).seconds_per_image for _ in range(2))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=1), encoding="utf-8")
    whole = WHOLE * race.looks  # so that the last look is the end
    return max(1, round(entry.minutes * 60 / known[key] / whole)) * whole


def _settings(race: Race, arm: Arm) -> dict[str, Any]:
    direction = {"task.direction": "BtoA"} if "BtoA" in race.arguments else {}
    return parse_settings(list(arm.settings)) | direction


def train(entry: Entry, folder: Path, *, data: Path, images: int) -> None:
    """A run of a race to its end; a checkpoint is left at every look."""
    race, arm = entry.rules
    looks = (
        f"training.checkpoint_every_images={max(1, images // race.looks)}",
        f"training.keep_checkpoints={race.looks + 2}",
    )
    order: dict[str, Any] = {"recipe": arm.recipe, "size": race.size, "images": images, "seed": entry.seed}
    trained(folder, data, arguments=race.arguments, settings=(*arm.settings, *looks), **order)


def trained(
    folder: Path,
    data: Path,
    *,
    arguments: Sequence[str],
    recipe: str,
    size: int,
    images: int,
    seed: int,
    settings: Sequence[str],
    pilot: bool = False,
) -> None:
    """A run to its end, begun or gone on with; nothing is validated on the way. A run that gives up is left as it is."""
    if (folder / "model-last").is_dir():
        return
    pace = (
        "training.validate_every_images=1000000000",
        "training.preview_every_images=1000000000",
        "training.log_every_images=200",
    )
    given = [part for setting in (*settings, *pace) for part in ("--set", setting)] + (["--autopilot"] if pilot else [])
    order = ["--recipe", recipe, "--size", str(size), "--images", str(images), "--seed", str(seed)]
    command = ["train", str(data), *arguments, *order, *given, "--out", str(folder)]
    if (folder / "config.yaml").exists():
        command = ["resume", str(folder)]
    print(f"{command[0]} {folder.name}: {images:,} images", flush=True)
    before = os.times()
    subprocess.run([*PIXLOOM, *command], check=False, env={"OMP_NUM_THREADS": "1", **os.environ}, stdout=subprocess.DEVNULL)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    with (folder / "processor_seconds.txt").open("a", encoding="utf-8") as file:
        file.write(f"{command[0]} {seconds:.1f}\n")


def described(entry: Entry, places: Places, *, folder: Path, images: int) -> dict[str, Any]:
    """The record: the judgement of every checkpoint, and what it depends on."""
    race, arm = entry.rules
    config = load_config(folder / "config.yaml")
    model = Translator.from_pretrained(folder / "model-last", runtime="torch")
    _, records = choose_records(discover(config.data, paired=model.task.needs_pairs), split="val")
    jury = Jury(places, list(open_examples(records, task=model.task, size=race.size)), model)
    *former, last = sorted(list_checkpoints(folder / "checkpoints"))
    judgements = [*(jury.of(read_checkpoint(path)) for path in former), jury.of(read_checkpoint(last), both=True)]
    jury.draw(folder / "shown.png")
    elsewhere = shifted(race, places, jury, data=config.data)  # of the weights that the last look left in place
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    processor = [line.split() for line in (folder / "processor_seconds.txt").read_text(encoding="utf-8").splitlines()]
    data_set = DATA_SETS[race.data]
    return {
        "race": entry.race,
        "arm": entry.arm,
        "seed": entry.seed,
        "title": race.title,
        "command": f"python -m benchmarks.quality {entry.race} --data DATA --weights WEIGHTS --seeds {entry.seed}",
        "commit": commit_of(Path(pixloom.__file__).parent),
        "recipe": arm.recipe,
        "settings": list(arm.settings),
        "size": race.size,
        "images": images,
        "minutes": entry.minutes,
        "processor_minutes": round(sum(float(seconds) for _, seconds in processor) / 60, 2) if processor[0][0] == "train" else None,
        "data": {"name": race.data, "title": data_set.title, "split": data_set.split, "judged": len(records)},
        "parameters": sum(parameter.numel() for parameter in model.generator.parameters()),
        "judgements": judgements,
        "elsewhere": elsewhere,
        "alarms": [
            {"alarm": event["alarm"], "images": event["images"]}
            for event in read(folder / "history.jsonl")
            if event.get("event") == "alarm"
        ],
        "floors": jury.floors,
        "protocol": {
            "pictures": f"short side to {race.size} px, then the centre square; compared at that size",
            "metrics": jury.judges.protocol(),
            "lpips_alex": "the same with AlexNet",
            "seconds": "wall clock of training, checkpoints included; one thread",
        },
        "environment": {key: value for key, value in environment.items() if key != "command"} | {"numpy": np.__version__},
        "machine": platform.machine(),
    }


def shifted(race: Race, places: Places, jury: Jury, *, data: DataConfig) -> dict[str, dict[str, float]]:
    """What the model is worth on sources unlike those that it learnt from: metric -> mean, by what is different."""
    found: dict[str, dict[str, float]] = {}
    if race.spoilt:
        for name in CORRUPTIONS:
            found[name], *_ = jury.of_examples([spoilt(example, name) for example in jury.examples], real=jury.real)
    for name in race.elsewhere:
        place = DATA_SETS[name].prepare(places.pictures, places.out / "data" / name)
        listing = discover(data.model_copy(update={"path": str(place)}), paired=jury.model.task.needs_pairs)
        examples = open_examples(listing.splits["val"], task=jury.model.task, size=race.size)
        found[DATA_SETS[name].title], *_ = jury.of_examples(list(examples), real=None)
    return found


class Jury:
    """Judges checkpoints of one run on held-out pictures."""

    def __init__(self, places: Places, examples: Sequence[Example], model: Translator) -> None:
        self.examples, self.model = examples, model
        self.judges = judges_for(model.task, weights=places.weights, features="inception-768")
        self.alex = LPIPS(net="alex", folder=places.weights) if self.judges.lpips else None
        self.real: torch.Tensor | None = None
        self.floors: dict[str, float] = {}
        self.strips: list[np.ndarray] = []

    def of(self, checkpoint: Checkpoint, *, both: bool = False) -> dict[str, Any]:
        """The figures of the average where there is one; and, where both are wanted, of the weights themselves."""
        there = {key.partition("/")[0] for key in checkpoint.tensors}
        progress = checkpoint.progress
        found: dict[str, Any] = {"images": progress.images, "seconds": round(progress.elapsed_seconds, 1)}
        if both and "ema" in there:
            found["without the average"] = self.figures(checkpoint, "generator")
        return found | {"figures": self.figures(checkpoint, "ema" if "ema" in there else "generator")}

    def figures(self, checkpoint: Checkpoint, network: str) -> dict[str, float]:
        """Metric -> mean, on the held-out pictures."""
        restore_module(self.model.generator, checkpoint, network)
        found, pairs, verdict = self.of_examples(self.examples, real=self.real)
        self.real, self.floors = verdict.real, dict(verdict.floors) or self.floors
        self.strips = [
            np.concatenate([_eight_bit(pair.prediction), _eight_bit(pair.target)]) for pair in pairs[:: max(1, len(pairs) // SHOWN)]
        ]
        return found

    @torch.no_grad()
    def of_examples(self, examples: Sequence[Example], *, real: torch.Tensor | None) -> tuple[dict[str, float], list[Judged], Verdict]:
        """Metric -> mean, of the weights that the model has; features of the same real pictures may be known already."""
        pairs = [judged(example, translated(self.model, example.shown), task=self.model.task) for example in examples]
        verdict = judge(iter(pairs), judges=self.judges, real=real, summary=self.model.task.totals)
        figures = {name: round(estimate.mean, 6) for name, estimate in verdict.means.items()}
        if self.alex:
            alex = [float(self.alex(pair.prediction[None], pair.target[None])) for pair in pairs]
            figures["lpips_alex"] = round(float(np.mean(alex)), 6)
        return figures, pairs, verdict

    def draw(self, path: Path) -> None:
        """The last translations above their targets."""
        Image.fromarray(np.concatenate(self.strips[:SHOWN], axis=1)).save(path)


def _eight_bit(picture: torch.Tensor) -> np.ndarray:
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)
