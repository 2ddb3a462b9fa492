"""One direction from two collections: what lies at a place of the translation is to be told by what lies there in the source.

    min_{G,H} max_D  GAN(D, G(x)) + lambda_x NCE(G, H, x) + lambda_y NCE(G, H, y)

Source: Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation" (CUT), ECCV 2020, equation 4, where NCE(G, H, y) holds G
to leave pictures of the wanted collection alone. FastCUT leaves that one out, and mirrors half of its sources to learn that the translation
mirrors with them (section 4 and appendix C.3 there).
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from pixloom.config import LossConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError
from pixloom.losses.contrastive import patch_nce
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
from pixloom.methods.game import Game
from pixloom.methods.side import Contest, Side
from pixloom.nets.heads import PatchHeads
from pixloom.nets.layers import bare
from pixloom.nets.resnet import ResNet
from pixloom.nets.team import THERE, Team
from pixloom.shapes import Images, Scalar

HEADS = "heads"
NUM_PLACES = 256
"""Places of each map that are told apart (the paper's number); all of them where there are fewer."""


class Contrastive:
    """Generator and critic against each other, with the patchwise contrastive loss.

    Args:
        generator: a team of G and the heads that make vectors of its encoder's maps.
        critic: D(y), which sees no source.
        losses: which adversarial pair, and the weights.
        content: not used: there are no partners to compare with.
    """

    learns_from: ClassVar[Data] = "collections"
    uses: ClassVar[tuple[str, ...]] = (*ADVERSARIAL_SETTINGS, "nce_weight", "nce_identity", "flip_equivariance")
    pooled: ClassVar[tuple[str, ...]] = ("fake",)

    def __init__(self, generator: nn.Module, critic: nn.Module, *, losses: LossConfig, content: Content | None = None) -> None:
        self.generator, self.critic, self.losses = generator, critic, losses
        share = losses.nce_weight / 2 if losses.nce_identity else losses.nce_weight
        self.weights = adversarial_weights(losses, critic) | {"nce": share, "nce_identity": share}
        self.game = Game(losses, self.weights)

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """G, its heads, and a critic."""
        generator = generator_of(config, channels)
        if not hasattr(generator, "features"):
            raise ConfigError(
                f"the method 'contrastive' needs a generator whose encoder can be looked at, and '{config.generator.name}' is none",
                fix="--set generator.name=resnet",
            )
        if channels[0] != channels[1]:
            raise ConfigError(
                "the method 'contrastive' needs sources and targets of the same channels",
                why=f"it puts the translation through the encoder of sources; they have {channels[0]}, targets {channels[1]}",
                fix="give pictures of one kind, or pairs to a method that learns from them, e.g. --recipe pix2pix",
            )
        heads = PatchHeads(widths=cast(ResNet, generator).feature_widths(_depths(cast(ResNet, generator))))
        return Team({THERE: generator, HEADS: heads}), critic_of(config, channels, sees_source=False)

    def translate(self, batch: Batch) -> Outputs:
        """G(x); with flip equivariance, of half of the batches the mirror image."""
        if not self.losses.flip_equivariance or torch.rand(()) < 0.5:
            return Outputs(self._translated(batch.source))
        return Outputs(self._translated(batch.source.flip(3)), {"mirrored": torch.ones(())})

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """Pictures of the wanted collection against the translations."""
        return [Contest(Side(batch.source, target_of(batch), {}), Side(batch.source, outputs.fake, {}))]

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The critic's side of the adversarial pair."""
        return self.game.critic_terms(self.critic, self.contests(batch, outputs))

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The generator's side, and how well its places are told apart."""
        terms, _ = self.game.generator_terms(self.critic, self.contests(batch, outputs))
        if self.losses.nce_weight:
            terms["nce"] = self._nce(batch.source, outputs.fake, mirrored="mirrored" in outputs.more)
            if self.losses.nce_identity:
                target = target_of(batch)
                terms["nce_identity"] = self._nce(target, self._translated(target))
        return terms

    def _nce(self, source: Images, output: Images, *, mirrored: bool = False) -> Scalar:
        """The mean over the encoder's layers."""
        depths = _depths(cast(Team, bare(self.generator))[THERE])
        keys, queries = (self.generator(THERE, pictures, depths, act="features") for pictures in (source, output))
        if mirrored:
            queries = [maps.flip(3) for maps in queries]
        places = [_places(maps) for maps in keys]
        query, key = (self.generator(HEADS, maps, places) for maps in (queries, keys))
        return torch.stack([patch_nce(ours, theirs) for ours, theirs in zip(query, key, strict=True)]).mean()

    def _translated(self, pictures: Images) -> Images:
        translated: Images = self.generator(THERE, pictures)
        return translated


def _depths(generator: Any) -> list[int]:
    """Where in the encoder places are told apart: the paper's five depths, as far as the generator has them."""
    return [place for place in generator.NCE_PLACES if place < generator.num_places]


def _places(maps: Tensor) -> Tensor:
    """Numbers of some places of maps, drawn by chance, the same for all pictures."""
    count = maps.shape[2] * maps.shape[3]
    return torch.randperm(count, device=maps.device)[: min(count, NUM_PLACES)]
