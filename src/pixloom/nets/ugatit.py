"""U-GAT-IT: translation that attends to what tells two domains apart, and learns how much of an instance norm it needs.

    a = ReLU(W [w_avg h, w_max h])                                       class activation attention
    AdaLIN(h) = gamma (rho IN(h) + (1 - rho) LN(h)) + beta               rho in [0, 1], for every channel

Kim et al., "U-GAT-IT: Unsupervised Generative Attentional Networks with Adaptive Layer-Instance Normalization", ICLR 2020, section 2.1. The
weights w_avg and w_max of the channels are those of a classifier of the domain, on the mean and on the maximum over all places (Zhou et
al., "Learning Deep Features for Discriminative Localization", CVPR 2016); its logits are what the class activation loss acts on.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.errors import ConfigError
from pixloom.nets.layers import Condition, InstanceNorm2d, Pictures, SpectralConv2d
from pixloom.nets.steering import Chain, Steering, Widths, through
from pixloom.shapes import Images, Judgement

_PLAIN_BLOCKS = 4


class Ugatit(nn.Module):
    """The generator of U-GAT-IT in its light form (Kim et al., 2020, section 2.1.1 and appendix B).

    A 7x7 convolution, two halvings and four residual blocks with instance norm; attention; ``blocks`` residual blocks with AdaLIN, whose
    scale and shift follow the mean of the attended maps; two doublings by repeated pixels, with a norm whose scale and shift are learnt,
    and a 7x7 convolution. ReLU, reflection padding, and biases only in the attention, as published.

    The full form reads scale and shift off every place of the attended maps, which fits one size of picture; the light one works at any.
    Deviations: rho is clipped to [0, 1] where it is used (its gradient stays, but where it leads further out) instead of after every step;
    variances are biased.

    Args:
        source_channels: channels of the source.
        target_channels: channels of the output.
        width: channels of the first layer.
        blocks: residual blocks with AdaLIN.
        noise_channels: 0: it takes no noise.
        conditions: none: it translates from one domain to one other.

    Raises:
        ConfigError: noise or conditions, which it cannot take.
    """

    size_multiple = 4
    min_size = 8
    radius: ClassVar[int | None] = None  # by its norms, a pixel depends on the whole picture

    def __init__(
        self,
        *,
        source_channels: PositiveInt,
        target_channels: PositiveInt,
        width: PositiveInt = 64,
        blocks: Annotated[int, Field(ge=1, le=64)] = 4,
        noise_channels: NonNegativeInt = 0,
        conditions: Widths | None = None,
    ) -> None:
        super().__init__()
        self.options = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "width": width,
            "blocks": blocks,
            "noise_channels": noise_channels,
            "conditions": dict(conditions or {}),
        }
        _check_nothing_given(conditions, noise_channels=noise_channels, name="ugatit")
        self.noise_channels = noise_channels
        self.steering = Steering(None, injection="planes")
        inner = 4 * width
        self.encoder = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(source_channels, width, 7, bias=False), InstanceNorm2d(width), nn.ReLU()
        )
        for channels in (width, 2 * width):
            halving = nn.Conv2d(channels, 2 * channels, 3, 2, bias=False)
            self.encoder.extend([nn.ReflectionPad2d(1), halving, InstanceNorm2d(2 * channels), nn.ReLU()])
        self.encoder.extend(Block(inner, adaptive=False) for _ in range(_PLAIN_BLOCKS))
        self.focus = Attention(inner, nn.ReLU(), spectral=False)
        hidden = [layer for _ in range(2) for layer in (nn.Linear(inner, inner, bias=False), nn.ReLU())]
        self.affine = nn.Sequential(*hidden, nn.Linear(inner, 2 * inner, bias=False))
        self.blocks = Chain(*(Block(inner, adaptive=True) for _ in range(blocks)))
        self.decoder = nn.Sequential()
        for channels in (inner, inner // 2):
            doubling = [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(channels, channels // 2, 3, bias=False)]
            self.decoder.extend([*doubling, LayerInstanceNorm(channels // 2), nn.ReLU()])
        self.decoder.extend([nn.ReflectionPad2d(3), nn.Conv2d(width, target_channels, 7, bias=False), nn.Tanh()])

    def forward(self, source: Pictures, condition: Condition | None = None, noise: Tensor | None = None) -> Pictures:
        """Translate.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1], sides multiples of 4 and at least 8.
            condition: None, or without any.
            noise: None.

        Returns:
            (batch, target_channels, height, width) in [-1, 1].

        Raises:
            ConfigError: a condition or noise.
        """
        self.steering(condition, noise, source)
        return self.judged(source)[0]

    def judged(self, source: Pictures) -> tuple[Pictures, Tensor]:
        """Translations, and what the class activation loss acts on.

        Args:
            source: as for a translation.

        Returns:
            The translations, and (batch, 2) of logits that the source is of the source's domain, not of the target's: by the mean over all
            places and by the maximum.
        """
        maps, logits = self.focus(self.encoder(source))
        modulation = self.affine(maps.mean((2, 3)))
        return self.decoder(self.blocks(maps, modulation)), logits

    def attention(self, source: Images) -> Tensor:
        """Where it looks: the sum of the attended maps, from the least in each picture, 0, to the most, 1.

        Args:
            source: as for a translation.

        Returns:
            (batch, 1, height / 4, width / 4) in [0, 1]; zeros where all places are alike.
        """
        total = self.focus(self.encoder(source))[0].sum(1, keepdim=True)
        least, most = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
        heat: Tensor = (total - least) / (most - least).clamp(min=torch.finfo(total.dtype).tiny)
        return heat


class AttentionCritic(nn.Module):
    """Two critics with attention, of patches and of larger patches (Kim et al., 2020, section 2.1.2 and appendix B).

    Each has layers - 2 convolutions 4x4 with stride 2 and one with stride 1, from ``width`` channels to twice as many every time,
    attention, and a convolution with stride 1 to the logits. Reflection padding, LeakyReLU(0.2), spectral norm on all but the 1x1
    convolution of the attention. Their patches are 70 and 286 pixels wide with 5 and 7 layers.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone, as published.
        target_channels: channels of the candidate.
        width: channels of the first stage.
        local_layers: layers of the one.
        global_layers: layers of the other; 0: there is none, for pictures too small for it.
        conditions: none: it judges pictures of one domain.

    Raises:
        ConfigError: conditions, which it cannot take, or a number of layers without a network.
    """

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        width: PositiveInt = 64,
        local_layers: Annotated[int, Field(ge=3, le=8)] = 5,
        global_layers: Annotated[int, Field(ge=0, le=8)] = 7,
        conditions: Widths | None = None,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "width": width,
            "local_layers": local_layers,
            "global_layers": global_layers,
            "conditions": dict(conditions or {}),
        }
        _check_nothing_given(conditions, noise_channels=0, name="attention")
        if global_layers in (1, 2):
            raise ConfigError(
                f"the option 'global_layers' of 'attention' cannot be {global_layers}", fix="give 3 or more, or 0 for no such critic"
            )
        layers = [local_layers, *([global_layers] if global_layers else [])]
        self.min_size = 3 * 2 ** (max(layers) - 2)
        self.steering = Steering(None, injection="planes")
        self.scales = nn.ModuleList(AttentionScale(source_channels + target_channels, width=width, layers=number) for number in layers)

    def forward(self, source: Pictures, candidate: Pictures, condition: Condition | None = None) -> Judgement:
        """Judge pictures.

        Args:
            source: (batch, source_channels, height, width) in [-1, 1]; a critic built with none ignores it.
            candidate: (batch, target_channels, height, width) in [-1, 1], real or generated.
            condition: None, or without any.

        Returns:
            The logits of patches and the outputs of every stage, outermost first, of both critics; and the guess ``cam``, for each of them
            two logits that the whole candidate is real, by mean and maximum, together (batch, 4), or (batch, 2) of one.

        Raises:
            ConfigError: a condition, or the pictures are too small.
        """
        self.steering(condition, None, candidate)
        height, width = candidate.shape[2:]
        if min(height, width) < self.min_size:
            raise ConfigError(
                "the pictures are too small for the critic",
                why=f"{height} x {width} pixels, where it needs {self.min_size} x {self.min_size}",
                fix="raise data.size, or lower critic.options.global_layers, to 0 for none",
            )
        maps = torch.cat([source, candidate], 1) if self.options["source_channels"] else candidate
        judged = [scale(maps) for scale in self.scales]
        return Judgement(
            [logits for logits, *_ in judged], [features for _, features, _ in judged], {"cam": torch.cat([cam for *_, cam in judged], 1)}
        )


class AttentionScale(nn.Module):
    """One of the critics of :class:`AttentionCritic`.

    Args:
        channels: of what is judged.
        width: channels of the first stage.
        layers: convolutions with a kernel of 4.
    """

    def __init__(self, channels: int, *, width: int, layers: int) -> None:
        super().__init__()
        widths = [channels, *(width * 2**stage for stage in range(layers - 1))]
        strides = [2] * (layers - 2) + [1]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.ReflectionPad2d(1), SpectralConv2d(inner, outer, 4, stride), nn.LeakyReLU(0.2))
            for inner, outer, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.focus = Attention(widths[-1], nn.LeakyReLU(0.2), spectral=True)
        self.head = nn.Sequential(nn.ReflectionPad2d(1), SpectralConv2d(widths[-1], 1, 4, bias=False))

    def forward(self, maps: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """(batch, channels, height, width) to the logits of patches, the features of every stage, and two logits of the whole."""
        features = []
        for stage in self.stages:
            maps = stage(maps)
            features.append(maps)
        attended, logits = self.focus(maps)
        return self.head(attended), features, logits


class Attention(nn.Module):
    """Maps weighted by how they tell two domains apart: act(W [w_avg h, w_max h]), W a 1x1 convolution (Kim et al., 2020, section 2.1.1).

    Args:
        channels: of the maps.
        act: the activation.
        spectral: whether the classifier's weights have spectral norm 1, which for one output is their length.

    Attributes:
        classify: w_avg and w_max, one after the other.
    """

    def __init__(self, channels: int, act: nn.Module, *, spectral: bool) -> None:
        super().__init__()
        self.spectral = spectral
        self.classify = nn.Linear(channels, 2, bias=False)
        self.merge = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), act)

    def forward(self, maps: Images) -> tuple[Images, Tensor]:
        """(batch, channels, height, width) to maps of this shape, and (batch, 2) of logits, <w_avg, mean h> and <w_max, max h>."""
        weights = F.normalize(self.classify.weight, dim=1) if self.spectral else self.classify.weight
        logits = (weights * torch.stack([maps.mean((2, 3)), maps.amax((2, 3))], 1)).sum(2)
        weighted = torch.cat([maps * weight[:, None, None] for weight in weights], 1)
        return self.merge(weighted), logits


class Block(nn.Module):
    """x + f(x), f two 3x3 convolutions with instance norm, or AdaLIN, and a ReLU between them."""

    steered: ClassVar[bool] = True

    def __init__(self, channels: int, *, adaptive: bool) -> None:
        super().__init__()
        norm = AdaLin if adaptive else InstanceNorm2d
        self.residual = Chain(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), norm(channels), nn.ReLU())
        self.residual.extend([nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), norm(channels)])

    def forward(self, maps: Images, modulation: Tensor | None = None) -> Images:
        """Add the residual to (batch, channels, height, width); the modulation is (batch, 2 channels)."""
        return maps + through(self.residual, maps, modulation)


class AdaLin(nn.Module):
    """Adaptive layer-instance normalisation (Kim et al., 2020, equation 1); rho begins at 0.9, nearly as instance norm."""

    steered: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixed = Mixed(channels, rho=0.9)

    def forward(self, maps: Images, modulation: Tensor) -> Images:
        """(batch, channels, height, width), by gamma and beta, (batch, 2 channels)."""
        scale, shift = modulation[:, :, None, None].chunk(2, 1)
        result: Tensor = self.mixed(maps) * scale + shift
        return result


class LayerInstanceNorm(nn.Module):
    """The same with a scale and a shift that are learnt; rho begins at 0, as layer norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixed = Mixed(channels, rho=0.0)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Images) -> Images:
        """Normalise (batch, channels, height, width)."""
        result: Tensor = self.mixed(maps) * self.weight[:, None, None] + self.bias[:, None, None]
        return result


