"""Critics D(x, y): they judge whether a picture y is a real partner of the source x, by patches, pixels or the whole picture."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.errors import ConfigError
from pixloom.nets.layers import NORMS, BlurHalving, Condition, Norm, Pictures, Planes, convolution, seen
from pixloom.nets.steering import SPATIAL, Conditioning, Injection, Reading, Steering, Widths, stacked
from pixloom.shapes import Judgement

Padding = Literal[1, 2]
"""Of the 4x4 convolutions of a patch critic: 1 as in pix2pix, 2 as in pix2pixHD and SPADE."""

Spectral = bool | Literal["inner"]
"""Which convolutions of a patch critic are spectrally normalised: all, none, or all but the first and the last, as in SPADE."""


class Critic(nn.Module):
    """Stages, whose outputs are the features, and a head that turns the last of them into logits (abstract).

    Args:
        stages: the first takes source, candidate and the conditions' planes.
        head: from the last features to logits.
        steering: how conditions are taken in, from :func:`steering_of`.
        features: channels of the last features.
        options: the arguments of the constructor; a critic that has no ``conditioning`` to choose classifies.
        min_size: the smallest side of a picture that can be judged, in pixels.
        whole: rows and columns of the last features that a classifier sees, see ``steering.Reading``; None: their mean.
    """

    def __init__(
        self,
        stages: list[nn.Module],
        head: nn.Module,
        *,
        steering: Steering,
        features: int,
        options: dict[str, Any],
        min_size: int = 1,
        whole: int | None = None,
    ) -> None:
        super().__init__()
        self.options = options
        self.min_size = min_size
        self.stages = nn.ModuleList(stages)
        self.head = head
        self.steering = steering
        self.reading = Reading(steering, conditioning=options.get("conditioning", "classifier"), features=features, whole=whole)

    def forward(self, source: Pictures, candidate: Pictures, condition: Condition | None = None) -> Judgement:
        """Judge pairs; what is judged is the concatenation of both on the channels, or the candidate alone.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1]; a critic built with none, or for candidates only, ignores it.
            candidate: (batch, target_channels, height, width) in [-1, 1], real or generated.
            condition: tensors by kind; what is missing is not stated.

        Returns:
            One tensor of logits, before any sigmoid, one list with the output of every stage, outermost first, and what is guessed.

        Raises:
            ConfigError: a condition that it does not take, or the pictures are too small.
        """
        self._check_size(candidate)
        return self.judge(*self.stacked(source, candidate, condition))

    def stacked(self, source: Tensor, candidate: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor | None]:
        """What the first stage takes, (batch, channels, height, width), and what modulates the reading, see ``steering.Steer``."""
        planes, modulation = self.steering(condition, None, candidate)
        return stacked(self._seen(source, candidate), planes), modulation

    def judge(self, maps: Tensor, modulation: Tensor | None) -> Judgement:
        """The judgement of what :meth:`stacked` gives."""
        features = self._features(maps)
        logits, guesses = self.reading(self.head(features[-1]), features[-1], modulation)
        return Judgement([logits], [features], guesses)

    def _seen(self, source: Tensor, candidate: Tensor) -> Tensor:
        """What the first stage takes, but for the conditions' planes."""
        if not self.options["source_channels"]:
            return candidate
        return torch.cat([seen(source, self.options.get("planes", "signed")), candidate], 1)

    def _features(self, maps: Tensor) -> list[Tensor]:
        """The output of every stage."""
        features = []
        for stage in self.stages:
            maps = stage(maps)
            features.append(maps)
        return features

    def _check_size(self, candidate: Tensor) -> None:
        check_size(candidate, self.min_size)


class PatchCritic(Critic):
    """The PatchGAN: one logit for every overlapping patch (Isola et al., 2017, section 3.2.2 and appendix 6.1.2).

    ``layers`` 4x4 convolutions with stride 2, one with stride 1, and one to the logit; width * min(2^n, 8) channels at stage n;
    LeakyReLU(0.2). The patches are 16, 34, 70, 142 and 286 pixels wide for 1 to 5 layers. Parameter by parameter the authors'
    published network: the first and last convolutions have biases, the normalised ones only with instance norm.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone.
        target_channels: channels of the candidate.
        layers: number of halvings.
        width: channels of the first stage.
        norm: normalisation, a name in ``layers.NORMS``.
        spectral: which convolutions are spectrally normalised (Miyato et al., 2018), see :data:`Spectral`.
        bias: whether every convolution has a bias, whatever the norm.
        padding: of every convolution; with 2 pictures of any size can be judged, and patches reach beyond their borders.
        planes: what is seen of the source, see ``layers.seen``.
        antialias: whether stages halve by low-pass filters behind convolutions with stride 1, as in CUT, see ``layers.BlurHalving``.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.
    """

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        layers: Annotated[int, Field(ge=1, le=8)] = 3,
        width: PositiveInt = 64,
        norm: Norm = "batch",
        spectral: Spectral = False,
        bias: bool = False,
        padding: Padding = 1,
        planes: Planes = "signed",
        antialias: bool = False,
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        steering = steering_of(conditions, conditioning, channels=target_channels)
        make, inner_make = convolution(spectral=spectral is True), convolution(spectral=bool(spectral))
        widths = [width * min(2**stage, 8) for stage in range(layers + 1)]
        halvings = [True] * layers + [False]
        stride, filters = (1, [BlurHalving()]) if antialias else (2, [])
        entry = make(source_channels + target_channels + steering.num_planes, width, 4, stride, padding)
        stages: list[nn.Module] = [nn.Sequential(entry, nn.LeakyReLU(0.2), *filters)]
        for inner, outer, halves in zip(widths[:-1], widths[1:], halvings[1:], strict=True):
            layer = inner_make(inner, outer, 4, stride if halves else 1, padding, bias=bias or norm == "instance")
            stages.append(nn.Sequential(layer, NORMS[norm](outer), nn.LeakyReLU(0.2), *(filters if halves else [])))
        shape = {"source_channels": source_channels, "target_channels": target_channels, "layers": layers, "width": width, "norm": norm}
        kind = {"spectral": spectral, "bias": bias, "padding": padding, "planes": planes, "antialias": antialias}
        options = {**shape, **kind, "conditions": dict(conditions or {}), "conditioning": conditioning}
        head = make(widths[-1], 1, 4, 1, padding)
        least = smallest_side(layers, padding=padding)
        super().__init__(stages, head, steering=steering, features=widths[-1], options=options, min_size=least)


