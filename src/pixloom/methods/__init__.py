"""How the translation is learnt: methods by name in ``METHODS``."""

from __future__ import annotations

from torch import nn

from pixloom.config import RunConfig
from pixloom.errors import ConfigError, nearest
from pixloom.methods.base import Method
from pixloom.methods.conditional import Conditional, Content, Regression
from pixloom.methods.multidomain import MultiDomain

__all__ = ["BETWEEN", "METHODS", "Method", "build_method", "check_method"]

METHODS: dict[str, type[Conditional] | type[Regression] | type[MultiDomain]] = {
    "conditional": Conditional,
    "regression": Regression,
    "multidomain": MultiDomain,
}

BETWEEN = ("multidomain",)
"""Methods that translate between domains, from pictures that have no partners; their critics see no source."""


def check_method(config: RunConfig) -> None:
    """Refuse a config whose method does not exist or whose critic has no part in it.

    Raises:
        ConfigError: naming the setting to change.
    """
    if config.method not in METHODS:
        raise ConfigError(f"there is no method '{config.method}'", fix=nearest(config.method, METHODS))
    needs_critic = METHODS[config.method] is not Regression
    if needs_critic and config.critic is None:
        raise ConfigError(f"the method '{config.method}' needs a critic", fix="set critic.name, e.g. --set critic.name=patch")
    if not needs_critic and config.critic is not None:
        raise ConfigError(
            f"the method '{config.method}' has no use for the critic '{config.critic.name}'",
            fix="remove the critic, or use the method 'conditional'",
        )


def build_method(config: RunConfig, *, generator: nn.Module, critic: nn.Module | None, content: Content) -> Method:
    """The method of a config over its networks (which may be wrapped for several processes), with the content terms of its task."""
    check_method(config)
    if config.method in BETWEEN:
        assert critic is not None, "checked above"
        return MultiDomain(generator, critic, losses=config.losses)
    if critic is None:
        return Regression(generator, content=content)
    return Conditional(generator, critic, losses=config.losses, content=content)
