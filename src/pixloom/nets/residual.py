"""A residual U-shape without normalisation, and a critic to match: what the recipe ``auto`` plays with.

Both are made of what R3GAN found to matter (Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline", NeurIPS 2024,
section 3): no normalisation, so that no picture depends on another and no place on all others; inverted blocks with grouped convolutions,
each of which begins as the identity; low-pass filters in place of strides and transposed convolutions, which leave checkerboards. What
normalisation would have done, equal rates of all layers do (``layers.equalized``).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.nets.discriminators import Critic, steering_of
from pixloom.nets.layers import BlurDoubling, BlurHalving, Condition, Head, Pictures, equalized, fine_detail, output_head
from pixloom.nets.steering import Chain, Conditioning, Injection, Steering, Widths, is_local, stacked

Width = Annotated[int, Field(ge=2, le=512, multiple_of=2)]
"""Channels at half the size, of which there are half as many at the full size."""

GROUP, EXPANSION, MOST = 16, 2, 8
"""Channels of a group at least; how much wider a block is inside than outside; the widest stage over the first."""


class ResidualUNet(nn.Module):
    """G(x, c, z): stages of residual blocks at halves of the size, joined across (Ronneberger et al., "U-Net", 2015).

    A 3x3 convolution at the full size to width / 2 channels; for every halving a low-pass filter, a 1x1 convolution and blocks; blocks at
    the smallest size; the same way up, where each stage takes the maps of its size on the way down beside its own; and two 3x3
    convolutions at the full size that see the first maps and the source itself once more. It begins with an even grey.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        width: channels at half the size; they double with every halving, up to eight times.
        halvings: how often the size is halved.
        blocks: residual blocks of each stage on either way.
        middle: further ones at the smallest size.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        injection: how noise and conditions are taken in, by every block, see ``steering``.
        head: what makes the output of the last maps, see ``layers.output_head``.

    Attributes:
        rates: shares of the learning rate by layer, see ``layers.equalized``.
    """

    keeps_scale: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        width: Width = 32,
        halvings: Annotated[int, Field(ge=1, le=7)] = 4,
        blocks: Annotated[int, Field(ge=1, le=8)] = 1,
        middle: Annotated[int, Field(ge=0, le=16)] = 1,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
        injection: Injection = "planes",
        head: Head = "clamp",
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "width": width,
            "halvings": halvings,
            "blocks": blocks,
            "middle": middle,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "injection": injection,
            "head": head,
        }
        self.size_multiple = 2**halvings
        self.min_size = 2 * self.size_multiple
        self.noise_channels = noise_channels
        self.steering = Steering(conditions, injection=injection, noise_channels=noise_channels, reference_channels=target_channels)
        seen = source_channels + self.steering.num_planes
        widths = widths_of(width, halvings)
        steering = self.steering
        self.entry = nn.Sequential(nn.Conv2d(seen, widths[0], 3, padding=1), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList(
            Chain(BlurHalving(), Plain(outer, inner, 1), *blocks_of(inner, blocks, steering=steering)) for outer, inner in pairwise(widths)
        )
        self.middle = Chain(*blocks_of(widths[-1], middle, steering=steering))
        upwards = list(pairwise(reversed(widths)))
        self.narrow = nn.ModuleList(Plain(inner, outer, 1) for inner, outer in upwards)
        self.doubling = BlurDoubling()
        self.up = nn.ModuleList(
            Chain(Plain(2 * outer, outer, 1), *blocks_of(outer, blocks, steering=steering)) for _, outer in upwards[:-1]
        )
        self.exit = nn.Sequential(
            nn.Conv2d(2 * widths[0] + seen, widths[0], 3, padding=1),
            nn.LeakyReLU(0.2),
            Silent(widths[0], target_channels, 3, padding=1),
            output_head(head),
        )
        self.rates = equalized(self)

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output.

        A block at 1/n of the size passes on what is up to n away, the filters before and after it n and 3 n / 2 at most; the convolutions
        at the full size one pixel each.

        None where something is said of the whole picture, see ``steering.is_local``.
        """
        if not is_local(self.options):
            return None
        halvings, blocks, middle = (int(self.options[name]) for name in ("halvings", "blocks", "middle"))
        sizes = [2**stage for stage in range(1, halvings + 1)]
        return int(3 + 2 * blocks * sum(sizes[:-1]) + (blocks + middle) * sizes[-1] + 3 * sum(sizes))

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 2^halvings and at least twice that.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        planes, modulation = self.steering(condition, noise, source)
        seen = stacked(source, planes)
        maps, across = self.entry(seen), []
        for stage in self.down:
            across.append(maps)
            maps = stage(maps, modulation)
        maps = self.middle(maps, modulation)
        for narrow, stage in zip(self.narrow, self.up, strict=False):
            maps = stage(torch.cat([self.doubling(narrow(maps)), across.pop()], 1), modulation)
        output: Tensor = self.exit(torch.cat([self.doubling(self.narrow[-1](maps)), across.pop(), seen], 1))
        return output


