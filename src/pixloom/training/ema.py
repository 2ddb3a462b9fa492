"""The averaged generator."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a network, with a half-life in images.

        w_ema <- w + beta (w_ema - w),   beta = 0.5^(images of the step / half-life)

    Buffers (batch-norm statistics) are averaged likewise. Source: Karras et al., "Training Generative Adversarial Networks with Limited
    Data", NeurIPS 2020, appendix C (half-life parametrisation).
    """

    def __init__(self, network: nn.Module, *, halflife_images: float) -> None:
        self.halflife_images = halflife_images
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, *, num_images: int, sound: Tensor) -> None:
        """Move the average towards the network by one step that saw ``num_images``; not at all where ``sound`` is False."""
        weight = (1 - 0.5 ** (num_images / self.halflife_images)) * sound
        ours, theirs = self.network.state_dict(), network.state_dict()
        for name, average in ours.items():
            if average.is_floating_point():
                average.lerp_(theirs[name], weight.to(average.dtype))
            else:
                average.copy_(theirs[name])
