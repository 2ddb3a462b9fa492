"""Critics of a picture and smaller copies of it: those of pix2pixHD (Wang et al., 2018), SPADE (Park et al., 2019) and BicycleGAN (Zhu et
al., 2017).

All are PatchGANs, scale by scale, under names of their own: brought under those of one PatchGAN they are read as such. pix2pixHD counts
its scales from the smallest, the others from the largest; pix2pixHD and SPADE pad by 2. What they read before the picture are planes of
labels, or a picture.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Said
from pixloom.importers.foreign import State
from pixloom.importers.junyanz import patch_critic
from pixloom.importers.labels import MOST_OF_A_PICTURE, with_classes
from pixloom.importers.spectral import with_own_u

PICTURE = 3
"""Channels of the picture that they judge."""

Place = Callable[[str], tuple[int, str] | None]
"""A name in a file -> its scale, and its name in a PatchGAN of pix2pix; None where it is none of this program's."""


def pix2pixhd(state: State) -> Found | None:
    """``scale1_layer2.0.weight`` with feature matching, ``layer1.5.weight`` without (``--no_ganFeat_loss``)."""

    def place(name: str) -> tuple[int, str] | None:
        if match := re.match(r"scale(\d+)_layer(\d+)\.(\d+)\.(\w+)$", name):
            scale, stage, layer = (int(part) for part in match.groups()[:3])
            return -scale, f"model.{max(0, 3 * stage - 1) + layer}.{match[4]}"
        match = re.match(r"layer(\d+)\.(\d+\.\w+)$", name)
        return (-int(match[1]), f"model.{match[2]}") if match else None

    found = _scales(state, place)
    return found and _reading(replace(found, options={**found.options, "padding": 2}), ignorable=False)


def spade(state: State) -> Found | None:
    """``discriminator_1.model2.0.0.weight_orig``, with spectral norm on all but the first and the last convolution, or without any."""

    def place(name: str) -> tuple[int, str] | None:
        match = re.match(r"discriminator_(\d+)\.model(\d+)\.0(?:\.([01]))?\.(\w+)$", name)
        return (int(match[1]), f"model.{max(0, 3 * int(match[2]) - 1) + int(match[3] or 0)}.{match[4]}") if match else None

    found = _scales(_with_zeros(state), place)
    bare = {"norm": "none", "bias": True} if "discriminator_0.model1.0.bias" in state else {}
    return found and _reading(replace(found, options={**found.options, **bare, "padding": 2}), ignorable=True)


def bicycle(state: State) -> Found | None:
    """``model_1.0.weight``, or ``model1.0.weight`` in files of before 2018; it judges pictures alone, unless ``--conditional_D``."""

    def place(name: str) -> tuple[int, str] | None:
        match = re.match(r"model_?(\d+)\.(\d+\.\w+)$", name)
        return (int(match[1]), f"model.{match[2]}") if match else None

    return _scales(state, place)


def _with_zeros(state: State) -> State:
    """SPADE's tensors with zeros for the biases that its convolutions have lost to instance norm; ours keep them, to no effect."""
    found = dict(state)
    for name, weight in state.items():
        layer, _, kind = name.rpartition(".")
        if layer.endswith(".0.0") and kind in ("weight", "weight_orig") and f"{layer[:-1]}1.weight" not in state:
            found[f"{layer}.bias"] = torch.zeros(len(weight))
    return found


def _scales(state: State, place: Place) -> Found | None:
    """The critics of all scales as one; None where names are not those of the program.

    Raises:
        ModelError: they are not alike.
    """
    parts: dict[int, State] = defaultdict(dict)
    for name, tensor in state.items():
        where = place(name)
        if where is None:
            return None
        parts[where[0]][where[1]] = tensor
    spectral = any(name.endswith("weight_orig") for name in state)
    scales = [patch_critic(with_own_u(parts[scale])) for scale in sorted(parts)]
    known = [scale for scale in scales if scale is not None]
    if not known or len(known) < len(scales):
        return None
    shared, *others = ({name: value for name, value in scale.options.items() if name not in ("width", "antialias")} for scale in known)
    if any(other != shared for other in others):
        raise ModelError("its critics are not alike", why=f"one has {shared}, another {next(o for o in others if o != shared)}")
    widths = [scale.options["width"] for scale in known]
    options: dict[str, Any] = {**shared, "scales": len(known), "width": widths[0], "spectral": "inner" if spectral else False}
    options |= {"widths": None if len(set(widths)) == 1 else widths}
    tensors = {f"critics.{number}.{name}": tensor for number, scale in enumerate(known) for name, tensor in scale.state.items()}
    return Found("multiscale", options, tensors, role="critic")


def _reading(found: Found, *, ignorable: bool) -> Found:
    """With what it reads before the picture: planes of labels where they are said or more than a picture has, else a picture.

    Args:
        found: the critic.
        ignorable: whether its program may have a plane of pixels without a label.
    """
    seen = found.options["source_channels"]

    def settle(said: Said) -> Found:
        of_pictures = said.settings.get("task.name", "synthesize") != "synthesize"
        if of_pictures or not seen or (seen <= MOST_OF_A_PICTURE and not ignorable and not (said.number("classes") or said.names)):
            return found
        readers = tuple(f"critics.{scale}.stages.0.0" for scale in range(found.options["scales"]))
        return with_classes(found, said, readers=readers, seen=seen, ignorable=ignorable)

    return replace(found, asks=("classes", "edges"), settle=settle)
