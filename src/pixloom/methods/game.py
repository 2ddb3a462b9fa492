"""The two sides of the game on one critic, which all methods share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixloom.config import LossConfig
from pixloom.losses.adversarial import ADVERSARIAL
from pixloom.losses.classes import classification
from pixloom.losses.penalties import gradient_penalty, r1
from pixloom.losses.segments import segmenting_critic, segmenting_generator
from pixloom.methods.base import lookup
from pixloom.nets.layers import Condition, bare
from pixloom.shapes import Images, Judgement, Scalar


@dataclass(frozen=True)
class Side:
    """Candidates as a critic is to judge them.

    Attributes:
        source: beside which they are judged; a critic that sees none ignores it.
        candidate: real pictures, or made ones.
        condition: what they are to show.
    """

    source: Tensor
    candidate: Images
    condition: Condition


class Game:
    """An adversarial loss with its penalties, played on any critic.

    Args:
        losses: which adversarial pair, and the weights that say which terms there are.
        weights: of :func:`pixloom.methods.base.adversarial_weights`.
    """

    def __init__(self, losses: LossConfig, weights: dict[str, float]) -> None:
        self.adversarial = lookup(ADVERSARIAL, losses.adversarial, setting="losses.adversarial")
        self.weights = weights

    def critic_terms(self, critic: nn.Module, *, real: Side, fake: Side, member: str | None = None) -> dict[str, Scalar]:
        """What a critic minimises: its side of the adversarial pair, what it is to read off real pictures, the penalties with a weight."""
        on_real, on_fake = (judge(critic, side, member=member) for side in (real, fake))
        if "segments" in on_real.guesses:
            terms = segmenting_critic(on_real.guesses["segments"], on_fake.guesses["segments"], labels=real.source)
        else:
            terms = {**self.adversarial.critic(on_real.logits, on_fake.logits), **classification(on_real, real.condition)}
        # A compiled graph cannot be differentiated twice.
        plain = bare(critic, compiled_only=True)

        def judged(source: Tensor, candidate: Tensor, condition: Condition | None) -> Judgement:
            return judge(plain, Side(source, candidate, condition or {}), member=member)

        condition = real.condition or None
        if self.weights["gradient_penalty"]:
            terms["gradient_penalty"] = gradient_penalty(
                judged, real.source, real=real.candidate, fake=fake.candidate, condition=condition, rng=None
            )
        if self.weights["r1"]:
            terms["r1"] = r1(judged, real.source, real.candidate, condition)
        return terms

    def generator_terms(
        self, critic: nn.Module, *, real: Side, fake: Side, member: str | None = None
    ) -> tuple[dict[str, Scalar], Judgement]:
        """The generator's side of the adversarial pair, what is to be read off its pictures, and the judgement of them."""
        on_fake = judge(critic, fake, member=member)
        if "segments" in on_fake.guesses:
            return {"adversarial": segmenting_generator(on_fake.guesses["segments"], labels=fake.source)}, on_fake
        logits = None
        if self.adversarial.needs_real:
            with torch.no_grad():
                logits = judge(critic, real, member=member).logits
        adversarial = self.adversarial.generator(logits, on_fake.logits)
        return {"adversarial": adversarial, **classification(on_fake, fake.condition)}, on_fake


def judge(critic: nn.Module, side: Side, *, member: str | None = None) -> Judgement:
    """What a critic, or a member of a team of critics, says of candidates."""
    arguments = (side.source, side.candidate, side.condition or None)
    judgement: Judgement = critic(*arguments) if member is None else critic(member, *arguments)
    return judgement
