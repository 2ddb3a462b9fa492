"""The U-Net generator of pix2pix."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.nets.layers import (
    NORMS,
    Condition,
    Doubling,
    Dropout,
    Halving,
    Head,
    Norm,
    Pictures,
    Probability,
    output_head,
    refuse_condition,
    with_noise,
)


class UNet(nn.Module):
    """An encoder-decoder whose every level hands its encoder's features to its decoder (Isola et al., 2017, section 3.2.1).

    Level k of ``depth`` halves the size with a 4x4 convolution to width * min(2^k, 8) channels; the decoder doubles it again, and
    concatenates (skip, decoder). The layers are those of the authors' published networks, in the published order, parameter by
    parameter: no normalisation in the outermost level nor on the innermost convolution, biases only beside instance norm and on the
    output, dropout in the decoder at levels 4 to depth - 2.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        depth: number of halvings, log2 of the smallest side: 6 for 64 pixels, 8 for 256.
        width: channels of the outermost level.
        norm: normalisation, a name in ``layers.NORMS``.
        dropout: probability of dropping an activation; below depth 6 there is no level for it.
        noise_channels: length of the noise vector z that is appended to the source; 0: none.
        head: what makes the output of the last maps, see ``layers.output_head``.
    """

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        depth: Annotated[int, Field(ge=2, le=12)] = 8,
        width: PositiveInt = 64,
        norm: Norm = "batch",
        dropout: Probability = 0.5,
        noise_channels: NonNegativeInt = 0,
        head: Head = "tanh",
    ) -> None:
        super().__init__()
        self.options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "depth": depth,
            "width": width,
            "norm": norm,
            "dropout": dropout,
            "noise_channels": noise_channels,
            "head": head,
        }
        self.size_multiple = self.min_size = 2**depth
        self.noise_channels = noise_channels
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.encoder = _encoder(source_channels + noise_channels, widths, norm=norm)
        self.decoder = _decoder(widths, target_channels, norm=norm, dropout=dropout, head=head)

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output: 3 (2^depth - 1).

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        return 3 * (self.size_multiple - 1) if self.options["norm"] in ("batch", "none") else None

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 2^depth.
            condition: None or empty.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition is given, or noise that does not fit.
        """
        refuse_condition(condition)
        maps = with_noise(source, noise, channels=self.noise_channels)
        skips = []
        for down in self.encoder:
            maps = down(maps)
            skips.append(maps)
        maps = self.decoder[0](skips.pop())
        for up in self.decoder[1:]:
            maps = up(torch.cat([skips.pop(), maps], 1))
        output: Tensor = maps
        return output


def _encoder(channels: int, widths: list[int], *, norm: Norm) -> nn.ModuleList:
    """The levels from the outside in. Skips leave before the activation: the decoder's ReLU undoes a LeakyReLU, so it is the same maths."""
    bias = norm == "instance"
    levels = nn.ModuleList([Halving(channels, widths[0], bias=bias)])
    for inner, outer in zip(widths[:-2], widths[1:-1], strict=True):
        levels.append(nn.Sequential(nn.LeakyReLU(0.2), Halving(inner, outer, bias=bias), NORMS[norm](outer)))
    levels.append(nn.Sequential(nn.LeakyReLU(0.2), Halving(widths[-2], widths[-1], bias=bias)))
    return levels


def _decoder(widths: list[int], channels: int, *, norm: Norm, dropout: float, head: Head) -> nn.ModuleList:
    """The levels from the inside out; all but the innermost see a skip beside the decoder's own maps."""
    innermost = len(widths) - 1
    levels = nn.ModuleList()
    for level in range(innermost, 0, -1):
        inner, outer = widths[level] * (1 if level == innermost else 2), widths[level - 1]
        layers = nn.Sequential(nn.ReLU(), Doubling(inner, outer, bias=norm == "instance"), NORMS[norm](outer))
        if dropout > 0 and 4 <= level < innermost:
            layers.append(Dropout(dropout))
        levels.append(layers)
    levels.append(nn.Sequential(nn.ReLU(), Doubling(2 * widths[0], channels), output_head(head)))
    return levels
