"""Every method on tiny networks: configs, batches and learners for tests."""

from __future__ import annotations

from typing import Any

import torch

from pixloom.config import RunConfig, override
from pixloom.data.batch import Batch
from pixloom.nets.residual import Silent
from pixloom.recipes import recipe
from pixloom.training.engine import Engine
from pixloom.training.learner import Learner

SIZE, CHANNELS = 16, 3

NARROW = {"generator.options.width": 4, "critic.options.width": 4}
SHALLOW = {"generator.options.blocks": 2, "critic.options.layers": 1}
CODED = {"conditions.style.channels": CHANNELS, "conditions.style.drawn": True}

TINY: dict[str, dict[str, Any]] = {
    "auto": {"generator.options.halvings": 2, "critic.options.layers": 1},
    "pix2pix": {"critic.options.layers": 1},
    "pix2pixhd": {**SHALLOW, "generator.options.halvings": 1, "losses.perceptual_weight": 0.0},
    "spade": {"generator.options.levels": 2, "generator.options.hidden": 4, "critic.options.layers": 1, "losses.perceptual_weight": 0.0},
    "bicycle": {**CODED, "critic.options.layers": 1, "generator.options.conditions": {"style": 8}},
    "cyclegan": {**SHALLOW, "training.pool_images": 3},
    "cut": SHALLOW,
    "fastcut": SHALLOW,
    "sincut": SHALLOW,
    "ugatit": {"generator.options.blocks": 1, "critic.options.local_layers": 3, "critic.options.global_layers": 0},
    "stargan": {
        **SHALLOW,
        "generator.options.conditions": {"label": 2},
        "critic.options.conditions": {"label": 2},
        "training.num_critic": 1,
    },
    "starganv2": {
        **CODED,
        "conditions.style.code": 8,
        "generator.options.code": 8,
        "generator.options.halvings": 1,
        "generator.options.hidden": 16,
        "generator.options.conditions": {"label": 2, "style": 8},
        "critic.options.halvings": 2,
        "critic.options.conditions": {"label": 2},
    },
}
"""What makes each recipe small, and what its data would have told it."""

COLLECTIONS = ("cyclegan", "cut", "fastcut", "sincut", "ugatit")
DOMAINS = ("stargan", "starganv2")
PAIRED = ("auto", "pix2pix", "pix2pixhd", "spade", "bicycle")


def wake(network: torch.nn.Module, *, gain: float = 0.3) -> None:
    """Give the convolutions that begin with nothing something to do."""
    for module in network.modules():
        if isinstance(module, Silent):
            torch.nn.init.normal_(module.weight, 0.0, gain)


def tiny(name: str, **settings: Any) -> RunConfig:
    """A recipe with narrow networks; settings use double underscores for dots."""
    base = {"training.batch_size": 2, "training.images": 40, "compute.device": "cpu"} | NARROW | TINY[name]
    return override(recipe(name, size=SIZE), base | {key.replace("__", "."): value for key, value in settings.items()})


def learner(config: RunConfig) -> Learner:
    """What learns by a config."""
    return Learner(config, channels=(CHANNELS, CHANNELS), engine=Engine(config))


def batch(name: str, *, seed: int = 0, size: int = SIZE, count: int = 2) -> Batch:
    """Smooth pictures; targets are the sources' negatives where they are pairs; labels where there are domains."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, CHANNELS, 4, 4, generator=rng) * 1.6 - 0.8
    source = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    if name in DOMAINS:
        own = torch.eye(2)[torch.arange(count) % 2]
        condition = {"label": own.flip(1)}
        return Batch(source, None, ("",) * count, condition, {"label": own})
    target = -source if name in PAIRED else source.flip(0) * 0.5 + 0.3
    reference = torch.nn.functional.interpolate(target, size=64, mode="bilinear")
    return Batch(source, target, ("",) * count, {"style": reference} if name == "bicycle" else {})


def step(playing: Learner, given: Batch, *, number: int) -> dict[str, float]:
    """A step as a run makes it; its terms."""
    torch.manual_seed(number)
    result = playing.step(given)
    assert bool(result.sound)
    return {key: float(value.detach()) for key, value in (result.generator | result.critic).items()}
