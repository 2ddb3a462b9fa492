"""What a step of a config costs, by count: before anything is built, on the meta device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixloom.conditions import build_conditions
from pixloom.config import RunConfig
from pixloom.data.batch import Batch
from pixloom.methods import build_method
from pixloom.nets.cost import Play, StepCost, step_cost
from pixloom.nets.layers import recompute_activations
from pixloom.tasks import build_task
from pixloom.training.learner import Passes, build_networks, frozen, split, weighted_sum


def counted(config: RunConfig, *, channels: tuple[int, int], processes: int = 1) -> StepCost | None:
    """One process's share of a step, by count; None where a network makes products that are not counted.

    Args:
        config: of the run.
        channels: of source and target.
        processes: that share a step.
    """
    with torch.device("meta"):
        generator, critic = build_networks(config, channels=channels)
    share, averaged = config.training.batch_size // processes, config.training.ema_halflife_images is not None
    try:
        return step_cost(generator, critic, size=config.data.size, batch=share, averaged=averaged, play=step_of(config))
    except NotImplementedError:
        return None


def step_of(config: RunConfig) -> Play:
    """A step of the configured method in the parts of ``compute.accumulate``, as :class:`pixloom.training.learner.Learner` plays it."""

    def play(generator: nn.Module, critic: nn.Module | None, *, source: Tensor, target: Tensor) -> None:
        if config.compute.recompute_activations:
            for network in (generator, *([] if critic is None else [critic])):
                recompute_activations(network)
        method = build_method(config, generator=generator, critic=critic, content=build_task(config.task).terms(config.losses))
        stated = nothing_stated(config, source)
        batch = Batch(source=source, target=target, ids=("",) * len(source), condition=stated, own=stated)
        parts = split(batch, config.compute.accumulate)
        passes = Passes(method, parts)
        if critic is not None:
            critic.zero_grad()
            for place, part in enumerate(parts):
                torch.autograd.backward(weighted_sum(method.critic_terms(part, passes.for_critic(place)), method.weights))
        generator.zero_grad()
        with frozen(critic):
            for place, part in enumerate(parts):
                torch.autograd.backward(weighted_sum(method.generator_terms(part, passes.for_generator(place)), method.weights))

    return play


def nothing_stated(config: RunConfig, source: Tensor) -> dict[str, Tensor]:
    """The conditions of a batch of sources (batch, channels, height, width) that states none."""
    conditions = build_conditions(config.conditions, dropout=config.training.condition_dropout)
    nothing = conditions.encode({}, size=(source.shape[2], source.shape[3]))
    return {kind: torch.from_numpy(zeros).to(source.device).expand(len(source), *zeros.shape) for kind, zeros in nothing.items()}
