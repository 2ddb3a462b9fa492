"""A critic with the eyes of a network that was trained on photographs, beside its own: for few pictures."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from pixloom.backbones.perception import Perception
from pixloom.errors import ConfigError
from pixloom.nets.layers import Condition, Pictures
from pixloom.nets.residual import ResidualCritic, Width
from pixloom.nets.steering import Conditioning, Widths
from pixloom.shapes import Judgement

SHOWN = 64
"""Side of the picture on which the sizes of a network's activations are found out."""


class FrozenCritic(nn.Module):
    """D(x, y, c): the critic ``residual``, and a head on what a frozen network sees in the candidate at every size of its activations.

    Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021, for the heads on frozen features; Kumari et al., "Ensembling Off-the-shelf
    Models for GAN Training", CVPR 2022, for the critic of its own beside them. A head sees the activations, scaled to a mean square of 1
    over channels, and the mean of the source under each of them: 1x1, 3x3 and 1x1 convolutions. Pictures are not resized. The frozen
    network is no part of the critic's state: a run that goes on elsewhere needs its weights there.

    What learns by such features looks better through the same network than it is: a run with this critic is judged through another.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone.
        target_channels: channels of the candidate, 1 or 3.
        network: what looks, a name in ``pixloom.backbones.perception.PERCEPTIONS``, or the path of such a network's weights.
        heads: channels within a head.
        layers: number of halvings of the critic of its own.
        width: its channels at half the size.
        detail: how much its own critic enlarges the candidate's fine detail, see ``residual.ResidualCritic``.
        conditions: width of each condition by its kind, see ``steering.Widths``; its own critic judges them.
        conditioning: how they are taken in, see ``steering``.

    Raises:
        ConfigError: the candidates are no pictures that the network can look at, or there is no such network.
        DependencyError: its weights are not here.
    """

    keeps_scale: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        network: str = "squeeze",
        heads: Annotated[int, Field(ge=1, le=1024)] = 64,
        layers: Annotated[int, Field(ge=1, le=7)] = 3,
        width: Width = 32,
        detail: NonNegativeFloat = 0.0,
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        super().__init__()
        if target_channels not in (1, 3):
            raise ConfigError(
                "the critic 'frozen' cannot judge these outputs",
                why=f"its network looks at grey or RGB pictures, and they have {target_channels} channels",
                fix="--set critic.name=residual",
            )
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "network": network,
            "heads": heads,
            "layers": layers,
            "width": width,
            "detail": detail,
            "conditions": dict(conditions or {}),
            "conditioning": conditioning,
        }
        self.own = ResidualCritic(
            source_channels=source_channels,
            target_channels=target_channels,
            layers=layers,
            width=width,
            detail=detail,
            conditions=conditions,
            conditioning=conditioning,
        )
        # In a tuple it is no submodule: it is neither drawn anew, nor trained, counted or saved.
        self.eyes = (Perception(network),)
        self.places, widths = last_of_each_size(self.eyes[0])
        self.heads = nn.ModuleList(Verdict(seen + source_channels, heads) for seen in widths)

    def forward(self, source: Pictures, candidate: Pictures, condition: Condition | None = None) -> Judgement:
        """Judge pairs.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1]; a critic built with none ignores it.
            candidate: (batch, target_channels, height, width) in [-1, 1], real or generated.
            condition: tensors by kind; what is missing is not stated.

        Returns:
            The logits of its own critic, then those of each head, finest first, with the features of each, and what its own critic guesses.

        Raises:
            ConfigError: a condition that it does not take, or the pictures are too small.
        """
        own = self.own(source, candidate, condition)
        seen = self.eyes[0].to(candidate)(candidate)
        logits, features = list(own.logits), list(own.features)
        for place, head in zip(self.places, self.heads, strict=True):
            maps = even(seen[place])
            if self.options["source_channels"]:
                maps = torch.cat([adaptive_avg_pool2d(source, (maps.shape[2], maps.shape[3])), maps], 1)
            *hidden, verdict = head(maps)
            logits.append(verdict)
            features.append(hidden)
        return Judgement(logits, features, own.guesses)


class Verdict(nn.Sequential):
    """From activations to logits."""

    def __init__(self, seen: int, width: int) -> None:
        super().__init__(
            nn.Sequential(nn.Conv2d(seen, width, 1), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2)),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, maps: Tensor) -> list[Tensor]:
        """The output of every stage, the logits last."""
        outputs = []
        for stage in self:
            maps = stage(maps)
            outputs.append(maps)
        return outputs


def even(maps: Tensor) -> Tensor:
    """Activations with a mean square of 1 over the channels at every place."""
    return maps * (maps.square().mean(1, keepdim=True) + 1e-8).rsqrt()


@torch.no_grad()
def last_of_each_size(eyes: Perception) -> tuple[list[int], list[int]]:
    """Which activations of a network are the last of their size, and their channels; finest first."""
    side = max(SHOWN, eyes.smallest)
    device = next(eyes.parameters()).device
    shapes = [maps.shape for maps in eyes(torch.zeros(1, 3, side, side, device=device))]
    last = {shape[-1]: place for place, shape in enumerate(shapes)}
    places = sorted(last.values())
    return places, [shapes[place][1] for place in places]
