"""A residual generator that works at a fraction of the size, for translations that stay near their source."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.nets.layers import NORMS, Condition, Norm, Pictures, refuse_condition, with_noise


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
        noise_channels: length of the noise vector z that is appended to the source; 0: none.
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
        }
        self.size_multiple = self.min_size = factor
        self.noise_channels, self.factor = noise_channels, factor
        self.target_channels, self.shared = target_channels, min(source_channels, target_channels)
        self.entry = nn.Conv2d((source_channels + noise_channels) * factor**2, width, 3, padding=1)
        self.blocks = nn.Sequential(*(SmallBlock(width, norm=norm) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))
        self.exit = nn.Conv2d(width, target_channels * factor**2, 3, padding=1)

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output: s (2 blocks + 4) - 1.

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        return self.factor * (2 * (len(self.blocks) - 1) + 4) - 1 if self.options["norm"] in ("batch", "none") else None

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of ``factor``.
            condition: None or empty.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition is given, or noise that does not fit.
        """
        refuse_condition(condition)
        folded = F.pixel_unshuffle(with_noise(source, noise, channels=self.noise_channels), self.factor)
        maps = self.entry(folded)
        residual = F.pixel_shuffle(self.exit(maps + self.blocks(maps)), self.factor)
        base = F.pad(source[:, : self.shared], (0, 0, 0, 0, 0, self.target_channels - self.shared))
        return (base + residual).clamp(-1, 1)


class SmallBlock(nn.Module):
    """x + f(x), f two 3x3 convolutions with a ReLU between them."""

    def __init__(self, width: int, *, norm: Norm) -> None:
        super().__init__()
        bias = norm in ("none", "instance")
        self.residual = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=bias), NORMS[norm](width), nn.ReLU())
        self.residual.extend([nn.Conv2d(width, width, 3, padding=1, bias=bias), NORMS[norm](width)])

    def forward(self, maps: Tensor) -> Tensor:
        """Add the residual to (batch, width, height, width)."""
        residual: Tensor = self.residual(maps)
        return maps + residual
