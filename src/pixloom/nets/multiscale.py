"""Critics that judge a picture and smaller copies of it."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import nn

from pixloom.errors import ConfigError
from pixloom.nets.discriminators import Padding, PatchCritic, Spectral, check_size, smallest_side
from pixloom.nets.layers import Condition, Norm, Pictures, Planes, halved
from pixloom.nets.steering import Conditioning, Widths
from pixloom.shapes import Judgement


class MultiScaleCritic(nn.Module):
    """Independent patch critics of a picture and of halves, quarters ... of it.

    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018, section 3.2. pix2pixHD's and
    SPADE's have two scales; pix2pixHD's three layers and instance norm, SPADE's four (three halvings here) and spectral normalisation
    besides; both pad by 2. BicycleGAN's second has half the width of its first. Each half is the mean of 3 x 3 at every other place.
    Pixloom's addition: where the critics guess a condition, the guess is the mean of theirs.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone.
        target_channels: channels of the candidate.
        scales: number of critics.
        layers: number of halvings in each.
        width: channels of their first stages.
        widths: the same scale by scale, the full one first; None: ``width`` at every scale.
        norm: normalisation, a name in ``layers.NORMS``.
        spectral: which convolutions are spectrally normalised, see ``discriminators.Spectral``.
        bias: whether every convolution has a bias, whatever the norm.
        padding: of every convolution, see :class:`PatchCritic`.
        planes: what is seen of the source, see ``layers.seen``.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.

    Raises:
        ConfigError: widths for another number of scales.
    """

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        scales: Annotated[int, Field(ge=1, le=5)] = 2,
        layers: Annotated[int, Field(ge=1, le=8)] = 3,
        width: PositiveInt = 64,
        widths: list[PositiveInt] | None = None,
        norm: Norm = "instance",
        spectral: Spectral = False,
        bias: bool = False,
        padding: Padding = 1,
        planes: Planes = "signed",
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            **{"source_channels": source_channels, "target_channels": target_channels, "scales": scales, "layers": layers},
            **{"width": width, "widths": widths, "norm": norm, "spectral": spectral, "bias": bias, "padding": padding, "planes": planes},
            **{"conditions": dict(conditions or {}), "conditioning": conditioning},
        }
        shared = {name: value for name, value in self.options.items() if name not in ("scales", "width", "widths")}
        self.min_size = 2 ** (scales - 1) * (smallest_side(layers, padding=padding) - 1) + 1  # sides are halved upwards
        self.critics = nn.ModuleList(PatchCritic(**shared, width=first) for first in _of_scales(widths, width=width, scales=scales))

    def forward(self, source: Pictures, candidate: Pictures, condition: Condition | None = None) -> Judgement:
        """Judge pairs at every scale.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1]; a critic built with none ignores it.
            candidate: (batch, target_channels, height, width) in [-1, 1], real or generated.
            condition: tensors by kind; what is missing is not stated.

        Returns:
            For each scale, the full one first, a tensor of logits and a list with the output of every stage; and what is guessed.

        Raises:
            ConfigError: a condition that it does not take, or the pictures are too small.
        """
        check_size(candidate, self.min_size)
        judgements = []
        for scale, critic in enumerate(self.critics):
            assert isinstance(critic, PatchCritic)
            maps, modulation = critic.stacked(source, candidate, condition)
            for _ in range(scale):  # of the boundaries of objects, too, which smaller maps of objects would have elsewhere
                maps = halved(maps)
            judgements.append(critic.judge(maps, modulation))
        guesses = {kind: torch.stack([each.guesses[kind] for each in judgements]).mean(0) for kind in judgements[0].guesses}
        return Judgement([each.logits[0] for each in judgements], [each.features[0] for each in judgements], guesses)


def _of_scales(widths: list[int] | None, *, width: int, scales: int) -> list[int]:
    """The first channels at every scale."""
    found = [width] * scales if widths is None else widths
    if len(found) != scales:
        raise ConfigError(
            f"there are {scales} scales, and {len(found)} widths", fix="give one for each in critic.options.widths, or leave it out"
        )
    return found
