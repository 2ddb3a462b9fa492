"""The layers that networks share: normalisation, dropout as noise, initialisation and the inference mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pixloom.config import Statistics
from pixloom.errors import ConfigError
from pixloom.shapes import Images

Norm = Literal["batch", "instance", "group", "none"]
"""A name in :data:`NORMS`."""

Planes = Literal["signed", "binary"]
"""What a network sees of a source in [-1, 1]: that, or [0, 1], see :func:`seen`."""

Head = Literal["tanh", "clamp", "softmax"]
"""What turns a generator's last maps into its output, see :func:`output_head`."""

Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share of activations to drop."""

Pictures = Float[Tensor, "batch _ height width"]
"""Pictures of one size, whatever their channels: a source and its translation, a source and a candidate."""

Condition = dict[str, Tensor]
"""Named tensors that steer a translation besides the source."""


class untracked:  # noqa: N801
    """While it is entered, training-mode batch norm leaves its running statistics alone: for a pass that repeats one already counted."""

    depth: ClassVar[int] = 0  # a plain number: torch.compile does not see through context variables, and would compile piece by piece

    def __enter__(self) -> None:
        untracked.depth += 1

    def __exit__(self, *error: object) -> None:
        untracked.depth -= 1


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
        if not untracked.depth:
            return super().forward(maps)
        assert self.running_mean is not None
        assert self.running_var is not None
        aside = self.running_mean.clone(), self.running_var.clone()
        return F.batch_norm(maps, *aside, self.weight, self.bias, training=True, momentum=0.0, eps=self.eps)

    def _forward_jointly(self, maps: Tensor) -> Tensor:
        # Two passes, mean then variance, because E[x^2] - E[x]^2 cancels digits.
        assert self.running_mean is not None
        values = maps.to(self.running_mean.dtype)
        mean = _mean_over_processes(values.mean((0, 2, 3), keepdim=True))
        variance = _mean_over_processes((values - mean).square().mean((0, 2, 3), keepdim=True))
        if not untracked.depth:
            self._track(mean.detach().flatten(), variance.detach().flatten(), count=values.numel() // values.shape[1] * _world_size())
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return ((values - mean) * scale).to(maps.dtype)
        return ((values - mean) * (self.weight[:, None, None] * scale) + self.bias[:, None, None]).to(maps.dtype)

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


class Halving(nn.Conv2d):
    """A 4x4 convolution with stride 2 and padding 1: half the size.

    Of a map of 2 x 2 only the central 2 x 2 taps meet data, the other twelve meet padding: there it is a matrix product with these
    four, the same maths with a quarter of the weights read.
    """

    def __init__(self, inner: int, outer: int, *, bias: bool = True) -> None:
        super().__init__(inner, outer, 4, 2, 1, bias=bias)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, inner, height, width) to (batch, outer, height / 2, width / 2)."""
        if maps.shape[2:] != (2, 2):
            return super().forward(maps)
        return F.linear(maps.flatten(1), self.weight[:, :, 1:3, 1:3].flatten(1), self.bias)[:, :, None, None]


