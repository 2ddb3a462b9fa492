"""How conditions enter networks: as planes beside the source, through the normalisation, or by projection in a critic.

    planes   (x, c) stacked on the channels
    film     (1 + gamma(c)) norm(h) + beta(c)           Perez et al., "FiLM", AAAI 2018, equation 1
    adain    the same around instance norm              Huang and Belongie, ICCV 2017, equation 8
    spade    gamma and beta at every place, from maps   Park et al., "Semantic Image Synthesis with SPADE", CVPR 2019, equation 1

Of a map of objects their boundaries are seen, and where a reference picture of the same layout is given, the look of each, see ``objects``.
A condition that is not stated is zero, everywhere. So a network that sometimes learns without one can be used without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.config import REFERENCE_SIDE, TEXT_LENGTH
from pixloom.errors import ConfigError, nearest
from pixloom.nets.layers import NORMS, Condition, InstanceNorm2d, Norm
from pixloom.nets.objects import LookEncoder, boundaries

Kind = Literal["label", "attributes", "text", "embedding", "map", "objects", "image", "style", "look"]
"""What a condition is, see ``pixloom.conditions``."""

Widths = dict[Kind, PositiveInt]
"""Numbers (for ``map`` and ``image``: channels; for ``text``: known words) of each condition; of attributes values and whether stated."""

Injection = Literal["planes", "film", "adain", "spade"]
"""How a generator takes its conditions in."""

Conditioning = Literal["concat", "projection", "classifier"]
"""How a critic takes them in."""

SPATIAL: tuple[Kind, ...] = ("map", "objects", "image", "look")
GUESSED: tuple[Kind, ...] = ("label", "attributes")
"""What an auxiliary classifier can read off a picture."""

TEXT_WIDTH = 64

CODE_GAIN = 0.2
"""Deviation of what a code's modulation begins with, ten times the usual one: else a short training never finds out what it is for."""


class Steer(NamedTuple):
    """Conditions on their way into a network.

    Attributes:
        planes: (batch, planes, height, width), to be stacked on the source; None where there are none.
        modulation: (batch, width) or, for ``spade``, (batch, width, height, width); None where normalisation is not modulated.
    """

    planes: Tensor | None
    modulation: Tensor | None


