"""StarGAN v2: one generator between domains, steered by a style code that is drawn from noise or read off a reference picture.

    s = F_y(z)    a style of domain y, mapped from noise                Choi et al., "StarGAN v2", CVPR 2020, section 2.1
    s = E_y(r)    the style of a reference picture r of domain y
    G(x, s)       the source x in that style, by adaptive instance norm
    D_y(x)        whether x is a real picture of domain y

F, E and D have an output for every domain, of which the label y chooses: the sum of the outputs, weighted by the label's shares. One share
of 1 is the paper's choice, several are a mixture; without a label all domains have equal shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from pixloom.config import REFERENCE_SIDE
from pixloom.errors import ConfigError, nearest
from pixloom.nets.layers import Condition, Head, InstanceNorm2d, Pictures, output_head
from pixloom.nets.steering import END, Chain, Conditioning, Modulated, Widths, halvings_to_end
from pixloom.shapes import Images, Judgement

SMALLEST_REFERENCE = 32
"""The smallest side of a reference picture, in pixels."""

KINDS = ("label", "style")
"""The conditions that these networks take."""

_MOST_HALVINGS = SMALLEST_REFERENCE.bit_length() - 1


class Takes(NamedTuple):
    """What conditions a network takes: the shape of each by its kind, without the batch dimension."""

    shapes: dict[str, tuple[int, ...]]


class StarGan2(nn.Module):
    """The generator of StarGAN v2, with its mapping network F and its style encoder E (Choi et al., 2020, section 2.1, appendix A).

    Residual blocks before whose convolutions the maps are normalised and pass LeakyReLU(0.2): ``halvings`` that halve and two that do not,
    with instance norm; two that do not and ``halvings`` that double, with adaptive instance norm, (1 + gamma(s)) norm(h) + beta(s). Sums
    are divided by sqrt 2. G without F and E has the authors' 33,892,995 parameters, F 2,438,272 with two domains.

    Deviations: the output passes tanh, where the paper leaves its range open (with ``head="clamp"`` until use); E ends in a mean over all
    places instead of a 4x4 convolution, and halves at most five times, so that it takes references of any size from 32 pixels (12.0
    million parameters with two domains, where the paper's has 20.9), unless ``reference_side`` is given, with which it is the paper's;
    there are no high-pass skips, which the paper adds for aligned faces alone, behind landmark masks.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output, as many: what is translated are pictures of one kind.
        width: channels at the full size, doubled by every halving: 2^14 over the size in the paper, 64 at 256 pixels.
        max_width: the most channels.
        halvings: how often G halves: log2 of the size, less 4, in the paper.
        code: numbers of a style.
        noise_channels: length of the noise vector z that F maps.
        hidden: numbers in the layers of F.
        references: whether there is a style encoder E.
        reference_side: of the references that E takes, in pixels, a power of two; None: it takes any size.
        head: what makes the output of the last maps, see ``layers.output_head``.
        conditions: ``label``: number of domains; ``style``: equal to ``code``, where people give references or codes.

    Attributes:
        rates: factors of the learning rate, by the beginning of the parameters' names: the paper's 1e-6 for F beside 1e-4.

    Raises:
        ConfigError: no domains, a condition that it does not take, channels that differ, or references that nothing reads.
    """

    keeps_scale: ClassVar[bool] = True
    rates: ClassVar[Mapping[str, float]] = {"mapping": 0.01}
    radius: ClassVar[int | None] = None  # by the instance norm, a pixel depends on the whole picture

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        width: PositiveInt = 64,
        max_width: PositiveInt = 512,
        halvings: Annotated[int, Field(ge=1, le=8)] = 4,
        code: PositiveInt = 64,
        noise_channels: PositiveInt = 16,
        hidden: PositiveInt = 512,
        references: bool = True,
        reference_side: Annotated[int, Field(ge=SMALLEST_REFERENCE)] | None = None,
        head: Head = "tanh",
        conditions: Widths | None = None,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "width": width,
            "max_width": max_width,
            "halvings": halvings,
            "code": code,
            "noise_channels": noise_channels,
            "hidden": hidden,
            "references": references,
            "reference_side": reference_side,
            "head": head,
            "conditions": dict(conditions or {}),
        }
        _check_channels(source_channels, target_channels)
        self.domains = _domains(conditions, role="generator")
        _check_code(conditions, code=code)
        if not references and ("style" in (conditions or {}) or reference_side is not None):
            raise _no_encoder()
        self.noise_channels = noise_channels
        self.size_multiple, self.min_size = 2**halvings, 2 ** (halvings + 1)
        self.reference_side = reference_side or REFERENCE_SIDE
        shape = (target_channels, self.reference_side, self.reference_side)
        self.steering = Takes({kind: shape if kind == "style" else (self.domains,) for kind in conditions or {}})
        self.mapping = MappingNetwork(noise_channels, hidden, code, domains=self.domains)
        if references:
            lowered = min(halvings + 2, _MOST_HALVINGS) if reference_side is None else halvings_to_end(reference_side)
            self.style = ReferenceEncoder(
                target_channels,
                widths=_widths(width, halvings=lowered, most=max_width),
                code=code,
                domains=self.domains,
                whole=reference_side is not None,
            )
        widths = _widths(width, halvings=halvings, most=max_width)
        inner = widths[-1]
        self.entry = nn.Conv2d(source_channels, widths[0], 3, padding=1)
        self.encoder = nn.Sequential(*_lowering(widths, norm=_affine), *(Lowering(inner, inner, norm=_affine, halve=False) for _ in "12"))
        self.decoder = Chain(*(Raising(inner, inner, code=code, double=False) for _ in "12"))
        self.decoder.extend(Raising(low, high, code=code, double=True) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.exit = nn.Sequential(_affine(widths[0]), nn.LeakyReLU(0.2), nn.Conv2d(widths[0], target_channels, 1), output_head(head))

    def mapped(self, noise: Tensor, label: Tensor) -> Tensor:
        """F: styles from noise.

        Args:
            noise: (batch, noise_channels), standard normal.
            label: (batch, domains), shares in [0, 1]; rows of zeros: equal shares of all.

        Returns:
            (batch, code).
        """
        codes: Tensor = self.mapping(noise, label)
        return codes

    def encoded(self, reference: Images, label: Tensor) -> Tensor:
        """E: the styles of reference pictures.

        Args:
            reference: (batch, target_channels, height, width) in [-1, 1], of 32 pixels a side or more, or of ``reference_side``.
            label: (batch, domains), as in :meth:`mapped`: of which domain they are.

        Returns:
            (batch, code).

        Raises:
            ConfigError: the references are too small, or there is no E.
        """
        if not self.options["references"]:
            raise _no_encoder()
        least = self.options["reference_side"] or SMALLEST_REFERENCE
        _check_size(reference, least=least, what="reference pictures", who="style encoder", fix="give larger references")
        codes: Tensor = self.style(reference, label)
        return codes

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 2^halvings and at least twice as long.
            condition: ``label`` (batch, domains), shares of the wanted domains; ``style``: codes, (batch, code), or references,
                (batch, target_channels, h, w). An example whose style is all zeros states none, and has that of its noise.
            noise: (batch, noise_channels).

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition that it does not take, or noise that does not fit.
        """
        _check_noise(noise, batch=len(source), channels=self.noise_channels)
        code = self._code(condition or {}, noise, source)
        output: Tensor = self.exit(self.decoder(self.encoder(self.entry(source)), code))
        return output

    def _code(self, given: Condition, noise: Tensor | None, source: Tensor) -> Tensor:
        """(batch, code): the style that is given, example by example, else that of the noise."""
        assert noise is not None
        label = _label(given, self.domains, source)
        drawn = self.mapped(noise.to(source), label)
        if "style" not in given:
            return drawn
        style = given["style"].to(source)
        stated = (style.abs().flatten(1).amax(1, keepdim=True) > 0).to(drawn.dtype)
        own = self.encoded(style, label) if style.ndim == 4 else style
        return stated * own + (1 - stated) * drawn


class MappingNetwork(nn.Module):
    """F: eight fully connected layers from noise to a style, the last four of them for every domain apart (Choi et al., 2020, table 6).

    Args:
        noise_channels: of the noise.
        hidden: numbers in every layer.
        code: of the style.
        domains: how many.
    """

    def __init__(self, noise_channels: int, hidden: int, code: int, *, domains: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(noise_channels, hidden), nn.ReLU(), *_connected(hidden))
        self.heads = nn.ModuleList(nn.Sequential(*_connected(hidden), nn.Linear(hidden, code)) for _ in range(domains))

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        """(batch, noise_channels) and (batch, domains) to (batch, code)."""
        features = self.shared(noise)
        return _chosen(torch.stack([head(features) for head in self.heads], 1), label)


class ReferenceEncoder(nn.Module):
    """E: the trunk of :class:`DomainCritic`, and a layer from the mean over all places to a style for every domain.

    A ``whole`` one has, as the paper's, a 4x4 convolution before the mean, which sees all places where its trunk ends in 4x4.

    Args:
        channels: of the pictures.
        widths: channels at the full size and after every halving.
        code: of the style.
        domains: how many.
        whole: see above.
    """

    def __init__(self, channels: int, *, widths: list[int], code: int, domains: int, whole: bool = False) -> None:
        super().__init__()
        self.domains = domains
        self.stages = nn.Sequential(*_trunk(channels, widths), *_end(widths[-1], whole=whole))
        self.heads = nn.Linear(widths[-1], domains * code)

    def forward(self, reference: Images, label: Tensor) -> Tensor:
        """(batch, channels, height, width) and (batch, domains) to (batch, code)."""
        return _chosen(self.heads(self.stages(reference).mean((2, 3))).unflatten(1, (self.domains, -1)), label)


class DomainCritic(nn.Module):
    """One logit for every domain, of which the label chooses (Choi et al., 2020, section 2.1 and table 7; Mescheder et al., 2018).

    A convolution and ``halvings`` residual blocks that halve, without normalisation; LeakyReLU(0.2), the mean over all places, and a layer.

    Deviation: the mean stands in the place of a 4x4 convolution, so that pictures of any size can be judged. Of the authors' 20,852,290
    parameters with two domains it has all but that convolution's 4,194,816. A ``whole`` one has that too, and is the authors' for pictures
    of 4 * 2^halvings pixels; it judges those and larger ones.

    Args:
        source_channels: channels of the source, which is not looked at: there are no pairs.
        target_channels: channels of the candidate.
        width: channels at the full size, as in :class:`StarGan2`.
        max_width: the most channels.
        halvings: log2 of the size, less 2, in the paper.
        whole: whether the paper's 4x4 convolution stands before the mean, for pictures of 4 * 2^halvings pixels a side or more.
        conditions: ``label``: number of domains; a ``style`` is not looked at, as published.
        conditioning: only ``projection``: the label's shares project the logits.

    Raises:
        ConfigError: no domains, or a condition or conditioning that it does not take.
    """

    keeps_scale: ClassVar[bool] = True
    sees_source: ClassVar[bool] = False

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        width: PositiveInt = 64,
        max_width: PositiveInt = 512,
        halvings: Annotated[int, Field(ge=1, le=10)] = 6,
        whole: bool = False,
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        super().__init__()
        self.options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "width": width,
            "max_width": max_width,
            "halvings": halvings,
            "whole": whole,
            "conditions": dict(conditions or {}),
            "conditioning": conditioning,
        }
        self.domains = _domains(conditions, role="critic")
        if conditioning != "projection":
            raise ConfigError(
                f"the critic 'domains' has no conditioning '{conditioning}'",
                why="the label chooses among its logits, one for every domain",
                fix="--set critic.options.conditioning=projection",
            )
        self.min_size = 2**halvings * (END if whole else 1)
        widths = _widths(width, halvings=halvings, most=max_width)
        self.stages = nn.ModuleList(_trunk(target_channels, widths))
        last = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], self.domains)
        self.head = nn.Sequential(*_end(widths[-1], whole=whole), *last)

    def forward(self, source: Pictures, candidate: Pictures, condition: Condition | None = None) -> Judgement:
        """Judge candidates as pictures of their domains.

        Args:
            source: (batch, source_channels, height, width), not looked at.
            candidate: (batch, target_channels, height, width) in [-1, 1], real or generated.
            condition: ``label`` (batch, domains), shares of the domains; zeros: equal shares of all.

        Returns:
            Logits (batch, 1), before any sigmoid, the output of every stage, outermost first, and no guesses.

        Raises:
            ConfigError: a condition that it does not take, or the pictures are too small.
        """
        label = _label(condition or {}, self.domains, candidate)
        _check_size(candidate, least=self.min_size, what="pictures", who="critic", fix="raise data.size, or lower critic.options.halvings")
        maps, features = candidate, []
        for stage in self.stages:
            maps = stage(maps)
            features.append(maps)
        return Judgement([_chosen(self.head(maps)[:, :, None], label)], [features], {})


