"""Generators of super-resolution that work at the small size: ESRGAN's, Real-ESRGAN's compact one, SRResNet and SRGAN's.

    small = source[::s, ::s] / 2 + 1/2          every s-th pixel of an enlarged source, in [0, 1]
    G(source) = 2 f(small) - 1                  f enlarges s times

Their own programs give them small pictures in [0, 1]. Here every network takes a source of the size that comes out, so these take back the
pixels that the source was enlarged from: exactly where ``task.options.enlargement`` is ``nearest``. What lies outside [0, 1] is cut off in
use and not while it is learnt, see ``layers.Clamp``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.nets.layers import BatchNorm2d, Clamp, Condition, Pictures
from pixloom.nets.steering import Steering, Widths, is_local, stacked

Blocks = Annotated[int, Field(ge=1, le=64)]
"""How many residual blocks a network has."""

Step = tuple[int, int]
"""Pixels that convolutions see to each side, and by what factor the maps before them were enlarged, from the output back."""

DENSE_BLOCKS = 3
"""In a residual-in-residual dense block."""

DENSE_LAYERS = 5
"""Convolutions in a dense block."""

DAMPING = 0.2
"""By what residuals are multiplied before they are added (Wang et al., 2018, section 3.1)."""


class Enlarging(nn.Module):
    """What the generators of this module share: how a source comes in and how a picture goes out.

    Args:
        options: every argument of the network, with ``source_channels``, ``target_channels``, ``scale``, ``noise_channels`` and
            ``conditions`` among them. Conditions and noise are planes beside the small picture.
        folding: by which a network folds rows and columns of the small picture into channels; 1: it does not.
    """

    def __init__(self, options: dict[str, Any], *, folding: int = 1) -> None:
        super().__init__()
        self.options = options
        self.scale, self.folding = int(options["scale"]), folding
        self.size_multiple = self.min_size = self.scale * folding
        self.noise_channels = int(options["noise_channels"])
        self.steering = Steering(
            options["conditions"],
            injection="planes",
            noise_channels=self.noise_channels,
            reference_channels=options["target_channels"],
        )
        self.num_seen = options["source_channels"] + self.steering.num_planes
        self.head = Clamp()

    @property
    def steps(self) -> Sequence[Step]:
        """The longest way from the output back to the small picture, a step for each convolution on it."""
        raise NotImplementedError

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output.

        The steps are walked back from each place of the output's grid: a convolution widens what is seen, a doubling halves it, and the
        small picture's pixel i is the source's s i. None where a condition looks at the whole picture. Batch norm counts as local, which it
        is with running statistics only.
        """
        if not is_local({**self.options, "norm": "none", "injection": "planes"}):
            return None
        return max(_reach(self.steps, place, scale=self.scale, folding=self.folding) for place in range(self.size_multiple))

    def enlarged(self, seen: Tensor) -> Tensor:
        """What the network makes of the small picture.

        Args:
            seen: (batch, source_channels + planes, height / s, width / s), pictures in [0, 1].

        Returns:
            (batch, target_channels, height, width), about [0, 1].
        """
        raise NotImplementedError

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of ``size_multiple``.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width); in use in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        planes, _ = self.steering(condition, noise, source)
        small = self._sampled(source) / 2 + 0.5
        output: Tensor = self.head(2 * self.enlarged(stacked(small, planes if planes is None else self._sampled(planes))) - 1)
        return output

    def _sampled(self, pictures: Tensor) -> Tensor:
        """Every s-th pixel."""
        return pictures[..., :: self.scale, :: self.scale]

    def _base(self, seen: Tensor) -> Tensor:
        """The small picture, to which some networks add: with the output's channels, those beyond the source's a middle grey."""
        shared = min(self.options["source_channels"], self.options["target_channels"])
        return F.pad(seen[:, :shared], (0, 0, 0, 0, 0, self.options["target_channels"] - shared), value=0.5)


