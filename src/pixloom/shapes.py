"""Names for the shapes of tensors, checked under pytest (jaxtyping and beartype)."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "batch channels height width"]
"""A batch of pictures or feature maps; pictures are in [-1, 1]."""

Scalar = Float[Tensor, ""]
"""One number, with its gradient."""

PerImage = Float[Tensor, "batch"]
"""One number per picture."""

Features = Float[Tensor, "count dim"]
"""One feature vector per picture."""

Logits = list[Tensor]
"""A critic's verdicts, one tensor per scale: (batch, 1, h, w) for patches, (batch, 1) for whole pictures."""

FeatureLists = list[list[Tensor]]
"""A critic's hidden activations, one list per scale, outermost layer first."""


class Judgement(NamedTuple):
    """What every critic gives.

    Attributes:
        logits: its verdicts, before any sigmoid.
        features: its hidden activations.
        guesses: what an auxiliary classifier reads off the candidate, by condition, (batch, width) of logits, or (batch, classes, height,
            width) of a critic that segments; empty without one.
    """

    logits: Logits
    features: FeatureLists
    guesses: dict[str, Tensor]
