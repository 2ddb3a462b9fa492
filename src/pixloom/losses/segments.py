"""The game of a critic that segments: real pixels are of their class, made ones of one class more.

    critic      E[-sum_c w_c t_c log D(y)_c] + E[-log D(G(t))_{N+1}]
    generator   E[-sum_c w_c t_c log D(G(t))_c]

Source: Schonfeld et al., "You Only Need Adversarial Supervision for Semantic Image Synthesis" (OASIS), ICLR 2021, equations 1 to 3, with
w_c the inverse of the class's share of the batch. Label maps are (batch, classes, height, width) in [-1, 1], as in ``losses.classes``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pixloom.shapes import Images, Scalar

Labels = Float[Tensor, "batch classes height width"]
"""Label maps, a plane per class, in [-1, 1]."""


def segmenting_critic(real: Images, fake: Images, *, labels: Labels) -> dict[str, Scalar]:
    """The critic's terms.

    Args:
        real: logits of N + 1 classes of the pixels of real pictures, (batch, N + 1, height, width).
        fake: those of made ones.
        labels: of both.
    """
    return {"real": segmenting_generator(real, labels=labels), "fake": -F.log_softmax(fake, 1)[:, -1].mean()}


def segmenting_generator(fake: Images, *, labels: Labels) -> Scalar:
    """The generator's term, see :func:`segmenting_critic`: its pixels are to be of their class."""
    right = (labels[:, : fake.shape[1] - 1] + 1) / 2
    counts = right.sum((0, 2, 3))
    weight = _balanced(counts)
    chosen = (right * F.log_softmax(fake, 1)[:, :-1] * weight[:, None, None]).sum()
    return -chosen / right.sum().clamp(min=1)


def _balanced(counts: Tensor) -> Tensor:
    """The inverse of each class's share among those that occur; 0 for those that do not."""
    there = counts > 0
    return torch.where(there, counts.sum() / (there.sum() * counts.clamp(min=1)), torch.zeros_like(counts))
