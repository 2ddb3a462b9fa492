"""What learns: the networks, their optimizers and the average, and one step of the adversarial game."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pixloom.config import OptimizerConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.data.disturbing import disturbed
from pixloom.methods import Method, build_method
from pixloom.methods import build_networks as method_networks
from pixloom.methods.base import Outputs
from pixloom.methods.conditional import Regression
from pixloom.nets.layers import initialize, recompute_activations, untracked
from pixloom.nets.team import acting, returning
from pixloom.recipes import recipe
from pixloom.tasks import build_task
from pixloom.training.ema import Ema
from pixloom.training.engine import Engine, derive_seed
from pixloom.training.pool import Pool
from pixloom.training.state import Checkpoint, optimizer_state, restore_module, restore_optimizer

FADING = ("diversity",)
"""Terms whose weight falls linearly to zero over the run (Choi et al., "StarGAN v2", 2020, appendix B)."""


SQUARES = 8
"""Squares along the shorter side, of which half are hidden in pretraining."""


@dataclass(frozen=True)
class StepResult:
    """The terms of one step, unweighted, by network, and whether it was sound.

    Attributes:
        generator, critic: the terms; empty where a network was not trained.
        sound: a bool tensor; where it is False a loss was not finite, and neither that update was made nor any after it.
    """

    generator: dict[str, Tensor]
    critic: dict[str, Tensor]
    sound: Tensor


class Learner:
    """The networks, their optimizers and the averaged generator.

    Attributes:
        generator, critic: the bare networks, or teams of networks.
        method: the method over the networks as the engine wrapped them.
        pools: made pictures that the critic may be shown again, by their name in the outputs.
        passed: share of the run that has passed, on which weights that fade depend.
        seen: images before the step, on which the average's half-life may depend.
    """

    def __init__(self, config: RunConfig, *, channels: tuple[int, int], engine: Engine) -> None:
        self.config, self.engine = config, engine
        self.batch_factor = batch_factor(config)
        self.generator, self.critic = build_networks(config, channels=channels)
        halflife = config.training.ema_halflife_images
        share = config.training.ema_share
        self.ema = None if halflife is None else Ema(self.generator.to(engine.device), halflife_images=halflife, share=share)
        networks = {"generator": self.generator, **({} if self.critic is None else {"critic": self.critic})}
        if config.compute.recompute_activations:
            for network in networks.values():
                recompute_activations(network)
        wrapped = {name: engine.prepare(network) for name, network in networks.items()}
        self.optimizers = {name: adam(network, getattr(config, f"{name}_optimizer")) for name, network in wrapped.items()}
        self.content = build_task(config.task).terms(config.losses)
        self.method: Method = build_method(config, generator=wrapped["generator"], critic=wrapped.get("critic"), content=self.content)
        self.pools = {name: Pool(config.training.pool_images) for name in self.method.pooled if config.training.pool_images}
        self.passed, self.seen = 0.0, 0

    @property
    def best_generator(self) -> nn.Module:
        """The generator to use: the average where there is one."""
        return acting(self._best)

    @property
    def best_return(self) -> nn.Module | None:
        """The generator that translates back, where there is one."""
        return returning(self._best)

    @property
    def _best(self) -> nn.Module:
        return self.generator if self.ema is None else self.ema.network

    def step(self, batch: Batch, *, train_generator: bool = True) -> StepResult:
        """One update of the critic and one of the generator, on one generator pass."""
        statistics = self._statistics()
        if self.method.game is not None:
            self.method.game.passed = self.passed
        if self.config.data.disturb:
            batch = replace(batch, source=disturbed(batch.source, share=self.config.data.disturb))
        result = self._play(batch, train_generator=train_generator)
        for buffer, former in statistics:  # batch norm has already averaged a bad pass into its statistics
            buffer.copy_(torch.where(result.sound, buffer, former))
        if train_generator and self.ema is not None:
            num_images = self.config.training.batch_size * self.config.training.num_critic
            self.ema.update(self.generator, num_images=num_images, seen=self.seen + self.config.training.batch_size, sound=result.sound)
        return result

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every term, here and now."""
        return {name: weight * (1 - self.passed) if name in FADING else weight for name, weight in self.method.weights.items()}

    def is_finite(self) -> bool:
        """Whether every weight, statistic and moment is a number: what is not must never be shown, judged or saved."""
        average = None if self.ema is None else self.ema.network
        networks = [network for network in (self.generator, self.critic, average) if network is not None]
        states = [network.state_dict() for network in networks]
        states += [moments for optimizer in self.optimizers.values() for moments in optimizer.state.values()]
        tensors = (value for state in states for value in state.values() if isinstance(value, torch.Tensor))
        return all(bool(torch.isfinite(tensor.sum())) for tensor in tensors if tensor.is_floating_point())

    def rates(self, factor: float) -> dict[str, float]:
        """The configured learning rates by network, scaled."""
        settings: dict[str, OptimizerConfig] = {name: getattr(self.config, f"{name}_optimizer") for name in self.optimizers}
        return {name: setting.learning_rate * factor * self.batch_factor for name, setting in settings.items()}

    def set_learning_rates(self, factor: float) -> dict[str, float]:
        """Scale the configured rates; returns them by network."""
        rates = self.rates(factor)
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rates[name] * group["share"]
        return rates

    def retune(self, config: RunConfig) -> None:
        """Go on with other losses, rates and limits, on the same networks."""
        self.config, self.content = config, build_task(config.task).terms(config.losses)
        self.method = build_method(config, generator=self.method.generator, critic=self.method.critic, content=self.content)

    def states(self) -> dict[str, Mapping[str, Any]]:
        """Everything that a checkpoint must hold, by name."""
        states: dict[str, Mapping[str, Any]] = {"generator": self.generator.state_dict()}
        if self.critic is not None:
            states["critic"] = self.critic.state_dict()
        if self.ema is not None:
            states["ema"] = self.ema.network.state_dict()
        for name, pool in self.pools.items():
            states[f"pool_{name}"] = pool.state()
        for name, optimizer in self.optimizers.items():
            states[f"{name}_optimizer"] = optimizer_state(optimizer, getattr(self.method, name).parameters())
        return states

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint."""
        restore_module(self.generator, checkpoint, "generator")
        if self.critic is not None:
            restore_module(self.critic, checkpoint, "critic")
        if self.ema is not None:
            restore_module(self.ema.network, checkpoint, "ema")
        for name, pool in self.pools.items():
            pool.restore({key.split("/", 1)[1]: value for key, value in checkpoint.tensors.items() if key.startswith(f"pool_{name}/")})
        for name, optimizer in self.optimizers.items():
            restore_optimizer(optimizer, checkpoint, f"{name}_optimizer", parameters=getattr(self.method, name).parameters())

    def _play(self, batch: Batch, *, train_generator: bool) -> StepResult:
        """The game itself: y_hat = G(x), then D's step on (y, y_hat), then G's step against the new D.

        A batch in several parts keeps the graph of one part at a time: G runs without a graph for D's step, and anew for its own.
        """
        if self.passed < self.config.training.pretrain_share:
            return self._pretrain(batch)
        method, parts = self.method, split(batch, self.config.compute.accumulate)
        passes = Passes(method, parts)
        sound = torch.ones((), dtype=torch.bool, device=batch.source.device)
        generator_terms: dict[str, Tensor] = {}
        critic_terms: dict[str, Tensor] = {}
        if method.critic is not None:
            critic_terms, sound = self._descend(
                "critic",
                lambda place: method.critic_terms(parts[place], self._with_former(passes.for_critic(place))),
                num_parts=len(parts),
                sound=sound,
            )
        if train_generator:
            with frozen(method.critic):
                generator_terms, sound = self._descend(
                    "generator",
                    lambda place: method.generator_terms(parts[place], passes.for_generator(place)),
                    num_parts=len(parts),
                    sound=sound,
                )
        return StepResult(generator_terms, critic_terms, sound)

    def _pretrain(self, batch: Batch) -> StepResult:
        """G's step alone, from sources of which squares are hidden.

        Torbunov et al., "UVCGAN: UNet Vision Transformer Cycle-Consistent GAN for Unpaired Image-to-Image Translation", WACV 2023, section
        3.2, where the generator completes pictures; with pairs it completes and translates them at once.
        """
        parts = split(batch, self.config.compute.accumulate)
        plain = Regression(self.method.generator, losses=self.config.losses, content=self.content)
        sound = torch.ones((), dtype=torch.bool, device=batch.source.device)
        hidden = [replace(part, source=masked(part.source)) for part in parts]
        terms, sound = self._descend(
            "generator",
            lambda place: plain.generator_terms(hidden[place], plain.translate(hidden[place])),
            num_parts=len(parts),
            sound=sound,
        )
        return StepResult(terms, {}, sound)

    def _with_former(self, outputs: Outputs) -> Outputs:
        """The outputs as the critic is shown them: some of their pictures from earlier steps, where pictures are kept."""
        shown = {name: pool.exchanged(outputs.fake if name == "fake" else outputs.more[name]) for name, pool in self.pools.items()}
        if not shown:
            return outputs
        return replace(
            outputs, fake=shown.get("fake", outputs.fake), more={**outputs.more, **{k: v for k, v in shown.items() if k != "fake"}}
        )

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        """The networks' running statistics, each with a copy."""
        networks = (network for network in (self.generator, self.critic) if network is not None)
        return [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]

    def _descend(
        self, name: str, terms_of: Callable[[int], Mapping[str, Tensor]], *, num_parts: int, sound: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """One optimizer step down the weighted sum of the terms, their mean over the parts of the batch.

        The network stays as it is where the sum is not finite on some process, or ``sound`` is False already. That is decided by the
        optimizer's kernel, so that nobody has to wait for the answer.
        """
        network, optimizer, means = getattr(self.method, name), self.optimizers[name], dict[str, Tensor]()
        optimizer.zero_grad(set_to_none=True)
        for place in range(num_parts):
            with self.engine.averaging(network, last=place == num_parts - 1):
                terms = terms_of(place)
                total = weighted_sum(terms, self.weights) / num_parts
                self.engine.backward(total)
            sound = sound & torch.isfinite(total.detach())
            for key, value in terms.items():
                means[key] = means.get(key, 0.0) + value.detach() / num_parts
        sound = self.engine.on_all(sound)
        if (clip := self.config.training.clip_norm) is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.found_inf = (~sound).float()  # type: ignore[attr-defined]  # the fused kernels look at it
        optimizer.step()
        return means, sound


class Passes:
    """The generator's passes of one step: one that both updates share, or, for a batch in parts, two for each part that are equal."""

    def __init__(self, method: Method, parts: Sequence[Batch]) -> None:
        self.method, self.parts = method, parts
        self._shared = method.translate(parts[0]) if len(parts) == 1 else None
        self._seeds = torch.randint(2**62, (len(parts),)).tolist() if len(parts) > 1 else []

    def for_critic(self, place: int) -> Outputs:
        """The outputs of a part, without a graph."""
        if self._shared is not None:
            return self._shared.detached()
        with torch.no_grad(), untracked():
            return self._again(place).detached()

    def for_generator(self, place: int) -> Outputs:
        """The outputs of a part, with their graph."""
        return self._shared if self._shared is not None else self._again(place)

    def _again(self, place: int) -> Outputs:
        torch.manual_seed(self._seeds[place])
        return self.method.translate(self.parts[place])


def masked(sources: Tensor) -> Tensor:
    """Sources (batch, channels, height, width) of which half of the squares of an eighth of the shorter side are 0, drawn by chance."""
    height, width = sources.shape[2:]
    side = max(1, min(height, width) // SQUARES)
    kept = torch.rand(len(sources), 1, -(-height // side), -(-width // side), device=sources.device) < 0.5
    whole = kept.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :height, :width]
    return sources * whole


def split(batch: Batch, num_parts: int) -> list[Batch]:
    """The batch in consecutive parts of equal size."""
    if num_parts == 1:
        return [batch]
    size = len(batch) // num_parts
    places = [slice(start, start + size) for start in range(0, num_parts * size, size)]
    return [
        replace(
            batch,
            source=batch.source[place],
            target=None if batch.target is None else batch.target[place],
            ids=batch.ids[place],
            condition={name: value[place] for name, value in batch.condition.items()},
            own={name: value[place] for name, value in batch.own.items()},
        )
        for place in places
    ]


def build_networks(config: RunConfig, *, channels: tuple[int, int]) -> tuple[nn.Module, nn.Module | None]:
    """Generator and critic of a config, freshly initialised from its seed.

    Raises:
        ConfigError: unknown networks or options.
    """
    torch.manual_seed(derive_seed(config.training.seed, -1))
    generator, critic = method_networks(config, channels=channels)
    for network in (generator, critic):
        if network is not None:
            initialize(network)
    return generator, critic


def adam(network: nn.Module, settings: OptimizerConfig) -> torch.optim.Adam:
    """Adam with the config's settings, as one fused kernel: the same maths, and it can leave a step out by itself.

    Parts of a network that learn slower, by its attribute ``rates``, are groups of their own, with the ``share`` of the rate that they
    take.
    """
    groups = [{"params": parameters, "share": share} for share, parameters in _by_rate(network).items()]
    return torch.optim.Adam(groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=True)


def _by_rate(network: nn.Module) -> dict[float, list[nn.Parameter]]:
    """The parameters by the share of the learning rate that they take."""
    shares = {
        parameter: share
        for module in network.modules()
        for prefix, share in (getattr(module, "rates", None) or {}).items()
        for parameter in module.get_submodule(prefix).parameters()
    }
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        groups.setdefault(shares.get(parameter, 1.0), []).append(parameter)
    return groups


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The objective: the one place where weights meet terms."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def learning_rate_factor(images: int, *, total: int, decay_start: float, decay: str = "linear") -> float:
    """Constant, then towards zero, as a function of the images seen before the step.

        linear   f(i) = min(1, (N - i) / (N - s N))
        cosine   f(i) = (1 - cos(pi min(1, (N - i) / (N - s N)))) / 2

    The last step still has a rate above zero (the peers' code trains its last epoch with exactly zero).

    >>> [learning_rate_factor(i, total=100, decay_start=0.5) for i in (0, 50, 75, 99)]
    [1.0, 1.0, 0.5, 0.02]
    >>> [round(learning_rate_factor(i, total=100, decay_start=0.5, decay="cosine"), 3) for i in (0, 50, 75, 99)]
    [1.0, 1.0, 0.5, 0.001]
    """
    left = 1.0 if decay_start >= 1.0 else min(1.0, (total - images) / (total * (1.0 - decay_start)))
    return left if decay == "linear" else (1 - math.cos(math.pi * left)) / 2


def batch_factor(config: RunConfig) -> float:
    """What ``training.batch_scaling`` makes of the learning rates: r = batch size / the recipe's own; 1, sqrt(r) or r.

    The square root is for Adam (Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", 2022), the ratio
    itself is the rule for SGD (Goyal et al., 2017).
    """
    ratio = config.training.batch_size / recipe(config.recipe, size=256).training.batch_size
    return {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}[config.training.batch_scaling]


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
