"""The U-Net generator of pix2pix."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.errors import ConfigError
from pixloom.nets.layers import Condition, Doubling, Dropout, Halving, Head, Norm, Pictures, Probability, output_head
from pixloom.nets.steering import Chain, Injection, Steering, Widths, is_local, stacked, through

PlanesAt = Literal["input", "levels"]
"""Where planes that are the same everywhere are stacked: on the source, or before every halving."""


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
        bias: whether all convolutions have biases; else those beside instance norm and the last.
        planes_at: where noise, names and numbers are stacked: on the source alone, or before every halving, as in BicycleGAN (Zhu et al.,
            "Toward Multimodal Image-to-Image Translation", NIPS 2017, section 3.5, ``add_to_all``).
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        injection: how noise and conditions are taken in, see ``steering``.
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
        bias: bool = False,
        planes_at: PlanesAt = "input",
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
        injection: Injection = "planes",
        head: Head = "tanh",
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "depth": depth,
            "width": width,
            "norm": norm,
            "dropout": dropout,
            "bias": bias,
            "planes_at": planes_at,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "injection": injection,
            "head": head,
        }
        self.size_multiple = self.min_size = 2**depth
        self.noise_channels = noise_channels
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.steering = Steering(conditions, injection=injection, noise_channels=noise_channels, reference_channels=target_channels)
        if planes_at == "levels" and (injection != "planes" or not self.steering.vector_width):
            raise ConfigError(
                "generator.options.planes_at=levels would have no effect",
                why="no noise, name or number is stacked on the source here",
                fix="--condition noise with --set generator.options.injection=planes, or leave it out",
            )
        bias = bias or norm == "instance"
        more = self.steering.vector_width if planes_at == "levels" else 0
        self.encoder = _encoder(source_channels + self.steering.num_planes, widths, norm=norm, bias=bias, more=more, steering=self.steering)
        self.decoder = _decoder(widths, target_channels, norm=norm, bias=bias, dropout=dropout, head=head, steering=self.steering)

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output: 3 (2^depth - 1).

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        return 3 * (self.size_multiple - 1) if is_local(self.options) else None

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 2^depth.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        planes, modulation = self.steering(condition, noise, source)
        maps = through(self.encoder[0], stacked(source, planes), modulation)
        skips = [maps]
        for down in self.encoder[1:]:
            maps = through(down, self._with_vectors(maps, planes), modulation)
            skips.append(maps)
        maps = through(self.decoder[0], skips.pop(), modulation)
        for up in self.decoder[1:]:
            maps = through(up, torch.cat([skips.pop(), maps], 1), modulation)
        return maps

    def _with_vectors(self, maps: Tensor, planes: Tensor | None) -> Tensor:
        """A level's maps, with the planes that are the same everywhere beside them where every level sees these."""
        if self.options["planes_at"] == "input" or planes is None:
            return maps
        vectors = planes[:, self.steering.num_maps :, :1, :1]
        return torch.cat([maps, vectors.expand(-1, -1, *maps.shape[2:])], 1)


def _encoder(channels: int, widths: list[int], *, norm: Norm, bias: bool, more: int, steering: Steering) -> nn.ModuleList:
    """The levels from the outside in. Skips leave before the activation: the decoder's ReLU undoes a LeakyReLU, so it is the same maths."""
    levels = nn.ModuleList([Halving(channels, widths[0], bias=bias)])
    for inner, outer in zip(widths[:-2], widths[1:-1], strict=True):
        levels.append(Chain(nn.LeakyReLU(0.2), Halving(inner + more, outer, bias=bias), steering.norm(norm, outer)))
    levels.append(Chain(nn.LeakyReLU(0.2), Halving(widths[-2] + more, widths[-1], bias=bias)))
    return levels


def _decoder(widths: list[int], channels: int, *, norm: Norm, bias: bool, dropout: float, head: Head, steering: Steering) -> nn.ModuleList:
    """The levels from the inside out; all but the innermost see a skip beside the decoder's own maps."""
    innermost = len(widths) - 1
    levels = nn.ModuleList()
    for level in range(innermost, 0, -1):
        inner, outer = widths[level] * (1 if level == innermost else 2), widths[level - 1]
        layers = Chain(nn.ReLU(), Doubling(inner, outer, bias=bias), steering.norm(norm, outer))
        if dropout > 0 and 4 <= level < innermost:
            layers.append(Dropout(dropout))
        levels.append(layers)
    levels.append(Chain(nn.ReLU(), Doubling(2 * widths[0], channels), output_head(head)))
    return levels