class Mixed(nn.Module):
    """rho IN(h) + (1 - rho) LN(h): normalised over the places of a channel, and over those of all channels."""

    def __init__(self, channels: int, *, rho: float) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((channels,), rho))

    def forward(self, maps: Images) -> Images:
        """Normalise (batch, channels, height, width)."""
        rho = (_Bounded.apply(self.rho) if self.training else self.rho.clamp(0, 1))[:, None, None]  # type: ignore[no-untyped-call]
        result: Tensor = rho * F.instance_norm(maps) + (1 - rho) * F.group_norm(maps, 1)
        return result


class _Bounded(torch.autograd.Function):
    """A number, clipped to [0, 1]. Its gradient is zero only where a step would lead further out.

    So it comes back from where a step left it outside, as one does that is clipped after every step (Kim et al., 2020, equation 3). The
    gradient of a clamp alone is zero outside, and it would stay there.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (value,), (gradient,) = ctx.saved_tensors, gradients
        outward = ((value >= 1) & (gradient < 0)) | ((value <= 0) & (gradient > 0))
        return gradient.masked_fill(outward, 0)


def _check_nothing_given(conditions: Widths | None, *, noise_channels: int, name: str) -> None:
    given = [*(conditions or {}), *(["noise"] if noise_channels else [])]
    if given:
        raise ConfigError(
            f"the network '{name}' has no use for the condition '{given[0]}'",
            why="U-GAT-IT translates from one domain to one other, each picture in one way",
            fix="leave it out, or take another network, such as stargan2 and domains",
        )
