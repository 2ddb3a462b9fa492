"""BicycleGAN (Zhu et al., 2017): a U-Net that sees its noise at every level of its encoder, or on its source only.

Its decoder has its own maps first and the skip second, ours the skip first: the halves of what its convolutions read change places. Every
convolution has a bias.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, Said, channels, completed, renamed
from pixloom.importers.foreign import State
from pixloom.importers.junyanz import no_weight, unet_layers
from pixloom.importers.labels import MOST_OF_A_PICTURE

INNER = ".submodule"
"""What every further level adds to the names."""

USUAL_NOISE = 8
"""Numbers of its noise (--nz), where names and shapes do not tell."""

NORM = (
    "that it has instance norm is assumed, which is what its program has unless it is told otherwise, and leaves nothing in the file "
    "(without any: --set generator.options.norm=none)"
)


def generator(state: State) -> Found | None:
    """``--where_add all``, which its names tell, or ``input``, whose names are those of a U-Net of pix2pix."""
    if "model.down.0.weight" in state:
        return _at_every_level(state)
    if "model.model.0.weight" in state and channels(state["model.model.0.weight"])[0] > MOST_OF_A_PICTURE:
        return _on_the_source(state)
    return None


def _at_every_level(state: State) -> Found:
    depth = 1 + max(name.count(INNER) for name in state)
    innermost = "model" + INNER * (depth - 1)
    if f"{innermost}.up.1.weight" not in state:
        raise ModelError(
            "it doubles by interpolation (--upsample bilinear)", why="ours doubles by transposed convolutions", fix="none: train it anew"
        )
    seen, width = channels(state["model.down.0.weight"])
    noise = channels(state["model" + INNER + ".down.1.weight"])[0] - width
    if not noise:
        raise ModelError("it has no noise (--nz 0)", why="every level reads the maps alone", fix="none: it is not BicycleGAN")
    target = channels(state["model.up.1.weight"], transposed=True)[1]
    batch = f"{innermost}.up.2.running_mean" in state
    options: dict[str, Any] = {
        **{"source_channels": seen - noise, "target_channels": target, "depth": depth, "width": width, "dropout": 0.0},
        **{"norm": "batch" if batch else "instance", "bias": True, "noise_channels": noise, "planes_at": "levels"},
    }
    tensors = completed(renamed(state, layers(depth), ignored=no_weight(state)))
    found = Found("unet", options, skips_first(tensors), size=2**depth)
    return found if batch else _with_norm(found)


def _on_the_source(state: State) -> Found | None:
    depth = 2 + max(name.count(".3.model") for name in state)
    if "model.model.0.bias" not in state:  # then it is pix2pix's, without a doubt
        return None
    seen, width = channels(state["model.model.0.weight"])
    target = channels(state["model.model.3.weight"], transposed=True)[1]
    batch = any(name.endswith("running_mean") and name.replace("running_mean", "weight") in state for name in state)
    options: dict[str, Any] = {
        **{"source_channels": seen, "target_channels": target, "depth": depth, "width": width, "dropout": 0.0},
        **{"norm": "batch" if batch else "instance", "bias": True},
    }
    tensors = completed(renamed(state, unet_layers(depth), ignored=no_weight(state)))
    found = Found("unet", options, skips_first(tensors), size=2**depth, asks=("generator.options.noise_channels",))
    return replace(found, settle=lambda said: _with_noise(found, said))


def layers(depth: int) -> Pairs:
    """(our layer, theirs) with noise at every level."""
    yield "encoder.0", "model.down.0"
    for level in range(1, depth):
        place = "model" + INNER * level
        yield f"encoder.{level}.1", f"{place}.down.1"
        yield f"encoder.{level}.2", f"{place}.down.2"
        yield f"decoder.{depth - 1 - level}.1", f"{place}.up.1"
        yield f"decoder.{depth - 1 - level}.2", f"{place}.up.2"
    yield f"decoder.{depth - 1}.1", "model.up.1"


def skips_first(state: State) -> State:
    """The tensors of ours with the halves exchanged that the decoder's convolutions read, of all levels but the innermost."""
    found = dict(state)
    for name, tensor in state.items():
        if name.startswith("decoder.") and name.endswith(".1.weight") and not name.startswith("decoder.0."):
            found[name] = torch.cat(tensor.chunk(2)[::-1])
    return found


def _with_norm(found: Found) -> Found:
    """With instance norm, unless none is said."""

    def settle(said: Said) -> Found:
        norm = said.choice("generator.options.norm", ("instance", "none"), default="instance")
        notes = () if "generator.options.norm" in said.settings else (NORM,)
        return replace(found, options={**found.options, "norm": norm}, notes=notes)

    return replace(found, asks=("generator.options.norm",), settle=settle)


def _with_noise(found: Found, said: Said) -> Found:
    """With as many of the channels for noise as is said, else the usual number.

    Raises:
        ModelError: none would be left for the source.
    """
    seen = found.options["source_channels"]
    noise = said.number("generator.options.noise_channels") or USUAL_NOISE
    if noise >= seen:
        raise ModelError(
            f"it reads {seen} channels, of which {noise} cannot be noise",
            why="the source needs one at least",
            fix="--set generator.options.noise_channels=N, --nz in its program",
        )
    note = f"{noise} of the {seen} channels that it reads are taken to be noise (else: --set generator.options.noise_channels=N)"
    notes = () if "generator.options.noise_channels" in said.settings else (note,)
    return replace(found, options={**found.options, "source_channels": seen - noise, "noise_channels": noise}, notes=notes)
