"""The plain encoder-decoder generator."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.nets.layers import Condition, Head, Norm, Pictures, output_head
from pixloom.nets.steering import Chain, Injection, Steering, Widths, is_local, stacked


class EncoderDecoder(nn.Module):
    """Four strided convolutions down to a bottleneck, four transposed ones back up, without skip connections.

    With w = ``width``, every convolution 4x4 with stride 2: w, 2w, 4w, 8w with LeakyReLU(0.2); 4w, 2w, w with ReLU; target
    channels with the head. All are normalised but the first and the last (Radford et al., 2016, section 3). A convolution has a bias
    only where no normalisation follows, which would cancel it.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        width: channels of the first layer.
        norm: normalisation, a name in ``layers.NORMS``.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        injection: how noise and conditions are taken in, see ``steering``.
        head: what makes the output of the last maps, see ``layers.output_head``.
    """

    size_multiple = 16
    min_size = 16

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        width: PositiveInt = 64,
        norm: Norm = "batch",
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
        injection: Injection = "planes",
        head: Head = "tanh",
    ) -> None:
        super().__init__()
        self.options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "width": width,
            "norm": norm,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "injection": injection,
            "head": head,
        }
        self.noise_channels = noise_channels
        bias = norm == "none"
        self.steering = Steering(conditions, injection=injection, noise_channels=noise_channels, reference_channels=target_channels)
        self.encoder = Chain(nn.Conv2d(source_channels + self.steering.num_planes, width, 4, 2, 1), nn.LeakyReLU(0.2))
        for inner, outer in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
            self.encoder.extend([nn.Conv2d(inner, outer, 4, 2, 1, bias=bias), self.steering.norm(norm, outer), nn.LeakyReLU(0.2)])
        self.decoder = Chain()
        for inner, outer in ((8 * width, 4 * width), (4 * width, 2 * width), (2 * width, width)):
            self.decoder.extend([nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias), self.steering.norm(norm, outer), nn.ReLU()])
        self.decoder.extend([nn.ConvTranspose2d(width, target_channels, 4, 2, 1), output_head(head)])

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output: 3 (2^4 - 1).

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        return 3 * (self.size_multiple - 1) if is_local(self.options) else None

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 16.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        planes, modulation = self.steering(condition, noise, source)
        output: Tensor = self.decoder(self.encoder(stacked(source, planes), modulation), modulation)
        return output
