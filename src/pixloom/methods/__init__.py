"""How the translation is learnt: methods by name in ``METHODS``."""

from __future__ import annotations

from torch import nn

from pixloom.config import RunConfig
from pixloom.errors import ConfigError, nearest
from pixloom.methods.base import Content, Method, Networks
from pixloom.methods.bicycle import Bicycle
from pixloom.methods.conditional import Conditional, Regression
from pixloom.methods.contrastive import Contrastive
from pixloom.methods.cycle import Cycle
from pixloom.methods.multidomain import MultiDomain
from pixloom.methods.styles import Styles

__all__ = ["METHODS", "Method", "build_method", "build_networks", "check_method", "method_of"]

METHODS: dict[str, type[Conditional | Regression | Bicycle | Cycle | Contrastive | MultiDomain | Styles]] = {
    "conditional": Conditional,
    "regression": Regression,
    "bicycle": Bicycle,
    "cycle": Cycle,
    "contrastive": Contrastive,
    "multidomain": MultiDomain,
    "styles": Styles,
}


def method_of(config: RunConfig) -> type[Conditional | Regression | Bicycle | Cycle | Contrastive | MultiDomain | Styles]:
    """The method that a config names.

    Raises:
        ConfigError: there is none of that name.
    """
    if config.method not in METHODS:
        raise ConfigError(f"there is no method '{config.method}'", fix=nearest(config.method, METHODS))
    return METHODS[config.method]


def check_method(config: RunConfig) -> None:
    """Refuse a config whose method does not exist or whose critic has no part in it.

    Raises:
        ConfigError: naming the setting to change.
    """
    needs_critic = method_of(config) is not Regression
    if needs_critic and config.critic is None:
        raise ConfigError(f"the method '{config.method}' needs a critic", fix="set critic.name, e.g. --set critic.name=patch")
    if not needs_critic and config.critic is not None:
        raise ConfigError(
            f"the method '{config.method}' has no use for the critic '{config.critic.name}'",
            fix="remove the critic, or use the method 'conditional'",
        )


def build_networks(config: RunConfig, *, channels: tuple[int, int]) -> Networks:
    """The networks of a config's method, uninitialised: what its generator's terms train, and what its critic's.

    Raises:
        ConfigError: unknown networks or options, or some that the method cannot use.
    """
    check_method(config)
    return method_of(config).networks(config, channels)


def build_method(config: RunConfig, *, generator: nn.Module, critic: nn.Module | None, content: Content) -> Method:
    """The method of a config over its networks (which may be wrapped for several processes), with the content terms of its task."""
    check_method(config)
    method: Method = method_of(config)(generator, critic, losses=config.losses, content=content)  # type: ignore[arg-type]
    return method
