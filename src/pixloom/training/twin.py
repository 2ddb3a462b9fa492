"""Whether the critic has earned its place: a run beside its twin that was trained on the same data without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixloom.config import load_config
from pixloom.errors import PixloomError
from pixloom.training.monitor import Alarm

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
        task, size, data: what must be alike: what is translated into what, at which size, and the data's fingerprint.
        means: by metric.
    """

    method: str
    task: str
    size: int
    data: str
    means: Mapping[str, float]


def as_good(run: Path) -> Alarm | None:
    """Whether of this run and another beside it, one of which has no critic, that one has figures that are as good.

    Both must have learnt the same translation from the same data at the same size.

    Args:
        run: the folder of a run that has been judged.
    """
    ours = read_judged(run)
    if ours is None:
        return None
    for folder in sorted(path for path in run.resolve().parent.iterdir() if path.is_dir() and path.name != run.name):
        other = read_judged(folder)
        if other is None or (other.task, other.data, other.size) != (ours.task, ours.data, ours.size):
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
    """What a run folder says of itself; None where it is none, or was not judged."""
    try:
        config = load_config(folder / "config.yaml")
        fingerprint = _read(folder / "data.json")["fingerprint"]
        means = _read(folder / "evaluation" / "evaluation.json")["means"]
        figures = {name: float(value["mean"]) for name, value in means.items()}
        task = json.dumps(config.task.model_dump(), sort_keys=True)
        return Judged(config.method, task, config.data.size, str(fingerprint), figures)
    except (PixloomError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