class Doubling(nn.ConvTranspose2d):
    """A transposed 4x4 convolution with stride 2 and padding 1: twice the size; the counterpart of :class:`Halving`."""

    def __init__(self, inner: int, outer: int, *, bias: bool = True) -> None:
        super().__init__(inner, outer, 4, 2, 1, bias=bias)

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(batch, inner, height, width) to (batch, outer, 2 height, 2 width)."""
        if maps.shape[2:] != (1, 1):
            return super().forward(maps, output_size)
        spread = (maps.flatten(1) @ self.weight[:, :, 1:3, 1:3].flatten(1)).view(len(maps), -1, 2, 2)
        return spread if self.bias is None else spread + self.bias[:, None, None]


def seen(source: Tensor, planes: Planes) -> Tensor:
    """The source as a network sees it: as it is, or (x + 1) / 2, so that planes of labels are 1 and 0 and padding is of no class.

    >>> seen(torch.tensor([-1.0, 1.0]), "binary").tolist()
    [0.0, 1.0]
    """
    return source if planes == "signed" else (source + 1) / 2


def halved(pictures: Tensor) -> Tensor:
    """Pictures of half the size, rounded up: the mean of 3 x 3 at every other place, at the border of what there is."""
    return F.avg_pool2d(pictures, 3, 2, 1, count_include_pad=False)


class BlurHalving(nn.Module):
    """Half the size without aliasing: the binomial filter (1, 2, 1) / 4 along rows and columns at every other place.

    Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019, section 3.2. The filter is made of two averages of 2 x 2, the
    second with stride 2; borders are mirrored. It has neither parameters nor buffers.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, height, width), sides 2 or more, to (batch, channels, height / 2, width / 2)."""
        return F.avg_pool2d(F.avg_pool2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), 2, 1), 2)


class BlurDoubling(nn.Module):
    """Twice the size without aliasing: zeros between the places, then the binomial filter (1, 3, 3, 1) / 4 along rows and columns.

    The counterpart of :class:`BlurHalving`. It is bilinear interpolation, 1/4 and 3/4 of two neighbours each, with repeated borders.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, channels, 2 height, 2 width)."""
        return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def fine_detail(pictures: Tensor) -> Tensor:
    """What the binomial filter (1, 4, 6, 4, 1) / 16 along rows and columns takes away from (batch, channels, height, width).

    The finest level of a Laplacian pyramid (Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983). The filter is made of
    four averages of 2 x 2; borders are mirrored, and sides are 3 or more.
    """
    low = F.pad(pictures, (2, 2, 2, 2), mode="reflect")
    for _ in range(4):
        low = F.avg_pool2d(low, 2, 1)
    return pictures - low


class SpectralConv2d(nn.Conv2d):
    """A convolution by W / sigma(W), sigma the largest singular value of W as a matrix of (outer, inner x taps).

        u <- W v / |W v|,   v = W^T u / |W^T u|,   sigma = u^T W v = |W^T u|

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, algorithm 1. One iteration per training pass,
    none in use and while ``untracked`` is entered; the gradient goes through W in sigma, not through u. Deviation: v is taken anew from
    u wherever it is needed, instead of being kept beside it; sigma is then that of the iteration's next half step, and positive
    whatever u is. Activations that are recomputed after another pass are computed with that pass's u: nearly the same.

    Attributes:
        u: (outer,), the left singular vector; its length does not matter, so that it can be averaged.
    """

    u: Tensor

    def __init__(self, inner: int, outer: int, kernel: int, stride: int = 1, padding: int = 0, *, bias: bool = True) -> None:
        super().__init__(inner, outer, kernel, stride, padding, bias=bias)
        self.register_buffer("u", F.normalize(torch.randn(outer), dim=0))

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, inner, height, width) to (batch, outer, height, width), or as stride and padding say."""
        result: Tensor = self._conv_forward(maps, self.weight / self._sigma(self.weight.flatten(1)), self.bias)
        return result

    def _sigma(self, matrix: Tensor) -> Tensor:
        if self.training and not untracked.depth:
            with torch.no_grad():
                self.u.copy_(F.normalize(torch.mv(matrix, F.normalize(torch.mv(matrix.t(), self.u), dim=0)), dim=0))
        # A copy, for the next pass moves u while this one's backward pass still needs it.
        left = F.normalize(self.u, dim=0).to(matrix.dtype)
        sigma: Tensor = torch.mv(matrix.t(), left).norm()
        return sigma.clamp(min=1e-12)