class Rrdb(Enlarging):
    """The generator of ESRGAN: residual-in-residual dense blocks, then doublings by nearest neighbours with convolutions behind them.

    Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV 2018 Workshops, section 3.1. Wang et al.,
    "Real-ESRGAN", ICCV 2021 Workshops, section 3.3, fold the pixels of a picture that is to be enlarged less, and enlarge four times all
    the same: by 2 with ``folding`` 2, by 1 with 4.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        scale: how many times as many rows and columns the output has as the small picture.
        folding: by which rows and columns of the small picture are folded into channels.
        width: channels between the blocks.
        blocks: residual-in-residual dense blocks.
        growth: channels that each convolution of a dense block adds.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``; they come in as planes.
    """

    keeps_scale: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        scale: Literal[1, 2, 4, 8] = 4,
        folding: Literal[1, 2, 4] = 1,
        width: PositiveInt = 64,
        blocks: Blocks = 23,
        growth: PositiveInt = 32,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
    ) -> None:
        options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "scale": scale,
            "folding": folding,
            "width": width,
            "blocks": blocks,
            "growth": growth,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
        }
        super().__init__(options, folding=folding)
        self.entry = _convolution(self.num_seen * folding**2, width)
        self.blocks = nn.Sequential(*(ResidualInResidual(width, growth) for _ in range(blocks)))
        self.merge = _convolution(width, width)
        self.upward = nn.ModuleList(_convolution(width, width) for _ in range((scale * folding).bit_length() - 1))
        self.detail = _convolution(width, width)
        self.exit = Gentle(width, target_channels)

    @property
    def steps(self) -> Sequence[Step]:
        """Exit and detail, the doublings, the blocks with the convolution behind them, the entry."""
        inner = DENSE_BLOCKS * DENSE_LAYERS * len(self.blocks)
        return [(2, 1), *[(1, 2)] * len(self.upward), (1 + inner + 1, 1)]

    def enlarged(self, seen: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, target_channels, s rows, s columns)."""
        maps = self.entry(F.pixel_unshuffle(seen, self.folding) if self.folding > 1 else seen)
        maps = maps + self.merge(self.blocks(maps))
        for layer in self.upward:
            maps = F.leaky_relu(layer(F.interpolate(maps, scale_factor=2.0, mode="nearest")), 0.2)
        output: Tensor = self.exit(F.leaky_relu(self.detail(maps), 0.2))
        return output


class ResidualInResidual(nn.Module):
    """x + 0.2 f(x), f three dense blocks."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(width, growth) for _ in range(DENSE_BLOCKS)))

    def forward(self, maps: Tensor) -> Tensor:
        """Add the residual to (batch, width, height, width)."""
        residual: Tensor = self.dense(maps)
        return maps + DAMPING * residual


class DenseBlock(nn.Module):
    """x + 0.2 f(x), f five 3x3 convolutions, each of which sees x and all that came before it; LeakyReLU of 0.2 but after the last.

    Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, without normalisation.
    """

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        last = DENSE_LAYERS - 1
        self.layers = nn.ModuleList(Gentle(width + place * growth, growth if place < last else width) for place in range(DENSE_LAYERS))

    def forward(self, maps: Tensor) -> Tensor:
        """Add the residual to (batch, width, height, width)."""
        seen, residual = maps, maps
        for place, layer in enumerate(self.layers):
            residual = layer(seen)
            if place < DENSE_LAYERS - 1:
                seen = torch.cat([seen, F.leaky_relu(residual, 0.2)], 1)
        return maps + DAMPING * residual


