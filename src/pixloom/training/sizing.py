"""How large the networks of ``auto`` are, by the data, the machine and its memory: three sizes, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from pixloom.config import RunConfig, override
from pixloom.heap import free_memory_bytes
from pixloom.training.counting import counted
from pixloom.training.status import format_bytes

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
ORDER = (LARGE, MEDIUM, SMALL)

FEW = 500
"""Images that a run should see: where the minutes allow fewer, smaller networks, which see more, come further (docs/log.md)."""

SHARE_OF_MEMORY = 0.6
"""Of what is free, that the tensors of a step may take: libraries and the loader take some, too."""


def sized(config: RunConfig, *, examples: int, device: torch.device, settings: Mapping[str, Any]) -> tuple[RunConfig, str | None]:
    """The config with networks of the size that suits, and the reason; as it is where the recipe is another, its networks were
    replaced, or it goes on from a model.

    Args:
        config: of the recipe, with the person's settings.
        examples: to learn from.
        device: that computes.
        settings: the person's, which stay.
    """
    critic = None if config.critic is None else config.critic.name
    if config.training.from_model is not None:
        return config, None
    if config.recipe not in ("auto", "twin") or config.generator.name != "residual_unet" or critic not in ("residual", "frozen", None):
        return config, None
    on_cpu = device.type == "cpu"
    wanted = choose(examples=examples, side=config.data.size, on_cpu=on_cpu)
    smaller = ORDER[ORDER.index(wanted) :]
    free = free_on(device)
    for size in (*smaller, *(replace(each, batch=1) for each in smaller[-1:])):
        found = override(lightened(config, size), {key: settings[key] for key in size.settings if key in settings})
        needed = bytes_of(found) if free is not None else None
        if free is None or needed is None or needed <= SHARE_OF_MEMORY * free:
            break
    reason = f"{size.name} networks: {examples:,} examples of {config.data.size} px on {'a CPU' if on_cpu else 'a GPU'}"
    return found, f"{reason}{_memory(size, wanted=wanted, needed=needed, free=free)}"


def lighter(config: RunConfig, *, settings: Mapping[str, Any]) -> tuple[Size, ...]:
    """The smaller sizes, largest first, for a run whose minutes turn out to be few; none where the person decided about any of this.

    Args:
        config: as :func:`sized` gave it.
        settings: the person's.
    """
    if any(key in settings for key in SMALL.settings):
        return ()
    return tuple(size for size in ORDER if size.width < int(config.generator.options["width"]))


def lightened(config: RunConfig, size: Size) -> RunConfig:
    """The config with networks of another size."""
    return override(config, {key: value for key, value in size.settings.items() if config.critic or not key.startswith("critic")})


def _memory(size: Size, *, wanted: Size, needed: int | None, free: int | None) -> str:
    """What memory had to do with it."""
    if needed is None or free is None:
        return ""
    there = f"; a step of {size.batch} holds about {format_bytes(needed)}, and {format_bytes(free)} are free"
    if needed > SHARE_OF_MEMORY * free:
        return f"{there}: too little, choose a smaller --size"
    return there if size == wanted else f"{there}, too little for {wanted.name} networks with batches of {wanted.batch}"


def bytes_of(config: RunConfig) -> int | None:
    """The memory of a step between pictures of three channels, by count; None where it cannot be counted.

    Classes and conditions are not known yet when the size is chosen; they take little.
    """
    stateless = {"task.name": "pair", "task.options": {}, "conditions": {}}
    networks: dict[str, Any] = {f"{role}.options.conditions": {} for role in ("generator", "critic") if getattr(config, role) is not None}
    step = counted(override(config, stateless | networks), channels=(3, 3))
    return None if step is None else step.memory_bytes


def free_on(device: torch.device) -> int | None:
    """The free memory where it is computed; None where it is not known."""
    if device.type == "cpu":
        return free_memory_bytes()
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


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
