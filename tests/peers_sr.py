"""Super-resolution networks of other programs, from their published layout: random tensors under their names, and a forward pass in plain
functions of a small picture in [0, 1], clamped as their programs clamp it before it is written.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from peers import Draw, State, conv

# --- ESRGAN ----------------------------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "first": ("model.0", "model.1.sub.{}.RDB{}.conv{}.0", "model.1.sub.{}"),
    "authors": ("conv_first", "RRDB_trunk.{}.RDB{}.conv{}", "trunk_conv"),
    "basicsr": ("conv_first", "body.{}.rdb{}.conv{}", "conv_body"),
}
"""The first convolution, those of the blocks, and the one behind them."""


def _after(layout: str, doublings: int) -> tuple[list[str], str, str]:
    """Convolutions behind the doublings, then the last two."""
    if layout == "first":
        return [f"model.{3 * n}" for n in range(1, doublings + 1)], f"model.{3 * doublings + 2}", f"model.{3 * doublings + 4}"
    if layout == "authors":
        return ["upconv1", "upconv2"], "HRconv", "conv_last"
    return ["conv_up1", "conv_up2"], "conv_hr", "conv_last"


def peer_esrgan_state(
    layout: str = "basicsr", *, blocks: int = 2, width: int = 8, growth: int = 4, folding: int = 1, doublings: int = 2, channels: int = 3
) -> State:
    draw, (first, inner, behind) = Draw(), LAYOUTS[layout]
    draw.conv(first, channels * folding**2, width, 3, bias=True)
    for block in range(blocks):
        for dense in (1, 2, 3):
            for k in range(1, 6):
                draw.conv(inner.format(block, dense, k), width + (k - 1) * growth, growth if k < 5 else width, 3, bias=True)
    draw.conv(behind.format(blocks), width, width, 3, bias=True)
    ups, detail, last = _after(layout, doublings)
    for name in (*ups, detail):
        draw.conv(name, width, width, 3, bias=True)
    draw.conv(last, width, channels, 3, bias=True)
    return _about_grey(draw.state, last)


def peer_esrgan(state: State, small: Tensor, *, layout: str = "basicsr", blocks: int = 2, folding: int = 1, doublings: int = 2) -> Tensor:
    first, inner, behind = LAYOUTS[layout]
    batch, channels, height, width = small.shape
    # Folded by hand: channel c of the place (i, j) in its square becomes channel c f^2 + i f + j.
    squares = small.reshape(batch, channels, height // folding, folding, width // folding, folding).permute(0, 1, 3, 5, 2, 4)
    feat = conv(state, first, squares.reshape(batch, channels * folding**2, height // folding, width // folding), padding=1)
    trunk = feat
    for block in range(blocks):
        within = trunk
        for dense in (1, 2, 3):
            seen = [within]
            for k in range(1, 5):
                seen.append(F.leaky_relu(conv(state, inner.format(block, dense, k), torch.cat(seen, 1), padding=1), 0.2))
            within = conv(state, inner.format(block, dense, 5), torch.cat(seen, 1), padding=1) * 0.2 + within
        trunk = within * 0.2 + trunk
    feat = feat + conv(state, behind.format(blocks), trunk, padding=1)
    ups, detail, last = _after(layout, doublings)
    for name in ups:
        feat = F.leaky_relu(conv(state, name, repeated(feat, 2), padding=1), 0.2)
    return conv(state, last, F.leaky_relu(conv(state, detail, feat, padding=1), 0.2), padding=1).clamp(0, 1)


# --- The compact network ---------------------------------------------------------------------------------------------------------------


def peer_compact_state(*, scale: int = 4, width: int = 8, depth: int = 3, channels: int = 3) -> State:
    draw = Draw()
    for k in range(depth + 1):
        draw.conv(f"body.{2 * k}", channels if k == 0 else width, width, 3, bias=True)
        draw.state[f"body.{2 * k + 1}.weight"] = 0.25 + draw.tensor(width, scale=0.2)
    draw.conv(f"body.{2 * depth + 2}", width, channels * scale**2, 3, bias=True)
    return draw.state


def peer_compact(state: State, small: Tensor, *, scale: int = 4, depth: int = 3) -> Tensor:
    maps = small
    for k in range(depth + 1):
        maps = conv(state, f"body.{2 * k}", maps, padding=1)
        slopes = state[f"body.{2 * k + 1}.weight"][None, :, None, None]
        maps = torch.where(maps > 0, maps, slopes * maps)
    maps = conv(state, f"body.{2 * depth + 2}", maps, padding=1)
    return (unfolded(maps, scale) + repeated(small, scale)).clamp(0, 1)


# --- MSRResNet -------------------------------------------------------------------------------------------------------------------------


def peer_srresnet_state(*, scale: int = 4, width: int = 8, blocks: int = 2, channels: int = 3) -> State:
    draw = Draw()
    draw.conv("conv_first", channels, width, 3, bias=True)
    for block in range(blocks):
        draw.conv(f"body.{block}.conv1", width, width, 3, bias=True)
        draw.conv(f"body.{block}.conv2", width, width, 3, bias=True)
    draw.conv("upconv1", width, width * (9 if scale == 3 else 4), 3, bias=True)
    if scale == 4:
        draw.conv("upconv2", width, width * 4, 3, bias=True)
    draw.conv("conv_hr", width, width, 3, bias=True)
    draw.conv("conv_last", width, channels, 3, bias=True)
    return draw.state


def peer_srresnet(state: State, small: Tensor, *, scale: int = 4, blocks: int = 2) -> Tensor:
    maps = F.leaky_relu(conv(state, "conv_first", small, padding=1), 0.1)
    for block in range(blocks):
        maps = maps + conv(state, f"body.{block}.conv2", conv(state, f"body.{block}.conv1", maps, padding=1).relu(), padding=1)
    for name, factor in {4: [("upconv1", 2), ("upconv2", 2)]}.get(scale, [("upconv1", scale)]):
        maps = F.leaky_relu(unfolded(conv(state, name, maps, padding=1), factor), 0.1)
    maps = conv(state, "conv_last", F.leaky_relu(conv(state, "conv_hr", maps, padding=1), 0.1), padding=1)
    height, width = (scale * side for side in small.shape[2:])
    return (maps + F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)).clamp(0, 1)


# --- SRGAN -----------------------------------------------------------------------------------------------------------------------------


def peer_srgan_state(*, scale: int = 4, width: int = 8, blocks: int = 5, channels: int = 3) -> State:
    draw = Draw()

    def slope(name: str) -> None:
        draw.state[f"{name}.weight"] = 0.25 + draw.tensor(1, scale=0.2)

    draw.conv("block1.0", channels, width, 9, bias=True)
    slope("block1.1")
    for n in range(2, blocks + 2):
        for k in (1, 2):
            draw.conv(f"block{n}.conv{k}", width, width, 3, bias=True)
            draw.norm(f"block{n}.bn{k}", width, "batch")
        slope(f"block{n}.prelu")
    draw.conv(f"block{blocks + 2}.0", width, width, 3, bias=True)
    draw.norm(f"block{blocks + 2}.1", width, "batch")
    stages = {2: 1, 4: 2, 8: 3}[scale]
    for k in range(stages):
        draw.conv(f"block{blocks + 3}.{k}.conv", width, 4 * width, 3, bias=True)
        slope(f"block{blocks + 3}.{k}.prelu")
    draw.conv(f"block{blocks + 3}.{stages}", width, channels, 9, bias=True)
    return draw.state


def peer_srgan(state: State, small: Tensor, *, scale: int = 4, blocks: int = 5) -> Tensor:
    def prelu(name: str, maps: Tensor) -> Tensor:
        return maps.clamp(min=0) + state[f"{name}.weight"] * maps.clamp(max=0)

    def norm(name: str, maps: Tensor) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"][None, :, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (maps - mean) / (var + 1e-5).sqrt() * weight + bias

    first = prelu("block1.1", conv(state, "block1.0", small, padding=4))
    maps = first
    for n in range(2, blocks + 2):
        residual = prelu(f"block{n}.prelu", norm(f"block{n}.bn1", conv(state, f"block{n}.conv1", maps, padding=1)))
        maps = maps + norm(f"block{n}.bn2", conv(state, f"block{n}.conv2", residual, padding=1))
    maps = first + norm(f"block{blocks + 2}.1", conv(state, f"block{blocks + 2}.0", maps, padding=1))
    stages = {2: 1, 4: 2, 8: 3}[scale]
    for k in range(stages):
        maps = prelu(f"block{blocks + 3}.{k}.prelu", unfolded(conv(state, f"block{blocks + 3}.{k}.conv", maps, padding=1), 2))
    return (conv(state, f"block{blocks + 3}.{stages}", maps, padding=4).tanh() + 1) / 2


# --- What they share -------------------------------------------------------------------------------------------------------------------


def repeated(maps: Tensor, factor: int) -> Tensor:
    return maps.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def unfolded(maps: Tensor, factor: int) -> Tensor:
    """Channel c f^2 + i f + j becomes channel c at the place (i, j) of each square."""
    batch, channels, height, width = maps.shape
    squares = maps.reshape(batch, channels // factor**2, factor, factor, height, width).permute(0, 1, 4, 2, 5, 3)
    return squares.reshape(batch, channels // factor**2, height * factor, width * factor)


def _about_grey(state: State, last: str) -> State:
    """With outputs of which few are cut off at 0 and 1, as a network's that has learnt."""
    return state | {f"{last}.bias": state[f"{last}.bias"] + 0.5}


STATES = {"esrgan": peer_esrgan_state, "compact": peer_compact_state, "srresnet": peer_srresnet_state, "srgan": peer_srgan_state}
FORWARDS = {"esrgan": peer_esrgan, "compact": peer_compact, "srresnet": peer_srresnet, "srgan": peer_srgan}
"""By family."""
