"""A critic that says of every pixel which label it shows, or that it is generated."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.errors import ConfigError
from pixloom.nets.layers import Condition, Pictures, SpectralConv2d
from pixloom.nets.steering import Conditioning, Widths
from pixloom.shapes import Judgement


class SegmentingCritic(nn.Module):
    """A segmenter with one class more than there are labels: "generated" (Schönfeld et al., "OASIS", ICLR 2021, section 3.1).

        real(p) = log sum_n exp s_n(p) - s_fake(p)

    the log-odds, at the place p, of any label against "generated". A U-Net of residual blocks without normalisation layers, spectrally
    normalised: width * 2^floor(n/2), at most 4 width, channels at 1/2^(n+1) of the size, and skips between blocks of one size. It sees
    candidates only; the labels are what it is asked for. Pictures may have any size.

    Args:
        source_channels: channels of the source: planes of labels, N.
        target_channels: channels of the candidate.
        layers: number of halvings.
        width: channels at half the size.
        conditions: none: it would ignore them.
        conditioning: without effect, for there are no conditions; not ``classifier``, for it guesses labels already.

    Raises:
        ConfigError: conditions, or a classifier of them.
    """

    min_size = 1

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        layers: Annotated[int, Field(ge=1, le=8)] = 6,
        width: Annotated[int, Field(ge=2)] = 128,
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        super().__init__()
        _check_conditions(conditions, conditioning)
        self.options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "layers": layers,
            "width": width,
            "conditions": {},
            "conditioning": conditioning,
        }
        widths = [width * min(2 ** (layer // 2), 4) for layer in range(layers)]
        self.down = nn.ModuleList(
            Block(inner, outer, activated=bool(stage))
            for stage, (inner, outer) in enumerate(zip([target_channels, *widths], widths, strict=False))
        )
        outers = [*widths[-2::-1], width // 2]
        inners = [widths[-1], *(2 * outer for outer in outers[:-1])]
        self.up = nn.ModuleList(Block(inner, outer) for inner, outer in zip(inners, outers, strict=True))
        self.head = nn.Conv2d(width // 2, source_channels + 1, 1)

    def forward(self, source: Pictures, candidate: Pictures, condition: Condition | None = None) -> Judgement:
        """Segment candidates.

        Args:
            source: ignored.
            candidate: (batch, target_channels, height, width) in [-1, 1], real or generated.
            condition: none.

        Returns:
            One tensor of logits, (batch, 1, height, width), one list with the output of every block, and as the guess ``segments`` the
            logits of all classes, (batch, N + 1, height, width), "generated" last.

        Raises:
            ConfigError: a condition is given.
        """
        if condition:
            raise ConfigError(f"this network takes no condition '{next(iter(condition))}'", fix="leave the condition out")
        maps, features = candidate, []
        for block in self.down:
            # Sides are halved upwards, so that none comes to nothing.
            maps = F.avg_pool2d(block(maps), 2, ceil_mode=True)
            features.append(maps)
        sides = [candidate.shape[2:], *(skip.shape[2:] for skip in features)]
        skips = features[:-1]
        for stage, block in enumerate(self.up):
            joined = maps if stage == 0 else torch.cat([skips.pop(), maps], 1)
            maps = block(F.interpolate(joined, size=sides[-2 - stage], mode="nearest"))
            features.append(maps)
        segments = self.head(maps)
        verdict = segments[:, :-1].logsumexp(1, keepdim=True) - segments[:, -1:]
        return Judgement([verdict], [features], {"segments": segments})


class Block(nn.Module):
    """s(h) + f(h), f twice a LeakyReLU(0.2) and a 3x3 convolution, s a 1x1 convolution (He et al., "Identity Mappings", 2016).

    Args:
        inner: channels of h.
        outer: channels of the result.
        activated: whether f begins with an activation, which a picture does not want.
    """

    def __init__(self, inner: int, outer: int, *, activated: bool = True) -> None:
        super().__init__()
        first = [nn.LeakyReLU(0.2)] if activated else []
        self.residual = nn.Sequential(*first, SpectralConv2d(inner, outer, 3, padding=1))
        self.residual.extend([nn.LeakyReLU(0.2), SpectralConv2d(outer, outer, 3, padding=1)])
        self.shortcut = SpectralConv2d(inner, outer, 1, bias=False) if inner != outer else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, inner, height, width) to (batch, outer, height, width)."""
        result: Tensor = self.shortcut(maps) + self.residual(maps)
        return result


def _check_conditions(conditions: Widths | None, conditioning: Conditioning) -> None:
    if conditions or conditioning == "classifier":
        raise ConfigError(
            "the critic 'segmenting' takes no conditions",
            why="it says which label of the source a pixel shows, and looks at nothing else",
            fix="use the critic 'multiscale', or leave the conditions out",
        )