class Lowering(nn.Module):
    """(shortcut(x) + f(x)) / sqrt 2, f twice a normalisation, LeakyReLU(0.2) and a 3x3 convolution; the mean of 2 x 2 where it halves."""

    def __init__(self, inner: int, outer: int, *, norm: Callable[[int], nn.Module], halve: bool) -> None:
        super().__init__()
        pool = [nn.AvgPool2d(2)] if halve else []
        first = [norm(inner), nn.LeakyReLU(0.2), nn.Conv2d(inner, inner, 3, padding=1), *pool]
        self.residual = nn.Sequential(*first, norm(inner), nn.LeakyReLU(0.2), nn.Conv2d(inner, outer, 3, padding=1))
        self.shortcut = nn.Sequential(*_matching(inner, outer), *pool)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, inner, height, width) to (batch, outer, height / 2, width / 2), rounded down."""
        result: Tensor = (self.shortcut(maps) + self.residual(maps)) * 0.5**0.5
        return result


class Raising(nn.Module):
    """The same with adaptive instance norm, whose scale and shift follow a style; pixels are repeated where it doubles."""

    steered: ClassVar[bool] = True

    def __init__(self, inner: int, outer: int, *, code: int, double: bool) -> None:
        super().__init__()
        grow = [nn.Upsample(scale_factor=2)] if double else []
        self.residual = Chain(_adaptive(inner, code), nn.LeakyReLU(0.2), *grow, nn.Conv2d(inner, outer, 3, padding=1))
        self.residual.extend([_adaptive(outer, code), nn.LeakyReLU(0.2), nn.Conv2d(outer, outer, 3, padding=1)])
        self.shortcut = nn.Sequential(*grow, *_matching(inner, outer))

    def forward(self, maps: Tensor, code: Tensor) -> Tensor:
        """(batch, inner, height, width) and (batch, code) to (batch, outer, 2 height, 2 width)."""
        result: Tensor = (self.shortcut(maps) + self.residual(maps, code)) * 0.5**0.5
        return result


def shares(label: Tensor) -> Tensor:
    """(batch, domains), rows of zeros replaced by equal shares of all.

    >>> shares(torch.tensor([[0.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.5, 0.5]]
    """
    unstated = (label.abs().amax(1, keepdim=True) == 0).to(label.dtype)
    return label + unstated / label.shape[1]


def _chosen(outputs: Tensor, label: Tensor) -> Tensor:
    """(batch, domains, width), one row for every domain, to (batch, width) by the label's shares."""
    return (shares(label).to(outputs)[:, :, None] * outputs).sum(1)


def _connected(hidden: int) -> list[nn.Module]:
    """Three layers of F, with their ReLUs."""
    return [layer for _ in range(3) for layer in (nn.Linear(hidden, hidden), nn.ReLU())]


def _trunk(channels: int, widths: list[int]) -> list[nn.Module]:
    """The layers that E and D share in kind."""
    return [nn.Conv2d(channels, widths[0], 3, padding=1), *_lowering(widths, norm=lambda _: nn.Identity())]


def _end(width: int, *, whole: bool) -> list[nn.Module]:
    """What follows the trunk of either before the mean over all places."""
    seeing = [nn.Conv2d(width, width, END), nn.LeakyReLU(0.2)] if whole else []
    return [nn.LeakyReLU(0.2), *seeing]


def _lowering(widths: list[int], *, norm: Callable[[int], nn.Module]) -> list[Lowering]:
    return [Lowering(inner, outer, norm=norm, halve=True) for inner, outer in zip(widths[:-1], widths[1:], strict=True)]


def _widths(width: int, *, halvings: int, most: int) -> list[int]:
    """Channels at the full size and after every halving."""
    return [min(width * 2**level, most) for level in range(halvings + 1)]


def _affine(channels: int) -> nn.Module:
    return InstanceNorm2d(channels, affine=True)


def _adaptive(channels: int, code: int) -> nn.Module:
    return Modulated(InstanceNorm2d(channels), channels, width=code, spatial=False)


def _matching(inner: int, outer: int) -> list[nn.Module]:
    """The 1x1 convolution of a shortcut, where channels differ."""
    return [] if inner == outer else [nn.Conv2d(inner, outer, 1, bias=False)]


def _label(given: Condition, domains: int, pictures: Tensor) -> Tensor:
    """(batch, domains); zeros where none is stated. Refuses conditions that these networks do not take."""
    if others := given.keys() - set(KINDS):
        raise ConfigError(f"this network takes no condition '{min(others)}'", fix=nearest(min(others), KINDS))
    return given["label"].to(pictures) if "label" in given else pictures.new_zeros(len(pictures), domains)


def _check_noise(noise: Tensor | None, *, batch: int, channels: int) -> None:
    given = None if noise is None else tuple(noise.shape)
    if given != (batch, channels):
        raise ConfigError(
            "the noise does not fit the generator",
            why=f"wanted {(batch, channels)}, given {given or 'none'} (batch, noise_channels)",
            fix="pass noise of (batch, noise_channels), beside a style too: it is for examples that state none",
        )


def _check_size(pictures: Tensor, *, least: int, what: str, who: str, fix: str) -> None:
    height, width = pictures.shape[2:]
    if min(height, width) < least:
        raise ConfigError(
            f"the {what} are too small for the {who}", why=f"{height} x {width} pixels, where it needs {least} x {least}", fix=fix
        )


def _check_channels(source: int, target: int) -> None:
    if source != target:
        raise ConfigError(
            f"StarGAN v2 translates pictures with as many channels as their sources, not {source} into {target}",
            why="a translation is translated back, and pictures of every domain are sources and targets",
            fix="take pictures of one kind, or another generator",
        )


def _domains(conditions: Widths | None, *, role: str) -> int:
    """How many there are.

    Raises:
        ConfigError: none, or conditions that this network does not take.
    """
    given = conditions or {}
    if "label" not in given:
        raise ConfigError(
            f"this {role} is for domains", why="labels are not a condition here, and they name the domains", fix="--condition label"
        )
    if others := given.keys() - set(KINDS):
        raise ConfigError(
            f"this {role} has no use for the condition '{min(others)}'",
            why="it is steered by a domain, the label, and a style",
            fix="leave it out, or take another network",
        )
    return given["label"]


def _no_encoder() -> ConfigError:
    return ConfigError(
        "this generator takes no references",
        why="it has no style encoder that could read them",
        fix="leave generator.options.references=false out",
    )


def _check_code(conditions: Widths | None, *, code: int) -> None:
    style = (conditions or {}).get("style", code)
    if style != code:
        raise ConfigError(
            f"the condition 'style' has {style} numbers, where the styles of this generator have {code}",
            why="a code that is given takes the place of one that is mapped",
            fix=f"--set conditions.style.code={code}, or --set generator.options.code={style}",
        )
