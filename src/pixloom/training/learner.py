"""What learns: the networks, their optimizers and the average, and one step of the adversarial game."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixloom.config import NetworkConfig, OptimizerConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError
from pixloom.methods import Method, build_method
from pixloom.nets import CRITICS, GENERATORS, build
from pixloom.nets.layers import initialize
from pixloom.training.ema import Ema
from pixloom.training.engine import Engine, derive_seed
from pixloom.training.state import Checkpoint, restore_module, restore_optimizer


@dataclass(frozen=True)
class StepResult:
    """The terms of one step, unweighted, by network; ``finite`` is False when the step was skipped."""

    generator: dict[str, Tensor]
    critic: dict[str, Tensor]
    finite: bool


class Learner:
    """The networks, their optimizers and the averaged generator.

    Attributes:
        generator, critic: the bare networks.
        method: the method over the networks as the engine wrapped them.
    """

    def __init__(self, config: RunConfig, *, channels: tuple[int, int], engine: Engine) -> None:
        self.config, self.engine = config, engine
        self.generator, self.critic = build_networks(config, channels=channels)
        pairs = {"generator": (self.generator, config.generator_optimizer)}
        if self.critic is not None:
            pairs["critic"] = (self.critic, config.critic_optimizer)
        halflife = config.training.ema_halflife_images
        for network, _ in pairs.values():
            network.to(engine.device)
        self.ema = None if halflife is None else Ema(self.generator, halflife_images=halflife)
        wrapped = dict(zip(pairs, engine.prepare(*(network for network, _ in pairs.values())), strict=True))
        self.optimizers: dict[str, Any] = dict(
            zip(
                pairs,
                engine.prepare(*(adam(wrapped[name], settings, device=engine.device) for name, (_, settings) in pairs.items())),
                strict=True,
            )
        )
        self.method: Method = build_method(config, generator=wrapped["generator"], critic=wrapped.get("critic"))

    @property
    def best_generator(self) -> nn.Module:
        """The generator to use: the average where there is one."""
        return self.generator if self.ema is None else self.ema.network

    def step(self, batch: Batch, *, train_generator: bool = True) -> StepResult:
        """One update of the critic and one of the generator, on one generator pass."""
        statistics = self._statistics()
        result = self._play(batch, train_generator=train_generator)
        if not result.finite:  # batch norm has already averaged the bad pass into its statistics
            for buffer, former in statistics:
                buffer.copy_(former)
        elif train_generator and self.ema is not None:
            self.ema.update(self.generator, num_images=self.config.training.batch_size * self.config.training.num_critic)
        return result

    def is_finite(self) -> bool:
        """Whether every weight and statistic is a number: what is not must never be shown, judged or saved."""
        networks = [network for network in (self.generator, self.critic) if network is not None]
        tensors = (tensor for network in networks for tensor in network.state_dict().values() if tensor.is_floating_point())
        return all(bool(torch.isfinite(tensor.sum())) for tensor in tensors)

    def set_learning_rates(self, factor: float) -> dict[str, float]:
        """Scale the configured rates; returns them by network."""
        rates = {}
        for name, optimizer in self.optimizers.items():
            settings: OptimizerConfig = getattr(self.config, f"{name}_optimizer")
            rates[name] = settings.learning_rate * factor
            for group in optimizer.param_groups:
                group["lr"] = rates[name]
        return rates

    def states(self) -> dict[str, Mapping[str, Any]]:
        """Everything that a checkpoint must hold, by name."""
        states: dict[str, Mapping[str, Any]] = {"generator": self.generator.state_dict()}
        if self.critic is not None:
            states["critic"] = self.critic.state_dict()
        if self.ema is not None:
            states["ema"] = self.ema.network.state_dict()
        for name, optimizer in self.optimizers.items():
            states[f"{name}_optimizer"] = {"state": {str(key): value for key, value in optimizer.state_dict()["state"].items()}}
        return states

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint."""
        restore_module(self.generator, checkpoint, "generator")
        if self.critic is not None:
            restore_module(self.critic, checkpoint, "critic")
        if self.ema is not None:
            restore_module(self.ema.network, checkpoint, "ema")
        for name, optimizer in self.optimizers.items():
            restore_optimizer(optimizer, checkpoint, f"{name}_optimizer")

    def _play(self, batch: Batch, *, train_generator: bool) -> StepResult:
        """The game itself: y_hat = G(x), then D's step on (y, y_hat), then G's step against the new D."""
        method, clip = self.method, self.config.training.clip_norm
        outputs = method.translate(batch)
        critic_terms: dict[str, Tensor] = {}
        if method.critic is not None:
            critic_terms = method.critic_terms(batch, outputs.detached())
            if not self._descend("critic", method.critic, critic_terms, clip=clip):
                return StepResult({}, critic_terms, finite=False)
        if not train_generator:
            return StepResult({}, critic_terms, finite=True)
        with frozen(method.critic):
            generator_terms = method.generator_terms(batch, outputs)
            finite = self._descend("generator", method.generator, generator_terms, clip=clip)
        return StepResult(generator_terms, critic_terms, finite=finite)

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        """The networks' running statistics, each with a copy."""
        networks = (network for network in (self.generator, self.critic) if network is not None)
        return [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]

    def _descend(self, name: str, network: nn.Module, terms: Mapping[str, Tensor], *, clip: float | None) -> bool:
        """One optimizer step down the weighted sum of the terms; False, and no step, when the sum is not finite on any process."""
        total = weighted_sum(terms, self.method.weights)
        if self.engine.any_process(not bool(torch.isfinite(total))):
            return False
        self.optimizers[name].zero_grad(set_to_none=True)
        self.engine.backward(total)
        if clip is not None:
            self.engine.clip(network, clip)
        self.optimizers[name].step()
        return True


