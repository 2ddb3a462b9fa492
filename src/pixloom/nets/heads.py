"""Heads that make vectors of a few places of maps, for losses that tell places apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F


class PatchHeads(nn.Module):
    """Two layers for the maps of each depth, and vectors of length 1 (Park et al., "CUT", ECCV 2020, section 3).

    Args:
        widths: channels of the maps, depth by depth.
        dim: length of the vectors' numbers.
    """

    def __init__(self, *, widths: Annotated[list[PositiveInt], Field(min_length=1)], dim: PositiveInt = 256) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"widths": list(widths), "dim": dim}
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.Linear(dim, dim)) for width in widths)

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Vectors (batch, places, dim) of maps (batch, width, height, width), of the places of each depth, numbered row by row."""
        return [
            F.normalize(head(of_depth.flatten(2)[:, :, chosen].transpose(1, 2)), dim=2)
            for head, of_depth, chosen in zip(self.heads, maps, places, strict=True)
        ]
