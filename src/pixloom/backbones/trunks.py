"""The trunks of published networks: SqueezeNet 1.1, AlexNet, VGG and the Inception v3 of the FID, without their classifiers.

Module names are those of the published state dicts, so that weights load by name.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class Trunk(nn.Module):
    """A chain of layers that returns its activations at some of them.

    Args:
        layers: the chain, numbered as in the published network.
        taps: the layers whose activations are returned, in order.
        widths: their channels.
        smallest: least height and width of a picture that all layers can take.
    """

    def __init__(self, *layers: nn.Module, taps: tuple[int, ...], widths: tuple[int, ...], smallest: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.taps, self.widths, self.smallest = taps, widths, smallest

    def forward(self, images: Tensor) -> list[Tensor]:
        """The tapped activations of normalised RGB pictures."""
        tapped = []
        for index, layer in enumerate(self.features):
            images = layer(images)
            if index in self.taps:
                tapped.append(images)
        return tapped


class Fire(nn.Module):
    """SqueezeNet's module: a 1x1 convolution to few channels, then 1x1 and 3x3 to many (Iandola et al., 2016, fig. 1)."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Twice ``expanded`` channels, same size."""
        few = self.squeeze(images).relu()
        return torch.cat([self.expand1x1(few), self.expand3x3(few)], dim=1).relu()


def squeezenet() -> Trunk:
    """SqueezeNet 1.1 (Iandola et al., "SqueezeNet", 2016), up to its last fire module, tapped as LPIPS does."""
    return Trunk(
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
        taps=(1, 4, 7, 9, 10, 11, 12),
        widths=(64, 128, 256, 384, 384, 512, 512),
        smallest=17,
    )


def alexnet() -> Trunk:
    """AlexNet's convolutions (Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014), tapped at each ReLU."""
    return Trunk(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        taps=(1, 4, 7, 9, 11),
        widths=(64, 192, 384, 256, 256),
        smallest=31,
    )


def vgg16() -> Trunk:
    """VGG-16 up to relu2_2 (Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015)."""
    return Trunk(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)),
        *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU()),
        taps=(3, 8),
        widths=(64, 128),
        smallest=2,
    )


def vgg19() -> Trunk:
    """VGG-19 up to relu5_1, tapped at the first ReLU of each of its five sizes: what pix2pixHD and SPADE see with."""
    layers: list[nn.Module] = []
    channels, taps, widths = 3, [], (64, 128, 256, 512, 512)
    for width, count in zip(widths, (2, 2, 4, 4, 1), strict=True):
        taps.append(len(layers) + 1)
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return Trunk(*layers[:-1], taps=tuple(taps), widths=widths, smallest=16)


class ConvReLU(nn.Conv2d):
    """A convolution with bias (batch norm folded in) and ReLU."""

    def forward(self, images: Tensor) -> Tensor:
        """Never negative."""
        return super().forward(images).relu()


class Branches(nn.Module):
    """Chains of layers side by side, concatenated; each chain is a dictionary from layer name to layer."""

    def __init__(self, *chains: dict[str, nn.Module]) -> None:
        super().__init__()
        self.chains = [tuple(chain) for chain in chains]
        for name, layer in (item for chain in chains for item in chain.items()):
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        """The channels of every chain's last layer, in the order of the chains."""
        outputs = []
        for chain in self.chains:
            output = images
            for name in chain:
                output = self.get_submodule(name)(output)
            outputs.append(output)
        return torch.cat(outputs, dim=1)


