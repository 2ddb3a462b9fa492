"""The options that pytorch-CycleGAN-and-pix2pix writes beside its weights, in ``train_opt.txt`` or, before 2019, ``opt.txt``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES = ("train_opt.txt", "opt.txt", "test_opt.txt")

OLD_NAMES = {"which_direction": "direction", "fineSize": "crop_size", "which_model_netG": "netG", "niter": "n_epochs"}
"""What options were called before 2018-09."""


LEVELS = {"normal": 5, "more": 6, "most": 7}
"""How often SPADE's generator doubles."""


@dataclass(frozen=True)
class Options:
    """What they say of a model.

    Attributes:
        settings: in our names.
        notes: for people.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_options(weights: Path) -> Options:
    """The options beside a file of weights; nothing where there are none."""
    path = next((weights.parent / name for name in FILES if (weights.parent / name).is_file()), None)
    if path is None:
        return Options()
    try:
        said = parse_options(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return Options()
    settings: dict[str, Any] = {}
    if said.get("direction") in ("AtoB", "BtoA") and said.get("model") != "cycle_gan":
        settings["task.direction"] = said["direction"]
    if said.get("crop_size", "").isdecimal():
        settings["size"] = int(said["crop_size"])
    if said.get("label_nc", "0").isdecimal() and int(said.get("label_nc", "0")):  # 0: pictures, not labels
        settings["classes"] = int(said["label_nc"])
    if "label_nc" in said and said.get("no_instance") in ("True", "False"):
        settings["edges"] = said["no_instance"] == "False"
    if said.get("num_upsampling_layers") in LEVELS:
        settings["generator.options.levels"] = LEVELS[said["num_upsampling_layers"]]
    if said.get("use_vae") == "True" and "crop_size" in said:
        settings |= _start(said)
    if said.get("no_dropout") in ("True", "False"):
        settings["generator.options.dropout"] = 0.0 if said["no_dropout"] == "True" else 0.5
    return Options(
        settings, (f"{', '.join(dict.fromkeys(key.rpartition('.')[2] for key in settings))} as {path.name} says",) if settings else ()
    )


def _start(said: dict[str, str]) -> dict[str, Any]:
    """The size of SPADE's first map, which follows from that of its pictures; nothing where they do not say it."""
    try:
        columns = int(said["crop_size"]) // 2 ** LEVELS[said.get("num_upsampling_layers", "normal")]
        return {"generator.options.start": [round(columns / float(said.get("aspect_ratio", "1"))), columns]}
    except (ValueError, KeyError, ZeroDivisionError):
        return {}


def parse_options(text: str) -> dict[str, str]:
    r"""Name -> value, under today's names.

    >>> parse_options("      crop_size: 256      \n   no_dropout: True   \t[default: False]\n")
    {'crop_size': '256', 'no_dropout': 'True'}
    >>> parse_options("which_direction: BtoA")
    {'direction': 'BtoA'}
    """
    rows = re.findall(r"^\s*(\w+): (.*?)\s*(?:\t\[default: .*\])?\s*$", text, flags=re.MULTILINE)
    return {OLD_NAMES.get(name, name): value for name, value in rows}
