"""What a map of objects tells a network: where objects meet, and what each of them looks like.

Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (pix2pixHD), CVPR 2018, sections 3.3
and 3.4. Maps hold a whole number for every pixel, the same for all pixels of an object, at least 0 and below the number of pixels.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pixloom.nets.layers import Pictures

Numbers = Float[Tensor, "batch 1 height width"]
"""Maps of objects."""

WIDTH, HALVINGS = 16, 4


def boundaries(numbers: Numbers) -> Numbers:
    """1 where a pixel is of another object than one of its four neighbours, else 0; as ``tasks.labels.edges``.

    >>> boundaries(torch.tensor([[[[1.0, 1.0, 1.0, 2.0, 2.0]]]])).tolist()
    [[[[0.0, 0.0, 1.0, 1.0, 0.0]]]]
    """
    across, down = (numbers.diff(dim=3) != 0).float(), (numbers.diff(dim=2) != 0).float()
    pad = nn.functional.pad
    sides = pad(across, (1, 0)), pad(across, (0, 1)), pad(down, (0, 0, 1, 0)), pad(down, (0, 0, 0, 1))
    return torch.stack(sides).amax(0).to(numbers.dtype)


def mean_within(numbers: Numbers, maps: Pictures) -> Pictures:
    """Maps in which every pixel has the mean of its object, channel by channel.

    Args:
        numbers: (batch, 1, height, width).
        maps: (batch, channels, height, width).

    >>> mean_within(torch.tensor([[[[0.0, 0.0, 1.0]]]]), torch.tensor([[[[1.0, 3.0, 5.0]]]])).tolist()
    [[[[2.0, 2.0, 5.0]]]]
    """
    flat = maps.float().flatten(2)  # sums over many pixels, which half precision would round away
    last = flat.shape[2] - 1
    index = numbers.long().clamp(0, last).flatten(2).expand_as(flat)
    totals = torch.zeros_like(flat).scatter_add(2, index, flat)
    counts = torch.zeros_like(flat).scatter_add(2, index, torch.ones_like(flat))
    means = (totals / counts.clamp(min=1)).gather(2, index)
    return means.reshape(maps.shape).to(maps.dtype)


class LookEncoder(nn.Module):
    """A picture to a few numbers for each of its objects, spread over it: E of pix2pixHD, section 3.4.

    Four halvings and as many doublings, then the mean over each object, so that no more than an object's average look gets through. The
    convolutions are those of the published network; what a size that is no multiple of 16 makes too large is cut. Deviations: no instance
    norm, which takes away just what a look is made of (as in MUNIT's style encoder; Huang et al., 2018, section 5.1), and without it
    softsign, whose gradient does not vanish, instead of tanh.

    Args:
        channels: of the picture.
        width: numbers of a look; the paper's are 3.
    """

    keeps_scale: ClassVar[bool] = True

    def __init__(self, channels: int, width: Annotated[int, "at least 1"]) -> None:
        super().__init__()

        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, WIDTH, 7), nn.LeakyReLU(0.2)]
        widths = [WIDTH * 2**halving for halving in range(HALVINGS + 1)]
        for inner, outer in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(inner, outer, 3, 2, 1), nn.LeakyReLU(0.2)]
        for inner, outer in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(inner, outer, 3, 2, 1, 1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(WIDTH, width, 7), nn.Softsign())

    def forward(self, reference: Pictures, numbers: Numbers) -> Pictures:
        """Read looks.

        Args:
            reference: (batch, channels, height, width) in [-1, 1], sides of at least 4; of zeros where none is given.
            numbers: its objects.

        Returns:
            (batch, width, height, width) in [-1, 1], the same all over an object; zeros where no reference is given.
        """
        height, width = reference.shape[2:]
        looks = mean_within(numbers, self.layers(reference)[..., :height, :width])
        return looks * (reference.abs().amax((1, 2, 3)) > 0).to(looks.dtype)[:, None, None, None]
