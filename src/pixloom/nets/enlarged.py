"""Critics of super-resolution: those by which SRGAN, ESRGAN and Real-ESRGAN judge enlarged pictures.

They look at candidates only, not at what these were enlarged from, and see them in [0, 1] as their programs do, see ``nets.enlarging``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.nets.discriminators import Critic, steering_of
from pixloom.nets.layers import NORMS, Norm, SpectralConv2d, seen
from pixloom.nets.steering import Conditioning, Widths


class VggCritic(Critic):
    """One logit for the whole picture: pairs of convolutions like VGG's, the second of which halves, and two fully connected layers.

    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017, figure 4: ``layers``
    pairs, a 3x3 convolution and one with stride 2, width * min(2^n, 8) channels in pair n, normalisation on all but the first, and
    LeakyReLU(0.2). By default that of the program that most copied, which takes the mean over all places, so that pictures may have any
    size. ESRGAN's (Wang et al., 2018) reads 4 x 4 places apart: ``layers=5 kernel=4 side=4 hidden=100`` for 128 px, ``layers=6`` for 256.

    Deviation: ESRGAN's judges one size of picture only; here maps of larger ones are averaged to as many places.

    Args:
        source_channels: channels of the source, which is not looked at.
        target_channels: channels of the candidate.
        layers: number of halvings.
        width: channels of the first pair.
        kernel: side of the convolutions that halve.
        side: rows and columns to which the last maps are averaged.
        hidden: channels between the fully connected layers.
        norm: normalisation, a name in ``layers.NORMS``.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.
    """

    sees_source: ClassVar[bool] = False

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        layers: Annotated[int, Field(ge=1, le=8)] = 4,
        width: PositiveInt = 64,
        kernel: Literal[3, 4] = 3,
        side: PositiveInt = 1,
        hidden: PositiveInt = 1024,
        norm: Norm = "batch",
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        steering = steering_of(conditions, conditioning, channels=target_channels)
        widths = [target_channels + steering.num_planes, *_widths(width, layers)]
        stages = [
            stage
            for number, (inner, outer) in enumerate(pairwise(widths))
            for stage in _pair(inner, outer, kernel=kernel, norm=norm, first=number == 0)
        ]
        options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "layers": layers,
            "width": width,
            "kernel": kernel,
            "side": side,
            "hidden": hidden,
            "norm": norm,
            "conditions": dict(conditions or {}),
            "conditioning": conditioning,
        }
        connected = [nn.Linear(widths[-1] * side**2, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1)]
        head = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten(), *connected)
        super().__init__(stages, head, steering=steering, features=widths[-1], options=options, min_size=side * 2**layers)

    def _seen(self, source: Tensor, candidate: Tensor) -> Tensor:
        return seen(candidate, "binary")


class UNetCritic(Critic):
    """One logit for every pixel, from near and from far: a U-Net, spectrally normalised.

        h_n = act(W_n * up(h_(n+1))) + d_n         on the way up, d_n the maps of this size on the way down

    Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV 2021 Workshops, section 3.2,
    after Schönfeld et al., "A U-Net Based Discriminator for Generative Adversarial Networks", CVPR 2020. A 3x3 convolution to ``width``
    channels, ``layers`` 4x4 convolutions with stride 2, as many enlargements (bilinear) with a 3x3 convolution behind each, two more, and
    one to the logits; width * min(2^n, 8) channels at 1/2^n of the size, LeakyReLU(0.2). The first and last have biases and no
    normalisation, the others the reverse. Its authors' code has three halvings.

    Sides that are no multiples of 2^layers are halved downwards and enlarged to those of the maps that are added, where the authors'
    code fails.

    Args:
        source_channels: channels of the source, which is not looked at.
        target_channels: channels of the candidate.
        layers: number of halvings.
        width: channels at the full size.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.
    """

    keeps_scale: ClassVar[bool] = True
    sees_source: ClassVar[bool] = False

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        layers: Annotated[int, Field(ge=1, le=8)] = 3,
        width: PositiveInt = 64,
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        steering = steering_of(conditions, conditioning, channels=target_channels)
        widths = _widths(width, layers + 1)
        entry = nn.Sequential(nn.Conv2d(target_channels + steering.num_planes, width, 3, padding=1), nn.LeakyReLU(0.2))
        down = [_spectral(outer, inner, 4, 2) for outer, inner in pairwise(widths)]
        up = [_spectral(inner, outer, 3, 1) for inner, outer in pairwise(reversed(widths))]
        last = [_spectral(width, width, 3, 1) for _ in range(2)]
        options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "layers": layers,
            "width": width,
            "conditions": dict(conditions or {}),
            "conditioning": conditioning,
        }
        head = nn.Conv2d(width, 1, 3, padding=1)
        super().__init__([entry, *down, *up, *last], head, steering=steering, features=width, options=options, min_size=2**layers)
        self.layers = layers

    def _seen(self, source: Tensor, candidate: Tensor) -> Tensor:
        return seen(candidate, "binary")

    def _features(self, maps: Tensor) -> list[Tensor]:
        stages, turn = list(self.stages), self.layers + 1
        features: list[Tensor] = []
        for stage in stages[:turn]:
            maps = stage(maps)
            features.append(maps)
        for stage, skip in zip(stages[turn:-2], features[-2::-1], strict=True):
            maps = stage(F.interpolate(maps, size=skip.shape[2:], mode="bilinear", align_corners=False)) + skip
            features.append(maps)
        for stage in stages[-2:]:
            maps = stage(maps)
            features.append(maps)
        return features


def _widths(width: int, count: int) -> list[int]:
    """Channels of so many pairs or sizes.

    >>> _widths(64, 5)
    [64, 128, 256, 512, 512]
    """
    return [width * min(2**number, 8) for number in range(count)]


def _pair(inner: int, outer: int, *, kernel: int, norm: Norm, first: bool) -> list[nn.Module]:
    """The two stages of a pair; the ``first`` convolution of all is not normalised, and has a bias."""
    bias = norm == "none"
    entry = nn.Conv2d(inner, outer, 3, padding=1, bias=bias or first)
    halving = nn.Conv2d(outer, outer, kernel, 2, 1, bias=bias)
    norms = [] if first else [NORMS[norm](outer)]
    return [nn.Sequential(entry, *norms, nn.LeakyReLU(0.2)), nn.Sequential(halving, NORMS[norm](outer), nn.LeakyReLU(0.2))]


def _spectral(inner: int, outer: int, kernel: int, stride: int) -> nn.Module:
    return nn.Sequential(SpectralConv2d(inner, outer, kernel, stride, 1, bias=False), nn.LeakyReLU(0.2))
