"""The way back: our networks as files that other programs load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pixloom.errors import ModelError, OutputError
from pixloom.files import new_file
from pixloom.importers import junyanz
from pixloom.importers.base import Pairs
from pixloom.importers.foreign import State
from pixloom.modelfile import ModelDescription, load_model

FORMATS = ("junyanz",)
"""Programs that we write weights for."""

USUAL: dict[str, Any] = {
    **{"noise_channels": 0, "conditions": {}, "antialias": False, "head": "tanh", "padding": "mirror", "kernel": 3, "planes": "signed"},
    **{"bias": False, "planes_at": "input"},
}
"""Options that change the layers or what they compute, as that program has them."""

DEPTHS = {7: "unet_128", 8: "unet_256"}
BLOCKS = {6: "resnet_6blocks", 9: "resnet_9blocks"}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: of the file.
        options: with which the other program builds the network.
    """

    path: Path
    options: str


def export_weights(model: Path, *, out: str | Path, overwrite: bool = False) -> Written:
    """Write a generator as pytorch-CycleGAN-and-pix2pix keeps it: a plain dictionary of tensors under its names.

    Args:
        model: a model folder with a ``unet`` or a ``resnet``.
        out: the file, ``checkpoints/NAME/latest_net_G.pth`` in that program.
        overwrite: whether an existing file is replaced.

    Raises:
        ModelError: that program has no such network.
        OutputError: the file exists, or cannot be written.
    """
    path = Path(out)
    if path.exists() and not overwrite:
        raise OutputError("the file exists already", where=path, fix="choose another --out, or replace it with --overwrite")
    generator, description = load_model(model)
    pairs, options = _layers(description, where=model)
    state = _named(generator.state_dict(), pairs)
    with new_file(path, what="the weights") as draft:
        torch.save(state, draft)
    return Written(path, options)


def _layers(description: ModelDescription, *, where: Path) -> tuple[Pairs, str]:
    """The layers under both names, and the options of the other program."""
    name, options = description.generator.name, description.generator.options
    foreign = [key for key, usual in USUAL.items() if options.get(key, usual) != usual]
    named = DEPTHS.get(options.get("depth", 0)) if name == "unet" else BLOCKS.get(options.get("blocks", 0)) if name == "resnet" else None
    if options.get("halvings", 2) != 2 or options.get("norm") == "group":
        named = None
    if named is None or foreign:
        why = (
            f"{foreign[0]}={options[foreign[0]]}"
            if foreign
            else f"the generator is '{name}' with {options.get('depth', options.get('blocks', 'other'))} levels or blocks"
        )
        raise ModelError(
            "pytorch-CycleGAN-and-pix2pix has no such network",
            where=where,
            why=why,
            fix="it has unet of depth 7 and 8 (--recipe pix2pix with --size 128 and 256) and resnet of 6 and 9 blocks (--recipe cyclegan); "
            "train one of them, or export to ONNX",
        )
    dropped = options["dropout"] > 0
    layers = junyanz.unet_layers(options["depth"]) if name == "unet" else junyanz.resnet_layers(2, options["blocks"], dropout=dropped)
    numbers = f"--input_nc {options['source_channels']} --output_nc {options['target_channels']} --ngf {options['width']}"
    return layers, f"--netG {named} --norm {options['norm']} {numbers}{'' if dropped else ' --no_dropout'}"


def _named(state: State, pairs: Pairs) -> State:
    """Our tensors under their names."""
    found: State = {}
    for ours, theirs in pairs:
        found |= {theirs + name[len(ours) :]: tensor.clone() for name, tensor in state.items() if name.rpartition(".")[0] == ours}
    assert len(found) == len(state), "every tensor has a place"
    return found
