"""Penalties on a critic's gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from pixloom.shapes import Images, Judgement, Scalar

JudgePairs = Callable[[Tensor, Tensor, dict[str, Tensor] | None], Judgement]
"""A critic: (source, candidate, condition) -> its judgement."""


def gradient_penalty(
    critic: JudgePairs,
    source: Float[Tensor, "batch _ height width"],
    real: Images,
    fake: Images,
    condition: dict[str, Tensor] | None = None,
    *,
    rng: torch.Generator | None,
) -> Scalar:
    """Hold the critic's slope near one between real and fake: E[(|grad_v D(x, v)| - 1)^2], v = t y + (1 - t) G(x), t ~ U(0, 1).

    Gulrajani et al., Improved Training of Wasserstein GANs, 2017, eq. 3. Only the candidate is interpolated, its source stays; t is
    drawn once per picture; D is the mean over patches, then over scales. The critic must judge every picture on its own: batch norm
    couples them and makes the penalty meaningless (section 4 there).

    Args:
        critic: D, called as ``critic(source, candidate, condition)``.
        source: (batch, source channels, height, width).
        real: (batch, target channels, height, width).
        fake: like ``real``; no gradient flows to it.
        condition: what steers the translation besides the source.
        rng: where t is drawn from; None: torch's global generator.

    Returns:
        The unweighted penalty, differentiable with respect to the critic's parameters.
    """
    device = real.device if rng is None else rng.device
    share = torch.rand(len(real), 1, 1, 1, generator=rng, device=device).to(real)
    between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(_score(critic(source, between, condition)).sum(), between, create_graph=True)
    slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (slope - 1).square().mean()


def r1(
    critic: JudgePairs,
    source: Float[Tensor, "batch _ height width"],
    real: Images,
    condition: dict[str, Tensor] | None = None,
) -> Scalar:
    """Half the squared slope of the critic at real pictures, E[|grad_y D(x, y)|^2] / 2, to be weighted by gamma.

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9. Only the candidate moves, its source
    stays; D is the mean over patches, then over scales.

    Args:
        critic: D, called as ``critic(source, candidate, condition)``.
        source: (batch, source channels, height, width).
        real: (batch, target channels, height, width).
        condition: what steers the translation besides the source.
    """
    candidate = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(_score(critic(source, candidate, condition)).sum(), candidate, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def _score(judgement: Judgement) -> Tensor:
    """D of each picture: the mean over patches, then over scales."""
    return torch.stack([scale.flatten(1).mean(1) for scale in judgement.logits]).mean(0)
