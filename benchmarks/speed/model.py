"""The U-Net that is translated with: the same weights as a model of Pixloom's, for the plain script, and for the peer. A worker.

Random weights, but with the statistics of batch norm taken from real activations, so that no layer works on zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.speed.harness import serve
from benchmarks.speed.plain import UNet
from pixloom.config import InferenceConfig, TaskConfig
from pixloom.modelfile import ModelDescription, describe_generator, save_model
from pixloom.nets import build
from pixloom.nets.layers import initialize

DEPTH, SIZE = 8, 256
CALIBRATION = 4


def write_model(folder: str, *, plain: str, photos: str) -> None:
    """A model folder, and the same weights under the plain U-Net's names."""
    torch.manual_seed(0)
    generator = build("unet", {"depth": DEPTH, "dropout": 0.0}, source_channels=3, target_channels=3)
    initialize(generator)
    calibrate(generator, torch.stack([values(path) for path in sorted(Path(photos).glob("*.png"))[:CALIBRATION]]))
    description = ModelDescription(
        task=TaskConfig(name="pair"),
        generator=describe_generator("unet", generator),
        inference=InferenceConfig(statistics="running", dropout=False),
        size=SIZE,
        recipe="pix2pix",
    )
    save_model(Path(folder), generator=generator, description=description)
    torch.save(renamed(generator.state_dict(), UNet(DEPTH, dropout=0.0)), plain)


def write_peer(path: str, *, plain: str, checkout: str) -> None:
    """The same weights under the peer's names."""
    sys.path.insert(0, checkout)
    from models.networks import define_G  # type: ignore[import-not-found]

    Path(path).parent.mkdir(parents=True)
    torch.save(renamed(torch.load(plain), define_G(3, 3, 64, "unet_256", norm="batch")), path)


@torch.no_grad()
def calibrate(network: nn.Module, pictures: Tensor) -> None:
    """Set the running statistics to those of these pictures."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(pictures)
    for norm in norms:
        norm.momentum = 0.1


def renamed(state: Mapping[str, Tensor], twin: nn.Module) -> dict[str, Tensor]:
    """A state by position, under the names of another network with the same layers in the same order.

    Raises:
        ValueError: the shapes differ.
    """
    theirs = twin.state_dict()
    for name, value, other in zip(theirs, state.values(), theirs.values(), strict=True):
        if value.shape != other.shape:
            raise ValueError(f"{name} is {tuple(other.shape)}, not {tuple(value.shape)}")
    return dict(zip(theirs, state.values(), strict=True))


def values(path: Path) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1


if __name__ == "__main__":
    serve({"model": write_model, "peer": write_peer})