def convolution(*, spectral: bool) -> type[nn.Conv2d]:
    """The class of a network's convolutions: with spectral normalisation or without."""
    return SpectralConv2d if spectral else nn.Conv2d


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation (Ulyanov et al., 2016) without weights; a map of one pixel becomes zero instead of an error."""

    def forward(self, maps: Images) -> Images:
        """Normalise (batch, channels, height, width)."""
        if maps[0, 0].numel() == 1:
            return maps - maps  # unlike new zeros, it keeps the graph
        return super().forward(maps)


class Dropout(nn.Module):
    """Dropout (Srivastava et al., 2014) that can stay on in use as the noise z (Isola et al., 2017, section 3.1).

    In use, what is dropped is a function of (seed, layer, channel, place) alone, computed in whole numbers: the same in every runtime
    and on every device, whatever else is in the batch.

    Attributes:
        probability: the share of activations that are zeroed.
        as_noise: whether evaluation mode drops as well.
        seed: of what it drops in use, a whole number from 0 to 2^31 - 2 or a scalar tensor of one; see :func:`set_noise_seed`.
    """

    as_noise: bool = False
    seed: int | Tensor = 0

    def __init__(self, probability: Probability) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, maps: Images) -> Images:
        """Drop single activations of (batch, channels, height, width)."""
        if self.as_noise and not self.training:
            kept = _hash(self.seed, maps) >= int(self.probability * _PRIME)
            return maps * kept * (1 / (1 - self.probability))
        return F.dropout(maps, self.probability, training=self.training)


REACH = 12.0
"""How far below the largest logit the others count while they are learnt: e^-12, 6e-6, is a share that float32 still tells from none."""


class Shares(nn.Module):
    """2 softmax(maps) - 1 over the channels: shares of classes, 0 to 1, in the range of pictures, -1 to 1.

    Where a share is 0 to the last bit no gradient gets through: a network that gets there in its first steps, or is driven there by a
    critic that tells shares from labels, stays. While it learns logits are cut off before that, with gradients as if they were not.
    """

    def forward(self, maps: Images) -> Images:
        """(batch, channels, height, width) of logits to the same shape in [-1, 1], with sum 2 - channels over the channels."""
        if self.training:
            near = torch.maximum(maps, maps.amax(dim=1, keepdim=True) - REACH)
            maps = maps + (near - maps).detach()
        return 2 * F.softmax(maps, dim=1) - 1


def output_head(head: Head) -> nn.Module:
    """The last layer of a generator, without parameters: ``tanh`` or ``clamp`` for pictures, ``softmax`` for shares of classes."""
    return {"tanh": nn.Tanh, "clamp": Clamp, "softmax": Shares}[head]()


class Clamp(nn.Module):
    """Cuts pictures off at the ends of [-1, 1] in use, and not while they are learnt.

    Where tanh stands at an end no gradient gets through: a network without normalisation that gets there in its first steps stays. A
    value that is too large by itself has one like any other.
    """

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, channels, height, width)."""
        return pictures if self.training else pictures.clamp(-1, 1)


_PRIME = 2**31 - 1


def _hash(seed: int | Tensor, maps: Tensor) -> Tensor:
    """Whole numbers in [0, 2^31 - 1) for every place of a map, (channels, height, width), well mixed; no product leaves 63 bits."""
    channel, row, column = (torch.arange(side, device=maps.device) for side in maps.shape[1:])
    mixed = torch.ones((), dtype=torch.int64, device=maps.device) + seed
    for place in (channel[:, None, None], row[:, None], column):
        for step in (40503, 69621):
            mixed = (mixed * mixed + place * 16807 + step) % _PRIME
    mixed = (mixed * 48271 + 11) % _PRIME
    return (mixed * mixed + 1) % _PRIME


def set_noise_seed(network: nn.Module, seed: int | Tensor) -> None:
    """Choose what dropout drops in use: every layer gets its own seed from one in [0, 2^31 - 1)."""
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    for number, layer in enumerate(layers, start=1):
        layer.seed = (seed + number * 1_000_003) % _PRIME