class Compact(Enlarging):
    """The small generator of Real-ESRGAN: convolutions with PReLU, unfolded at the end, added to the picture of repeated pixels.

    The program of Wang et al., "Real-ESRGAN", 2021, has it for videos and for pictures on small machines; the paper has not. Unfolding is
    that of Shi et al., 2016; He et al., "Delving Deep into Rectifiers", 2015, for PReLU, with a slope per channel.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output; to the first of the source, as many, the network adds.
        scale: how many times as many rows and columns the output has as the small picture.
        width: channels of the convolutions.
        depth: convolutions between the first and the last.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``; they come in as planes.
    """

    keeps_scale: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        scale: Annotated[int, Field(ge=1, le=8)] = 4,
        width: PositiveInt = 64,
        depth: Annotated[int, Field(ge=0, le=128)] = 16,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
    ) -> None:
        options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "scale": scale,
            "width": width,
            "depth": depth,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
        }
        super().__init__(options)
        self.layers = nn.Sequential(_convolution(self.num_seen, width), nn.PReLU(width))
        for _ in range(depth):
            self.layers.extend([_convolution(width, width), nn.PReLU(width)])
        self.layers.append(Gentle(width, target_channels * scale**2))

    @property
    def steps(self) -> Sequence[Step]:
        """All convolutions lie before the unfolding."""
        return [(0, self.scale), (self.options["depth"] + 2, 1)]

    def enlarged(self, seen: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, target_channels, s rows, s columns)."""
        base = F.interpolate(self._base(seen), scale_factor=float(self.scale), mode="nearest") if self.scale > 1 else self._base(seen)
        return base + F.pixel_shuffle(self.layers(seen), self.scale)


class SrResNet(Enlarging):
    """SRResNet without normalisation, as BasicSR has it: residual blocks, unfoldings, added to the picture enlarged bilinearly.

    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017; what differs from
    it (no norms, LeakyReLU of 0.1, no skip over all blocks, the base) is the MSRResNet of Wang et al., 2018. The paper's own is ``srgan``.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output; to the first of the source, as many, the network adds.
        scale: how many times as many rows and columns the output has as the small picture; 4 are two unfoldings of 2.
        width: channels of the blocks.
        blocks: residual blocks.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``; they come in as planes.
    """

    keeps_scale: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        scale: Literal[2, 3, 4] = 4,
        width: PositiveInt = 64,
        blocks: Blocks = 16,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
    ) -> None:
        options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "scale": scale,
            "width": width,
            "blocks": blocks,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
        }
        super().__init__(options)
        self.factors = [2, 2] if scale == 4 else [scale]
        self.entry = _convolution(self.num_seen, width)
        self.blocks = nn.Sequential(*(Residual(Gentle(width, width), nn.ReLU(), Gentle(width, width)) for _ in range(blocks)))
        self.upward = nn.ModuleList(_convolution(width, width * factor**2) for factor in self.factors)
        self.detail = _convolution(width, width)
        self.exit = Gentle(width, target_channels)

    @property
    def steps(self) -> Sequence[Step]:
        """Exit and detail, the unfoldings, the convolutions before them, the blocks and the entry."""
        last, *others = reversed(self.factors)
        return [(2, last), *((1, factor) for factor in others), (1 + 2 * len(self.blocks) + 1, 1)]

    def enlarged(self, seen: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, target_channels, s rows, s columns)."""
        maps = self.blocks(F.leaky_relu(self.entry(seen), 0.1))
        for layer, factor in zip(self.upward, self.factors, strict=True):
            maps = F.leaky_relu(F.pixel_shuffle(layer(maps), factor), 0.1)
        base = F.interpolate(self._base(seen), scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        residual: Tensor = self.exit(F.leaky_relu(self.detail(maps), 0.1))
        return base + residual


class Srgan(Enlarging):
    """The generator of SRGAN, SRResNet as published: blocks with batch norm and PReLU, a skip over all, 9x9 convolutions at the ends.

    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017, figure 4. The output
    is (tanh + 1) / 2 in [0, 1]. Every PReLU has one slope; convolutions have biases, also before norms, as in the program that most copied.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        scale: how many times as many rows and columns the output has as the small picture.
        width: channels of the blocks.
        blocks: residual blocks; 16 in the paper.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``; they come in as planes.
    """

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        scale: Literal[2, 4, 8] = 4,
        width: PositiveInt = 64,
        blocks: Blocks = 16,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
    ) -> None:
        options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "scale": scale,
            "width": width,
            "blocks": blocks,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
        }
        super().__init__(options)
        self.entry = nn.Sequential(nn.Conv2d(self.num_seen, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(Residual(*_normalised(width), nn.PReLU(), *_normalised(width)) for _ in range(blocks)))
        self.merge = nn.Sequential(*_normalised(width))
        self.upward = nn.Sequential(
            *(nn.Sequential(_convolution(width, 4 * width), nn.PixelShuffle(2), nn.PReLU()) for _ in range(scale.bit_length() - 1))
        )
        self.exit = nn.Conv2d(width, target_channels, 9, padding=4)

    @property
    def steps(self) -> Sequence[Step]:
        """The exit, the unfoldings with a convolution before each, the blocks with the convolution behind them, the entry."""
        return [(4, 2), *[(1, 2)] * (len(self.upward) - 1), (1 + 1 + 2 * len(self.blocks) + 4, 1)]

    def enlarged(self, seen: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, target_channels, s rows, s columns)."""
        maps = self.entry(seen)
        output: Tensor = self.exit(self.upward(maps + self.merge(self.blocks(maps))))
        return output.tanh() / 2 + 0.5


class Residual(nn.Module):
    """x + f(x), f some layers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.residual = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Add the residual to (batch, width, height, width)."""
        residual: Tensor = self.residual(maps)
        return maps + residual


class Gentle(nn.Conv2d):
    """A 3x3 convolution of a residual or an output, which begins with a tenth of He's deviation (Wang et al., 2018, section 3.1)."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, 3, padding=1)
        self.gain = 0.1 * (2 / (9 * inner)) ** 0.5


def _convolution(inner: int, outer: int) -> nn.Conv2d:
    """3x3, of the same size."""
    return nn.Conv2d(inner, outer, 3, padding=1)


def _normalised(width: int) -> tuple[nn.Module, nn.Module]:
    return _convolution(width, width), BatchNorm2d(width)


def _reach(steps: Sequence[Step], place: int, *, scale: int, folding: int) -> int:
    """How far from a place of the output the farthest pixel of the source is that acts there.

    >>> _reach([(1, 2), (1, 1)], 0, scale=2, folding=1)  # 1 to the left is the small pixel -1, which sees -2, the source's -4
    4
    """
    low = high = place
    for wider, factor in steps:
        low, high = (low - wider) // factor, (high + wider) // factor
    return max(place - scale * folding * low, scale * (folding * (high + 1) - 1) - place)