class Steering(nn.Module):
    """From named condition tensors to what a network takes in.

    Args:
        conditions: the width of each.
        injection: how they are taken in; ``film`` and ``adain`` leave spatial ones to planes, ``spade`` spreads the others over its maps.
        noise_channels: length of the noise vector z; 0: none.
        reference_channels: of the pictures that a style is read off.
        whole: side of references and first channels of the :class:`WholeEncoder` that reads them; None: a :class:`StyleEncoder` does.

    Attributes:
        num_planes: channels that are stacked on the source.
        is_coded: whether style and noise are one code: read off a reference picture where one is given, else drawn by chance.

    Raises:
        ConfigError: an injection for which there is nothing to inject, or a style of another length than the noise.
    """

    is_light: ClassVar[bool] = True

    def __init__(
        self,
        conditions: Mapping[Kind, int] | None,
        *,
        injection: Injection,
        noise_channels: int = 0,
        reference_channels: int = 3,
        whole: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.conditions, self.injection, self.noise_channels = dict(conditions or {}), injection, noise_channels
        if "text" in self.conditions:
            self.text = TextEncoder(self.conditions["text"])
        if "embedding" in self.conditions:
            self.embedding = nn.Linear(self.conditions["embedding"], TEXT_WIDTH, bias=False)
        self.is_coded = "style" in self.conditions and noise_channels > 0
        if self.is_coded and self.conditions["style"] != noise_channels:
            raise ConfigError(
                f"a style of {self.conditions['style']} numbers and noise of {noise_channels} do not go together",
                why="they are one code, drawn by chance where no reference is given",
                fix=f"--set conditions.style.code={noise_channels}",
            )
        if "look" in self.conditions and "objects" not in self.conditions:
            raise no_objects()
        if "look" in self.conditions:
            self.look = LookEncoder(reference_channels, self.conditions["look"])
        if "style" in self.conditions:
            self.style: CodeEncoder = (
                StyleEncoder(reference_channels, self.conditions["style"], gaussian=self.is_coded)
                if whole is None
                else WholeEncoder(reference_channels, self.conditions["style"], side=whole[0], first=whole[1])
            )
        encoded = {"text": TEXT_WIDTH, "embedding": TEXT_WIDTH}
        self.vector_width = sum(encoded.get(kind, n) for kind, n in self.conditions.items() if kind not in SPATIAL)
        self.vector_width += 0 if self.is_coded else noise_channels
        self.num_maps = sum(width for kind, width in self.conditions.items() if kind in SPATIAL)
        self.num_planes = {"planes": self.num_maps + self.vector_width, "spade": 0}.get(injection, self.num_maps)
        self.modulation_width = {"planes": 0, "spade": self.num_maps + self.vector_width}.get(injection, self.vector_width)
        self.reference_channels = reference_channels
        _check_injection(injection, vectors=self.vector_width, maps=self.num_maps)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each condition's tensor without its batch dimension; -1 stands for the source's height and -2 for its width."""
        special: dict[Kind, tuple[int, ...]] = {"text": (TEXT_LENGTH,)}
        if "style" in self.conditions:
            special["style"] = (self.reference_channels, self.style.side, self.style.side)
        planes = {**self.conditions, "look": self.reference_channels}
        return {kind: (planes[kind], -1, -2) if kind in SPATIAL else special.get(kind, (width,)) for kind, width in self.conditions.items()}

    def norm(self, norm: Norm, channels: int) -> nn.Module:
        """A normalisation layer of a network, modulated where the injection says so."""
        if self.injection == "adain" and norm != "instance":
            raise ConfigError(
                f"the injection 'adain' does not go with norm={norm}",
                why="it is modulation of instance norm",
                fix="--set generator.options.norm=instance, or --set generator.options.injection=film",
            )
        layer = NORMS[norm](channels)
        if not self.modulation_width:
            return layer
        return Modulated(
            layer,
            channels,
            width=self.modulation_width,
            spatial=self.injection == "spade",
            gain=CODE_GAIN if self.is_coded else None,
        )

    def forward(self, condition: Condition | None, noise: Tensor | None, source: Tensor) -> Steer:
        """Take conditions in.

        Args:
            condition: tensors by kind; what is missing is not stated.
            noise: (batch, noise_channels), or None without noise channels.
            source: (batch, channels, height, width), whose batch, size, type and device the result has.

        Raises:
            ConfigError: a condition that this network does not take, or noise that does not fit.
        """
        given = condition or {}
        for kind in given:
            if kind not in self.conditions:
                raise ConfigError(
                    f"this network takes no condition '{kind}'",
                    fix=nearest(kind, self.conditions) if self.conditions else "leave the condition out",
                )
        check_noise(noise, batch=len(source), channels=self.noise_channels)
        if not self.conditions and noise is None:
            return Steer(None, None)
        vectors: dict[str, Tensor] = {kind: self._vector(kind, given.get(kind), source) for kind in self.conditions if kind not in SPATIAL}
        if noise is not None:
            vectors |= {"style": _or_drawn(vectors["style"], noise.to(source))} if self.is_coded else {"noise": noise.to(source)}
        maps = [self._map(kind, given, source) for kind in self.conditions if kind in SPATIAL]
        if self.injection in ("film", "adain"):
            return Steer(torch.cat(maps, 1) if maps else None, torch.cat(list(vectors.values()), 1))
        spread = [vector[:, :, None, None].expand(-1, -1, *source.shape[2:]) for vector in vectors.values()]
        planes = torch.cat([*maps, *spread], 1)
        return Steer(planes, None) if self.injection == "planes" else Steer(None, planes)

    def _map(self, kind: Kind, given: Condition, source: Tensor) -> Tensor:
        """(batch, width, height, width) of one condition that has places."""
        if kind not in given or (kind == "look" and "objects" not in given):
            return source.new_zeros(len(source), self.conditions[kind], *source.shape[2:])
        if kind == "look":
            looks: Tensor = self.look(given["look"].to(source), given["objects"])
            return looks
        return boundaries(given["objects"]).to(source) if kind == "objects" else given[kind].to(source)

    def _vector(self, kind: str, value: Tensor | None, source: Tensor) -> Tensor:
        """(batch, width) of one condition."""
        batch, width = len(source), self.conditions[cast(Kind, kind)]
        if kind == "text":
            words: Tensor = self.text(source.new_zeros(batch, TEXT_LENGTH, dtype=torch.int64) if value is None else value)
            return words
        if value is None:
            value = source.new_zeros(batch, width)
        value = value.to(source)
        if kind == "embedding":
            value = self.embedding(value)
        elif kind == "style" and value.ndim == 4:
            value = self.style(value)
        return value


class Modulated(nn.Module):
    """(1 + gamma(c)) norm(h) + beta(c): a normalisation whose scale and shift follow a condition.

    Args:
        norm: the normalisation.
        channels: of the maps.
        width: of the condition.
        spatial: whether the condition is maps; then gamma and beta are convolutions of it at the size of h.
        gain: deviation of what its weights begin with; None: the network's own.
    """

    steered: ClassVar[bool] = True

    def __init__(self, norm: nn.Module, channels: int, *, width: int, spatial: bool, gain: float | None = None) -> None:
        super().__init__()
        self.norm = norm
        if gain is not None:
            self.gain = gain
        if spatial:
            self.shared = nn.Sequential(nn.Conv2d(width, 64, 3, padding=1), nn.ReLU())
            self.affine: nn.Module = nn.Conv2d(64, 2 * channels, 3, padding=1)
        else:
            self.affine = nn.Linear(width, 2 * channels)

    def forward(self, maps: Tensor, modulation: Tensor) -> Tensor:
        """Normalise and modulate (batch, channels, height, width)."""
        if modulation.ndim == 4:
            affine = self.affine(self.shared(F.interpolate(modulation, size=maps.shape[2:], mode="nearest")))
        else:
            affine = self.affine(modulation)[:, :, None, None]
        scale, shift = affine.chunk(2, 1)
        result: Tensor = self.norm(maps) * (1 + scale) + shift
        return result


class Chain(nn.Sequential):
    """Layers one after the other, of which some are modulated."""

    steered: ClassVar[bool] = True

    def forward(self, maps: Tensor, modulation: Tensor | None = None) -> Tensor:
        """(batch, channels, height, width) through all of them."""
        for layer in self:
            maps = through(layer, maps, modulation)
        return maps


def through(layer: nn.Module, maps: Tensor, modulation: Tensor | None) -> Tensor:
    """Maps through a layer that may be modulated."""
    result: Tensor = layer(maps, modulation) if getattr(layer, "steered", False) else layer(maps)
    return result


def stacked(source: Tensor, planes: Tensor | None) -> Tensor:
    """The source with planes on its channels, where there are any."""
    return source if planes is None else torch.cat([source, planes], 1)


def no_objects() -> ConfigError:
    """The error for looks of objects that are nowhere."""
    return ConfigError(
        "there are no objects of which a look could be read",
        why="no condition is a map of them",
        fix="--condition map,style --set conditions.map.edges=true, or leave conditions.style.of_objects out",
    )


def is_local(options: Mapping[str, Any]) -> bool:
    """Whether a generator's output at a place depends on its inputs near it alone, but for batch statistics in training."""
    return options.get("norm", "none") in ("batch", "none") and options["injection"] != "spade" and "look" not in options["conditions"]


class TextEncoder(nn.Module):
    """A sentence of known words to a vector: embedded, looked at three at a time, averaged (Kim, EMNLP 2014, with a mean).

    Args:
        words: how many are known; 0 stands for no word.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, TEXT_WIDTH, padding_idx=0)
        self.convolution = nn.Conv1d(TEXT_WIDTH, TEXT_WIDTH, 3, padding=1)
        self.project = nn.Linear(TEXT_WIDTH, TEXT_WIDTH)

    def forward(self, words: Tensor) -> Tensor:
        """(batch, length) of word numbers, 0 for none, to (batch, 64); zero for a sentence without words."""
        known = (words > 0).to(self.project.weight.dtype)[:, None]
        embedded = self.embedding(words).transpose(1, 2)
        features = torch.relu(self.convolution(embedded)) * known
        mean = features.sum(2) / known.sum(2).clamp(min=1)
        vector: Tensor = self.project(mean) * known.amax(2)
        return vector


END = 4
"""Rows and columns of the last maps of encoders that see a reference as a whole."""


def halvings_to_end(side: int) -> int:
    """From references of a side down to :data:`END`.

    >>> halvings_to_end(256)
    6

    Raises:
        ConfigError: the side is no power of two, or nothing would be halved.
    """
    if side < 2 * END or side & (side - 1):
        raise ConfigError(f"the side of references cannot be {side}", fix=f"a power of two, {2 * END} or more, such as 256")
    return (side // END).bit_length() - 1


class CodeEncoder(nn.Module):
    """A reference picture to a code.

    Attributes:
        gaussian: whether a code has a distribution; else it lies in [-1, 1].
        side: of the squares that references are brought to, in pixels.
    """

    gaussian: bool
    side: int

    def forward(self, reference: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, width); zero for a picture of zeros, which stands for none."""
        code = self.distribution(reference)[0] if self.gaussian else torch.tanh(self.read(reference))
        return code * (reference.abs().amax((1, 2, 3)) > 0).to(reference.dtype)[:, None]

    def distribution(self, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the codes of pictures, each (batch, width)."""
        mean, log_variance = self.read(reference).chunk(2, 1)
        return mean, log_variance

    def read(self, reference: Tensor) -> Tensor:
        """What is read off pictures: (batch, 2 width) where it has a distribution, else (batch, width)."""
        raise NotImplementedError


class StyleEncoder(CodeEncoder):
    """A reference picture to a style code: halvings, the mean over all places, one layer.

    What averages over a whole picture is its colours and textures, not its layout (Huang et al., "MUNIT", ECCV 2018, section 3). A code
    that may also be drawn by chance has a distribution, N(mu, sigma^2) (Kingma and Welling, 2014), of which mu is taken at use; one that
    may not lies in [-1, 1].

    Args:
        channels: of the picture.
        width: of the code.
        gaussian: whether it has a distribution.
    """

    def __init__(self, channels: int, width: int, *, gaussian: bool = False) -> None:
        super().__init__()
        self.gaussian, self.side = gaussian, REFERENCE_SIDE
        layers: list[nn.Module] = []
        for inner, outer in ((channels, 32), (32, 64), (64, 64)):
            layers += [nn.Conv2d(inner, outer, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.project = nn.Linear(64, 2 * width if gaussian else width)

    def read(self, reference: Tensor) -> Tensor:
        """See :meth:`CodeEncoder.read`."""
        read: Tensor = self.project(self.layers(reference).mean((2, 3)))
        return read


class WholeEncoder(CodeEncoder):
    """A reference picture of one size to the distribution of its codes: halvings down to 4x4, then one layer over the whole.

    Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019, appendix A, figure 14: 3x3 convolutions of
    stride 2 with instance norm and LeakyReLU(0.2), of ``first`` channels, twice as many after each up to eight times, and one layer each
    for mu and log sigma^2. Of references that are larger the mean over all places is taken.

    Args:
        channels: of the picture.
        width: of the code.
        side: of the references, a power of two, 8 or more.
        first: channels after the first halving.

    Raises:
        ConfigError: the side is no such power.
    """

    def __init__(self, channels: int, width: int, *, side: int, first: int) -> None:
        super().__init__()
        self.gaussian, self.side = True, side
        widths = [channels, *(first * min(2**level, 8) for level in range(halvings_to_end(side)))]
        layers: list[nn.Module] = []
        for inner, outer in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(inner, outer, 3, 2, 1, bias=False), InstanceNorm2d(outer), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.project = nn.Conv2d(widths[-1], 2 * width, END)

    def read(self, reference: Tensor) -> Tensor:
        """See :meth:`CodeEncoder.read`."""
        read: Tensor = self.project(self.layers(reference)).mean((2, 3))
        return read


class Reading(nn.Module):
    """What a critic's last features say of the conditions: whether they agree with them, or which they guess.

    projection   logit(h) + <W c, mean h>      Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018, equation 4
    classifier   logits of each label          Odena et al., "AC-GAN", ICML 2017

    Args:
        steering: of the critic.
        conditioning: how it takes conditions in.
        features: channels of its last features.
        whole: rows and columns of the last features, which a classifier sees place by place (Choi et al., "StarGAN", CVPR 2018, section
            7.2); of larger ones the mean of its guesses is taken. None: it sees the mean of the features, whatever their size.

    Raises:
        ConfigError: a classifier without anything that it could guess.
    """

    is_light: ClassVar[bool] = True

    def __init__(self, steering: Steering, *, conditioning: Conditioning, features: int, whole: int | None = None) -> None:
        super().__init__()
        self.whole = whole
        self.guesses = nn.ModuleDict()
        if conditioning == "classifier":
            if not steering.conditions.keys() & set(GUESSED):
                raise ConfigError(
                    "the critic's classifier has nothing to guess",
                    why=f"it reads {' and '.join(GUESSED)} off a picture, and neither is a condition here",
                    fix="--set critic.options.conditioning=projection",
                )
            for kind in (kind for kind in GUESSED if kind in steering.conditions):
                count = steering.conditions[kind] // (2 if kind == "attributes" else 1)
                self.guesses[kind] = nn.Linear(features, count) if whole is None else nn.Conv2d(features, count, whole, bias=False)
        read = [kind for kind in steering.conditions if kind not in self.guesses and kind not in SPATIAL]
        self.project = nn.Linear(steering.modulation_width, features, bias=False) if steering.modulation_width and read else None

    def forward(self, logits: Tensor, features: Tensor, modulation: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits with the agreement added, and the guesses by condition, (batch, width)."""
        if self.project is None and not self.guesses:
            return logits, {}
        mean = features.mean((2, 3))
        if self.project is not None:
            agreement = (self.project(modulation) * mean).sum(1)
            logits = logits + agreement.view(-1, *[1] * (logits.ndim - 1))
        if self.whole is None:
            return logits, {kind: guess(mean) for kind, guess in self.guesses.items()}
        return logits, {kind: guess(features).mean((2, 3)) for kind, guess in self.guesses.items()}


def _or_drawn(code: Tensor, noise: Tensor) -> Tensor:
    """The code where one was given, else the noise; a code of zeros stands for none."""
    given = (code != 0).any(1, keepdim=True).to(code.dtype)
    return code * given + noise * (1 - given)


def _check_injection(injection: Injection, *, vectors: int, maps: int) -> None:
    lacking = {"film": not vectors, "adain": not vectors, "spade": not maps}.get(injection, False)
    if lacking:
        wanted = "map or image" if injection == "spade" else "label, attributes, text, style or noise"
        raise ConfigError(
            f"the injection '{injection}' would have no effect",
            why=f"there is no condition that it is for ({wanted})",
            fix="--set generator.options.injection=planes",
        )


def check_noise(noise: Tensor | None, *, batch: int, channels: int) -> None:
    """Refuse noise that does not fit a network.

    Raises:
        ConfigError: it is missing, of another shape than (batch, channels), or not wanted.
    """
    wanted = (batch, channels) if channels else None
    given = None if noise is None else tuple(noise.shape)
    if given != wanted:
        raise ConfigError(
            "the noise does not fit the generator",
            why=f"wanted {wanted or 'none'}, given {given or 'none'} (batch, noise_channels)",
            fix="pass noise of (batch, noise_channels) to a generator with noise_channels > 0, and none to another",
        )
