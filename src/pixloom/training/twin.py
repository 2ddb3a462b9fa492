"""Whether the critic has earned its place: a run beside its twin that was trained on the same data without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixloom.config import load_config
from pixloom.errors import PixloomError
from pixloom.training.history import read
from pixloom.training.monitor import DIVERGED, NOT_FINITE, Alarm

NAME = "the twin without a critic is as good"

REMEDIES = ("take the twin", "a longer run", "losses.adversarial_weight up where pictures are blurred, down where they are noisy")
PLAIN = "regression"
"""The method without a critic."""

LOWER_IS_BETTER = ("lpips", "kid_inception768", "kid_squeeze")
"""What is compared: a blur has a good PSNR, so pixels say nothing here."""


@dataclass(frozen=True)
class Judged:
    """A finished run.

    Attributes:
        method: how it learnt.
        task, size, data, generator: what must be alike: what is translated into what, at which size, the data's fingerprint, the network.
        means: by metric.
    """

    method: str
    task: str
    size: int
    data: str
    generator: str
    means: Mapping[str, float]

    @property
    def kind(self) -> tuple[str, int, str, str]:
        """What must be alike."""
        return self.task, self.size, self.data, self.generator


def as_good(run: Path) -> Alarm | None:
    """Whether of this run and another beside it, one of which has no critic, that one has figures that are as good.

    Both must have learnt the same translation with the same generator from the same data at the same size, and neither may have diverged.

    Args:
        run: the folder of a run that has been judged.
    """
    ours = read_judged(run)
    if ours is None:
        return None
    for folder in sorted(path for path in run.resolve().parent.iterdir() if path.is_dir() and path.name != run.name):
        other = read_judged(folder)
        if other is None or other.kind != ours.kind:
            continue
        (twin, its), (game, of_game) = sorted([(ours, "here"), (other, f"in {folder.name}")], key=lambda one: one[0].method != PLAIN)
        if twin.method != PLAIN or game.method == PLAIN:
            continue
        shared = [name for name in LOWER_IS_BETTER if name in game.means and name in twin.means]
        if shared and all(twin.means[name] <= game.means[name] for name in shared):
            figures = ", ".join(f"{name} {twin.means[name]:.4g} {its} against {game.means[name]:.4g} {of_game}" for name in shared)
            return Alarm(NAME, 0, figures, REMEDIES)
    return None


def read_judged(folder: Path) -> Judged | None:
    """What a run folder says of itself; None where it is none, was not judged, or has diverged."""
    try:
        config = load_config(folder / "config.yaml")
        fingerprint = _read(folder / "data.json")["fingerprint"]
        means = _read(folder / "evaluation" / "evaluation.json")["means"]
        figures = {name: float(value["mean"]) for name, value in means.items()}
        task, generator = (json.dumps(part.model_dump(), sort_keys=True) for part in (config.task, config.generator))
        rang = {entry["alarm"] for entry in read(folder / "history.jsonl") if entry.get("event") == "alarm"}
        if {DIVERGED, NOT_FINITE} & rang:  # its figures say nothing of how it learns
            return None
        return Judged(config.method, task, config.data.size, str(fingerprint), generator, figures)
    except (PixloomError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
