"""Sources as other cameras, light and storage would have left them, so that a translator holds on what it has not seen.

What a network without normalisation learns from clean pictures alone leans on their finest differences: in noise, or in the dark, it is
lost. Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019, name such changes;
these are mild, continuous, and of the source alone, whose target stays as it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

GAMMA, BLUR, NOISE = 2.0, 1.5, 0.2
"""At most: the exponent of brightness, and its inverse; the deviation of the blur, in pixels; that of the noise, of values in [-1, 1]."""


def disturbed(sources: Tensor, *, share: float) -> Tensor:
    r"""Each source with probability ``share``, and of those by even chance each: darker or lighter, blurred, noisy.

    .. math:: x' = b_s * \big(2 ((x + 1) / 2)^\gamma - 1\big) + \sigma n, \quad \log \gamma \sim U(-\log 2, \log 2),
        s \sim U(0, 1.5), \sigma \sim U(0, 0.2), n \sim N(0, 1)

    By chance, from torch's global generator.

    Args:
        sources: (batch, channels, height, width) in [-1, 1].
        share: 0 to 1.

    Returns:
        The same shape, cut off at the ends of the range.
    """
    count = len(sources)
    chosen = torch.rand(count) < share

    def drawn(least: float, most: float) -> Tensor:
        """0 where it is not to be."""
        there = chosen & (torch.rand(count) < 0.5)
        return (torch.rand(count) * (most - least) + least) * there

    exponents, blurs, noises = drawn(-math.log(GAMMA), math.log(GAMMA)).exp(), drawn(0, BLUR), drawn(0, NOISE)
    if not chosen.any():
        return sources
    column = (-1, 1, 1, 1)
    lit = 2 * ((sources.clamp(-1, 1) + 1) / 2) ** exponents.view(column).to(sources) - 1
    soft = blurred(lit, blurs)
    return (soft + noises.view(column).to(sources) * torch.randn_like(sources)).clamp(-1, 1)


def blurred(pictures: Tensor, deviations: Tensor) -> Tensor:
    """Each by a Gaussian of its own deviation, (batch,), in pixels; as it is where that is 0. Borders are mirrored."""
    reach = min(math.ceil(3 * BLUR), *(side - 1 for side in pictures.shape[2:]))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (places / deviations.clamp(min=1e-3)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(pictures)
    count, channels, height, width = pictures.shape
    maps = F.pad(pictures, (reach, reach, reach, reach), mode="reflect").reshape(1, count * channels, height + 2 * reach, width + 2 * reach)
    each = kernels.repeat_interleave(channels, 0)[:, None]
    maps = F.conv2d(F.conv2d(maps, each[:, :, :, None], groups=len(each)), each[:, :, None, :], groups=len(each))
    return maps.reshape(pictures.shape)
