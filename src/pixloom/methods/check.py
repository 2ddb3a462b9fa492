"""Whether the settings of a run fit each other: one that would have no effect is an error, found before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pixloom.backbones.perception import PERCEPTIONS
from pixloom.config import LossConfig, OptimizerConfig, RunConfig, TrainingConfig
from pixloom.errors import ConfigError, nearest
from pixloom.losses import ADVERSARIAL, PIXEL
from pixloom.methods import METHODS, build_networks, check_method, method_of
from pixloom.methods.base import ADVERSARIAL_SETTINGS, adversarial_weights
from pixloom.nets import CRITICS, GENERATORS
from pixloom.nets.layers import Dropout, has_batch_norm
from pixloom.nets.team import acting
from pixloom.recipes import RECIPES, recipe

GAME = (*ADVERSARIAL_SETTINGS, "feature_weight")
"""Settings of the losses that are for a critic."""

TAKEN: dict[str, set[str]] = {"domains": {"label", "attributes"}, "collections": set()}
"""What a method learns from -> the conditions that it can take; all where it is not named."""

SIZED = ("image", "stargan")
"""Critics that see the whole of a picture of data.size."""

CRITIC_SETTINGS: dict[str, tuple[Any, tuple[str, ...]]] = {
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
    _check_conditions(config)
    generator = _outline(config, channels)
    _check_multiple(config, generator)
    _check_inference(config, generator)


def _check_losses(config: RunConfig) -> None:
    losses, defaults = config.losses, LossConfig()
    usual = recipe(config.recipe, size=256).losses if config.recipe in RECIPES else defaults  # what nobody asked for is no mistake
    for key, name, table in (
        ("adversarial", losses.adversarial, ADVERSARIAL),
        ("pixel", losses.pixel, PIXEL),
        ("perceptual", losses.perceptual, PERCEPTIONS),
    ):
        if name not in table and not (key == "perceptual" and Path(name).expanduser().is_file()):
            raise ConfigError(f"losses.{key} cannot be '{name}'", fix=nearest(name, table))
    if config.critic is not None and losses.adversarial_weight == 0:
        raise ConfigError(
            "the critic would have no effect", why="losses.adversarial_weight is 0", fix="give it a weight, or use --recipe regression"
        )
    if config.critic is None and losses.pixel_weight == 0 == losses.perceptual_weight:
        raise ConfigError(f"losses.pixel={losses.pixel} would have no effect", why="losses.pixel_weight is 0", fix="give it a weight")
    for name in LossConfig.model_fields:
        value = getattr(losses, name)
        if value not in (getattr(defaults, name), getattr(usual, name)) and (why := _idle_loss(name, config)):
            fix = "leave it out, or choose a recipe with a critic, e.g. --recipe pix2pix" if why.endswith("no critic") else "leave it out"
            raise ConfigError(f"losses.{name}={value} would have no effect", why=why, fix=fix)


def _idle_loss(name: str, config: RunConfig) -> str | None:
    """Why a setting of the losses would have no effect; None where it has one."""
    losses, method = config.losses, method_of(config)
    if name not in method.uses:
        without = method is METHODS["regression"] and name in GAME
        return f"the method '{config.method}' has no {'critic' if without else 'such term'}"
    critic = config.critic.name if config.critic else None
    conditioning = config.critic.options.get("conditioning") if config.critic else None
    noise = config.generator.options.get("noise_channels")
    reasons = {
        "classification_weight": critic != "stargan"
        and conditioning != "classifier"
        and "the critic has no classifier (critic.options.conditioning)",
        "pixel": losses.pixel_weight == 0 and "losses.pixel_weight is 0",
        "perceptual": losses.perceptual_weight == 0 and "losses.perceptual_weight is 0",
        "perceptual_normalised": (losses.perceptual_weight == 0 and "losses.perceptual_weight is 0")
        or (losses.perceptual == "inception" and "that network takes pictures as they are"),
        "kl_weight": not (noise and "style" in config.conditions) and "there is no code: that needs the conditions style and noise",
        "mode_seeking_weight": not noise and "there is no noise: --condition noise",
        "attention_weight": config.generator.name != "ugatit" and f"the generator '{config.generator.name}' has no class activation",
        "adversarial": critic == "segmenting" and "the critic 'segmenting' has a game of its own",
        "slopes": not (losses.r1_gamma or losses.r2_gamma) and "losses.r1_gamma and losses.r2_gamma are 0",
        "slope_share": (not (losses.r1_gamma or losses.r2_gamma) and "losses.r1_gamma and losses.r2_gamma are 0")
        or (
            max(1, round(losses.slope_share * config.training.batch_size)) == config.training.batch_size
            and f"of a batch of {config.training.batch_size} that is the whole"
        ),
        "lecam_weight": (critic == "segmenting" and "the critic 'segmenting' has a game of its own")
        or (losses.adversarial == "relativistic" and "logits of relativistic pairing mean nothing by themselves"),
        "augment_gap": critic == "segmenting" and "the critic 'segmenting' reads labels off every pixel as it is",
        "augment": critic == "segmenting" and "the critic 'segmenting' reads labels off every pixel as it is",
        "nce_identity": losses.nce_weight == 0 and "losses.nce_weight is 0",
        "flip_equivariance": losses.nce_weight == 0 and "losses.nce_weight is 0",
    }
    return reasons.get(name) or None


def _check_conditions(config: RunConfig) -> None:
    """Refuse conditions that the method cannot take, and settings that there is nothing for to act on."""
    learns_from = method_of(config).learns_from
    takes = TAKEN.get(learns_from)
    if config.training.condition_dropout != TrainingConfig().condition_dropout and not config.conditions:
        raise ConfigError("training.condition_dropout would have no effect", why="there are no conditions", fix="leave it out")
    if learns_from == "domains" and not config.conditions.keys() & {"label", "attributes"}:
        raise ConfigError(
            f"the method '{config.method}' needs domains", why="neither labels nor attributes are conditions here", fix="--condition label"
        )
    styled = {"style"} if config.method == "styles" else set()
    if takes is not None and (others := config.conditions.keys() - takes - styled):
        raise ConfigError(
            f"the method '{config.method}' has no use for the condition '{min(others)}'",
            why="a picture is taken from what it shows to something else; what it shows must be known for that"
            if takes
            else "all that it knows of a picture is which of two collections it is of",
            fix="leave it out",
        )
    if learns_from == "collections" and config.generator.options.get("noise_channels"):
        raise ConfigError(
            f"the method '{config.method}' has no use for noise",
            why="it has one answer to each source",
            fix="leave it out; for many answers without pairs take --recipe starganv2",
        )
    if config.method == "contrastive" and config.losses.nce_weight == 0:
        raise ConfigError("the heads would have no effect", why="losses.nce_weight is 0", fix="give it a weight")
    if config.method == "styles" and config.training.batch_size // config.compute.accumulate < 2:
        raise ConfigError(
            "the method 'styles' needs two pictures at a time", why="they are references for each other", fix="--set training.batch_size=8"
        )
    if config.training.pretrain_share:
        losses = config.losses
        why = "it learns from pictures without partners" if learns_from != "pairs" else None
        why = why or ("there is no critic to learn without" if config.critic is None else None)
        why = why or ("there are no content terms to learn by" if losses.pixel_weight == 0 == losses.perceptual_weight else None)
        if why:
            raise ConfigError("training.pretrain_share would have no effect", why=why, fix="leave it out")
    if config.training.pool_images and not method_of(config).pooled:
        raise ConfigError(
            f"training.pool_images={config.training.pool_images} would have no effect",
            why=f"the critic of the method '{config.method}' judges pictures beside their sources or conditions",
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
    if config.critic is not None and config.critic.name in SIZED:
        raise ConfigError(
            f"the critic '{config.critic.name}' judges no picture that is smaller than data.size",
            why="data.first_size is set",
            fix="--set critic.name=patch, or leave it out",
        )


def _check_batch(config: RunConfig) -> None:
    training = config.training
    if training.decay != "linear" and training.decay_start >= 1:
        raise ConfigError(
            f"training.decay={training.decay} would have no effect",
            why="the learning rate never falls: training.decay_start is 1",
            fix="leave it out, or lower training.decay_start",
        )
    if training.ema_share is not None and training.ema_halflife_images is None:
        raise ConfigError(
            f"training.ema_share={training.ema_share} would have no effect",
            why="no average is kept: training.ema_halflife_images is not set",
            fix="leave it out, or set training.ema_halflife_images",
        )
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


def _outline(config: RunConfig, channels: tuple[int, int]) -> nn.Module:
    """The generator without its weights, which costs no memory, once all networks of the method could be made."""
    for role, network, table in (("generator", config.generator, GENERATORS), ("critic", config.critic, CRITICS)):
        if network is not None and network.name not in table:
            raise ConfigError(f"there is no {role} '{network.name}'", fix=nearest(network.name, table))
    with torch.device("meta"):
        generator, critic = build_networks(config, channels=channels)
        if critic is not None:
            adversarial_weights(config.losses, critic)
    return acting(generator)
