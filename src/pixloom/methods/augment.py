"""What a critic is shown of pairs, so that it cannot learn few of them by heart: the same change for the real and the made picture.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (DiffAugment), NeurIPS 2020: pictures are changed by chance
wherever the critic sees them, in its own step and in the generator's, and gradients flow through the change. For pairs a shift moves
source, maps and candidate together, and colours, which often are what is to be learnt, change mildly and in the candidate alone. Real and
made ones of one source change alike, so that a comparison of the two is of them and not of the changes. Cutouts are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pixloom.methods.side import Side
from pixloom.nets.steering import SPATIAL

SHIFT = 1 / 8
"""Largest shift, as a share of the side."""

BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.2, 0.3
"""Largest changes: of values in [-1, 1], and of factors around 1."""


@dataclass(frozen=True)
class Change:
    """What happens to the pictures of a batch.

    Attributes:
        shifts: rows and columns by which each moves.
        reach: the largest shift there may be.
        brightness: what is added to each, (batch, 1, 1, 1).
        contrast, saturation: factors, (batch, 1, 1, 1).
    """

    shifts: tuple[tuple[int, int], ...]
    reach: tuple[int, int]
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor


def draw(pictures: Tensor, *, share: float) -> Change:
    """A change of every picture by chance, of none with the probability 1 - share; from torch's global generator."""
    count, height, width = len(pictures), *pictures.shape[2:]
    reach = round(SHIFT * height), round(SHIFT * width)
    chosen = torch.rand(count) < share
    offsets = torch.stack([torch.randint(-most, most + 1, (count,)) for most in reach], 1) * chosen[:, None]

    def around(middle: float, most: float) -> Tensor:
        drawn = (torch.rand(count) * 2 - 1) * most * chosen + middle
        return drawn.view(-1, 1, 1, 1).to(pictures)

    return Change(tuple(map(tuple, offsets.tolist())), reach, around(0.0, BRIGHTNESS), around(1.0, CONTRAST), around(1.0, SATURATION))


def augmented(side: Side, change: Change) -> Side:
    """A side of the game as the critic is to see it."""
    condition = {kind: shifted(value, change) if kind in SPATIAL else value for kind, value in side.condition.items()}
    return Side(shifted(side.source, change), recoloured(shifted(side.candidate, change), change), condition)


def shifted(maps: Tensor, change: Change) -> Tensor:
    """(batch, channels, height, width), moved; what comes in at the borders is mirrored."""
    down, across = change.reach
    height, width = maps.shape[2:]
    wide = F.pad(maps, (across, across, down, down), mode="reflect")
    rows = [(down + y, across + x) for y, x in change.shifts]
    return torch.stack([wide[place, :, y : y + height, x : x + width] for place, (y, x) in enumerate(rows)])


def recoloured(pictures: Tensor, change: Change) -> Tensor:
    """(batch, channels, height, width) in other colours: saturation around a pixel's mean, contrast around a picture's, brightness."""
    grey = pictures.mean(1, keepdim=True)
    pictures = grey + (pictures - grey) * change.saturation
    mean = pictures.mean((1, 2, 3), keepdim=True)
    return mean + (pictures - mean) * change.contrast + change.brightness