def build_networks(config: RunConfig, *, channels: tuple[int, int]) -> tuple[nn.Module, nn.Module | None]:
    """Generator and critic of a config, freshly initialised from its seed.

    Raises:
        ConfigError: unknown networks or options, or a size that the generator cannot take.
    """
    torch.manual_seed(derive_seed(config.training.seed, -1))
    given = {"source_channels": channels[0], "target_channels": channels[1], "size": config.data.size}
    generator = _build_one(config.generator, GENERATORS, role="generator", given=given)
    multiple = int(generator.size_multiple)  # type: ignore[arg-type]
    if config.data.size % multiple:
        raise ConfigError(
            f"the generator cannot take pictures of {config.data.size} px",
            why=f"it needs a multiple of {multiple}",
            fix=f"--size {max(multiple, config.data.size // multiple * multiple)}",
        )
    critic = None if config.critic is None else _build_one(config.critic, CRITICS, role="critic", given=given)
    return generator, critic


def _build_one(config: NetworkConfig, table: Mapping[str, Any], *, role: str, given: Mapping[str, int]) -> nn.Module:
    if config.name not in table:
        raise ConfigError(f"there is no {role} '{config.name}'", fix=f"one of: {', '.join(table)}")
    network: nn.Module = build(config.name, config.options, **given)
    initialize(network)
    return network


def adam(network: nn.Module, settings: OptimizerConfig, *, device: torch.device) -> torch.optim.Adam:
    """Adam with the config's settings; the fused form where the device has one (the same maths)."""
    betas = (settings.beta1, settings.beta2)
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=betas, fused=device.type in ("cpu", "cuda"))


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The objective: the one place where weights meet terms."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def learning_rate_factor(images: int, *, total: int, decay_start: float) -> float:
    """Constant, then linear towards zero, as a function of the images seen before the step.

        f(i) = min(1, (N - i) / (N - s N))

    The last step still has a rate above zero (the peers' code trains its last epoch with exactly zero).

    >>> [learning_rate_factor(i, total=100, decay_start=0.5) for i in (0, 50, 75, 99)]
    [1.0, 1.0, 0.5, 0.02]
    """
    if decay_start >= 1.0:
        return 1.0
    return min(1.0, (total - images) / (total * (1.0 - decay_start)))


@contextmanager
def frozen(network: nn.Module | None) -> Iterator[None]:
    """Let gradients flow through a network but not into it."""
    if network is None:
        yield
        return
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
