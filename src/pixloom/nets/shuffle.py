"""A residual generator that works at a fraction of the size, for translations that stay near their source."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.nets.layers import Condition, Norm, Pictures
from pixloom.nets.steering import Chain, Injection, Steering, Widths, is_local, stacked


class Shuffle(nn.Module):
    """G(x) = x + f(x): pixels folded into channels, residual blocks without normalisation, channels unfolded into pixels.

    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", 2016, for the
    unfolding; Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution" (EDSR), 2017, for blocks without
    normalisation. It begins as the identity, nearly. With ``factor`` s a picture that was enlarged s times is seen at its own size.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output; to the first of the source, as many, the network adds.
        factor: by which rows and columns are folded, s.
        width: channels of the blocks.
        blocks: residual blocks.
        norm: normalisation in the blocks, a name in ``layers.NORMS``; the paper leaves it out.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        injection: how noise and conditions are taken in, see ``steering``.
    """

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        factor: Annotated[int, Field(ge=1, le=8)] = 2,
        width: PositiveInt = 64,
        blocks: Annotated[int, Field(ge=1, le=64)] = 8,
        norm: Norm = "none",
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
        injection: Injection = "planes",
    ) -> None:
        super().__init__()
        self.options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "factor": factor,
            "width": width,
            "blocks": blocks,
            "norm": norm,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "injection": injection,
        }
        self.size_multiple = self.min_size = factor
        self.noise_channels, self.factor = noise_channels, factor
        self.target_channels, self.shared = target_channels, min(source_channels, target_channels)
        self.steering = Steering(conditions, injection=injection, noise_channels=noise_channels, reference_channels=target_channels)
        self.entry = nn.Conv2d((source_channels + self.steering.num_planes) * factor**2, width, 3, padding=1)
        self.blocks = Chain(*(SmallBlock(width, norm=norm, steering=self.steering) for _ in range(blocks)))
        self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
        self.exit = nn.Conv2d(width, target_channels * factor**2, 3, padding=1)

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output: s (2 blocks + 4) - 1.

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        return self.factor * (2 * (len(self.blocks) - 1) + 4) - 1 if is_local(self.options) else None

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of ``factor``.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        planes, modulation = self.steering(condition, noise, source)
        maps = self.entry(F.pixel_unshuffle(stacked(source, planes), self.factor))
        residual = F.pixel_shuffle(self.exit(maps + self.blocks(maps, modulation)), self.factor)
        base = F.pad(source[:, : self.shared], (0, 0, 0, 0, 0, self.target_channels - self.shared))
        return (base + residual).clamp(-1, 1)


class SmallBlock(nn.Module):
    """x + f(x), f two 3x3 convolutions with a ReLU between them."""

    steered: ClassVar[bool] = True

    def __init__(self, width: int, *, norm: Norm, steering: Steering) -> None:
        super().__init__()
        bias = norm in ("none", "instance")
        self.residual = Chain(nn.Conv2d(width, width, 3, padding=1, bias=bias), steering.norm(norm, width), nn.ReLU())
        self.residual.extend([nn.Conv2d(width, width, 3, padding=1, bias=bias), steering.norm(norm, width)])

    def forward(self, maps: Tensor, modulation: Tensor | None = None) -> Tensor:
        """Add the residual to (batch, width, height, width)."""
        residual: Tensor = self.residual(maps, modulation)
        return maps + residual