class PixelCritic(Critic):
    """The 1x1 PatchGAN: one logit for every pixel, from its colours alone (Isola et al., 2017, appendix 6.1.2).

    Args:
        source_channels: channels of the source; 0: candidates are judged alone.
        target_channels: channels of the candidate.
        width: channels of the first stage.
        norm: normalisation, a name in ``layers.NORMS``.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.
    """

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        width: PositiveInt = 64,
        norm: Norm = "batch",
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        steering = steering_of(conditions, conditioning, channels=target_channels)
        bias = norm == "instance"  # even on the logit, as published
        first = nn.Sequential(nn.Conv2d(source_channels + target_channels + steering.num_planes, width, 1), nn.LeakyReLU(0.2))
        second = nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=bias), NORMS[norm](2 * width), nn.LeakyReLU(0.2))
        shape = {"source_channels": source_channels, "target_channels": target_channels, "width": width, "norm": norm}
        options = {**shape, "conditions": dict(conditions or {}), "conditioning": conditioning}
        head = nn.Conv2d(2 * width, 1, 1, bias=bias)
        super().__init__([first, second], head, steering=steering, features=2 * width, options=options)


class ImageCritic(Critic):
    """One logit for the whole picture: four 4x4 convolutions with stride 2 and a fully connected layer.

    width, 2, 4 and 8 times width channels, LeakyReLU(0.2), normalisation on all but the first (Radford et al., 2016, section 3). A
    convolution has a bias only where no normalisation follows. The sigmoid is in the loss.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone.
        target_channels: channels of the candidate.
        size: side of the square pictures, in pixels; the fully connected layer fits this one alone.
        width: channels of the first stage.
        norm: normalisation, a name in ``layers.NORMS``.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.
    """

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        size: Annotated[int, Field(ge=16, multiple_of=16)],
        width: PositiveInt = 64,
        norm: Norm = "batch",
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        steering = steering_of(conditions, conditioning, channels=target_channels)
        stages: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(source_channels + target_channels + steering.num_planes, width, 4, 2, 1), nn.LeakyReLU(0.2))
        ]
        for inner, outer in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
            layer = nn.Conv2d(inner, outer, 4, 2, 1, bias=norm == "none")
            stages.append(nn.Sequential(layer, NORMS[norm](outer), nn.LeakyReLU(0.2)))
        head = nn.Sequential(nn.Flatten(), nn.Linear(8 * width * (size // 16) ** 2, 1))
        shape = {"source_channels": source_channels, "target_channels": target_channels, "size": size, "width": width, "norm": norm}
        options = {**shape, "conditions": dict(conditions or {}), "conditioning": conditioning}
        super().__init__(stages, head, steering=steering, features=8 * width, options=options, min_size=size)
        self.size = size

    def _check_size(self, candidate: Tensor) -> None:
        if candidate.shape[2:] != (self.size, self.size):
            raise ConfigError(
                "the image-level critic judges one size of picture only",
                why=f"{_sides(candidate)} pixels, where it was built for {self.size} x {self.size}",
                fix="set the critic's size to data.size, or use the critic 'patch'",
            )


def steering_of(conditions: Widths | None, conditioning: Conditioning, *, channels: int) -> Steering:
    """A critic's way of taking conditions in: spatial ones as planes, the others as planes too (concat) or read off its features."""
    vectors = any(kind not in SPATIAL for kind in conditions or {})
    injection: Injection = "film" if vectors and conditioning != "concat" else "planes"
    return Steering(conditions, injection=injection, reference_channels=channels)


def smallest_side(layers: int, *, padding: Padding) -> int:
    """Of a picture for a patch critic: padded by 1, the two convolutions with stride 1 take a pixel each, and one must be left.

    >>> smallest_side(3, padding=1), smallest_side(3, padding=2)
    (24, 1)
    """
    return int(3 * 2**layers) if padding == 1 else 1


def check_size(candidate: Tensor, least: int) -> None:
    """That no side of the pictures is shorter.

    Raises:
        ConfigError: one is.
    """
    if min(candidate.shape[2:]) < least:
        raise ConfigError(
            "the pictures are too small for the critic",
            why=f"{_sides(candidate)} pixels, where it needs {least} x {least}",
            fix="raise data.size, or lower the critic's layers",
        )


def _sides(pictures: Tensor) -> str:
    return " x ".join(str(side) for side in pictures.shape[2:])
