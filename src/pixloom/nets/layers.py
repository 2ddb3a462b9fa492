"""The layers that networks share: normalisation, dropout as noise, the noise input, initialisation and the inference mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.config import Statistics
from pixloom.errors import ConfigError
from pixloom.shapes import Images

Norm = Literal["batch", "instance", "group", "none"]
"""A name in :data:`NORMS`."""

Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share of activations to drop."""

Pictures = Float[Tensor, "batch _ height width"]
"""Pictures of one size, whatever their channels: a source and its translation, a source and a candidate."""

Condition = dict[str, Tensor]
"""Named tensors that steer a translation besides the source."""


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy, 2015) that knows what it does in use and over several processes.

    Training in one process it is ``torch.nn.BatchNorm2d``, bit for bit. Training in several, mean and variance are those of the
    joint batch, so that N processes compute what one would; every process must hold an equally large share.

    Attributes:
        statistics: what evaluation mode normalises with: the "running" statistics of training, or those of each single "image"
            (what training mode does with a batch of one; Isola et al., 2017, section 3.3).

    Raises:
        ConfigError: training on a single value per channel, which has no variance.
    """

    statistics: Statistics = "running"

    def forward(self, maps: Images) -> Images:
        """Normalise (batch, channels, height, width)."""
        if self.training:
            return self._forward_jointly(maps) if _world_size() > 1 else self._forward_alone(maps)
        # A map of one pixel has no statistics of its own (it would become the bias, whatever the picture); the running ones stand in.
        if self.statistics == "image" and maps[0, 0].numel() > 1:
            return F.instance_norm(maps, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(maps)

    def _forward_alone(self, maps: Tensor) -> Tensor:
        if maps.numel() == maps.shape[1]:
            raise ConfigError(
                "batch normalisation cannot train on a single value per channel",
                why="the batch holds one picture and its map is down to 1 x 1 pixels here",
                fix="raise training.batch_size or data.size, or set the network's norm to 'group' or 'none'",
            )
        return super().forward(maps)

    def _forward_jointly(self, maps: Tensor) -> Tensor:
        # Two passes, mean then variance, because E[x^2] - E[x]^2 cancels digits.
        values = maps.to(self.weight.dtype)
        mean = _mean_over_processes(values.mean((0, 2, 3), keepdim=True))
        variance = _mean_over_processes((values - mean).square().mean((0, 2, 3), keepdim=True))
        self._track(mean.detach().flatten(), variance.detach().flatten(), count=values.numel() // values.shape[1] * _world_size())
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return ((values - mean) * scale + self.bias[:, None, None]).to(maps.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        """Move the running statistics towards those of this batch; the variance is tracked unbiased, as torch does."""
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        self.num_batches_tracked.add_(1)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation (Ulyanov et al., 2016) without weights; a map of one pixel becomes zero instead of an error."""

    def forward(self, maps: Images) -> Images:
        """Normalise (batch, channels, height, width)."""
        if maps[0, 0].numel() == 1:
            return maps - maps  # unlike new zeros, it keeps the graph
        return super().forward(maps)


class Dropout(nn.Module):
    """Dropout (Srivastava et al., 2014) that can stay on in use as the noise z (Isola et al., 2017, section 3.1).

    Attributes:
        probability: the share of activations that are zeroed.
        as_noise: whether evaluation mode drops as well.
    """

    as_noise: bool = False

    def __init__(self, probability: Probability) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, maps: Images) -> Images:
        """Drop single activations of (batch, channels, height, width)."""
        return F.dropout(maps, self.probability, training=self.training or self.as_noise)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu and He, 2018) in 32 groups, or in the most that divide the channels with two or more in each.

    >>> [group_norm(channels).num_groups for channels in (64, 48, 8, 7)]
    [32, 24, 4, 1]
    """
    most = max(1, min(32, channels // 2))
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels)


NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": BatchNorm2d,
    "instance": InstanceNorm2d,
    "group": group_norm,
    "none": nn.Identity,
}
"""Number of channels -> normalisation layer."""


def set_inference(network: nn.Module, *, statistics: Statistics, dropout: bool) -> None:
    """Put a network into evaluation mode, with what batch norm normalises by and whether dropout stays on as noise."""
    network.eval()
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.statistics = statistics
        elif isinstance(module, Dropout):
            module.as_noise = dropout


@torch.no_grad()
def initialize(network: nn.Module, *, gain: float = 0.02) -> None:
    """Draw new weights: N(0, gain) for convolutions and linear layers, N(1, gain) for batch norm; biases 0 (Radford et al., 2016)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, gain)
        elif isinstance(module, BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def has_batch_norm(network: nn.Module) -> bool:
    """Whether the pictures of a batch influence each other in training mode.

    >>> has_batch_norm(nn.Sequential(nn.Conv2d(3, 8, 3), BatchNorm2d(8)))
    True
    """
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def with_noise(source: Pictures, noise: Tensor | None, *, channels: int) -> Pictures:
    """The source with the noise z broadcast over space and appended as channels.

    Args:
        source: (batch, source channels, height, width).
        noise: (batch, channels); None where a generator takes none.
        channels: the generator's ``noise_channels``.

    Raises:
        ConfigError: noise is missing, not wanted, or of another shape.
    """
    wanted = (len(source), channels) if channels else None
    given = None if noise is None else tuple(noise.shape)
    if given != wanted:
        raise ConfigError(
            "the noise does not fit the generator",
            why=f"wanted {wanted or 'none'}, given {given or 'none'} (batch, noise_channels)",
            fix="pass noise of (batch, noise_channels) to a generator with noise_channels > 0, and none to another",
        )
    if noise is None:
        return source
    maps = noise.to(source)[:, :, None, None].expand(-1, -1, *source.shape[2:])
    return torch.cat([source, maps], 1)


def refuse_condition(condition: Condition | None) -> None:
    """Raise ConfigError where a condition would be ignored: by a network that has no way to use one."""
    if condition:
        raise ConfigError("this network takes no condition", why=f"given: {', '.join(condition)}", fix="leave the condition out")


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _mean_over_processes(value: Tensor) -> Tensor:
    """The mean over all processes; its gradient flows back to each of them."""
    total: Tensor = _SumOverProcesses.apply(value)  # type: ignore[no-untyped-call]
    return total / _world_size()


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; each one's gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total: Tensor = _SumOverProcesses.apply(gradients[0])  # type: ignore[no-untyped-call]
        return total
