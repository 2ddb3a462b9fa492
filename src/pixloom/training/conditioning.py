"""What conditions make of a plan: their vocabularies, networks that take them, and a word on each."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from pixloom.conditions import CONDITIONS, Conditions, build_conditions
from pixloom.config import NetworkConfig, RunConfig, override
from pixloom.data.sources import Listing
from pixloom.errors import ConfigError, nearest
from pixloom.methods import method_of
from pixloom.nets import CRITICS, GENERATORS
from pixloom.nets.steering import SPATIAL, no_objects
from pixloom.tasks import Task

NOISE, NOISE_CHANNELS = "noise", 8
"""What a person asks for with --condition noise."""


def settings_for(conditions: Sequence[str]) -> dict[str, Any]:
    """The settings that conditions asked for by name stand for."""
    known = (*CONDITIONS, NOISE)
    for name in conditions:
        if name not in known:
            raise ConfigError(f"there is no condition '{name}'", fix=nearest(name, known))
    settings: dict[str, Any] = {f"conditions.{name}": {} for name in conditions if name != NOISE}
    return settings | ({"generator.options.noise_channels": NOISE_CHANNELS} if NOISE in conditions else {})


def conditions_of(config: RunConfig) -> Conditions:
    """The conditions that a config names."""
    return build_conditions(config.conditions, dropout=config.training.condition_dropout)


def conditioned(
    config: RunConfig, task: Task, listing: Listing, *, picture_channels: tuple[int, int | None]
) -> tuple[RunConfig, Conditions]:
    """The config with what conditions learn from the training examples, and the conditions.

    Args:
        config: of the run.
        task: settled.
        listing: with a training split.
        picture_channels: of source and target pictures.

    Raises:
        ConfigError: a condition that the task cannot take, or one that is always asked for and not always there.
        DataError: the examples do not state what a condition is made of.
    """
    if method_of(config).learns_from == "domains":
        config = _with_domains(config, listing)
    config = _with_style(config, task, picture_channels)
    conditions = conditions_of(config).settled(listing.splits["train"])
    _check_stated(task, conditions, listing)
    return _with_networks(config, conditions), conditions


def _with_domains(config: RunConfig, listing: Listing) -> RunConfig:
    """The config with what a task between domains cannot do without: attributes where the examples have some, else classes."""
    if config.conditions.keys() & {"label", "attributes"}:
        return config
    attributes = any(record.attributes for record in listing.splits["train"])
    return override(config, {"conditions.attributes" if attributes and config.task.name == "edit" else "conditions.label": {}})


def _with_style(config: RunConfig, task: Task, channels: tuple[int, int | None]) -> RunConfig:
    """The config with the channels of the pictures that a style is read off."""
    if "style" not in config.conditions:
        return config
    if config.conditions["style"].get("of_objects") and not config.conditions.get("map", {}).get("edges"):
        raise no_objects()
    if not config.conditions["style"].get("drawn") and option_of(config.generator, "noise_channels"):
        config = override(config, {"conditions.style.drawn": True})
    if side := option_of(config.generator, "reference_side"):
        config = override(config, {"conditions.style.side": side})
    if config.conditions["style"].get("channels"):
        return config
    backwards = config.task.direction == "BtoA" or task.between  # there, pictures are references for each other
    target = channels[0] if backwards else channels[1]
    if not (task.needs_pairs or task.between) or task.head != "tanh" or target is None:
        raise ConfigError(
            f"the task '{task.name}' has no use for the condition 'style'",
            why="a style is read off targets that are pictures of their own",
            fix="leave it out, or take pairs: --task pair",
        )
    return override(config, {"conditions.style.channels": target})


def _check_stated(task: Task, conditions: Conditions, listing: Listing) -> None:
    """Refuse conditions that the task cannot take, and to ask always for what is not always there."""
    if conditions.folders and task.magnification > 1:
        raise ConfigError(
            f"the task '{task.name}' has no use for the condition '{next(iter(conditions.folders))}'",
            why="its sources and targets differ in size",
            fix="leave it out",
        )
    if conditions.dropout or task.between:
        return
    for record in (record for records in listing.splits.values() for record in records):
        there = {**conditions.values(record, {}), **record.pictures}
        if lacking := [name for name in conditions.names if name not in there and name not in conditions.optional]:
            raise ConfigError(
                f"training.condition_dropout cannot be 0: '{record.id}' states no {lacking[0]}",
                why="a style is read off targets, which are not there at use"
                if lacking[0] == "style"
                else "0 means that it is always given",
                fix="leave training.condition_dropout out",
            )


def _with_networks(config: RunConfig, conditions: Conditions) -> RunConfig:
    """The config with what conditions have learnt, and networks that take them."""
    settings: dict[str, Any] = {f"conditions.{name}": values for name, values in conditions.settings().items()}
    steers = conditions.widths.keys() - set(SPATIAL) or config.generator.options.get("noise_channels")
    if option_of(config.generator, "injection") == "planes" and "injection" not in config.generator.options:
        # Planes that hardly vary, as looks of large objects are, do not get past the first instance norm.
        usual = "spade" if "look" in conditions.widths else "film" if steers else "planes"
        settings |= {"generator.options.injection": usual} if usual != "planes" else {}
    if conditions.kinds:
        settings["generator.options.conditions"] = conditions.widths
        unseen = {"look", *(kind.tensor for kind in conditions.kinds if kind.is_drawn)}  # a critic does not know what was drawn
        judged = {kind: width for kind, width in conditions.widths.items() if kind not in unseen}
        if config.critic is not None and judged:
            settings["critic.options.conditions"] = judged
    return override(config, settings)


def option_of(network: NetworkConfig, name: str) -> Any:
    """An option of a network, or its default; None where the network has none of that name."""
    known = GENERATORS | CRITICS
    parameters = inspect.signature(known[network.name]).parameters if network.name in known else {}
    return network.options.get(name, parameters[name].default) if name in parameters else None


def steered(conditions: Conditions) -> list[str]:
    """What steers the translation, with the first of its names."""
    named = {kind.name: kind.known for kind in conditions.kinds}
    return [
        f"steered by {name}" + (f": {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else "")
        for name, names in named.items()
    ]


def unused(conditions: Conditions, listing: Listing) -> list[str]:
    """A word where the examples state what does not steer anything."""
    if listing.layout != "index":
        return []
    stated = {
        "label": len({record.label for record in listing.splits["train"]} - {None}) > 1,  # one for all tells nothing
        "text": any(record.text for record in listing.splits["train"]),
        "attributes": any(record.attributes for record in listing.splits["train"]),
    }
    idle = [name for name, there in stated.items() if there and name not in conditions.names]
    return [f"the index has {' and '.join(idle)}, which would steer the translation with --condition {','.join(idle)}"] if idle else []
