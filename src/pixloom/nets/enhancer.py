"""The coarse-to-fine generator of pix2pixHD."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.nets.layers import Condition, Head, Norm, Pictures, Planes, halved, seen
from pixloom.nets.resnet import Halvings, check_seen, decoder, encoder, output_layers, residual_blocks
from pixloom.nets.steering import Chain, Injection, Steering, Widths, is_local, stacked

Blocks = Annotated[int, Field(ge=1, le=64)]


class Enhancer(nn.Module):
    """G2 around G1: a residual generator at half the size, and a local one at the full size that adds its last maps to its own.

        G(x) = T(B(E(x) + G1(pool(x))))

    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018, section 3.1: E a 7x7
    convolution and a halving, G1 the global generator without its output layers, B residual blocks, T a doubling and the output layers.
    The layers are those of the published network, as in ``resnet``. Deviation: both parts learn at once; nothing is held still.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        width: channels of the local part's first layer; the global part has twice as many.
        halvings: of the global part.
        blocks: residual blocks of the global part.
        local_blocks: residual blocks of the local part.
        norm: normalisation, a name in ``layers.NORMS``.
        planes: what is seen of the source, see ``layers.seen``.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        injection: how noise and conditions are taken in, by both parts, see ``steering``.
        head: what makes the output of the last maps, see ``layers.output_head``.
    """

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        width: PositiveInt = 32,
        halvings: Halvings = 4,
        blocks: Blocks = 9,
        local_blocks: Blocks = 3,
        norm: Norm = "instance",
        planes: Planes = "signed",
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
        injection: Injection = "planes",
        head: Head = "tanh",
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "width": width,
            "halvings": halvings,
            "blocks": blocks,
            "local_blocks": local_blocks,
            "norm": norm,
            "planes": planes,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "injection": injection,
            "head": head,
        }
        self.size_multiple = 2 ** (halvings + 1)
        self.min_size = 2 * self.size_multiple
        self.noise_channels = noise_channels
        self.steering = Steering(conditions, injection=injection, noise_channels=noise_channels, reference_channels=target_channels)
        check_seen(self.steering, norm)
        channels, steering = source_channels + self.steering.num_planes, self.steering
        self.coarse = Chain(
            encoder(channels, 2 * width, halvings=halvings, norm=norm, steering=steering),
            residual_blocks(2 * width * 2**halvings, blocks, norm=norm, steering=steering),
            decoder(2 * width, halvings=halvings, norm=norm, steering=steering),
        )
        self.encoder = encoder(channels, width, halvings=1, norm=norm, steering=steering)
        self.blocks = residual_blocks(2 * width, local_blocks, norm=norm, steering=steering)
        self.decoder = decoder(width, halvings=1, norm=norm, steering=steering)
        self.decoder.extend(output_layers(width, target_channels, head=head))

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output.

        4 from the output to the local blocks, 4 for each of these, 2 (1 + 2^(h+1) (blocks + 1)) through the global part at half the
        size, and 1 for the pooling before it.

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        coarse = 1 + self.size_multiple * (self.options["blocks"] + 1)
        return 5 + 4 * self.options["local_blocks"] + 2 * coarse if is_local(self.options) else None

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 2^(halvings + 1) and at least twice that.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        planes, modulation = self.steering(condition, noise, source)
        given = stacked(seen(source, self.options["planes"]), planes)
        maps = self.encoder(given, modulation) + self.coarse(halved(given), modulation)
        output: Tensor = self.decoder(self.blocks(maps, modulation), modulation)
        return output
