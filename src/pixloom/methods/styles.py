"""One generator between many domains with many answers in each: the source in a style that is drawn, or read off a reference picture.

    s' = F(z, c')  or  E(r, c')
    min_{G,F,E} max_D  GAN(D_c', G(x, s')) + lambda_sty |s' - E(G(x, s'), c')|_1 - lambda_ds |G(x, s') - G(x, s'')|_1
                     + lambda_cyc |x - G(G(x, s'), E(x, c))|_1

Source: Choi et al., "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, equations 1 to 6; the weight of the third term
falls linearly to zero over the run. Deviations: references are the batch's other pictures at 64 px, and with a reference the second style
s'' is drawn, where the authors load two references of the domain; both kinds of style are in one update of all three networks, where the
authors make two, the second of G alone.
"""

from __future__ import annotations

from typing import ClassVar

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
    draw_noise,
    generator_of,
)
from pixloom.methods.game import Game
from pixloom.methods.side import Contest, Side
from pixloom.nets.layers import bare
from pixloom.shapes import Images, Scalar

LIKE = "like"
"""Name of the translations in the style of a reference picture."""


class Styles:
    """Generator, mapping and encoder against a critic with a verdict for each domain.

    Args:
        generator: G(x, c, z) with ``mapped`` and ``encoded``, see ``nets.stargan2``.
        critic: D(x, c), which sees no source.
        losses: which adversarial pair, and all weights.
        content: not used: nothing says what should come out.
    """

    learns_from: ClassVar[Data] = "domains"
    uses: ClassVar[tuple[str, ...]] = (*ADVERSARIAL_SETTINGS, "cycle_weight", "style_weight", "diversity_weight")
    pooled: ClassVar[tuple[str, ...]] = ()

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig, content: Content | None = None) -> None:
        self.generator, self.critic = generator, critic
        shared = adversarial_weights(losses, critic)
        self.weights = shared | {
            **{f"{name}_{LIKE}": weight for name, weight in shared.items()},
            "cycle": losses.cycle_weight,
            "style": losses.style_weight,
            "diversity": -losses.diversity_weight,
        }
        self.game = Game(losses, self.weights)

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """G with its mapping and encoder, and D without a source."""
        generator = generator_of(config, channels)
        if not hasattr(generator, "mapped"):
            raise ConfigError(
                f"the method 'styles' needs a generator that maps noise to styles, and '{config.generator.name}' is none",
                fix="--set generator.name=stargan2 --set critic.name=domains",
            )
        return generator, critic_of(config, channels, sees_source=False)

    def translate(self, batch: Batch) -> Outputs:
        """G(x, F(z, c')), and G(x, E(r, c_r)) with another picture of the batch as the reference r."""
        noise, other = draw_noise(self.generator, batch), draw_noise(self.generator, batch)
        assert noise is not None, "a generator with a mapping has noise"
        assert other is not None, "the same"
        step = int(torch.randint(1, len(batch), ()))  # no picture is its own reference
        label, like = batch.condition["label"], batch.own["label"].roll(step, 0)
        drawn, read = self._mapped(noise, label), self._encoded(batch.source.roll(step, 0), like)
        with torch.no_grad():  # what answers are to differ from
            others = {
                "other": self._translated(batch.source, label, self._mapped(other, label)),
                "other_like": self._translated(batch.source, like, self._mapped(other, like)),
            }
        more = {
            LIKE: self._translated(batch.source, like, read),
            "drawn_style": drawn,
            "read_style": read,
            "like_label": like,
            **others,
        }
        return Outputs(self._translated(batch.source, label, drawn), more)

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """Pictures of a class against translations in a style that was drawn for it, and in one that was read off a reference."""
        real = Side(batch.source, batch.source, dict(batch.own))
        drawn = Side(batch.source, outputs.fake, {"label": batch.condition["label"]})
        read = Side(batch.source, outputs.more[LIKE], {"label": outputs.more["like_label"]})
        return [Contest(real, drawn), Contest(real, read, suffix=f"_{LIKE}")]

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The critic's side, against styles that were drawn and styles that were read off."""
        return self.game.critic_terms(self.critic, self.contests(batch, outputs))

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The generator's sides, the style read again, how much answers differ, and the way back."""
        terms, _ = self.game.generator_terms(self.critic, self.contests(batch, outputs))
        more, label = outputs.more, batch.condition["label"]
        own = self._encoded(batch.source, batch.own["label"])
        answers = (
            (outputs.fake, label, more["drawn_style"], more["other"]),
            (more[LIKE], more["like_label"], more["read_style"], more["other_like"]),
        )
        terms["style"] = _sum((style - self._encoded(fake, wanted)).abs().mean() for fake, wanted, style, _ in answers)
        terms["diversity"] = _sum((fake - other).abs().mean() for fake, _, _, other in answers)
        if self.weights["cycle"]:
            back = (self._translated(fake, batch.own["label"], own) for fake, *_ in answers)
            terms["cycle"] = _sum(F.l1_loss(pictures, batch.source) for pictures in back)
        return terms

    def _mapped(self, noise: Tensor, label: Tensor) -> Tensor:
        code: Tensor = bare(self.generator).mapped(noise, label)  # type: ignore[operator]
        return code

    def _encoded(self, pictures: Images, label: Tensor) -> Tensor:
        side: int = bare(self.generator).reference_side  # type: ignore[assignment]
        reference = F.interpolate(pictures, size=side, mode="bilinear", antialias=True)  # as at use
        code: Tensor = bare(self.generator).encoded(reference, label)  # type: ignore[operator]
        return code

    def _translated(self, pictures: Images, label: Tensor, style: Tensor) -> Images:
        noise = pictures.new_zeros(len(pictures), int(bare(self.generator).noise_channels))  # type: ignore[arg-type]
        translated: Images = self.generator(pictures, {"label": label, "style": style}, noise)
        return translated


def _sum(terms: object) -> Scalar:
    return torch.stack(list(terms)).sum()  # type: ignore[call-overload]
