"""How large the networks of ``auto`` are, by the machine and the data: three sizes, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pixloom.config import RunConfig, override

MANY = 2000
"""Examples from which on the large size has enough to learn from."""

LARGE_PICTURES = 256
"""Side from which on a CPU takes the small size: a step takes a second and more there."""


@dataclass(frozen=True)
class Size:
    """Of generator, critic and batch.

    Attributes:
        name: of it.
        width, blocks: of the generator, see ``nets.residual``.
        critic: width of the critic.
        batch: images of a step.
    """

    name: str
    width: int
    blocks: int
    critic: int
    batch: int

    @property
    def settings(self) -> dict[str, Any]:
        """As dotted keys."""
        return {
            "generator.options.width": self.width,
            "generator.options.blocks": self.blocks,
            "critic.options.width": self.critic,
            "training.batch_size": self.batch,
        }


SMALL, MEDIUM, LARGE = Size("small", 32, 1, 32, 2), Size("medium", 48, 1, 32, 2), Size("large", 64, 2, 48, 8)


def sized(config: RunConfig, *, examples: int, on_cpu: bool, settings: Mapping[str, Any]) -> tuple[RunConfig, str | None]:
    """The config with networks of the size that suits, and the reason; as it is where the recipe is another or its networks were replaced.

    Args:
        config: of the recipe, with the person's settings.
        examples: to learn from.
        on_cpu: whether a CPU computes.
        settings: the person's, which stay.
    """
    critic = None if config.critic is None else config.critic.name
    if config.recipe not in ("auto", "twin") or config.generator.name != "residual_unet" or critic not in ("residual", None):
        return config, None
    size = choose(examples=examples, side=config.data.size, on_cpu=on_cpu)
    chosen = {key: value for key, value in size.settings.items() if key not in settings and (critic or not key.startswith("critic"))}
    place = "a CPU" if on_cpu else "a GPU"
    return override(config, chosen), f"{size.name} networks: {examples:,} examples of {config.data.size} px on {place}"


def choose(*, examples: int, side: int, on_cpu: bool) -> Size:
    """Small for large pictures on a CPU, large for many pictures on a GPU, else medium.

    >>> [choose(examples=300, side=side, on_cpu=True).name for side in (64, 128, 256)]
    ['medium', 'medium', 'small']
    >>> [choose(examples=count, side=256, on_cpu=False).name for count in (300, 50_000)]
    ['medium', 'large']
    """
    if on_cpu:
        return SMALL if side >= LARGE_PICTURES else MEDIUM
    return LARGE if examples >= MANY else MEDIUM
