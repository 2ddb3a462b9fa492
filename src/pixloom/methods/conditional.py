"""The conditional GAN on pairs, and its control without a critic.

    min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x, z)))]  +  lambda E|y - G(x, z)|_1

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, equations 1 to 4. The adversarial part
may be any pair in ``pixloom.losses.adversarial.ADVERSARIAL``. With feature matching and a perceptual term it is pix2pixHD (Wang et al.,
CVPR 2018, equation 5) and SPADE (Park et al., CVPR 2019, section 3). Where the generator reads a style off a reference picture and has
noise, the two are one code: in training that of the target, drawn around its mean, and held near N(0, 1) (Kingma and Welling, 2014;
SPADE's "multi-modal synthesis"), so that at use it may be drawn, or read off another picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixloom.backbones.perception import Perception
from pixloom.config import LossConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.losses.features import perceptual
from pixloom.losses.latent import kl_to_normal, mode_seeking
from pixloom.methods.base import (
    ADVERSARIAL_SETTINGS,
    Content,
    Data,
    Networks,
    Outputs,
    adversarial_weights,
    critic_of,
    draw_noise,
    generator_of,
    target_of,
)
from pixloom.methods.codes import drawn, is_coded, read
from pixloom.methods.game import Game
from pixloom.methods.side import Contest, Side
from pixloom.nets.layers import Condition
from pixloom.shapes import Images, Scalar

Extract = Callable[[Tensor], Sequence[Tensor]]

SEEN = ("feature_weight", "perceptual_weight", "perceptual", "perceptual_normalised")
CODED = ("kl_weight", "mode_seeking_weight")


class Conditional:
    """Generator and critic against each other on pairs, with content terms.

    Args:
        generator: G(x, c, z).
        critic: D(x, y, c).
        losses: which adversarial pair, and the weights.
        content: the content terms with their weights, by name.

    Raises:
        ConfigError: an unknown loss, or a penalty on the gradient of a critic with batch norm.
        DependencyError: the weights of the network that the perceptual term looks through are not here.
    """

    learns_from: ClassVar[Data] = "pairs"
    uses: ClassVar[tuple[str, ...]] = (*ADVERSARIAL_SETTINGS, "pixel", "pixel_weight", "classification_weight", *SEEN, *CODED)
    pooled: ClassVar[tuple[str, ...]] = ()

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig, content: Content) -> None:
        self.generator, self.critic, self.content = generator, critic, content
        self.weights = adversarial_weights(losses, critic) | {
            "feature": losses.feature_weight,
            "perceptual": losses.perceptual_weight,
            "kl": losses.kl_weight,
            "mode_seeking": losses.mode_seeking_weight,
            **{name: weight for name, (weight, _) in content.items()},
        }
        self.game = Game(losses, self.weights)
        self.extract = perception(losses, generator)
        self.coded = is_coded(generator)

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """G and D(x, y)."""
        return generator_of(config, channels), critic_of(config, channels)

    def translate(self, batch: Batch) -> Outputs:
        """G(x, c, z), with z drawn anew when the generator takes noise, around the target's own code where it has one."""
        noise = draw_noise(self.generator, batch)
        condition, code = with_code(self.generator, batch.condition)
        fake = self.generator(batch.source, condition or None, noise)
        if not self.weights["mode_seeking"] or noise is None:
            return Outputs(fake, code)
        other = torch.randn_like(noise)
        unstated = {kind: value for kind, value in condition.items() if kind != "style"}
        first, second = (self.generator(batch.source, unstated or None, z) for z in (noise, other))
        return Outputs(fake, {**code, "first": first, "second": second, "z": noise, "other_z": other})

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """The targets against the translations, each beside the sources."""
        return [Contest(*sides(batch, outputs.fake, coded=self.coded))]

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The critic's side of the adversarial pair, and the penalties on its gradient that have a weight."""
        return self.game.critic_terms(self.critic, self.contests(batch, outputs))

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The generator's side of the adversarial pair, and the content terms."""
        terms, _ = self.game.generator_terms(self.critic, self.contests(batch, outputs))
        return {**terms, **self._of_codes(outputs), **content_terms(self.content, batch, outputs.fake, extract=self.extract)}

    def _of_codes(self, outputs: Outputs) -> dict[str, Scalar]:
        more = outputs.more
        terms = {"kl": kl_to_normal(more["mean"], more["log_variance"])} if "mean" in more else {}
        if "first" in more:
            terms["mode_seeking"] = mode_seeking(more["first"], more["second"], codes=(more["z"], more["other_z"]))
        return terms


class Regression:
    """The content terms alone: the twin without a critic, against which the adversarial term is judged."""

    learns_from: ClassVar[Data] = "pairs"
    uses: ClassVar[tuple[str, ...]] = ("pixel", "pixel_weight", "perceptual_weight", "perceptual", "perceptual_normalised")
    pooled: ClassVar[tuple[str, ...]] = ()

    critic = None
    game = None

    def __init__(self, generator: nn.Module, critic: None = None, *, losses: LossConfig | None = None, content: Content) -> None:
        self.generator, self.content = generator, content
        losses = losses or LossConfig()
        self.weights = {"perceptual": losses.perceptual_weight, **{name: weight for name, (weight, _) in content.items()}}
        self.extract = perception(losses, generator)

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """G alone."""
        return generator_of(config, channels), None

    def translate(self, batch: Batch) -> Outputs:
        """G(x, c, z)."""
        return Outputs(fake=self.generator(batch.source, batch.condition or None, draw_noise(self.generator, batch)))

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """No critic, no contests."""
        return []

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """No critic, no terms."""
        return {}

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The content terms."""
        return content_terms(self.content, batch, outputs.fake, extract=self.extract)


def sides(batch: Batch, fake: Images, *, coded: bool) -> tuple[Side, Side]:
    """The targets and the translations, each beside the sources; a critic is shown neither looks nor the reference of a code that may be
    drawn.
    """
    unseen = ("look", "style") if coded else ("look",)
    condition = {kind: value for kind, value in batch.condition.items() if kind not in unseen}
    return Side(batch.source, target_of(batch), condition), Side(batch.source, fake, condition)


def content_terms(content: Content, batch: Batch, fake: Images, *, extract: Extract | None) -> dict[str, Scalar]:
    """The terms that compare translations with their targets."""
    target = target_of(batch)
    terms = {name: term(fake, batch.source, target) for name, (_, term) in content.items()}
    return terms if extract is None else {**terms, "perceptual": perceptual(extract, fake, target)}


def perception(losses: LossConfig, generator: nn.Module) -> Perception | None:
    """The network that the perceptual term looks through, where it has a weight, on the generator's device."""
    if not losses.perceptual_weight:
        return None
    return Perception(losses.perceptual, normalised=losses.perceptual_normalised).to(next(generator.parameters()).device)


def with_code(generator: nn.Module, condition: Condition) -> tuple[Condition, dict[str, Tensor]]:
    """The condition with a code drawn around that of its reference picture, and the distribution that it was drawn from.

    As they are, and nothing, where the generator reads no code.
    """
    if "style" not in condition or not is_coded(generator):
        return condition, {}
    mean, log_variance = read(generator, condition["style"])
    stated = (condition["style"].abs().amax((1, 2, 3)) > 0)[:, None]
    return {**condition, "style": drawn(mean, log_variance) * stated}, {"mean": mean, "log_variance": log_variance}
