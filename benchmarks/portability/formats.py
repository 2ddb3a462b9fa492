"""Exports against torch, for four generators at 256 px.

Weights are random (drawn as training draws them), so that figures are of the networks and the formats, not of what was learnt; eight bits
are refused where random weights lose too much by them, which is written down.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pixloom.config import TaskConfig
from pixloom.errors import DependencyError, ModelError
from pixloom.inference.export import export_onnx
from pixloom.inference.litert import export_litert
from pixloom.inference.program import export_program
from pixloom.inference.quantize import export_int8
from pixloom.modelfile import ModelDescription, describe_generator, save_model
from pixloom.nets import build
from pixloom.nets.layers import initialize
from pixloom.recipes import recipe
from pixloom.training.sizing import MEDIUM

SIDE = 256
RECIPES = {"unet": "pix2pix", "resnet": "cyclegan", "auto": "auto", "spade": "spade"}
TITLES = {"unet": "U-Net-256 (pix2pix)", "resnet": "ResNet-9 (CycleGAN)", "auto": "residual U-Net (auto, medium)", "spade": "SPADE"}
FORMATS = {"onnx": export_onnx, "int8": export_int8, "program": export_program, "litert": export_litert}


def measured(pictures: Path, *, only: Sequence[str], formats: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``generator, format`` and what was seen of it, one after the other."""
    for name in only:
        for chosen in formats:
            yield f"{name}, {chosen}", exported(name, chosen, pictures=pictures)


def exported(name: str, chosen: str, *, pictures: Path) -> dict[str, Any]:
    """One network in one format: what it differs by, its size and its times."""
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "model"
        save_network(name, model)
        try:
            made = FORMATS[chosen](model, pictures=pictures)
        except (ModelError, DependencyError) as error:
            return {"refused": f"{error.what}: {error.why}" if error.why else error.what}
        return {
            "MiB": round(made.path.stat().st_size / 2**20, 1),
            "differences": {runtime: [found.largest, round(found.psnr, 1)] for runtime, found in made.differences.items()},
            "seconds": {runtime: round(value, 4) for runtime, value in made.seconds.items()},
        }


def save_network(name: str, folder: Path, **changed: Any) -> None:
    """A model with the generator of a recipe, without conditions, and random weights."""
    config = recipe(RECIPES[name], size=SIDE)
    options = {**config.generator.options, **({"width": MEDIUM.width, "blocks": MEDIUM.blocks} if name == "auto" else {}), **changed}
    options = {key: value for key, value in options.items() if key != "conditions"}
    torch.manual_seed(0)
    generator = build(config.generator.name, options, source_channels=3, target_channels=3, size=SIDE)
    initialize(generator)
    for parameter in generator.parameters():
        if parameter.ndim > 1 and not parameter.any():  # layers that begin at zero would hide all that comes before them
            torch.nn.init.normal_(parameter, std=0.02)
    described = describe_generator(config.generator.name, generator)
    inference = config.inference.model_copy(update={"dropout": False, "statistics": "running"})
    save_model(folder, generator=generator, description=ModelDescription(TaskConfig(), described, inference, size=SIDE, recipe=name))
