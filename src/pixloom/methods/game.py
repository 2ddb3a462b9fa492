"""The two sides of the game on one critic, which all methods share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from pixloom.config import LossConfig
from pixloom.losses.adversarial import ADVERSARIAL
from pixloom.losses.classes import classification
from pixloom.losses.features import feature_matching
from pixloom.losses.penalties import SLOPES, gradient_penalty, lecam, score, slope
from pixloom.losses.segments import segmenting_critic, segmenting_generator
from pixloom.methods.augment import augmented, draw
from pixloom.methods.base import ANCHORS, lookup
from pixloom.methods.side import Contest, Side
from pixloom.nets.layers import Condition, bare
from pixloom.shapes import Judgement, Scalar

LECAM_DECAY = 0.99
"""Of the moving averages, per step."""


class Game:
    """An adversarial loss with its penalties, played on any critic.

    Args:
        losses: which adversarial pair, and the weights that say which terms there are.
        weights: of :func:`pixloom.methods.base.adversarial_weights`.

    Attributes:
        passed: share of the run that has passed, with which instance noise fades; whoever trains sets it.
    """

    def __init__(self, losses: LossConfig, weights: dict[str, float]) -> None:
        self.adversarial = lookup(ADVERSARIAL, losses.adversarial, setting="losses.adversarial")
        self.slope, self.share = lookup(SLOPES, losses.slopes, setting="losses.slopes"), losses.slope_share
        self.augment, self.noise, self.passed = losses.augment, losses.instance_noise, 0.0
        self.weights = weights

    def critic_terms(self, critic: nn.Module, contests: Sequence[Contest]) -> dict[str, Scalar]:
        """What a critic minimises: its side of the adversarial pair, what it is to read off real pictures, the penalties with a weight."""
        return {f"{name}{contest.suffix}": term for contest in contests for name, term in self._critic_terms(critic, contest).items()}

    def _critic_terms(self, critic: nn.Module, contest: Contest) -> dict[str, Scalar]:
        member = contest.member
        real, fake = self._shown(contest)
        on_real, on_fake = (judge(critic, side, member=member) for side in (real, fake))
        if "segments" in on_real.guesses:
            terms = segmenting_critic(on_real.guesses["segments"], on_fake.guesses["segments"], labels=real.source)
        else:
            terms = {**self.adversarial.critic(on_real.logits, on_fake.logits), **classification(on_real, real.condition)}
        if self.weights["lecam"]:
            anchors = anchors_of(critic, member)
            terms["lecam"] = lecam(on_real.logits, on_fake.logits, anchors=anchors.clone())
            if critic.training:
                means = torch.stack([score(side).detach().mean() for side in (on_real, on_fake)])
                anchors.lerp_(means, 1 - LECAM_DECAY)
        # A compiled graph cannot be differentiated twice.
        plain = partial(_judged, bare(critic, compiled_only=True), member)
        if self.weights["gradient_penalty"]:
            terms["gradient_penalty"] = gradient_penalty(
                plain, real.source, real=real.candidate, fake=fake.candidate, condition=real.condition or None, rng=None
            )
        for name, side in (("r1", real), ("r2", fake)):
            if self.weights[name]:
                some = side.first(self.share)
                judged = plain if self.slope is slope else partial(_judged, critic, member)
                terms[name] = self.slope(judged, some.source, some.candidate, some.condition or None)
        return terms

    def _shown(self, contest: Contest) -> tuple[Side, Side]:
        """The sides as the critic sees them."""
        real, fake = contest.real, contest.fake
        if self.augment:
            change = draw(real.candidate, share=self.augment)
            real, fake = augmented(real, change), augmented(fake, change)
        if self.noise:
            deviation = self.noise * (1 - self.passed)
            real, fake = noised(real, deviation), noised(fake, deviation)
        return real, fake

    def generator_terms(self, critic: nn.Module, contests: Sequence[Contest]) -> tuple[dict[str, Scalar], list[Judgement]]:
        """The generator's side of the adversarial pair, feature matching where it has a weight, what is to be read off the pictures, and
        the judgement of the made ones of each contest.
        """
        found = [(contest.suffix, *self._generator_terms(critic, contest)) for contest in contests]
        return {f"{name}{suffix}": term for suffix, terms, _ in found for name, term in terms.items()}, [on_fake for *_, on_fake in found]

    def _generator_terms(self, critic: nn.Module, contest: Contest) -> tuple[dict[str, Scalar], Judgement]:
        real, fake = self._shown(contest)
        on_fake, on_real = judge(critic, fake, member=contest.member), None
        if self.adversarial.needs_real or self.weights.get("feature"):
            with torch.no_grad():
                on_real = judge(critic, real, member=contest.member)
        if "segments" in on_fake.guesses:
            terms = {"adversarial": segmenting_generator(on_fake.guesses["segments"], labels=fake.source)}
        else:
            adversarial = self.adversarial.generator(on_real.logits if on_real else None, on_fake.logits)
            terms = {"adversarial": adversarial, **classification(on_fake, fake.condition)}
        if on_real and self.weights.get("feature"):
            terms["feature"] = feature_matching(on_real.features, on_fake.features)
        return terms, on_fake


def noised(side: Side, deviation: float) -> Side:
    """A side with noise on its candidates (Sonderby et al., "Amortised MAP Inference for Image Super-Resolution", 2017, section 3)."""
    return replace(side, candidate=side.candidate + deviation * torch.randn_like(side.candidate))


def anchors_of(critic: nn.Module, member: str | None) -> Tensor:
    """The moving averages of a critic's logits, which it keeps as a buffer."""
    bare_critic = bare(critic)
    owner = bare_critic if member is None else bare_critic[member]  # type: ignore[index]
    anchors: Tensor = owner.get_buffer(ANCHORS)
    return anchors


def _judged(critic: nn.Module, member: str | None, source: Tensor, candidate: Tensor, condition: Condition | None) -> Judgement:
    return judge(critic, Side(source, candidate, condition or {}), member=member)


def judge(critic: nn.Module, side: Side, *, member: str | None = None) -> Judgement:
    """What a critic, or a member of a team of critics, says of candidates."""
    arguments = (side.source, side.candidate, side.condition or None)
    judgement: Judgement = critic(*arguments) if member is None else critic(member, *arguments)
    return judgement