class ResidualCritic(Critic):
    """D(x, y, c): one logit for every overlapping patch, by the same kind of blocks.

    A 3x3 convolution at the full size, then for every halving a low-pass filter, a 1x1 convolution and a block, and a 3x3 convolution to
    the logits. Nothing in it couples pictures, or places that are far apart.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone.
        target_channels: channels of the candidate.
        layers: number of halvings.
        width: channels at half the size; they double with every halving, up to eight times.
        detail: how much the candidate's fine detail, see ``layers.fine_detail``, is enlarged to be seen beside it; 0: it is not seen
            so. It has a thirtieth to a twentieth of the energy of photographs at 128 px, so that with 4 it counts for about as much as
            all else, and a blur is as plain to see as a wrong colour.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.

    Attributes:
        rates: shares of the learning rate by layer, see ``layers.equalized``.
    """

    keeps_scale: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        layers: Annotated[int, Field(ge=1, le=7)] = 3,
        width: Width = 32,
        detail: NonNegativeFloat = 0.0,
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        steering = steering_of(conditions, conditioning, channels=target_channels)
        widths = widths_of(width, layers)
        seen = source_channels + target_channels * (2 if detail else 1) + steering.num_planes
        stages: list[nn.Module] = [nn.Sequential(nn.Conv2d(seen, widths[0], 3, padding=1), nn.LeakyReLU(0.2))]
        stages += [
            nn.Sequential(BlurHalving(), Plain(outer, inner, 1), InvertedBlock(inner), nn.LeakyReLU(0.2))
            for outer, inner in pairwise(widths)
        ]
        options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "layers": layers,
            "width": width,
            "detail": detail,
            "conditions": dict(conditions or {}),
            "conditioning": conditioning,
        }
        head = Plain(widths[-1], 1, 3, padding=1)
        super().__init__(stages, head, steering=steering, features=widths[-1], options=options, min_size=2 ** (layers + 1))
        self.rates = equalized(self)

    def _seen(self, source: Tensor, candidate: Tensor) -> Tensor:
        """Source and candidate, and the candidate's fine detail where that is looked at."""
        shown, detail = super()._seen(source, candidate), self.options["detail"]
        return torch.cat([shown, detail * fine_detail(candidate)], 1) if detail else shown


class InvertedBlock(nn.Module):
    """x + f(x): 1x1 to twice the channels, 3x3 in groups of 16, 1x1 back, leaky rectifiers between them; f begins as zero.

    Sandler et al., "MobileNetV2", 2018, for the form; Zhang et al., "Fixup Initialization", 2019, for the beginning.

    Args:
        channels: of the maps.
        steering: what modulates the inner maps, if anything does.
    """

    steered: ClassVar[bool] = True

    def __init__(self, channels: int, *, steering: Steering | None = None) -> None:
        super().__init__()
        inner = EXPANSION * channels
        modulated = [steering.norm("none", inner)] if steering is not None and steering.modulation_width else []
        self.residual = Chain(
            nn.Conv2d(channels, inner, 1),
            *modulated,
            nn.LeakyReLU(0.2),
            nn.Conv2d(inner, inner, 3, padding=1, groups=groups_of(inner)),
            nn.LeakyReLU(0.2),
            Silent(inner, channels, 1),
        )

    def forward(self, maps: Tensor, modulation: Tensor | None = None) -> Tensor:
        """Add the residual to (batch, channels, height, width)."""
        residual: Tensor = self.residual(maps, modulation)
        return maps + residual


class Plain(nn.Conv2d):
    """A convolution that no rectifier follows, so that it keeps the scale with weights from N(0, 1 / inputs)."""

    @property
    def gain(self) -> float:
        """Deviation of the weights that it begins with."""
        return float(self.weight[0].numel() ** -0.5)


class Silent(nn.Conv2d):
    """A convolution that begins as zero."""

    gain: ClassVar[float] = 0.0


def widths_of(width: int, halvings: int) -> list[int]:
    """Channels at the full size and after each halving.

    >>> widths_of(32, 5)
    [16, 32, 64, 128, 256, 256]
    """
    return [width // 2, *(width * min(2**stage, MOST) for stage in range(halvings))]


def groups_of(channels: int) -> int:
    """How many equal groups of at least 16 channels there are; one of fewer.

    >>> groups_of(64), groups_of(40), groups_of(8)
    (4, 2, 1)
    """
    return next(groups for groups in range(max(1, channels // GROUP), 0, -1) if channels % groups == 0)


def blocks_of(channels: int, count: int, *, steering: Steering) -> list[nn.Module]:
    """So many blocks."""
    return [InvertedBlock(channels, steering=steering) for _ in range(count)]
