"""The residual generator of Johnson et al., as CycleGAN and pix2pix use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.errors import ConfigError
from pixloom.nets.layers import (
    BlurDoubling,
    BlurHalving,
    Condition,
    Doubling,
    Dropout,
    Halving,
    Head,
    Norm,
    Pictures,
    Planes,
    Probability,
    output_head,
    seen,
)
from pixloom.nets.steering import Chain, Injection, Steering, Widths, is_local, stacked, through
from pixloom.shapes import Images

Halvings = Annotated[int, Field(ge=1, le=5)]
"""How often an encoder halves the size."""

Padding = Literal["mirror", "zeros"]
"""What convolutions see beyond the border: the picture mirrored, or zeros, by which planes that are the same everywhere are seen."""

Kernel = Literal[3, 4]
"""The side of the kernels that halve and double."""


class ResNet(nn.Module):
    """Halvings, residual blocks at the least size, as many doublings (Johnson et al., 2016; Zhu et al., 2017, section 4).

    The layers are those of the published networks, in the published order, parameter by parameter: reflection padding, 7x7
    convolutions at both ends, biases only beside instance norm and on the output. Two halvings are CycleGAN's; four with nine blocks are
    the global generator of pix2pixHD (Wang et al., 2018, section 3.1), and two with ``antialias`` the generator of CUT (Park et al.,
    2020, appendix). Zeros for padding, kernels of 4 and batch norm by each picture's own statistics are StarGAN's (Choi et al., 2018,
    appendix), but for the bias of the output, which that has not.

    The maps on the way to the decoder have numbers, their *places*: 0 the source, 1 after the first convolution's stage, 2 to
    halvings + 1 after each halving, and from there on after each residual block. CUT's NCE layers 0, 4, 8, 12 and 16 of nine blocks are
    the picture, full size, half size, and the first and fifth block: ``NCE_PLACES``. Deviation: these places are ends of stages, so
    that those of full and half size have half the published channels.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        blocks: number of residual blocks: 6 for 128 pixels, 9 for 256 in the papers.
        halvings: how often the size is halved and the channels are doubled.
        width: channels of the first layer.
        norm: normalisation, a name in ``layers.NORMS``.
        dropout: probability of dropping an activation inside each residual block.
        antialias: whether halvings and doublings are low-pass filters beside convolutions of stride 1.
        padding: what the convolutions see beyond the border, those that halve and double excepted: these see zeros.
        kernel: side of the kernels that halve and double.
        planes: what is seen of the source, see ``layers.seen``.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        injection: how noise and conditions are taken in, see ``steering``.
        head: what makes the output of the last maps, see ``layers.output_head``.
    """

    NCE_PLACES: ClassVar[tuple[int, ...]] = (0, 1, 2, 4, 8)

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        blocks: Annotated[int, Field(ge=1, le=64)] = 9,
        halvings: Halvings = 2,
        width: PositiveInt = 64,
        norm: Norm = "instance",
        dropout: Probability = 0.0,
        antialias: bool = False,
        padding: Padding = "mirror",
        kernel: Kernel = 3,
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
            "blocks": blocks,
            "halvings": halvings,
            "width": width,
            "norm": norm,
            "dropout": dropout,
            "antialias": antialias,
            "padding": padding,
            "kernel": kernel,
            "planes": planes,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "injection": injection,
            "head": head,
        }
        self.size_multiple = 2**halvings
        self.min_size = 2 * self.size_multiple
        self.noise_channels = noise_channels
        self.steering = Steering(conditions, injection=injection, noise_channels=noise_channels, reference_channels=target_channels)
        check_seen(self.steering, norm, padding=padding)
        if antialias and kernel != 3:
            raise ConfigError(
                f"generator.options.kernel={kernel} would have no effect",
                why="with antialias=true filters halve and double, beside kernels of 3",
                fix="leave one of them out",
            )
        channels, steering = source_channels + self.steering.num_planes, self.steering
        self.encoder = encoder(
            channels, width, halvings=halvings, norm=norm, steering=steering, antialias=antialias, padding=padding, kernel=kernel
        )
        self.blocks = residual_blocks(width * 2**halvings, blocks, norm=norm, steering=steering, dropout=dropout, padding=padding)
        self.decoder = decoder(width, halvings=halvings, norm=norm, steering=steering, antialias=antialias, kernel=kernel)
        self.decoder.extend(output_layers(width, target_channels, head=head, padding=padding))
        self._stages = [4, *[4 if antialias else 3] * halvings, *[1] * blocks]  # layers from a place to the next

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output.

        6 for both ends, 2 (2^h - 1) for h halvings and their doublings, 2^(h+1) for each block: 8 blocks + 12 for two halvings. With
        ``antialias`` a halving reaches twice as far and a doubling three times, at most: 5 (2^h - 1). Kernels of 4 reach 3 (2^h - 1).

        None where the normalisation is over the whole picture. Batch norm counts as local, which it is with running statistics only.
        """
        reach = (5 if self.options["antialias"] else self.options["kernel"] - 1) * (self.size_multiple - 1)
        return 6 + reach + 2 * self.size_multiple * len(self.blocks) if is_local(self.options) else None

    @property
    def num_places(self) -> int:
        """How many places there are at which :meth:`features` can look: numbers from 0 to one less."""
        return len(self._stages) + 1

    def feature_widths(self, places: Sequence[int]) -> list[int]:
        """The channels at these places.

        Raises:
            ConfigError: a place that there is not.
        """
        self._check_places(places)
        widths = [self.options["source_channels"], *(self.options["width"] * 2**halving for halving in range(self.options["halvings"] + 1))]
        return [widths[min(place, len(widths) - 1)] for place in places]

    def features(self, source: Images, places: Sequence[int]) -> list[Tensor]:
        """The maps at these places on the way of a picture, with no condition stated and no noise; nothing after the last is computed.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of ``size_multiple``.
            places: numbers from 0 to ``num_places`` - 1, in any order.

        Returns:
            For each place (batch, its width in :meth:`feature_widths`, height, width), the sides halved once per halving before it.

        Raises:
            ConfigError: a place that there is not.
        """
        self._check_places(places)
        noise = source.new_zeros(len(source), self.noise_channels) if self.noise_channels else None
        planes, modulation = self.steering(None, noise, source)
        found, maps = [source], stacked(seen(source, self.options["planes"]), planes)
        layers = iter([*self.encoder, *self.blocks])
        for length in self._stages[: max(places)]:
            for layer in islice(layers, length):
                maps = through(layer, maps, modulation)
            found.append(maps)
        return [found[place] for place in places]

    def _check_places(self, places: Sequence[int]) -> None:
        if not places or not all(0 <= place < self.num_places for place in places):
            raise ConfigError(
                "the generator has no features at these places",
                why=f"asked for {', '.join(map(str, places)) or 'none'}, where it has 0 to {self.num_places - 1}",
                fix="give places that it has, or more generator.options.blocks",
            )

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
        maps = self.blocks(self.encoder(stacked(seen(source, self.options["planes"]), planes), modulation), modulation)
        output: Tensor = self.decoder(maps, modulation)
        return output