def inception(dim: int) -> nn.Sequential:
    """The FID's Inception v3 (Szegedy et al., "Rethinking the Inception architecture", 2016), up to the layer of 64, 192 or 768 channels.

    It differs from the classifier of that name in that its average pools do not count the padding.
    """
    parts: dict[int, list[tuple[str, nn.Module]]] = {
        64: [
            ("Conv2d_1a_3x3", ConvReLU(3, 32, 3, stride=2)),
            ("Conv2d_2a_3x3", ConvReLU(32, 32, 3)),
            ("Conv2d_2b_3x3", ConvReLU(32, 64, 3, padding=1)),
            ("pool_64", nn.MaxPool2d(3, 2)),
        ],
        192: [("Conv2d_3b_1x1", ConvReLU(64, 80, 1)), ("Conv2d_4a_3x3", ConvReLU(80, 192, 3)), ("pool_192", nn.MaxPool2d(3, 2))],
        768: [
            ("Mixed_5b", _mixed_35(192, pooled=32)),
            ("Mixed_5c", _mixed_35(256, pooled=64)),
            ("Mixed_5d", _mixed_35(288, pooled=64)),
            ("Mixed_6a", _reduction(288)),
            ("Mixed_6b", _mixed_17(128)),
            ("Mixed_6c", _mixed_17(160)),
            ("Mixed_6d", _mixed_17(160)),
            ("Mixed_6e", _mixed_17(192)),
        ],
    }
    return nn.Sequential(OrderedDict(layer for depth, layers in parts.items() if depth <= dim for layer in layers))


class InceptionTrunk(nn.Sequential):
    """The FID's Inception v3 up to its 35 x 35 grid, that returns the activations of 64, 192 and 288 channels; 27 pixels a side and more.

    Attributes:
        taps: the layers whose activations are returned.
        widths: their channels.
        smallest: least height and width of a picture.
    """

    taps, widths, smallest = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d"), (64, 192, 288), 27

    def __init__(self) -> None:
        layers = inception(768).named_children()
        super().__init__(OrderedDict((name, layer) for name, layer in layers if not name.startswith("Mixed_6")))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The tapped activations of RGB pictures in [-1, 1]."""
        tapped = []
        for name, layer in self.named_children():
            images = layer(images)
            if name in self.taps:
                tapped.append(images)
        return tapped


def _average() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)


def _mixed_35(channels: int, *, pooled: int) -> Branches:
    """A module on the 35 x 35 grid."""
    return Branches(
        {"branch1x1": ConvReLU(channels, 64, 1)},
        {"branch5x5_1": ConvReLU(channels, 48, 1), "branch5x5_2": ConvReLU(48, 64, 5, padding=2)},
        {
            "branch3x3dbl_1": ConvReLU(channels, 64, 1),
            "branch3x3dbl_2": ConvReLU(64, 96, 3, padding=1),
            "branch3x3dbl_3": ConvReLU(96, 96, 3, padding=1),
        },
        {"average": _average(), "branch_pool": ConvReLU(channels, pooled, 1)},
    )


def _reduction(channels: int) -> Branches:
    """From the 35 x 35 to the 17 x 17 grid."""
    return Branches(
        {"branch3x3": ConvReLU(channels, 384, 3, stride=2)},
        {
            "branch3x3dbl_1": ConvReLU(channels, 64, 1),
            "branch3x3dbl_2": ConvReLU(64, 96, 3, padding=1),
            "branch3x3dbl_3": ConvReLU(96, 96, 3, stride=2),
        },
        {"maximum": nn.MaxPool2d(3, 2)},
    )


def _mixed_17(width: int) -> Branches:
    """A module on the 17 x 17 grid, of 768 channels, with factorised 7 x 7 convolutions."""
    return Branches(
        {"branch1x1": ConvReLU(768, 192, 1)},
        {"branch7x7_1": ConvReLU(768, width, 1), "branch7x7_2": _row(width, width), "branch7x7_3": _column(width, 192)},
        {
            "branch7x7dbl_1": ConvReLU(768, width, 1),
            "branch7x7dbl_2": _column(width, width),
            "branch7x7dbl_3": _row(width, width),
            "branch7x7dbl_4": _column(width, width),
            "branch7x7dbl_5": _row(width, 192),
        },
        {"average": _average(), "branch_pool": ConvReLU(768, 192, 1)},
    )


def _row(channels: int, width: int) -> ConvReLU:
    return ConvReLU(channels, width, (1, 7), padding=(0, 3))


def _column(channels: int, width: int) -> ConvReLU:
    return ConvReLU(channels, width, (7, 1), padding=(3, 0))
