"""Whether the settings of a run fit each other: one that would have no effect is an error, found before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from pixloom.config import LossConfig, NetworkConfig, OptimizerConfig, RunConfig, TrainingConfig
from pixloom.errors import ConfigError, nearest
from pixloom.losses import ADVERSARIAL, PIXEL
from pixloom.methods import BETWEEN, check_method
from pixloom.nets import CRITICS, GENERATORS, build
from pixloom.nets.layers import Dropout, has_batch_norm
from pixloom.recipes import recipe

CRITIC_SETTINGS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "losses": (LossConfig(), ("adversarial", "adversarial_weight", "critic_weight", "gradient_penalty_weight")),
    "critic_optimizer": (OptimizerConfig(), tuple(OptimizerConfig.model_fields)),
    "training": (TrainingConfig(), ("num_critic",)),
}
"""Section -> its defaults, and those of its settings that are for a critic."""


def check_config(config: RunConfig, *, channels: tuple[int, int]) -> None:
    """Refuse settings that do not exist together, or that would have no effect.

    Args:
        config: all settings of a run.
        channels: of the generator's input and output.

    Raises:
        ConfigError: naming the setting and the change that mends it.
    """
    check_method(config)
    _check_losses(config)
    _check_size(config)
    _check_batch(config)
    if config.critic is None:
        _check_without_critic(config)
    generator = _outline(config.generator, GENERATORS, role="generator", channels=channels, size=config.data.size)
    _check_multiple(config, generator)
    if config.critic is not None:
        judged = (0, channels[1]) if config.method in BETWEEN else channels
        _outline(config.critic, CRITICS, role="critic", channels=judged, size=config.data.size)
    _check_inference(config, generator)
    _check_conditions(config)


def _check_losses(config: RunConfig) -> None:
    losses = config.losses
    for key, name, table in (("adversarial", losses.adversarial, ADVERSARIAL), ("pixel", losses.pixel, PIXEL)):
        if name not in table:
            raise ConfigError(f"losses.{key} cannot be '{name}'", fix=nearest(name, table))
    if config.critic is not None and losses.adversarial_weight == 0:
        raise ConfigError(
            "the critic would have no effect", why="losses.adversarial_weight is 0", fix="give it a weight, or use --recipe regression"
        )
    if losses.pixel_weight == 0 and (config.critic is None or losses.pixel != LossConfig().pixel):
        raise ConfigError(f"losses.pixel={losses.pixel} would have no effect", why="losses.pixel_weight is 0", fix="give it a weight")


def _check_conditions(config: RunConfig) -> None:
    """Refuse settings for conditions where there is nothing for them to act on."""
    defaults, losses = LossConfig(), config.losses
    classified = config.critic is not None and config.critic.options.get("conditioning") == "classifier"
    between = config.method in BETWEEN
    idle = {
        "losses.classification_weight": (losses.classification_weight != defaults.classification_weight and not classified),
        "losses.cycle_weight": losses.cycle_weight != defaults.cycle_weight and not between,
        "losses.identity_weight": losses.identity_weight != defaults.identity_weight and not between,
        "training.condition_dropout": config.training.condition_dropout != TrainingConfig().condition_dropout and not config.conditions,
    }
    reasons = {
        "losses.classification_weight": "the critic has no classifier (critic.options.conditioning)",
        "training.condition_dropout": "there are no conditions",
    }
    for name, is_idle in idle.items():
        if is_idle:
            why = reasons.get(name, f"the method '{config.method}' does not translate between domains")
            raise ConfigError(f"{name} would have no effect", why=why, fix="leave it out")
    if between and not config.conditions.keys() & {"label", "attributes"}:
        raise ConfigError(
            f"the method '{config.method}' needs domains", why="neither labels nor attributes are conditions here", fix="--condition label"
        )
    if between and (others := config.conditions.keys() - {"label", "attributes"}):
        raise ConfigError(
            f"the method '{config.method}' has no use for the condition '{min(others)}'",
            why="a picture is taken from what it shows to something else; what it shows must be known for that",
            fix="leave it out",
        )


def _check_size(config: RunConfig) -> None:
    size, first = config.data.size, config.data.first_size
    if first is None:
        return
    if first >= size or size % first or (size // first).bit_count() != 1:
        raise ConfigError(
            f"data.first_size={first} does not lead to data.size={size}",
            why="the side of the crops is doubled until it is data.size",
            fix=f"--set data.first_size={size // 2}" if size % 32 == 0 and size > 32 else "leave it out",
        )
    if config.critic is not None and config.critic.name == "image":
        raise ConfigError(
            "the image-level critic judges one size of picture only",
            why="data.first_size is set",
            fix="--set critic.name=patch, or leave it out",
        )


def _check_batch(config: RunConfig) -> None:
    training = config.training
    published = recipe(config.recipe, size=256).training.batch_size
    if training.batch_scaling != "none" and training.batch_size == published:
        raise ConfigError(
            f"training.batch_scaling={training.batch_scaling} would have no effect",
            why=f"training.batch_size is the recipe's own, {published}",
            fix="leave it out, or choose another batch size",
        )


def _check_without_critic(config: RunConfig) -> None:
    """A method without a critic has no use for the settings of one."""
    for section, (defaults, names) in CRITIC_SETTINGS.items():
        given = getattr(config, section)
        for name in names:
            if getattr(given, name) != getattr(defaults, name):
                raise ConfigError(
                    f"{section}.{name}={getattr(given, name)} would have no effect",
                    why=f"the method '{config.method}' has no critic",
                    fix="leave it out, or choose a recipe with a critic, e.g. --recipe pix2pix",
                )


def _check_inference(config: RunConfig, generator: nn.Module) -> None:
    name, droppable = config.generator.name, any(isinstance(module, Dropout) for module in generator.modules())
    if config.inference.dropout and not droppable:
        raise ConfigError(
            "inference.dropout=true would have no effect",
            why=f"the generator '{name}' has no dropout with these options",
            fix="--set inference.dropout=false, or give it dropout, e.g. --set generator.options.dropout=0.5 (a unet needs depth 6)",
        )
    if config.generator.options.get("dropout") and not droppable:
        raise ConfigError(
            f"generator.options.dropout={config.generator.options['dropout']} would have no effect",
            why=f"the generator '{name}' has no level for it with these options",
            fix="--set generator.options.dropout=0, or a larger --size (a unet has dropout from depth 6 on)",
        )
    if config.inference.statistics == "image" and not has_batch_norm(generator):
        raise ConfigError(
            "inference.statistics=image would have no effect",
            why=f"the generator '{name}' has no batch norm with these options",
            fix="--set inference.statistics=running, or --set generator.options.norm=batch",
        )


def _check_multiple(config: RunConfig, generator: nn.Module) -> None:
    size, multiple = config.data.first_size or config.data.size, int(cast(int, generator.size_multiple))
    if size % multiple:
        raise ConfigError(
            f"the generator cannot take pictures of {size} px",
            why=f"it needs a multiple of {multiple}",
            fix=_fitting(config, size=size, multiple=multiple),
        )


def _fitting(config: RunConfig, *, size: int, multiple: int) -> str:
    """What makes size and generator fit."""
    if config.data.first_size is None:
        return f"--size {max(multiple, size // multiple * multiple)}"
    return f"--set data.first_size={multiple}" if multiple < config.data.size else "a generator of fewer levels (generator.options.depth)"


def _outline(config: NetworkConfig, table: Mapping[str, Any], *, role: str, channels: tuple[int, int], size: int) -> nn.Module:
    """The network without its weights, which costs no memory."""
    if config.name not in table:
        raise ConfigError(f"there is no {role} '{config.name}'", fix=nearest(config.name, table))
    with torch.device("meta"):
        return build(config.name, config.options, source_channels=channels[0], target_channels=channels[1], size=size)
