"""The residual generator of Johnson et al., as CycleGAN and pix2pix use it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.errors import ConfigError
from pixloom.nets.layers import Condition, Dropout, Head, Norm, Pictures, Probability, output_head
from pixloom.nets.steering import Chain, Injection, Steering, Widths, is_local, stacked
from pixloom.shapes import Images


class ResNet(nn.Module):
    """Two halvings, residual blocks at a quarter of the size, two doublings (Johnson et al., 2016; Zhu et al., 2017, section 4).

    The layers are those of the published networks, in the published order, parameter by parameter: reflection padding, 7x7
    convolutions at both ends, biases only beside instance norm and on the output.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        blocks: number of residual blocks: 6 for 128 pixels, 9 for 256 in the papers.
        width: channels of the first layer.
        norm: normalisation, a name in ``layers.NORMS``.
        dropout: probability of dropping an activation inside each residual block.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        injection: how noise and conditions are taken in, see ``steering``.
        head: what makes the output of the last maps, see ``layers.output_head``.
    """

    size_multiple = 4
    min_size = 8

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        blocks: Annotated[int, Field(ge=1, le=64)] = 9,
        width: PositiveInt = 64,
        norm: Norm = "instance",
        dropout: Probability = 0.0,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
        injection: Injection = "planes",
        head: Head = "tanh",
    ) -> None:
        super().__init__()
        self.options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "blocks": blocks,
            "width": width,
            "norm": norm,
            "dropout": dropout,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "injection": injection,
            "head": head,
        }
        self.noise_channels = noise_channels
        bias = norm == "instance"
        self.steering = Steering(conditions, injection=injection, noise_channels=noise_channels, reference_channels=target_channels)
        if norm == "instance" and injection == "planes" and self.steering.vector_width:
            raise ConfigError(
                "this network would not see its condition",
                why="planes that are the same everywhere are subtracted by the instance norm after its first, mirrored convolution",
                fix="--set generator.options.injection=film, or --set generator.options.norm=group",
            )
        normalised = partial(self.steering.norm, norm)
        channels = source_channels + self.steering.num_planes
        self.encoder = Chain(nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7, bias=bias), normalised(width), nn.ReLU())
        for inner, outer in ((width, 2 * width), (2 * width, 4 * width)):
            self.encoder.extend([nn.Conv2d(inner, outer, 3, 2, 1, bias=bias), normalised(outer), nn.ReLU()])
        self.blocks = Chain(*(ResidualBlock(4 * width, bias=bias, normalised=normalised, dropout=dropout) for _ in range(blocks)))
        self.decoder = Chain()
        for inner, outer in ((4 * width, 2 * width), (2 * width, width)):
            self.decoder.extend([nn.ConvTranspose2d(inner, outer, 3, 2, 1, 1, bias=bias), normalised(outer), nn.ReLU()])
        self.decoder.extend([nn.ReflectionPad2d(3), nn.Conv2d(width, target_channels, 7), output_head(head)])

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output: 8 blocks + 12.

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        return 8 * len(self.blocks) + 12 if is_local(self.options) else None

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 4 and at least 8.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        planes, modulation = self.steering(condition, noise, source)
        maps = self.blocks(self.encoder(stacked(source, planes), modulation), modulation)
        output: Tensor = self.decoder(maps, modulation)
        return output


class ResidualBlock(nn.Module):
    """x + f(x), f two normalised 3x3 convolutions with a ReLU between them and none after the sum (Gross and Wilber, 2016)."""

    steered: ClassVar[bool] = True

    def __init__(self, channels: int, *, bias: bool, normalised: Callable[[int], nn.Module], dropout: float) -> None:
        super().__init__()
        self.residual = Chain(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), normalised(channels), nn.ReLU())
        if dropout > 0:
            self.residual.append(Dropout(dropout))
        self.residual.extend([nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), normalised(channels)])

    def forward(self, maps: Images, modulation: Tensor | None = None) -> Images:
        """Add the residual to (batch, channels, height, width)."""
        residual: Tensor = self.residual(maps, modulation)
        return maps + residual
