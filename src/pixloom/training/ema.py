"""The averaged generator."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a network, with a half-life in images.

        w_ema <- w + beta (w_ema - w),   beta = 0.5^(images of the step / half-life)

    Buffers (batch-norm statistics) are averaged likewise. Source: Karras et al., "Training Generative Adversarial Networks with Limited
    Data", NeurIPS 2020, appendix C (half-life parametrisation); with ``share`` the half-life is min(h, share x images seen), as in Karras
    et al., "Alias-Free Generative Adversarial Networks" (StyleGAN3), 2021, so that the average forgets how it began however short the run
    is.

    Args:
        network: what is averaged.
        halflife_images: h.
        share: None: the half-life does not grow.
    """

    def __init__(self, network: nn.Module, *, halflife_images: float, share: float | None = None) -> None:
        self.halflife_images, self.share = halflife_images, share
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, *, num_images: int, sound: Tensor, seen: int = 0) -> None:
        """Move the average towards the network by one step of ``num_images``, the last of ``seen``; not at all where ``sound`` is False."""
        halflife = self.halflife_images if self.share is None else min(self.halflife_images, self.share * seen)
        weight = (1 - 0.5 ** (num_images / halflife)) * sound
        ours, theirs = self.network.state_dict(), network.state_dict()
        for name, average in ours.items():
            if average.is_floating_point():
                average.lerp_(theirs[name], weight.to(average.dtype))
            else:
                average.copy_(theirs[name])
