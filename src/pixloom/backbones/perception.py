"""What frozen networks that were trained on photographs see: for perceptual terms, for critics, for metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from pixloom import shapes
from pixloom.backbones.trunks import InceptionTrunk, alexnet, squeezenet, vgg16, vgg19
from pixloom.backbones.weights import ALEXNET, INCEPTION, SQUEEZENET, VGG16, VGG19, load_into, load_weights, need_weights
from pixloom.errors import ConfigError, ModelError, nearest

# ImageNet's mean and standard deviation of each channel, moved from [0, 1] to [-1, 1].
IMAGENET_MEAN = (-0.030, -0.088, -0.188)
IMAGENET_DEVIATION = (0.458, 0.448, 0.450)

PERCEPTIONS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "squeeze": (SQUEEZENET, squeezenet),
    "alex": (ALEXNET, alexnet),
    "vgg16": (VGG16, vgg16),
    "vgg19": (VGG19, vgg19),
    "inception": (INCEPTION, InceptionTrunk),
}
"""The networks that a perceptual term can look through: file of weights and constructor."""


def perception_of(name: str, *, folder: Path | str | None = None) -> nn.Module:
    """The network of a name in :data:`PERCEPTIONS`, or of the path of a file with the weights of one of them.

    Raises:
        ConfigError: no such network, or no such file.
        DependencyError: the weights of that name are not here.
        ModelError: the file holds none of these networks.
    """
    if name in PERCEPTIONS:
        file, construct = PERCEPTIONS[name]
        path = need_weights(file, folder=folder)
        return load_into(construct(), load_weights(path), where=path)
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"there is no network '{name}' to see with", fix=f"{nearest(name, PERCEPTIONS)}, or the path of its weights")
    state = load_weights(path)
    with torch.device("meta"):
        outlines = {known: construct().state_dict() for known, (_, construct) in PERCEPTIONS.items()}
    for known in sorted(outlines, key=lambda known: -len(outlines[known])):  # VGG-16 to relu2_2 is within VGG-19, too
        if all(key in state and state[key].shape == value.shape for key, value in outlines[known].items()):
            return load_into(PERCEPTIONS[known][1](), state, where=path)
    raise ModelError("no known network has these weights", where=path, fix=f"give those of {', '.join(PERCEPTIONS)}")


class Perception(nn.Module):
    """What a frozen network that was trained on photographs sees in pictures; gradients flow to them.

    Args:
        name: a name in :data:`PERCEPTIONS`, or the path of such a network's weights.
        normalised: pictures are shown as it was trained, with ImageNet's mean and deviation; else in [-1, 1], as pix2pixHD and SPADE do.
        folder: where to look first for the weights.

    Raises:
        ConfigError: an unknown network.
        DependencyError: the weights are not here.
    """

    def __init__(self, name: str, *, normalised: bool = True, folder: Path | str | None = None) -> None:
        super().__init__()
        self.name, self.trunk = name, perception_of(name, folder=folder)
        self.normalised = normalised and not isinstance(self.trunk, InceptionTrunk)  # which was trained on [-1, 1] as it is
        self.smallest = int(cast(int, self.trunk.smallest))

    def forward(self, images: shapes.Images) -> list[Tensor]:
        """The activations of its layers.

        Args:
            images: (batch, 3 or 1, height, width) in [-1, 1]; a single channel is repeated.

        Raises:
            ConfigError: pictures of other channel counts, or too small for the network.
        """
        if min(images.shape[-2:]) < self.smallest:
            raise ConfigError(f"the network '{self.name}' cannot look at pictures of less than {self.smallest} pixels a side")
        activations: list[Tensor] = self.trunk(normalised(images) if self.normalised else rgb(images))
        return activations


def rgb(images: Tensor) -> Tensor:
    """Three channels of a picture with one or three."""
    if images.shape[1] not in (1, 3):
        raise ConfigError(f"feature networks look at grey or RGB pictures, not at {images.shape[1]} channels")
    return images.expand(-1, 3, -1, -1)


def normalised(images: Tensor) -> Tensor:
    """RGB of mean 0 and deviation 1 by ImageNet's statistics, of pictures in [-1, 1]."""
    mean, deviation = (images.new_tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    return (rgb(images) - mean) / deviation
