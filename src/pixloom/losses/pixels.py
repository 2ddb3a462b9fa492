"""Losses between a translation and its target, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pixloom.shapes import Images, Scalar


def l1(prediction: Images, target: Images) -> Scalar:
    """Mean absolute difference, E|y - y_hat|: the L1 term of Isola et al., 2017, eq. 3.

    Both are (batch, channels, height, width) in [-1, 1].

    >>> l1(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)).item()
    0.5
    """
    return F.l1_loss(prediction, target)


def l2(prediction: Images, target: Images) -> Scalar:
    """Mean squared difference, E(y - y_hat)^2; both are (batch, channels, height, width) in [-1, 1].

    >>> l2(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)).item()
    0.25
    """
    return F.mse_loss(prediction, target)


def charbonnier(prediction: Images, target: Images, *, epsilon: float = 1e-3) -> Scalar:
    """A smooth L1, E sqrt((y - y_hat)^2 + epsilon^2): Lai et al., Deep Laplacian Pyramid Networks, 2017.

    Both are (batch, channels, height, width) in [-1, 1].

    >>> round(charbonnier(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).item(), 6)
    0.001
    """
    return torch.sqrt((prediction - target).square() + epsilon**2).mean()


PIXEL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "l2": l2, "charbonnier": charbonnier}
"""Every pixel loss by name."""
