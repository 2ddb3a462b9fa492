"""Two translators, there and back, from two collections of pictures of which no two belong together.

    min_{G,F} max_{D_Y,D_X}  GAN(D_Y, G(x)) + GAN(D_X, F(y)) + lambda (|F(G(x)) - x|_1 + |G(F(y)) - y|_1)
                           + lambda_id (|G(y) - y|_1 + |F(x) - x|_1)

Source: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (CycleGAN), ICCV 2017, equations 1 to
3 and, for the identity term, section 5.2. Where generators and critics say by class activation which collection a picture is of, they
learn to (Kim et al., "U-GAT-IT", ICLR 2020, section 2.2): the critics by least squares, term ``seen``, the generators against them, term
``seeming``, and the generators of their own sources, term ``attention``.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.config import LossConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError
from pixloom.methods.base import (
    ADVERSARIAL_SETTINGS,
    Content,
    Data,
    Networks,
    Outputs,
    adversarial_weights,
    critic_of,
    generator_of,
    target_of,
)
from pixloom.methods.game import Game, judge
from pixloom.methods.side import Contest, Side
from pixloom.nets.layers import bare
from pixloom.nets.team import BACK, THERE, Team
from pixloom.shapes import Images, Scalar

ATTENTION = "cam"
"""What critics with class-activation maps guess, see ``nets.ugatit``."""


class Cycle:
    """Generator and critic against each other in both directions.

    Args:
        generator: a team of G and F, ``there`` and ``back``.
        critic: a team of D_Y and D_X, which see no source.
        losses: which adversarial pair, and the weights.
        content: not used: there are no partners to compare with.

    Raises:
        ConfigError: an identity term between pictures of different channels.
    """

    learns_from: ClassVar[Data] = "collections"
    uses: ClassVar[tuple[str, ...]] = (*ADVERSARIAL_SETTINGS, "cycle_weight", "identity_weight", "attention_weight")
    pooled: ClassVar[tuple[str, ...]] = ("fake", BACK)

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig, content: Content | None = None) -> None:
        self.generator, self.critic = generator, critic
        shared = adversarial_weights(losses, critic)
        self.weights = shared | {
            **{f"{name}_{BACK}": weight for name, weight in shared.items()},
            "cycle": losses.cycle_weight,
            "identity": losses.identity_weight,
            "seen": losses.critic_weight,
            "seeming": losses.adversarial_weight,
            "attention": losses.attention_weight,
        }
        self.game = Game(losses, self.weights)
        self.attentive = all(hasattr(member, "judged") for member in cast(Team, bare(generator)).values())

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """Two generators and two critics."""
        there, back = channels, channels[::-1]
        if config.losses.identity_weight and channels[0] != channels[1]:
            raise ConfigError(
                "losses.identity_weight would compare pictures of different channels",
                why=f"sources have {channels[0]}, targets {channels[1]}",
                fix="--set losses.identity_weight=0",
            )
        generators = Team({THERE: generator_of(config, there), BACK: generator_of(config, back)})
        if hasattr(generators[THERE], "judged") != (config.critic is not None and config.critic.name == "attention"):
            raise ConfigError(
                f"the generator '{config.generator.name}' does not go with this critic",
                why="class activation is learnt by both sides, or by none",
                fix="--recipe ugatit for both, --recipe cyclegan for none",
            )
        critics = Team({THERE: critic_of(config, there, sees_source=False), BACK: critic_of(config, back, sees_source=False)})
        return generators, critics

    def translate(self, batch: Batch) -> Outputs:
        """G(x) and F(y)."""
        there, back = self._judged(THERE, batch.source), self._judged(BACK, target_of(batch))
        more = {BACK: back[0]}
        if self.attentive:
            more |= {"seen_there": there[1], "seen_back": back[1]}
        return Outputs(there[0], more)

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """Pictures of either collection against translations into it."""
        source, target = batch.source, target_of(batch)
        return [
            Contest(Side(source, target, {}), Side(source, outputs.fake, {}), THERE),
            Contest(Side(target, source, {}), Side(target, outputs.more[BACK], {}), BACK, f"_{BACK}"),
        ]

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """Both critics' sides."""
        contests = self.contests(batch, outputs)
        terms = self.game.critic_terms(self.critic, contests)
        if self.attentive:
            guesses = [
                (self._guess(side, contest), truth) for contest in contests for side, truth in ((contest.real, 1.0), (contest.fake, 0.0))
            ]
            terms["seen"] = torch.stack([_activation(guess, truth) for guess, truth in guesses]).sum()
        return terms

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """Both generators' sides, the way there and back, the identity and attention where they have a weight."""
        terms, on_fake = self.game.generator_terms(self.critic, self.contests(batch, outputs))
        source, target = batch.source, target_of(batch)
        if self.weights["cycle"]:
            around = F.l1_loss(self._translated(BACK, outputs.fake), source)
            terms["cycle"] = around + F.l1_loss(self._translated(THERE, outputs.more[BACK]), target)
        if self.weights["identity"] or self.attentive:
            (same_there, own_there), (same_back, own_back) = self._judged(THERE, target), self._judged(BACK, source)
            if self.weights["identity"]:
                terms["identity"] = F.l1_loss(same_there, target) + F.l1_loss(same_back, source)
            if self.attentive:
                terms["seeming"] = torch.stack([_activation(judgement.guesses[ATTENTION], 1.0) for judgement in on_fake]).sum()
                others = (outputs.more["seen_there"], outputs.more["seen_back"])
                own = (own_there, own_back)
                guesses = [_cross_entropy(logits, 1.0) for logits in others] + [_cross_entropy(logits, 0.0) for logits in own]
                terms["attention"] = torch.stack(guesses).sum()
        return terms

    def _guess(self, side: Side, contest: Contest) -> Tensor:
        guess: Tensor = judge(self.critic, side, member=contest.member).guesses[ATTENTION]
        return guess

    def _translated(self, member: str, pictures: Images) -> Images:
        translated: Images = self.generator(member, pictures)
        return translated

    def _judged(self, member: str, pictures: Images) -> tuple[Images, Tensor]:
        """Translations, and what the generator's class activation says of the pictures (nothing where it has none)."""
        if not self.attentive:
            return self._translated(member, pictures), pictures.new_zeros(())
        translated, logits = self.generator(member, pictures, act="judged")
        return translated, logits


def _cross_entropy(logits: Tensor, truth: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))


def _activation(logits: Tensor, truth: float) -> Tensor:
    """What a critic's class activation makes of pictures, by least squares (U-GAT-IT, equation 4)."""
    return (logits - truth).square().mean()
