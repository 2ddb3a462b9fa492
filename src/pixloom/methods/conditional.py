"""The conditional GAN on pairs, and its control without a critic.

    min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x, z)))]  +  lambda E|y - G(x, z)|_1

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, equations 1 to 4. The adversarial part
may be any pair in ``pixloom.losses.adversarial.ADVERSARIAL``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from pixloom.config import LossConfig
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError, nearest
from pixloom.losses.adversarial import ADVERSARIAL
from pixloom.losses.classes import classification
from pixloom.losses.penalties import gradient_penalty
from pixloom.methods.base import Outputs
from pixloom.nets.layers import bare, has_batch_norm
from pixloom.shapes import Images, Scalar

T = TypeVar("T")

Content = Mapping[str, tuple[float, Callable[[Tensor, Tensor, Tensor], Tensor]]]
"""Name of a content term -> its weight, and the function of (output, source, target), each (batch, channels, height, width)."""


class Conditional:
    """Generator and critic against each other on pairs, with a content term.

    Args:
        generator: G(x, c, z).
        critic: D(x, y, c).
        losses: which adversarial pair, and its weights.
        content: the content terms with their weights, by name.

    Raises:
        ConfigError: an unknown loss, or a gradient penalty on a critic with batch norm (it couples the pictures of a batch, so that the
            penalty is not one picture's; Gulrajani et al. 2017, section 4).
    """

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig, content: Content) -> None:
        self.generator, self.critic = generator, critic
        self.adversarial = lookup(ADVERSARIAL, losses.adversarial, setting="losses.adversarial")
        self.content = content
        self.weights = adversarial_weights(losses, critic) | {name: weight for name, (weight, _) in content.items()}

    def translate(self, batch: Batch) -> Outputs:
        """G(x, c, z), with z drawn anew when the generator takes noise."""
        return Outputs(fake=self.generator(batch.source, batch.condition or None, draw_noise(self.generator, batch)))

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The critic's side of the adversarial pair, and the penalty on its gradient where it has a weight."""
        condition, real = batch.condition or None, _target(batch)
        on_real, on_fake = self.critic(batch.source, real, condition), self.critic(batch.source, outputs.fake, condition)
        terms = {**self.adversarial.critic(on_real.logits, on_fake.logits), **classification(on_real, batch.condition)}
        if self.weights["gradient_penalty"]:
            # A compiled graph cannot be differentiated twice.
            terms["gradient_penalty"] = gradient_penalty(
                bare(self.critic, compiled_only=True), batch.source, real=real, fake=outputs.fake, condition=condition, rng=None
            )
        return terms

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The generator's side of the adversarial pair, and the content term."""
        condition, real = batch.condition or None, _target(batch)
        on_fake = self.critic(batch.source, outputs.fake, condition)
        real_logits = None
        if self.adversarial.needs_real:
            with torch.no_grad():
                real_logits = self.critic(batch.source, real, condition).logits
        return {
            "adversarial": self.adversarial.generator(real_logits, on_fake.logits),
            **classification(on_fake, batch.condition),
            **_content_terms(self.content, batch, outputs),
        }


class Regression:
    """The content term alone: the twin without a critic, against which the adversarial term is judged."""

    critic = None

    def __init__(self, generator: nn.Module, *, content: Content) -> None:
        self.generator, self.content = generator, content
        self.weights = {name: weight for name, (weight, _) in content.items()}

    def translate(self, batch: Batch) -> Outputs:
        """G(x, c, z)."""
        return Outputs(fake=self.generator(batch.source, batch.condition or None, draw_noise(self.generator, batch)))

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """No critic, no terms."""
        return {}

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The content terms."""
        return _content_terms(self.content, batch, outputs)


def _content_terms(content: Content, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
    return {name: term(outputs.fake, batch.source, _target(batch)) for name, (_, term) in content.items()}


def adversarial_weights(losses: LossConfig, critic: nn.Module) -> dict[str, float]:
    """The weights of the terms that any game between generator and critic may have.

    Raises:
        ConfigError: a gradient penalty on a critic with batch norm.
    """
    penalty = losses.gradient_penalty_weight
    if penalty is None:
        penalty = 10.0 if losses.adversarial == "wasserstein" else 0.0
    if penalty and has_batch_norm(critic):
        raise ConfigError(
            "the gradient penalty does not work on a critic with batch norm",
            why="batch norm couples the pictures of a batch (Gulrajani et al. 2017, section 4)",
            fix="--set critic.options.norm=instance, or --set losses.gradient_penalty_weight=0",
        )
    return {
        "adversarial": losses.adversarial_weight,
        "classification": losses.classification_weight,
        "real": losses.critic_weight,
        "fake": losses.critic_weight,
        "relativistic": losses.critic_weight,
        "gradient_penalty": losses.critic_weight * penalty,
    }


def draw_noise(generator: nn.Module, batch: Batch) -> torch.Tensor | None:
    """Noise z ~ N(0, 1), (batch, noise_channels), or None when the generator takes none."""
    channels = int(cast(int, bare(generator).noise_channels))  # wrappers hide the attributes of what they wrap
    return torch.randn(len(batch), channels, device=batch.source.device) if channels else None


def _target(batch: Batch) -> Images:
    assert batch.target is not None, "a paired method needs targets; the loader gives them"
    return batch.target


def lookup(table: dict[str, T], name: str, *, setting: str) -> T:
    """What a setting names in a table.

    Raises:
        ConfigError: nothing there has this name.
    """
    if name not in table:
        raise ConfigError(f"{setting} cannot be '{name}'", fix=nearest(name, table))
    return table[name]
