"""Critics that judge a picture and smaller copies of it."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import nn

from pixloom.nets.discriminators import PatchCritic, check_size, smallest_side
from pixloom.nets.layers import Condition, Norm, Pictures, halved
from pixloom.nets.steering import Conditioning, Widths, shrunk
from pixloom.shapes import Judgement


class MultiScaleCritic(nn.Module):
    """Independent patch critics of a picture and of halves, quarters ... of it.

    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018, section 3.2. pix2pixHD's and
    SPADE's have two scales; pix2pixHD's three layers and instance norm, SPADE's four (three halvings here) and spectral normalisation
    besides. Each half is the mean of 3 x 3 at every other place. Pixloom's addition: where the critics guess a condition, the guess is the
    mean of theirs.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone.
        target_channels: channels of the candidate.
        scales: number of critics.
        layers: number of halvings in each.
        width: channels of their first stages.
        norm: normalisation, a name in ``layers.NORMS``.
        spectral: whether every convolution is spectrally normalised.
        conditions: width of each condition by its kind, see ``steering.Widths``.
        conditioning: how they are taken in, see ``steering``.
    """

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        scales: Annotated[int, Field(ge=1, le=5)] = 2,
        layers: Annotated[int, Field(ge=1, le=8)] = 3,
        width: PositiveInt = 64,
        norm: Norm = "instance",
        spectral: bool = False,
        conditions: Widths | None = None,
        conditioning: Conditioning = "projection",
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "scales": scales,
            "layers": layers,
            "width": width,
            "norm": norm,
            "spectral": spectral,
            "conditions": dict(conditions or {}),
            "conditioning": conditioning,
        }
        self.min_size = 2 ** (scales - 1) * (smallest_side(layers) - 1) + 1  # sides are halved upwards
        self.critics = nn.ModuleList(
            PatchCritic(
                source_channels=source_channels,
                target_channels=target_channels,
                layers=layers,
                width=width,
                norm=norm,
                spectral=spectral,
                conditions=conditions,
                conditioning=conditioning,
            )
            for _ in range(scales)
        )

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
        judgements = [self.critics[0](source, candidate, condition)]
        for critic in self.critics[1:]:
            candidate = halved(candidate)
            source = halved(source) if self.options["source_channels"] else candidate
            condition = shrunk(condition or {})
            judgements.append(critic(source, candidate, condition))
        guesses = {kind: torch.stack([each.guesses[kind] for each in judgements]).mean(0) for kind in judgements[0].guesses}
        return Judgement([each.logits[0] for each in judgements], [each.features[0] for each in judgements], guesses)
