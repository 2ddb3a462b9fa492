"""Names for the shapes of tensors, checked under pytest (jaxtyping and beartype)."""

from __future__ import annotations

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
