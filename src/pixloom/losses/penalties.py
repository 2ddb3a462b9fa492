"""Penalties on a critic's gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu

from pixloom.shapes import Images, Judgement, Logits, Scalar

STEP = 0.01
"""Deviation of the noise between which and none the critic's difference is taken."""

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
    (gradient,) = torch.autograd.grad(score(critic(source, between, condition)).sum(), between, create_graph=True)
    slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (slope - 1).square().mean()


def slope(
    critic: JudgePairs,
    source: Float[Tensor, "batch _ height width"],
    candidate: Images,
    condition: dict[str, Tensor] | None = None,
) -> Scalar:
    """Half the squared slope of the critic at some pictures, E[|grad_v D(x, v)|^2] / 2, to be weighted by gamma.

    At real pictures it is R1, at made ones R2: Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018,
    equation 9 and the one after it. Only the candidate moves, its source stays; D is the mean over patches, then over scales.

    Args:
        critic: D, called as ``critic(source, candidate, condition)``.
        source: (batch, source channels, height, width).
        candidate: (batch, target channels, height, width); no gradient flows to it.
        condition: what steers the translation besides the source.
    """
    moved = candidate.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(critic(source, moved, condition)).sum(), moved, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def slope_by_difference(
    critic: JudgePairs,
    source: Float[Tensor, "batch _ height width"],
    candidate: Images,
    condition: dict[str, Tensor] | None = None,
    *,
    step: float = STEP,
) -> Scalar:
    """The same by a difference, E[(D(x, v + s e) - D(x, v))^2] / (2 s^2), e ~ N(0, I), whose expectation is :func:`slope` as s falls to
    zero.

    Lin et al., "Diffusion Adversarial Post-Training for One-Step Video Generation" (APT), 2025, section 3.4. It needs no second derivative,
    so it works on compiled critics and in half the memory; one direction is drawn per picture, so it varies more.

    Args:
        critic: D, called as ``critic(source, candidate, condition)``.
        source: (batch, source channels, height, width).
        candidate: (batch, target channels, height, width); no gradient flows to it.
        condition: what steers the translation besides the source.
        step: s, the deviation of the noise, of pictures in [-1, 1].
    """
    still = candidate.detach()
    moved = still + step * torch.randn_like(still)
    both = score(critic(*_twice(source, condition, still, moved)))
    first, second = both.chunk(2)
    return ((second - first) / step).square().mean() / 2


def _twice(
    source: Tensor, condition: dict[str, Tensor] | None, first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor] | None]:
    """Two candidates of each source as one batch."""
    doubled = {kind: torch.cat([value, value]) for kind, value in (condition or {}).items()}
    return torch.cat([source, source]), torch.cat([first, second]), doubled or None


def lecam(real: Logits, fake: Logits, *, anchors: Tensor) -> Scalar:
    """Hold a critic's logits to the average ones of the other kind: E[(D(x, y) - a_F)_+^2] + E[(a_R - D(x, G(x)))_+^2].

    Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data", CVPR 2021, equation 6 and the authors' code, which
    keeps what lies beyond the anchor alone. Logits must mean something by themselves: not with relativistic pairing.

    Args:
        real: logits of real pictures by scale.
        fake: of made ones.
        anchors: (2,), moving averages of the logits of real and of made pictures, a_R and a_F.
    """
    above = torch.stack([relu(scale - anchors[1]).square().mean() for scale in real]).mean()
    below = torch.stack([relu(anchors[0] - scale).square().mean() for scale in fake]).mean()
    return above + below


SLOPES: dict[str, Callable[..., Scalar]] = {"exact": slope, "difference": slope_by_difference}
"""Ways of finding squared slopes."""


def score(judgement: Judgement) -> Tensor:
    """D of each picture: the mean over patches, then over scales."""
    return torch.stack([scale.flatten(1).mean(1) for scale in judgement.logits]).mean(0)
