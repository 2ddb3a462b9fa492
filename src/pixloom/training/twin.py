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

LOWER_IS_BETTER = ("lpips", "kid_inception768", "kid_squeeze")
"""What is compared: a blur has a good PSNR, so pixels say nothing here."""


@dataclass(frozen=True)
class Judged:
    """A finished run.

    Attributes:
        method, size, data: what must be alike, and the data's fingerprint.
        means: by metric.
    """

    method: str
    size: int
    data: str
    means: Mapping[str, float]


def as_good(run: Path) -> Alarm | None:
    """Whether a run without a critic that lies beside this one, on the same data at the same size, has figures that are as good.

    Args:
        run: the folder of a run that has been judged.
    """
    ours = read_judged(run)
    if ours is None or ours.method == "regression":
        return None
    for folder in sorted(path for path in run.resolve().parent.iterdir() if path.is_dir() and path.name != run.name):
        twin = read_judged(folder)
        if twin is None or twin.method != "regression" or (twin.data, twin.size) != (ours.data, ours.size):
            continue
        shared = [name for name in LOWER_IS_BETTER if name in ours.means and name in twin.means]
        if shared and all(twin.means[name] <= ours.means[name] for name in shared):
            figures = ", ".join(f"{name} {twin.means[name]:.4g} against {ours.means[name]:.4g} here" for name in shared)
            remedies = ("take it", "a longer run", "losses.adversarial_weight up where pictures are blurred, down where they are noisy")
            return Alarm(NAME, 0, f"{folder.name} has {figures}", remedies)
    return None


def read_judged(folder: Path) -> Judged | None:
    """What a run folder says of itself; None where it is none, or was not judged."""
    try:
        config = load_config(folder / "config.yaml")
        fingerprint = _read(folder / "data.json")["fingerprint"]
        means = _read(folder / "evaluation" / "evaluation.json")["means"]
        figures = {name: float(value["mean"]) for name, value in means.items()}
        return Judged(config.method, config.data.size, str(fingerprint), figures)
    except (PixloomError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
