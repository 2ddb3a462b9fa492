"""The interface of a method: how generator and critic learn from each other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

from pixloom.config import LossConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError, nearest
from pixloom.methods.side import Contest
from pixloom.nets import build
from pixloom.nets.frozen import FrozenCritic
from pixloom.nets.layers import bare, has_batch_norm
from pixloom.shapes import Images, Scalar

if TYPE_CHECKING:
    from pixloom.methods.game import Game

T = TypeVar("T")

Content = Mapping[str, tuple[float, Callable[[Tensor, Tensor, Tensor], Tensor]]]
"""Name of a content term -> its weight, and the function of (output, source, target), each (batch, channels, height, width)."""

Networks = tuple[nn.Module, nn.Module | None]
"""What is trained by the generator's terms, and what by the critic's."""

Data = Literal["pairs", "domains", "collections"]
"""What a method learns from: pairs; single pictures that state what they show; sources, and targets that are not theirs."""


@dataclass(frozen=True)
class Outputs:
    """What one generator pass gives; both updates share it.

    Attributes:
        fake: translations of the sources.
        more: other tensors of the pass by name; those that a critic judges are pictures.
    """

    fake: Images
    more: Mapping[str, Tensor] = field(default_factory=dict)

    def detached(self) -> Outputs:
        """The same without the generator's graph: what the critic's update sees."""
        return replace(self, fake=self.fake.detach(), more={name: value.detach() for name, value in self.more.items()})


@runtime_checkable
class Method(Protocol):
    """A way of learning a translation. Data-free, and nothing passes from one call to the next through ``self``.

    ``weights`` holds the weight of every term that can appear; the engine multiplies them in one place. Terms are returned unweighted.

    Attributes:
        learns_from: what its batches hold.
        uses: names of the settings in ``losses`` that have a part in it.
        pooled: names of the pictures that a critic may be shown again later, ``fake`` or in ``Outputs.more``.
    """

    learns_from: ClassVar[Data]
    uses: ClassVar[tuple[str, ...]]
    pooled: ClassVar[tuple[str, ...]]

    @property
    def generator(self) -> nn.Module:
        """G(x, c, z), or the team that it belongs to."""
        ...

    @property
    def critic(self) -> nn.Module | None:
        """D(x, y, c), or a team of such, where there is one."""
        ...

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every term."""
        ...

    @property
    def game(self) -> Game | None:
        """The two sides on the critic; None without one."""
        ...

    @staticmethod
    def networks(config: RunConfig, channels: tuple[int, int]) -> Networks:
        """What the method trains, of a config and the channels of source and target."""
        ...

    def translate(self, batch: Batch) -> Outputs:
        """One generator pass."""
        ...

    def contests(self, batch: Batch, outputs: Outputs) -> list[Contest]:
        """What the critic is to tell apart, the translations of the sources first; nothing without a critic."""
        ...

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The terms that the critic minimises; empty without a critic."""
        ...

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The terms that the generator minimises."""
        ...


ANCHORS = "lecam_anchors"
"""Buffer of a critic with the moving averages of its logits, of real and of made pictures."""

ADVERSARIAL_SETTINGS = (
    "adversarial",
    "adversarial_weight",
    "critic_weight",
    "gradient_penalty_weight",
    "r1_gamma",
    "r2_gamma",
    "slopes",
    "slope_share",
    "augment",
    "augment_gap",
    "instance_noise",
    "lecam_weight",
)
"""The settings of any game between generator and critic."""


def generator_of(config: RunConfig, channels: tuple[int, int]) -> nn.Module:
    """The config's generator for these channels of source and target."""
    return build(config.generator.name, config.generator.options, **_given(config, channels))


def critic_of(config: RunConfig, channels: tuple[int, int], *, sees_source: bool = True) -> nn.Module:
    """The config's critic for these channels of source and target, with a place for LeCam's averages where they are wanted."""
    assert config.critic is not None, "check_method has seen to it"
    critic = build(config.critic.name, config.critic.options, **_given(config, channels if sees_source else (0, channels[1])))
    if config.losses.lecam_weight:
        critic.register_buffer(ANCHORS, torch.zeros(2))
    return critic


def _given(config: RunConfig, channels: tuple[int, int]) -> dict[str, int]:
    return {"source_channels": channels[0], "target_channels": channels[1], "size": config.data.size}


def adversarial_weights(losses: LossConfig, critic: nn.Module) -> dict[str, float]:
    """The weights of the terms that any game between generator and critic may have.

    Raises:
        ConfigError: a penalty on the gradient of a critic with batch norm (it couples the pictures of a batch, so that the penalty is not
            one picture's; Gulrajani et al. 2017, section 4).
    """
    penalty = losses.gradient_penalty_weight
    if penalty is None:
        penalty = 10.0 if losses.adversarial == "wasserstein" else 0.0
    if (penalty or losses.r1_gamma or losses.r2_gamma) and has_batch_norm(critic):
        raise ConfigError(
            "a penalty on its gradient does not work on a critic with batch norm",
            why="batch norm couples the pictures of a batch (Gulrajani et al. 2017, section 4)",
            fix="--set critic.options.norm=instance, or leave losses.gradient_penalty_weight, losses.r1_gamma and losses.r2_gamma at 0",
        )
    return {
        "adversarial": losses.adversarial_weight,
        "classification": losses.classification_weight,
        "real": losses.critic_weight,
        "fake": losses.critic_weight,
        "relativistic": losses.critic_weight,
        "gradient_penalty": losses.critic_weight * penalty,
        "r1": losses.r1_gamma,
        "r2": losses.r2_gamma,
        "lecam": losses.critic_weight * losses.lecam_weight,
    }


def eyes_of(config: RunConfig) -> set[str]:
    """The frozen networks that a run learns through, by name or path: what it makes looks better through them than it is.

    >>> from pixloom.recipes import recipe
    >>> eyes_of(recipe("pix2pix", size=64)), eyes_of(recipe("pix2pixhd", size=64))
    (set(), {'squeeze'})
    """
    perceptual = {config.losses.perceptual} if config.losses.perceptual_weight else set()
    if config.critic is None or config.critic.name != "frozen":
        return perceptual
    usual = inspect.signature(FrozenCritic).parameters["network"].default
    return perceptual | {str(config.critic.options.get("network", usual))}


def draw_noise(generator: nn.Module, batch: Batch) -> Tensor | None:
    """Noise z ~ N(0, 1), (batch, noise_channels), or None when the generator takes none."""
    channels = int(cast(int, bare(generator).noise_channels))  # wrappers hide the attributes of what they wrap
    return torch.randn(len(batch), channels, device=batch.source.device) if channels else None


def target_of(batch: Batch) -> Images:
    """The targets, which a loader gives for a method that is not between domains."""
    assert batch.target is not None, "the loader gives targets"
    return batch.target


def lookup(table: dict[str, T], name: str, *, setting: str) -> T:
    """What a setting names in a table.

    Raises:
        ConfigError: nothing there has this name.
    """
    if name not in table:
        raise ConfigError(f"{setting} cannot be '{name}'", fix=nearest(name, table))
    return table[name]
