"""The SPADE generator, for pictures from maps of labels."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.errors import ConfigError
from pixloom.nets.layers import NORMS, Condition, Head, Norm, Pictures, Planes, convolution, output_head, seen
from pixloom.nets.steering import SPATIAL, Steering, Widths, check_noise, stacked

Start = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]
"""Rows and columns of the map that noise is made into."""


class Reading(TypedDict):
    """The arguments of :class:`LabelNorm` that a network's all share."""

    labels: int
    vector: int
    hidden: int
    norm: Norm


class Spade(nn.Module):
    """From a small map to a picture, with the labels entering at every normalisation, at every size; nothing encodes a picture.

        block(h) = s(h) + f(h),   f twice a normalisation by the labels, LeakyReLU(0.2) and a 3x3 convolution

    Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019, section 3 and appendix A. It begins at
    1/2^levels of the size with a 3x3 convolution of the labels there; a block at that size, two at twice that (at six levels one), and
    one after each nearest doubling from there on; min(16, n) * width channels at 1/n of the size, for seven levels min(32, n). For five
    levels these are the paper's 16, 16, 16, 8, 4, 2 and 1; five, six and seven are its program's ``normal``, ``more`` and ``most``.

    Deviations: convolutions that a normalisation follows have no bias, which it would subtract (all but the output and the layers that
    read labels), unless ``bias`` says so. Noise and conditions without places enter where the labels do, see :class:`LabelNorm`, instead
    of through a fully connected layer of one size: so any size and aspect works, and no normalisation subtracts them. With ``start``
    noise enters as in the paper, and for a source of another size than 2^levels times the start that is stretched, bilinearly; a style,
    read off a reference by the paper's image encoder, then takes the noise's place.

    Args:
        source_channels: channels of the source: planes of labels.
        target_channels: channels of the output.
        levels: number of doublings.
        width: channels at the full size.
        hidden: channels between labels and modulation.
        norm: normalisation, a name in ``layers.NORMS``, without parameters.
        spectral: whether the blocks' convolutions are spectrally normalised.
        bias: whether the first convolution and those of 3x3 of the blocks have biases.
        planes: what is seen of the source, see ``layers.seen``.
        start: rows and columns of the first map where a fully connected layer makes it of the noise; None: it is made of the labels.
        reference_side: of the references that an encoder as the paper's reads styles off, in pixels; None: see ``steering.StyleEncoder``.
        noise_channels: length of the noise vector z; 0: none.
        conditions: width of each condition by its kind, see ``steering.Widths``; maps and images are more planes beside the labels.
        head: what makes the output of the last maps, see ``layers.output_head``.
    """

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        levels: Annotated[int, Field(ge=2, le=7)] = 5,
        width: PositiveInt = 64,
        hidden: PositiveInt = 128,
        norm: Norm = "batch",
        spectral: bool = True,
        bias: bool = False,
        planes: Planes = "signed",
        start: Start | None = None,
        reference_side: PositiveInt | None = None,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
        head: Head = "tanh",
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "levels": levels,
            "width": width,
            "hidden": hidden,
            "norm": norm,
            "spectral": spectral,
            "bias": bias,
            "planes": planes,
            "start": start,
            "reference_side": reference_side,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
            "head": head,
        }
        self.size_multiple = self.min_size = 2**levels
        self.noise_channels = noise_channels
        _check_start(start, noise_channels=noise_channels, conditions=conditions, reference_side=reference_side)
        self.starts_coded = start is not None and "style" in (conditions or {})
        steered_noise = noise_channels if start is None or self.starts_coded else 0
        vectors = steered_noise > 0 or any(kind not in SPATIAL for kind in conditions or {})
        self.steering = Steering(
            conditions,
            injection="film" if vectors else "planes",
            noise_channels=steered_noise,
            reference_channels=target_channels,
            whole=None if reference_side is None else (reference_side, width),
        )
        self.strides = [2**level for level in (levels, *[levels - 1] * (levels < 6), *reversed(range(levels)))]
        widths = [width * min(32 if levels == 7 else 16, stride) for stride in self.strides]
        labels = source_channels + self.steering.num_planes
        vector = 0 if self.starts_coded else self.steering.modulation_width
        reading: Reading = {"labels": labels, "vector": vector, "hidden": hidden, "norm": norm}
        self.entry: nn.Module = nn.Conv2d(labels, widths[0], 3, padding=1, bias=bias)
        if start is not None:
            self.entry = nn.Linear(noise_channels, widths[0] * start[0] * start[1])
        self.blocks = nn.ModuleList(
            LabelBlock(inner, outer, spectral=spectral, bias=bias, reading=reading)
            for inner, outer in zip([widths[0], *widths], widths, strict=False)
        )
        self.exit = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(width, target_channels, 3, padding=1), output_head(head))

    @property
    def radius(self) -> int | None:
        """Largest distance, in rows or columns, at which a pixel of the source acts on one of the output.

        1 for the output, and from there inwards: a block at 1/n of the size passes on what is up to 2 n away, the doubling to that
        size n; the innermost block sees labels up to 4 n away.

        None where the normalisation, or the look of an object, is over the whole picture, or where noise makes a map of it. Batch norm
        counts as local, which it is with running statistics only.
        """
        if self.options["norm"] not in ("batch", "none") or "look" in self.options["conditions"] or self.options["start"]:
            return None
        doubled = {*self.strides} - {self.size_multiple}
        return int(1 + 2 * sum(self.strides[1:]) + sum(doubled) + 4 * self.size_multiple)

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 2^levels.
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        start = self.options["start"]
        planes, vector = self.steering(condition, noise if start is None or self.starts_coded else None, source)
        labels, before = stacked(seen(source, self.options["planes"]), planes), self.size_multiple
        if start is None:
            maps = self.entry(labels[:, :, ::before, ::before])
        else:
            check_noise(noise, batch=len(source), channels=self.noise_channels)
            code, vector = (vector, None) if self.starts_coded else (noise, vector)
            assert code is not None
            size = (source.shape[2] // before, source.shape[3] // before)
            maps = F.interpolate(self.entry(code.to(source)).unflatten(1, (-1, *start)), size=size, mode="bilinear")
        for stride, block in zip(self.strides, self.blocks, strict=True):
            maps = maps if stride == before else F.interpolate(maps, scale_factor=2, mode="nearest")
            maps, before = block(maps, labels[:, :, ::stride, ::stride], vector), stride
        output: Tensor = self.exit(maps)
        return output


def _check_start(start: list[int] | None, *, noise_channels: int, conditions: Widths | None, reference_side: int | None) -> None:
    """Refuse a start that nothing makes, or that is made of more than one code, and references that nothing reads.

    Raises:
        ConfigError: there is no noise, there is another condition without places beside a style, or there is no style.
    """
    if reference_side is not None and (not noise_channels or "style" not in (conditions or {})):
        raise ConfigError(
            "generator.options.reference_side would have no effect",
            why="it is of references that a style is read off, a code that is drawn where there is none",
            fix="--condition style,noise",
        )
    if start is not None and not noise_channels:
        raise ConfigError(
            "generator.options.start would have no effect", why="the first map is made of noise, and there is none", fix="--condition noise"
        )
    others = [kind for kind in conditions or {} if kind not in SPATIAL and kind != "style"]
    if start is not None and "style" in (conditions or {}) and others:
        raise ConfigError(
            f"a style and the condition '{others[0]}' do not go together with generator.options.start",
            why="the first map is made of the style's code alone",
            fix="leave one of them out",
        )


class LabelBlock(nn.Module):
    """s(h) + f(h); s is the identity, or where the channels change a normalisation by the labels and a 1x1 convolution.

    Args:
        inner: channels of h.
        outer: channels of the result.
        spectral: whether its convolutions are spectrally normalised.
        bias: whether those of 3x3 have biases.
        reading: what its normalisations share.
    """

    def __init__(self, inner: int, outer: int, *, spectral: bool, reading: Reading, bias: bool = False) -> None:
        super().__init__()
        between, make = min(inner, outer), convolution(spectral=spectral)
        self.norms = nn.ModuleList([LabelNorm(inner, **reading), LabelNorm(between, **reading)])
        self.convolutions = nn.ModuleList([make(inner, between, 3, padding=1, bias=bias), make(between, outer, 3, padding=1, bias=bias)])
        self.shortcut = None
        if inner != outer:
            self.shortcut = nn.ModuleList([LabelNorm(inner, **reading), make(inner, outer, 1, bias=False)])

    def forward(self, maps: Tensor, labels: Tensor, vector: Tensor | None) -> Tensor:
        """(batch, inner, height, width) to (batch, outer, height, width); labels of the same size."""
        residual = maps
        for norm, layer in zip(self.norms, self.convolutions, strict=True):
            residual = layer(F.leaky_relu(norm(residual, labels, vector), 0.2))
        if self.shortcut is not None:
            norm, layer = self.shortcut
            maps = layer(norm(maps, labels, vector))
        return maps + residual


class LabelNorm(nn.Module):
    """(1 + gamma) norm(h) + beta, gamma and beta at every place from the labels there (Park et al., 2019, equation 1).

        a = ReLU(conv(labels) + W c),   gamma, beta = conv(a)

    both convolutions 3x3. A vector c acts as if it were planes beside the labels, the same everywhere, but for the border.

    Args:
        channels: of h.
        labels: planes of labels.
        vector: length of c; 0: none.
        hidden: channels of a.
        norm: a name in ``layers.NORMS``.
    """

    def __init__(self, channels: int, *, labels: int, vector: int, hidden: int, norm: Norm) -> None:
        super().__init__()
        self.norm = NORMS[norm](channels, affine=False)
        self.shared = nn.Conv2d(labels, hidden, 3, padding=1)
        self.project = nn.Linear(vector, hidden, bias=False) if vector else None
        self.affine = nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, maps: Tensor, labels: Tensor, vector: Tensor | None) -> Tensor:
        """Normalise and modulate (batch, channels, height, width); labels of the same size."""
        hidden = self.shared(labels)
        if self.project is not None:
            hidden = hidden + self.project(vector)[:, :, None, None]
        scale, shift = self.affine(F.relu(hidden)).chunk(2, 1)
        result: Tensor = self.norm(maps) * (1 + scale) + shift
        return result
