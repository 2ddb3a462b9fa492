"""Many answers to one source: a code that is read off the target, and one that is drawn, each held to what it came from.

    min_{G,E} max_{D,D2}  GAN(D, G(x, E(y))) + lambda |y - G(x, E(y))|_1 + lambda_kl KL(E(y) || N(0, 1))
                        + GAN(D2, G(x, z)) + lambda_z |z - E(G(x, z))|_1,   z ~ N(0, 1)

Source: Zhu et al., "Toward Multimodal Image-to-Image Translation" (BicycleGAN), NeurIPS 2017, equations 3 to 9. E learns nothing from the
last term, as in section 3.3. Both halves see the whole batch, where the authors give each one half of it (which must then be even).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.func import functional_call

from pixloom.config import LossConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError
from pixloom.losses.latent import kl_to_normal
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
from pixloom.methods.codes import encoder_of, is_coded
from pixloom.methods.conditional import content_terms, perception, sides, with_code
from pixloom.methods.game import Game
from pixloom.methods.side import Contest
from pixloom.nets.team import Team
from pixloom.shapes import Scalar

READ, DRAWN = "there", "drawn"
"""The critics: of translations with the target's code, and of those with a code that was drawn."""


class Bicycle:
    """Two conditional GANs that share generator and encoder.

    Args:
        generator: G(x, c, z) with an encoder: noise, and the condition ``style``.
        critic: a team of two, D(x, y, c) and D2(x, y, c).
        losses: which adversarial pair, and the weights.
        content: the content terms with their weights, by name.

    Raises:
        ConfigError: the generator reads no code.
    """

    learns_from: ClassVar[Data] = "pairs"
    uses: ClassVar[tuple[str, ...]] = (
        *(*ADVERSARIAL_SETTINGS, "pixel", "pixel_weight", "classification_weight", "kl_weight", "latent_weight"),
        *("perceptual_weight", "perceptual", "perceptual_normalised"),
    )
    pooled: ClassVar[tuple[str, ...]] = ()

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig, content: Content) -> None:
        _check_coded(generator)
        self.generator, self.critic, self.content = generator, critic, content
        shared = adversarial_weights(losses, critic)
        self.weights = shared | {
            "kl": losses.kl_weight,
            "latent": losses.latent_weight,
            "perceptual": losses.perceptual_weight,
            **{f"{name}_drawn": weight for name, weight in shared.items()},
            **{name: weight for name, (weight, _) in content.items()},
        }
        self.game = Game(losses, self.weights)
        self.extract = perception(losses, generator)

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """G with its encoder, and two critics."""
        generator = generator_of(config, channels)
        _check_coded(generator)
        return generator, Team({READ: critic_of(config, channels), DRAWN: critic_of(config, channels)})

    def translate(self, batch: Batch) -> Outputs:
        """G(x, c, E(y)), and G(x, c, z)."""
        noise = draw_noise(self.generator, batch)
        assert noise is not None, "a generator with codes has noise"
        condition, code = with_code(self.generator, batch.condition)
        unstated = {kind: value for kind, value in condition.items() if kind != "style"}
        fake = self.generator(batch.source, condition or None, noise)
        return Outputs(fake, {**code, DRAWN: self.generator(batch.source, unstated or None, noise), "z": noise})

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """The targets against the translations with their own codes, and against those with codes that were drawn."""
        real, fake = sides(batch, outputs.fake, coded=True)
        _, drawn = sides(batch, outputs.more[DRAWN], coded=True)
        return [Contest(real, fake, READ), Contest(real, drawn, DRAWN, f"_{DRAWN}")]

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """Both critics' sides."""
        return self.game.critic_terms(self.critic, self.contests(batch, outputs))

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The generator's sides against both critics, the content terms of the first half, KL, and the code found again."""
        terms, _ = self.game.generator_terms(self.critic, self.contests(batch, outputs))
        return {
            **terms,
            **({"kl": kl_to_normal(outputs.more["mean"], outputs.more["log_variance"])} if "mean" in outputs.more else {}),
            "latent": (self._read_again(outputs.more[DRAWN]) - outputs.more["z"]).abs().mean(),
            **content_terms(self.content, batch, outputs.fake, extract=self.extract),
        }

    def _read_again(self, pictures: Tensor) -> Tensor:
        """The codes of made pictures, by an encoder that learns nothing from it."""
        encoder = encoder_of(self.generator)
        assert encoder is not None, "seen to when it was made"
        fixed = {name: value.detach() for name, value in encoder.named_parameters()}
        reference = nn.functional.interpolate(pictures, size=encoder.side, mode="bilinear", antialias=True)
        mean: Tensor = functional_call(encoder, fixed, (reference,))
        return mean


def _check_coded(generator: nn.Module) -> None:
    if not is_coded(generator):
        raise ConfigError(
            "the method 'bicycle' needs a generator with noise that reads a code off the target",
            why="the code is what tells one answer from another",
            fix="--recipe bicycle, or --condition style,noise",
        )
