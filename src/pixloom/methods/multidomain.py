"""One generator between many domains: the source becomes what the condition says, and stays itself in everything else.

    min_G max_D  E[log D(x)] + E[log(1 - D(G(x, c')))] + class(D) + lambda_cls class(G) + lambda_cyc E|x - G(G(x, c'), c)|_1

with c what the source x shows and c' what it is to show. Source: Choi et al., "StarGAN: Unified Generative Adversarial Networks for
Multi-Domain Image-to-Image Translation", CVPR 2018, equations 1 to 6. The adversarial part may be any pair in
``pixloom.losses.adversarial.ADVERSARIAL``, and the critic may judge by projection instead of classifying. The identity term
|x - G(x, c)|_1 is Taigman et al.'s (2017), as CycleGAN has it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from pixloom.config import LossConfig, RunConfig
from pixloom.data.batch import Batch
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
)
from pixloom.methods.game import Game
from pixloom.methods.side import Contest, Side
from pixloom.shapes import Images, Scalar


class MultiDomain:
    """Generator and critic against each other on pictures that have no partners.

    Args:
        generator: G(x, c, z).
        critic: D(x, c), which sees no source.
        losses: which adversarial pair, and all weights.
        content: not used: nothing says what should come out.
    """

    learns_from: ClassVar[Data] = "domains"
    uses: ClassVar[tuple[str, ...]] = (*ADVERSARIAL_SETTINGS, "classification_weight", "cycle_weight", "identity_weight")
    pooled: ClassVar[tuple[str, ...]] = ()

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig, content: Content | None = None) -> None:
        self.generator, self.critic = generator, critic
        self.weights = adversarial_weights(losses, critic) | {"cycle": losses.cycle_weight, "identity": losses.identity_weight}
        self.game = Game(losses, self.weights)

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """G, and D without a source."""
        return generator_of(config, channels), critic_of(config, channels, sees_source=False)

    def translate(self, batch: Batch) -> Outputs:
        """G(x, c')."""
        return Outputs(fake=self._translated(batch, batch.source, batch.condition))

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """Pictures as what they show against translations as what they are to show."""
        real, fake = Side(batch.source, batch.source, as_stated(batch)), Side(batch.source, outputs.fake, batch.condition)
        return [Contest(real, fake)]

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The critic's side of the adversarial pair, what it makes of the real pictures' own conditions, and the penalty."""
        return self.game.critic_terms(self.critic, self.contests(batch, outputs))

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The generator's side, what the critic reads off its pictures, the way back, and the identity where it has a weight."""
        terms, _ = self.game.generator_terms(self.critic, self.contests(batch, outputs))
        if self.weights["cycle"]:
            terms["cycle"] = F.l1_loss(self._translated(batch, outputs.fake, batch.own), batch.source)
        if self.weights["identity"]:
            terms["identity"] = F.l1_loss(self._translated(batch, batch.source, batch.own), batch.source)
        return terms

    def _translated(self, batch: Batch, pictures: Images, condition: dict[str, torch.Tensor]) -> Images:
        translated: Images = self.generator(pictures, condition, draw_noise(self.generator, batch))
        return translated


def as_stated(batch: Batch) -> dict[str, torch.Tensor]:
    """What the sources show, left out where what they are to show is: else a critic would know fakes by what is not stated."""
    return {kind: own * (batch.condition[kind] != 0).any(1, keepdim=True) for kind, own in batch.own.items()}
