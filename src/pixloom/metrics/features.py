"""Distances and features from published networks: LPIPS, and the feature vectors that distances between sets are computed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pixloom import shapes
from pixloom.backbones.perception import normalised, rgb
from pixloom.backbones.trunks import Trunk, alexnet, inception, squeezenet
from pixloom.backbones.weights import ALEXNET, HEADS, INCEPTION, SQUEEZENET, load_into, load_weights, need_weights
from pixloom.errors import ConfigError, nearest
from pixloom.files import checksum

__all__ = ["FEATURES", "LPIPS", "LPIPS_NETS", "FeatureSpec", "Features"]

LPIPS_NETS: dict[str, tuple[str, Callable[[], Trunk]]] = {"squeeze": (SQUEEZENET, squeezenet), "alex": (ALEXNET, alexnet)}
"""The networks LPIPS can look through: file of weights and constructor."""


class LPIPS(nn.Module):
    r"""Learnt perceptual distance; 0 for equal pictures, lower is better.

    .. math:: \sum_l \frac{1}{H_l W_l} \sum_{h,w} \| w_l \odot (\hat f^l_{hw}(\hat y) - \hat f^l_{hw}(y)) \|_2^2

    where :math:`\hat f^l` are the activations of layer l, normalised to unit length over channels. Zhang, Isola, Efros, Shechtman and
    Wang, "The unreasonable effectiveness of deep features as a perceptual metric" (2018), eq. 1; weights of version 0.1. Pictures are not
    resized. The network is frozen; gradients flow to the pictures.

    Args:
        net: "squeeze" or "alex"; values of different networks cannot be compared.
        folder: where to look first for the weights.

    Attributes:
        sha256: checksum by file name.
        smallest: least side of a picture.

    Raises:
        ConfigError: an unknown network.
        DependencyError: the weights are not here.
    """

    def __init__(self, *, net: str = "squeeze", folder: Path | str | None = None) -> None:
        super().__init__()
        if net not in LPIPS_NETS:
            raise ConfigError(f"LPIPS has no network '{net}'", fix=nearest(net, LPIPS_NETS))
        name, construct = LPIPS_NETS[net]
        trunk_file, heads_file = need_weights(name, folder=folder), need_weights(HEADS, folder=folder)
        self.net = net
        self.trunk = load_into(construct(), load_weights(trunk_file), where=trunk_file)
        self.heads = load_into(_heads(self.trunk.widths), _head_weights(load_weights(heads_file), net), where=heads_file)
        self.sha256 = {path.name: checksum(path) for path in (trunk_file, heads_file)}
        self.smallest = self.trunk.smallest

    def forward(self, prediction: shapes.Images, target: shapes.Images) -> shapes.PerImage:
        """The distance of each pair.

        Args:
            prediction: (batch, 3 or 1, height, width) in [-1, 1]; a single channel is repeated.
            target: the same shape and range.

        Raises:
            ConfigError: pictures of other channel counts, or too small for the network.
        """
        if min(prediction.shape[-2:]) < self.smallest:
            raise ConfigError(f"LPIPS({self.net}) cannot judge pictures of less than {self.smallest} pixels a side")
        layers = zip(self.heads, self.trunk(normalised(prediction)), self.trunk(normalised(target)), strict=True)
        distances = [head((_unit(a) - _unit(b)).square()).mean(dim=(1, 2, 3)) for head, a, b in layers]
        return torch.stack(distances).sum(dim=0)


@dataclass(frozen=True)
class FeatureSpec:
    """One way to turn a picture into a feature vector.

    Attributes:
        file: name of the file of weights.
        dim: length of the vector.
        construct: the network, to be called with prepared pictures.
        prepare: what is done to RGB pictures in [-1, 1] first.
        frechet: what the Frechet distance on it is called; never plain "fid", which is on the 2048 pooled features.
        kid: what the kernel distance on it is called.
        protocol: the preparation and the layer, in words.
        smallest: least side of a picture.
    """

    file: str
    dim: int
    construct: Callable[[], nn.Module]
    prepare: Callable[[Tensor], Tensor]
    frechet: str
    kid: str
    protocol: str
    smallest: int = 1


class Features:
    """A frozen feature network: pictures in [-1, 1] in, one vector each out.

    Args:
        name: a name in :data:`FEATURES`.
        folder: where to look first for the weights.

    Attributes:
        dim: length of the vectors.
        sha256: checksum of the file of weights.
        spec: layer and preprocessing.

    Raises:
        ConfigError: an unknown name.
        DependencyError: the weights are not here.
    """

    def __init__(self, name: str, *, folder: Path | str | None = None, device: torch.device | str = "cpu") -> None:
        if name not in FEATURES:
            raise ConfigError(f"there are no features '{name}'", fix=nearest(name, FEATURES))
        self.name, self.spec, self.device = name, FEATURES[name], device
        path = need_weights(self.spec.file, folder=folder)
        self.network = load_into(self.spec.construct(), load_weights(path), where=path).to(device)
        self.dim, self.sha256 = self.spec.dim, checksum(path)

    @torch.no_grad()
    def __call__(self, images: shapes.Images) -> shapes.Features:
        """Feature vectors: the mean over space of the last activations.

        Args:
            images: (count, 3 or 1, height, width) in [-1, 1]; a single channel is repeated.

        Raises:
            ConfigError: pictures of other channel counts, or too small for the network.
        """
        if min(images.shape[-2:]) < self.spec.smallest:
            raise ConfigError(f"the features '{self.name}' need pictures of at least {self.spec.smallest} pixels a side")
        output = self.network(self.spec.prepare(rgb(images.to(self.device))))
        last: Tensor = output[-1] if isinstance(output, list) else output
        return last.mean(dim=(2, 3))


def _to_299(images: Tensor) -> Tensor:
    """As pytorch-fid does it: bilinear without antialiasing."""
    return nn.functional.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False, antialias=False)


def _unit(activations: Tensor) -> Tensor:
    # The sum is kept off zero: the root's gradient at a dead place would be NaN. 1e-20 is lost beside any real activation.
    length = (activations.square().sum(dim=1, keepdim=True) + 1e-20).sqrt()
    return activations / (length + 1e-10)


def _heads(widths: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in widths)


def _head_weights(state: dict[str, Tensor], net: str) -> dict[str, Tensor]:
    prefix = f"{net}.lin"
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _inception_spec(dim: int) -> FeatureSpec:
    return FeatureSpec(
        file=INCEPTION,
        dim=dim,
        construct=lambda: inception(dim),
        prepare=_to_299,
        frechet=f"fid_inception{dim}",
        kid=f"kid_inception{dim}",
        protocol=f"FID Inception v3, the layer of {dim} channels averaged over space; resized to 299 x 299, bilinear, no antialias",
    )


FEATURES: dict[str, FeatureSpec] = {
    "squeeze": FeatureSpec(
        file=SQUEEZENET,
        dim=512,
        construct=squeezenet,
        prepare=normalised,
        frechet="frechet_squeeze",
        kid="kid_squeeze",
        protocol="SqueezeNet 1.1 (ImageNet), its last fire module averaged over space; pictures not resized",
        smallest=17,
    ),
    "inception-192": _inception_spec(192),
    "inception-768": _inception_spec(768),
}
"""The feature networks by name."""
