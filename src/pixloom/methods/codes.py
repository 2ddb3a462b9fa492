"""Codes that a generator's encoder reads off reference pictures: their distribution, and draws from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixloom.nets.layers import bare
from pixloom.nets.steering import CodeEncoder, Steering
from pixloom.nets.team import acting


def is_coded(generator: nn.Module) -> bool:
    """Whether a generator takes one code that is either drawn by chance or read off a reference picture."""
    return encoder_of(generator) is not None


def encoder_of(generator: nn.Module) -> CodeEncoder | None:
    """The encoder of such a generator."""
    steering = getattr(acting(bare(generator)), "steering", None)
    return steering.style if isinstance(steering, Steering) and steering.is_coded else None


def read(generator: nn.Module, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the codes of reference pictures, each (batch, width)."""
    encoder = encoder_of(generator)
    assert encoder is not None, "is_coded says whether there is one"
    return encoder.distribution(reference)


def drawn(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Z = mu + sigma epsilon, epsilon ~ N(0, 1) (Kingma and Welling, 2014, section 2.4)."""
    return mean + (log_variance / 2).exp() * torch.randn_like(mean)
