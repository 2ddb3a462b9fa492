"""ESPNet, to read label maps off street pictures.

Mehta, Rastegari, Caspi, Shapiro and Hajishirzi, "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions for Semantic Segmentation"
(2018), with p = 2 and q = 8. Written from the paper and the names and sizes of its published weights; used to judge only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.backbones.weights import load_weights
from pixloom.errors import ConfigError
from pixloom.images import resize

FILE = "espnet_camvid_p2q8.safetensors"

# Blue, green and red of CamVid's training set, as the weights expect them.
MEAN, DEVIATION = (110.33, 108.41, 105.03), (72.126, 72.691, 69.904)

HEIGHT = 360
"""Rows of the frames that it was trained on."""


class Activation(nn.Module):
    """Batch norm and PReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn, self.act = nn.BatchNorm2d(width, eps=1e-3), nn.PReLU(width)

    def forward(self, maps: Tensor) -> Tensor:
        activated: Tensor = self.act(self.bn(maps))
        return activated


class Convolution(nn.Module):
    """A convolution that keeps the size but for its stride, without bias."""

    def __init__(self, inner: int, outer: int, size: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, size, stride, padding=(size - 1) // 2 * dilation, dilation=dilation, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        convolved: Tensor = self.conv(maps)
        return convolved


class ActivatedConvolution(Activation):
    """A convolution, batch norm and PReLU."""

    def __init__(self, inner: int, outer: int, size: int, *, stride: int = 1) -> None:
        super().__init__(outer)
        self.conv = Convolution(inner, outer, size, stride=stride).conv

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(self.conv(maps))


class Pyramid(nn.Module):
    """The ESP module without its end: reduce, five dilated convolutions side by side, and their hierarchical sums (section 3)."""

    def __init__(self, inner: int, outer: int, *, reduce: int, stride: int = 1) -> None:
        super().__init__()
        narrow = outer // 5
        self.c1 = Convolution(inner, narrow, reduce, stride=stride)
        for dilation in (1, 2, 4, 8, 16):
            self.add_module(f"d{dilation}", Convolution(narrow, outer - 4 * narrow if dilation == 1 else narrow, 3, dilation=dilation))

    def parts(self, maps: Tensor) -> Tensor:
        reduced = self.c1(maps)
        summed = [self.d2(reduced)]
        for branch in (self.d4, self.d8, self.d16):
            summed.append(summed[-1] + branch(reduced))
        return torch.cat([self.d1(reduced), *summed], dim=1)


class Halving(Pyramid):
    """The ESP module with stride 2."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, reduce=3, stride=2)
        self.bn, self.act = nn.BatchNorm2d(outer, eps=1e-3), nn.PReLU(outer)

    def forward(self, maps: Tensor) -> Tensor:
        activated: Tensor = self.act(self.bn(self.parts(maps)))
        return activated


class Block(Pyramid):
    """The ESP module; its input is added where the widths agree."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, reduce=1)
        self.bn, self.adds = Activation(outer), inner == outer

    def forward(self, maps: Tensor) -> Tensor:
        parts = self.parts(maps)
        activated: Tensor = self.bn(maps + parts if self.adds else parts)
        return activated


class Encoder(nn.Module):
    """Down to an eighth, with the picture itself, made small, beside the maps of each level."""

    def __init__(self, classes: int, *, p: int, q: int) -> None:
        super().__init__()
        self.level1, self.b1 = ActivatedConvolution(3, 16, 3, stride=2), Activation(19)
        self.level2_0, self.level2, self.b2 = Halving(19, 64), nn.ModuleList(Block(64, 64) for _ in range(p)), Activation(131)
        self.level3_0, self.level3, self.b3 = Halving(131, 128), nn.ModuleList(Block(128, 128) for _ in range(q)), Activation(256)
        self.classifier = Convolution(256, classes, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps of the three levels, the last one as classes."""
        half = F.avg_pool2d(pictures, 3, stride=2, padding=1)
        quarter = F.avg_pool2d(half, 3, stride=2, padding=1)
        first = self.b1(torch.cat([self.level1(pictures), half], dim=1))
        start = self.level2_0(first)
        second = self.b2(torch.cat([_through(self.level2, start), start, quarter], dim=1))
        start = self.level3_0(second)
        return first, second, self.classifier(self.b3(torch.cat([start, _through(self.level3, start)], dim=1)))


class ESPNet(nn.Module):
    """Pictures (batch, 3, height, width), sides multiples of 8, to logits of classes at the same size."""

    def __init__(self, classes: int = 12, *, p: int = 2, q: int = 8) -> None:
        super().__init__()
        self.encoder = Encoder(classes, p=p, q=q)
        self.br = nn.BatchNorm2d(classes, eps=1e-3)
        self.up_l3 = nn.Sequential(nn.ConvTranspose2d(classes, classes, 2, stride=2, bias=False))
        self.level3_C = nn.ModuleDict({"conv": nn.Conv2d(131, classes, 1, bias=False)})
        self.combine_l2_l3 = nn.Sequential(Activation(2 * classes), Block(2 * classes, classes))
        self.up_l2 = nn.Sequential(nn.ConvTranspose2d(classes, classes, 2, stride=2, bias=False), Activation(classes))
        self.conv = ActivatedConvolution(19 + classes, classes, 3)
        self.classifier = nn.ConvTranspose2d(classes, classes, 2, stride=2, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        first, second, third = self.encoder(pictures)
        joined = torch.cat([self.level3_C["conv"](second), self.up_l3(self.br(third))], dim=1)
        joined = torch.cat([self.up_l2(self.combine_l2_l3(joined)), first], dim=1)
        logits: Tensor = self.classifier(self.conv(joined))
        return logits


def load_reader(weights: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from RGB pixels (height, width, 3) uint8 to the numbers 0..10 of CamVid's classes, (height, width).

    Pictures are brought to the 360 rows that the network knows; its logits are brought back.

    Raises:
        ConfigError: the file of weights is another network's.
    """
    network = ESPNet()
    there = network.load_state_dict(load_weights(weights / FILE), strict=False)
    if there.unexpected_keys or any(not key.endswith("num_batches_tracked") for key in there.missing_keys):
        raise ConfigError("these are not the weights of ESPNet", where=weights / FILE)
    network.eval()

    @torch.no_grad()
    def ids(pixels: np.ndarray) -> np.ndarray:
        rows, columns = pixels.shape[:2]
        width = round(columns * HEIGHT / rows / 8) * 8
        blue_first = resize(pixels, height=HEIGHT, width=width)[..., ::-1].astype(np.float32)
        values = (blue_first - np.float32(MEAN)) / np.float32(DEVIATION) / 255
        logits = network(torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None])[:, :11]
        found: np.ndarray = F.interpolate(logits, size=(rows, columns), mode="bilinear", antialias=True)[0].argmax(dim=0).numpy()
        return found.astype(np.int16)

    return ids


def _through(blocks: nn.ModuleList, maps: Tensor) -> Tensor:
    for block in blocks:
        maps = block(maps)
    return maps
