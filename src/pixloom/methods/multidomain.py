"""One generator between many domains: the source becomes what the condition says, and stays itself in everything else.

    min_G max_D  E[log D(x)] + E[log(1 - D(G(x, c')))] + class(D) + lambda_cls class(G) + lambda_cyc E|x - G(G(x, c'), c)|_1

with c what the source x shows and c' what it is to show. Source: Choi et al., "StarGAN: Unified Generative Adversarial Networks for
Multi-Domain Image-to-Image Translation", CVPR 2018, equations 1 to 6. The adversarial part may be any pair in
``pixloom.losses.adversarial.ADVERSARIAL``, and the critic may judge by projection instead of classifying. The identity term
|x - G(x, c)|_1 is Taigman et al.'s (2017), as CycleGAN has it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from pixloom.config import LossConfig
from pixloom.data.batch import Batch
from pixloom.losses.adversarial import ADVERSARIAL
from pixloom.losses.classes import classification
from pixloom.losses.penalties import gradient_penalty
from pixloom.methods.base import Outputs
from pixloom.methods.conditional import adversarial_weights, draw_noise, lookup
from pixloom.nets.layers import bare
from pixloom.shapes import Images, Scalar


class MultiDomain:
    """Generator and critic against each other on pictures that have no partners.

    Args:
        generator: G(x, c, z).
        critic: D(x, c), which sees no source.
        losses: which adversarial pair, and all weights.
    """

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig) -> None:
        self.generator, self.critic = generator, critic
        self.adversarial = lookup(ADVERSARIAL, losses.adversarial, setting="losses.adversarial")
        self.weights = adversarial_weights(losses, critic) | {"cycle": losses.cycle_weight, "identity": losses.identity_weight}

    def translate(self, batch: Batch) -> Outputs:
        """G(x, c')."""
        return Outputs(fake=self._translated(batch, batch.source, batch.condition))

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The critic's side of the adversarial pair, what it makes of the real pictures' own conditions, and the penalty."""
        shown = self._as_stated(batch)
        on_real = self.critic(batch.source, batch.source, shown)
        on_fake = self.critic(batch.source, outputs.fake, batch.condition)
        terms = {**self.adversarial.critic(on_real.logits, on_fake.logits), **classification(on_real, shown)}
        if self.weights["gradient_penalty"]:
            terms["gradient_penalty"] = gradient_penalty(
                bare(self.critic, compiled_only=True), batch.source, real=batch.source, fake=outputs.fake, condition=shown, rng=None
            )
        return terms

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The generator's side, what the critic reads off its pictures, the way back, and the identity where it has a weight."""
        on_fake = self.critic(batch.source, outputs.fake, batch.condition)
        real_logits = None
        if self.adversarial.needs_real:
            with torch.no_grad():
                real_logits = self.critic(batch.source, batch.source, self._as_stated(batch)).logits
        terms = {
            "adversarial": self.adversarial.generator(real_logits, on_fake.logits),
            **classification(on_fake, batch.condition),
        }
        if self.weights["cycle"]:
            terms["cycle"] = F.l1_loss(self._translated(batch, outputs.fake, batch.own), batch.source)
        if self.weights["identity"]:
            terms["identity"] = F.l1_loss(self._translated(batch, batch.source, batch.own), batch.source)
        return terms

    @staticmethod
    def _as_stated(batch: Batch) -> dict[str, torch.Tensor]:
        """What the sources show, left out where what they are to show is: else a critic would know fakes by what is not stated."""
        return {kind: own * (batch.condition[kind] != 0).any(1, keepdim=True) for kind, own in batch.own.items()}

    def _translated(self, batch: Batch, pictures: Images, condition: dict[str, torch.Tensor]) -> Images:
        translated: Images = self.generator(pictures, condition, draw_noise(self.generator, batch))
        return translated