class ResidualBlock(nn.Module):
    """x + f(x), f two normalised 3x3 convolutions with a ReLU between them and none after the sum (Gross and Wilber, 2016)."""

    steered: ClassVar[bool] = True

    def __init__(
        self, channels: int, *, bias: bool, normalised: Callable[[int], nn.Module], dropout: float, padding: Padding = "mirror"
    ) -> None:
        super().__init__()
        self.residual = Chain(*_padded(channels, channels, 3, bias=bias, padding=padding), normalised(channels), nn.ReLU())
        if dropout > 0:
            self.residual.append(Dropout(dropout))
        self.residual.extend([*_padded(channels, channels, 3, bias=bias, padding=padding), normalised(channels)])

    def forward(self, maps: Images, modulation: Tensor | None = None) -> Images:
        """Add the residual to (batch, channels, height, width)."""
        residual: Tensor = self.residual(maps, modulation)
        return maps + residual


def encoder(
    channels: int,
    width: int,
    *,
    halvings: int,
    norm: Norm,
    steering: Steering,
    antialias: bool = False,
    padding: Padding = "mirror",
    kernel: Kernel = 3,
) -> Chain:
    """A 7x7 convolution to ``width`` channels, then ``halvings`` convolutions, each of which doubles the channels."""
    bias = norm == "instance"
    layers = Chain(*_padded(channels, width, 7, bias=bias, padding=padding), steering.norm(norm, width), nn.ReLU())
    for inner in (width * 2**halving for halving in range(halvings)):
        stride = 1 if antialias else 2
        lower = Halving(inner, 2 * inner, bias=bias) if kernel == 4 else nn.Conv2d(inner, 2 * inner, 3, stride, 1, bias=bias)
        layers.extend([lower, steering.norm(norm, 2 * inner), nn.ReLU()])
        layers.extend([BlurHalving()] if antialias else [])
    return layers


def residual_blocks(
    channels: int, count: int, *, norm: Norm, steering: Steering, dropout: float = 0.0, padding: Padding = "mirror"
) -> Chain:
    """So many residual blocks."""
    make = partial(
        ResidualBlock, channels, bias=norm == "instance", normalised=partial(steering.norm, norm), dropout=dropout, padding=padding
    )
    return Chain(*(make() for _ in range(count)))


def decoder(width: int, *, halvings: int, norm: Norm, steering: Steering, antialias: bool = False, kernel: Kernel = 3) -> Chain:
    """The counterpart of :func:`encoder` without the layers of the output: down to ``width`` channels."""
    layers, bias = Chain(), norm == "instance"
    for outer in (width * 2**halving for halving in reversed(range(halvings))):
        if antialias:
            layers.extend([BlurDoubling(), nn.Conv2d(2 * outer, outer, 3, padding=1, bias=bias)])
        elif kernel == 4:
            layers.append(Doubling(2 * outer, outer, bias=bias))
        else:
            layers.append(nn.ConvTranspose2d(2 * outer, outer, 3, 2, 1, 1, bias=bias))
        layers.extend([steering.norm(norm, outer), nn.ReLU()])
    return layers


def output_layers(width: int, channels: int, *, head: Head, padding: Padding = "mirror") -> list[nn.Module]:
    """A 7x7 convolution to the output."""
    return [*_padded(width, channels, 7, bias=True, padding=padding), output_head(head)]


def _padded(inner: int, outer: int, kernel: int, *, bias: bool, padding: Padding) -> list[nn.Module]:
    """A convolution that keeps the size, and what stands before it, in the same place for either padding."""
    if padding == "zeros":
        return [nn.Identity(), nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=bias)]
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inner, outer, kernel, bias=bias)]


def check_seen(steering: Steering, norm: Norm, *, padding: Padding = "mirror") -> None:
    """That conditions get past the first, mirrored convolution of :func:`encoder`.

    Raises:
        ConfigError: they do not.
    """
    if norm == "instance" and padding == "mirror" and steering.injection == "planes" and steering.vector_width:
        raise ConfigError(
            "this network would not see its condition",
            why="planes that are the same everywhere are subtracted by the instance norm after its first, mirrored convolution",
            fix="--set generator.options.injection=film, generator.options.norm=group or generator.options.padding=zeros",
        )
