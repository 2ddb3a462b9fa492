"""One run: trained, or gone on with where it was stopped; judged; recorded."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import pixloom
from benchmarks.tasks.cases import Case, Experiment, Found
from benchmarks.tasks.datasets import DATA_SETS
from benchmarks.tasks.table import EXPERIMENTS
from pixloom.config import load_config, parse_settings

PIXLOOM = (sys.executable, "-m", "pixloom")


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes:
        pictures: FOLDER.
        weights: of feature networks.
        out: for run folders.
        results: for records.
    """

    pictures: Path
    weights: Path
    out: Path
    results: Path

    def run(self, name: str, seed: int) -> Path:
        """The run folder of an experiment."""
        return self.out / f"{name}-seed{seed}"

    def record(self, name: str, seed: int) -> Path:
        """The record of an experiment."""
        return self.results / f"{name}-seed{seed}.json"


def run(name: str, seed: int, places: Places, *, again: bool = False) -> Path:
    """Train what is not trained, judge it, and write its record; what is recorded already is left alone unless ``again``."""
    experiment, record = EXPERIMENTS[name], places.record(name, seed)
    if not again and is_current(record, experiment):
        print(f"{record.name}: recorded already (--again judges it anew)", flush=True)
        return record
    folder = trained(name, seed, places)
    twin = trained(experiment.twin, seed, places) if experiment.twin else None
    helpers = {helper: trained(helper, 0, places) for helper in experiment.helpers}
    data = prepared(experiment, places)
    case = Case(folder, data, pictures=places.pictures, weights=places.weights, twin=twin, helpers=helpers)
    print(f"judging {folder.name}", flush=True)
    found = experiment.measure(case)
    save_strips(found, folder / "gallery")
    text = json.dumps(described(name, seed, found, folder=folder, places=places), indent=1, ensure_ascii=False)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(without_places(text, places) + "\n", encoding="utf-8")
    return record


def is_current(record: Path, experiment: Experiment) -> bool:
    """Whether there is a record of just these settings."""
    if not record.is_file():
        return False
    former = json.loads(record.read_text(encoding="utf-8"))
    return all(former[key] == value for key, value in settings_of(experiment).items())


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """What a run's result depends on, as it is recorded."""
    arguments = [*experiment.arguments, *(part for setting in experiment.settings for part in ("--set", setting))]
    return {"arguments": arguments, "size": experiment.size, "images": experiment.images}


def prepared(experiment: Experiment, places: Places) -> Path:
    """The folder that an experiment learns from."""
    return DATA_SETS[experiment.data].prepare(places.pictures, places.out / "data" / experiment.data)


def trained(name: str, seed: int, places: Places) -> Path:
    """The folder of a finished run, which is begun or gone on with if need be; the processor time is added up in it.

    A run that was killed goes on from its newest checkpoint, and ends as if it had not been.
    """
    folder = places.run(name, seed)
    if others := differing(folder, EXPERIMENTS[name]):
        raise SystemExit(f"{folder} was begun with other settings ({', '.join(others)}): move it away and repeat the command")
    command = next_command(folder, EXPERIMENTS[name], seed=seed, data=prepared(EXPERIMENTS[name], places))
    if command is None:
        return folder
    print(f"{'going on with' if command[0] == 'resume' else 'training'} {folder.name}", flush=True)
    before = os.times()
    subprocess.run([*PIXLOOM, *command], check=True, env={"OMP_NUM_THREADS": "1", **os.environ})
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    with (folder / "processor_seconds.txt").open("a", encoding="utf-8") as file:
        file.write(f"{command[0]} {seconds:.1f}\n")
    return folder


def differing(folder: Path, experiment: Experiment) -> list[str]:
    """The settings in which a run that is there already is not the table's."""
    if not (folder / "config.yaml").is_file():
        return []
    there = load_config(folder / "config.yaml").model_dump()
    wanted = {"training.images": experiment.images, "data.size": experiment.size} | parse_settings(list(experiment.settings))
    return [key for key, value in wanted.items() if _found(there, key.split(".")) != value]


