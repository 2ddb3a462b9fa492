"""The same maths as a plain hand-written loop: networks, losses and the step of pix2pix in torch alone, without pixloom.

What is written here is what a practitioner would write, with what the published loop does for speed: activations in place, and a critic
whose parameters need no gradient in the generator's step. Default ``torch.optim.Adam``, default allocator, no autocast, no compiler.

Networks list their parameters in the order of the published ones, so that weights pass from one implementation to another by position.
Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017; Johnson et al., 2016, for the ResNet.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEARNING_RATE, BETAS, L1_WEIGHT = 2e-4, (0.5, 0.999), 100.0


class UNet(nn.Module):
    """The U-Net of pix2pix with batch norm, ``depth`` halvings: 7 for 128 px, 8 for 256."""

    def __init__(self, depth: int, *, channels: int = 3, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.down = nn.ModuleList([nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False)])
        for level in range(1, depth):
            layers = [nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(widths[level - 1], widths[level], 4, 2, 1, bias=False)]
            self.down.append(nn.Sequential(*layers, *([nn.BatchNorm2d(widths[level])] if level < depth - 1 else [])))
        self.up = nn.ModuleList()
        for level in range(depth - 1, 0, -1):
            inner = widths[level] * (1 if level == depth - 1 else 2)
            layers = [nn.ReLU(inplace=True), nn.ConvTranspose2d(inner, widths[level - 1], 4, 2, 1, bias=False)]
            layers.append(nn.BatchNorm2d(widths[level - 1]))
            self.up.append(nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout and 4 <= level < depth - 1 else [])))
        self.up.append(nn.Sequential(nn.ReLU(inplace=True), nn.ConvTranspose2d(2 * width, channels, 4, 2, 1), nn.Tanh()))

    def forward(self, x: Tensor) -> Tensor:
        # The next level's LeakyReLU changes a skip in place; the decoder's ReLU gives the same from either.
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for up in self.up[1:]:
            x = up(torch.cat([skips.pop(), x], 1))
        return x


class Residual(nn.Module):
    """x + two 3x3 convolutions of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        self.layers = nn.Sequential(*half, nn.ReLU(inplace=True), *other)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.layers(x)
        return x + residual


def resnet(*, channels: int = 3, width: int = 64, blocks: int = 9) -> nn.Sequential:
    """The residual generator with instance norm and no dropout."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]
    for inner in (width, 2 * width):
        layers += [nn.Conv2d(inner, 2 * inner, 3, 2, 1), nn.InstanceNorm2d(2 * inner), nn.ReLU(inplace=True)]
    layers += [Residual(4 * width) for _ in range(blocks)]
    for inner in (4 * width, 2 * width):
        layers += [nn.ConvTranspose2d(inner, inner // 2, 3, 2, 1, 1), nn.InstanceNorm2d(inner // 2), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh())


def patch_critic(norm: Callable[[int], nn.Module], *, channels: int = 6, width: int = 64) -> nn.Sequential:
    """The 70 x 70 PatchGAN on the concatenation of source and candidate; logits."""
    bias = norm is nn.InstanceNorm2d
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for inner, outer, stride in ((width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 1)):
        layers += [nn.Conv2d(inner, outer, 4, stride, 1, bias=bias), norm(outer), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))


class Loop:
    """The networks, their optimizers and the step."""

    def __init__(self, generator: nn.Module, critic: nn.Module) -> None:
        self.generator, self.critic = generator, critic
        self.generator_adam = torch.optim.Adam(generator.parameters(), lr=LEARNING_RATE, betas=BETAS)
        self.critic_adam = torch.optim.Adam(critic.parameters(), lr=LEARNING_RATE, betas=BETAS)

    def step(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """One update of the critic, then one of the generator; the unweighted losses before them."""
        generated = self.generator(x)
        self.critic_adam.zero_grad()
        real = against(self.critic(torch.cat([x, y], 1)), 1.0)
        fake = against(self.critic(torch.cat([x, generated.detach()], 1)), 0.0)
        ((real + fake) * 0.5).backward()  # type: ignore[no-untyped-call]
        self.critic_adam.step()

        self.critic.requires_grad_(False)
        self.generator_adam.zero_grad()
        adversarial = against(self.critic(torch.cat([x, generated], 1)), 1.0)
        pixel = F.l1_loss(generated, y)
        (adversarial + L1_WEIGHT * pixel).backward()  # type: ignore[no-untyped-call]
        self.generator_adam.step()
        self.critic.requires_grad_(True)
        return {"real": real.item(), "fake": fake.item(), "adversarial": adversarial.item(), "pixel": pixel.item()}


def against(logits: Tensor, answer: float) -> Tensor:
    """Binary cross-entropy of logits with one answer for all of them."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, answer))
