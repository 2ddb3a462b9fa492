"""Adversarial losses: what the critic and the generator each minimise, as pairs of pure functions of logits.

Logits are unbounded; where a probability is meant, D = sigmoid(logit) and the logarithm is taken by softplus, which does not overflow:
-log D = softplus(-logit) and -log(1 - D) = softplus(logit). A loss is the mean over scales of the mean over a scale's map and batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from pixloom.shapes import Logits, Scalar

Elementwise = Callable[[Tensor], Tensor]
"""A function of every single logit."""


@dataclass(frozen=True)
class AdversarialLoss:
    """The two sides of the game.

    Attributes:
        critic: (real logits, fake logits) -> named terms that the critic minimises the sum of.
        generator: (real logits, fake logits) -> what the generator minimises; real logits are read only where ``needs_real``.
        needs_real: whether the generator's side compares with the logits of the real pictures.
    """

    critic: Callable[[Logits, Logits], dict[str, Scalar]]
    generator: Callable[[Logits | None, Logits], Scalar]
    needs_real: bool = False


def _mean(scales: Iterable[Tensor]) -> Tensor:
    return torch.stack([scale.mean() for scale in scales]).mean()


def _separate(*, real: Elementwise, fake: Elementwise, generator: Elementwise) -> AdversarialLoss:
    """A loss that judges real and fake pictures each on their own."""

    def critic_side(reals: Logits, fakes: Logits) -> dict[str, Scalar]:
        return {"real": _mean(map(real, reals)), "fake": _mean(map(fake, fakes))}

    def generator_side(_: Logits | None, fakes: Logits) -> Scalar:
        return _mean(map(generator, fakes))

    return AdversarialLoss(critic_side, generator_side)


def _relativistic_critic(reals: Logits, fakes: Logits) -> dict[str, Scalar]:
    return {"relativistic": _mean(softplus(fake - real) for real, fake in zip(reals, fakes, strict=True))}


def _relativistic_generator(reals: Logits | None, fakes: Logits) -> Scalar:
    # The real logits do not depend on the generator: only the fake ones carry a gradient.
    assert reals is not None
    return _mean(softplus(real.detach() - fake) for real, fake in zip(reals, fakes, strict=True))


def _minus_log_probability(logits: Tensor) -> Tensor:
    return softplus(-logits)


def _square_to_one(logits: Tensor) -> Tensor:
    return (logits - 1).square()


ADVERSARIAL: dict[str, AdversarialLoss] = {
    # Critic: -log D(x, y) - log(1 - D(x, G(x))). Generator: log(1 - D(x, G(x))), which saturates where the critic is sure.
    # Goodfellow et al., Generative Adversarial Nets, 2014, eq. 1; Isola et al., 2017, eq. 1 for pairs.
    "minimax": _separate(real=_minus_log_probability, fake=softplus, generator=lambda logits: -softplus(logits)),
    # The same critic; the generator minimises -log D(x, G(x)), which has the same fixed point and strong gradients early on.
    # Goodfellow et al., 2014, section 3.
    "non-saturating": _separate(real=_minus_log_probability, fake=softplus, generator=_minus_log_probability),
    # (logit - 1)^2 for what shall be real and logit^2 for what shall be fake. Mao et al., Least Squares GANs, 2017, eq. 9,
    # without its factor 1/2, which belongs to the weights of the terms.
    "least-squares": _separate(real=_square_to_one, fake=torch.square, generator=_square_to_one),
    # Critic: max(0, 1 - real) + max(0, 1 + fake). Generator: -fake. Lim and Ye, Geometric GAN, 2017; Miyato et al., 2018, eq. 16 and 17.
    "hinge": _separate(real=lambda logits: relu(1 - logits), fake=lambda logits: relu(1 + logits), generator=torch.neg),
    # Critic: fake - real. Generator: -fake. Arjovsky et al., Wasserstein GAN, 2017, eq. 2 and 3; needs the gradient penalty.
    "wasserstein": _separate(real=torch.neg, fake=torch.positive, generator=torch.neg),
    # Critic: -log sigmoid(real - fake), a real and a fake picture of the same source compared; generator: the reverse.
    # Jolicoeur-Martineau, The Relativistic Discriminator, 2019, section 4 (RSGAN); Huang et al., R3GAN, 2024, eq. 2.
    "relativistic": AdversarialLoss(_relativistic_critic, _relativistic_generator, needs_real=True),
}
"""Every adversarial loss by name, with its formula and source."""