def _found(tree: Any, keys: Sequence[str]) -> Any:
    """What a path of keys leads to; None where it leads nowhere."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def next_command(folder: Path, experiment: Experiment, *, seed: int, data: Path) -> list[str] | None:
    """What pixloom is to do for a run: train, resume, or nothing (None) where it is finished."""
    if (folder / "model-last").is_dir():
        return None
    if (folder / "config.yaml").exists():
        return ["resume", str(folder)]
    return ["train", str(data), *train_arguments(experiment, seed=seed), "--out", str(folder)]


def train_arguments(experiment: Experiment, *, seed: int) -> list[str]:
    """The arguments of ``pixloom train`` but data and out.

    Nothing is validated on the way, so that no checkpoint is chosen on the pictures that are judged; four checkpoints are kept on the way.
    """
    pace = (
        f"training.validate_every_images={experiment.images}",
        f"training.preview_every_images={max(50, experiment.images // 4)}",
        f"training.checkpoint_every_images={max(1, experiment.images // 4)}",
    )
    settings = [part for setting in (*experiment.settings, *pace) for part in ("--set", setting)]
    return [*experiment.arguments, "--size", str(experiment.size), "--images", str(experiment.images), "--seed", str(seed), *settings]


def described(name: str, seed: int, found: Found, *, folder: Path, places: Places) -> dict[str, Any]:
    """The record of a run."""
    experiment, data_set = EXPERIMENTS[name], DATA_SETS[EXPERIMENTS[name].data]
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    minutes = processor_minutes(folder)
    return {
        "name": name,
        "seed": seed,
        "title": experiment.title,
        "command": f"python -m benchmarks.tasks {name} --data DATA --weights WEIGHTS --seeds {seed}",
        "commit": commit_of(Path(pixloom.__file__).parent),
        **settings_of(experiment),
        "twin": experiment.twin,
        "data": {"name": experiment.data, "title": data_set.title, "licence": data_set.licence, "split": data_set.split},
        "processor_minutes": minutes,
        "environment": {key: value for key, value in environment.items() if key != "command"} | {"numpy": np.__version__},
        "machine": platform.machine(),
        "count": found.count,
        "figures": found.figures,
        "needs": dict(found.needs),
        "shown": list(next(iter(found.strips.values()), {})),
        "protocol": dict(found.protocol),
    }


def processor_minutes(folder: Path) -> float | None:
    """Of the processes that trained a run; None where one was killed, and its time is not known."""
    path = folder / "processor_seconds.txt"
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    if not lines or lines[0][0] != "train":
        return None
    return round(sum(float(seconds) for _, seconds in lines) / 60, 1)


def commit_of(folder: Path) -> str:
    """The commit that a folder is at, with a word where its files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + (" with changes" if git("status", "--porcelain", "--", str(folder)) else "")


def without_places(text: str, places: Places) -> str:
    """A text without the folders of this machine."""
    for path, word in ((places.out, "OUT"), (places.weights, "WEIGHTS"), (places.pictures, "DATA")):
        for form in (str(path.resolve()), str(path)):
            text = text.replace(form, word)
    return text


def save_strips(found: Found, folder: Path) -> None:
    """Every strip as PNG files, and what they show."""
    shown: list[dict[str, Any]] = []
    for number, (name, parts) in enumerate(found.strips.items()):
        folder.mkdir(parents=True, exist_ok=True)
        files = {label: f"{number:02}-{place}.png" for place, label in enumerate(parts)}
        for label, file in files.items():
            Image.fromarray(as_rgb(parts[label])).save(folder / file)
        shown.append({"id": name, "files": files})
    if shown:
        (folder / "shown.json").write_text(json.dumps(shown, indent=1), encoding="utf-8")


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Pixels of 1 or 3 channels as 8-bit RGB."""
    eight = pixels if pixels.dtype == np.uint8 else (pixels / np.iinfo(pixels.dtype).max * 255).astype(np.uint8)
    return eight if eight.shape[2] == 3 else np.repeat(eight[..., :1], 3, axis=2)


def run_all(names: Sequence[str], seeds: Sequence[int], places: Places, *, again: bool = False) -> None:
    """All of them, seed by seed, so that every experiment has a result early."""
    for seed in seeds:
        for name in names:
            run(name, seed, places, again=again)