def group_norm(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """Group normalisation (Wu and He, 2018) in 32 groups, or in the most that divide the channels with two or more in each.

    >>> [group_norm(channels).num_groups for channels in (64, 48, 8, 7)]
    [32, 24, 4, 1]
    """
    most = max(1, min(32, channels // 2))
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels, affine=affine)


NORMS: dict[Norm, Callable[..., nn.Module]] = {
    "batch": BatchNorm2d,
    "instance": InstanceNorm2d,
    "group": group_norm,
    "none": nn.Identity,
}
"""Number of channels -> normalisation layer; ``affine=False`` leaves out its parameters."""


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
    """Draw new weights: N(0, gain) for convolutions and linear layers, N(1, gain) for batch norm; biases 0 (Radford et al., 2016).

    Networks whose layers no normalisation follows, by their attribute ``keeps_scale``, draw convolutions and linear layers from N(0, 2 /
    inputs) (He et al., "Delving Deep into Rectifiers", 2015; for transposed ones 2 / (outputs x taps)). Layers with a ``gain`` of their own
    begin with that.
    """
    gains = {
        id(inner): float(cast(float, module.gain)) for module in network.modules() if hasattr(module, "gain") for inner in module.modules()
    }
    rectified = {id(inner) for module in network.modules() if getattr(module, "keeps_scale", False) for inner in module.modules()}
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and id(module) in rectified and id(module) not in gains:
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, gains.get(id(module), gain))
        elif isinstance(module, BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


EVEN = 256
"""Inputs of a layer up to which it takes the whole learning rate."""


def equalized(network: nn.Module) -> dict[str, float]:
    """Shares of the learning rate by the names of layers, so that wide ones do not run ahead of narrow ones: sqrt(256 / inputs).

    Adam moves every weight by about the rate, whatever its gradient, so that a layer's output moves with the number of its inputs. Without
    normalisation the moves of all layers multiply, and a rate at which narrow layers learn throws wide ones about. In Karras et al.,
    "Progressive Growing of GANs", ICLR 2018, section 4.1, weights of unit size are scaled by sqrt(2 / inputs) wherever they are used, with
    the same effect on their steps.

    Args:
        network: whose convolutions and linear layers are meant.

    Returns:
        Those of more than :data:`EVEN` inputs with their shares.

    >>> equalized(nn.Sequential(nn.Conv2d(256, 8, 1), nn.Conv2d(256, 8, 2)))
    {'1': 0.5}
    """
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    inputs = {name: layer.weight[0].numel() for name, layer in layers.items()}
    return {name: (EVEN / count) ** 0.5 for name, count in inputs.items() if count > EVEN}


def bare(network: nn.Module, *, compiled_only: bool = False) -> nn.Module:
    """The network without the wrappers of torch.compile and (unless ``compiled_only``) of several processes."""
    network = getattr(network, "_orig_mod", network)
    return network if compiled_only else getattr(network, "module", network)


def recompute_activations(network: nn.Module) -> None:
    """Let the network keep only what goes into each of its units, and compute the rest anew in the backward pass.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016. The same numbers: dropout draws the same again, and batch norm
    counts a pass once.
    """
    for unit in _units(network):
        unit.forward = partial(_recomputed, unit.forward)


def _units(network: nn.Module) -> Iterator[nn.Module]:
    """The parts that are worth it: those made of several layers; not containers of such parts, single layers, nor what is light."""
    for child in network.children():
        if getattr(child, "is_light", False):
            continue
        parts = list(child.children())
        if parts and isinstance(child, nn.ModuleList | nn.Sequential) and all(list(part.children()) for part in parts[1:]):
            yield from _units(child)
        elif parts:
            yield child


def _recomputed(forward: Callable[..., Tensor], *arguments: Any) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(*arguments)
    result: Tensor = checkpoint(forward, *arguments, use_reentrant=False, context_fn=lambda: (nullcontext(), untracked()))
    return result


def has_batch_norm(network: nn.Module) -> bool:
    """Whether the pictures of a batch influence each other in training mode.

    >>> has_batch_norm(nn.Sequential(nn.Conv2d(3, 8, 3), BatchNorm2d(8)))
    True
    """
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


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
