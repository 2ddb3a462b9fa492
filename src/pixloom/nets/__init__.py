"""Networks: generators G(x, c, z) and critics D(x, y, c), by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from torch import nn

from pixloom.errors import ConfigError, nearest
from pixloom.nets.discriminators import ImageCritic, PatchCritic, PixelCritic
from pixloom.nets.encoder_decoder import EncoderDecoder
from pixloom.nets.enhancer import Enhancer
from pixloom.nets.enlarged import UNetCritic, VggCritic
from pixloom.nets.enlarging import Compact, Rrdb, Srgan, SrResNet
from pixloom.nets.frozen import FrozenCritic
from pixloom.nets.multiscale import MultiScaleCritic
from pixloom.nets.residual import ResidualCritic, ResidualUNet
from pixloom.nets.resnet import ResNet
from pixloom.nets.segmenting import SegmentingCritic
from pixloom.nets.shuffle import Shuffle
from pixloom.nets.spade import Spade
from pixloom.nets.stargan import StarGanCritic
from pixloom.nets.stargan2 import DomainCritic, StarGan2
from pixloom.nets.ugatit import AttentionCritic, Ugatit
from pixloom.nets.unet import UNet

GENERATORS: dict[str, type[nn.Module]] = {
    "encoder_decoder": EncoderDecoder,
    "unet": UNet,
    "resnet": ResNet,
    "shuffle": Shuffle,
    "enhancer": Enhancer,
    "spade": Spade,
    "stargan2": StarGan2,
    "ugatit": Ugatit,
    "residual_unet": ResidualUNet,
    "rrdb": Rrdb,
    "compact": Compact,
    "srresnet": SrResNet,
    "srgan": Srgan,
}
"""Networks that translate."""

CRITICS: dict[str, type[nn.Module]] = {
    "patch": PatchCritic,
    "pixel": PixelCritic,
    "image": ImageCritic,
    "multiscale": MultiScaleCritic,
    "segmenting": SegmentingCritic,
    "stargan": StarGanCritic,
    "domains": DomainCritic,
    "attention": AttentionCritic,
    "residual": ResidualCritic,
    "frozen": FrozenCritic,
    "vgg": VggCritic,
    "unet_critic": UNetCritic,
}
"""Networks that judge."""

NETWORKS: dict[str, type[nn.Module]] = {**GENERATORS, **CRITICS}
"""Every network."""

__all__ = ["CRITICS", "GENERATORS", "NETWORKS", "build"]


def build(name: str, options: Mapping[str, Any], **given: Any) -> nn.Module:
    """Construct a network from its name and options; the constructor's signature is the schema.

    Args:
        name: a key of ``NETWORKS``.
        options: arguments of the constructor by name, as they stand in a config or a model file.
        **given: what follows from the data (``source_channels``, ``target_channels``, ``size``): passed on where the constructor
            takes it.

    Raises:
        ConfigError: an unknown network or option (with the nearest right name), a value of the wrong type or out of range, a
            missing option, or one that contradicts what is given.

    >>> build("pixel", {"width": 8}, source_channels=1, target_channels=2, size=64).options["norm"]
    'batch'
    """
    if name not in NETWORKS:
        raise ConfigError(f"there is no network '{name}'", fix=nearest(name, NETWORKS))
    chosen = _checked(name, options)
    derived = _checked(name, {key: value for key, value in given.items() if key in _parameters(name)})
    for key in chosen.keys() & derived.keys():
        if chosen[key] != derived[key]:
            raise ConfigError(f"the option '{key}' of '{name}' is {chosen[key]}, but {derived[key]} is needed", fix="leave the option out")
    arguments = derived | chosen
    required = [key for key, parameter in _parameters(name).items() if parameter.default is parameter.empty]
    if missing := [key for key in required if key not in arguments]:
        raise ConfigError(f"the network '{name}' lacks the option '{missing[0]}'", fix=f"give a value for {', '.join(missing)}")
    return NETWORKS[name](**arguments)


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(NETWORKS[name]).parameters


def _checked(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with their values converted to the annotated types."""
    types = get_type_hints(NETWORKS[name].__init__, include_extras=True)
    values = {}
    for key, value in options.items():
        if key not in _parameters(name):
            raise ConfigError(f"the network '{name}' has no option '{key}'", fix=nearest(key, _parameters(name)))
        try:
            values[key] = TypeAdapter(types[key]).validate_python(value)
        except ValidationError as error:
            default = _parameters(name)[key].default
            known = "" if default is inspect.Parameter.empty else f", or leave it out for {default!r}"
            raise ConfigError(
                f"the option '{key}' of '{name}' cannot be {value!r}",
                why=error.errors()[0]["msg"],
                fix=f"give a value that fits{known}",
            ) from error
    return values
