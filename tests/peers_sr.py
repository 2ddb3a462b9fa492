"""Super-resolution networks of other programs, from their published layout: random tensors under their names, and a forward pass in plain
functions of a small picture in [0, 1], clamped as their programs clamp it before it is written.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from peers import Draw, State, conv, normed

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


# --- Critics ---------------------------------------------------------------------------------------------------------------------------

VGG_LAYOUTS = ("srgan", "first", "basicsr")


def _vgg_names(layout: str, layers: int) -> tuple[list[tuple[str, str]], str, str]:
    """Each convolution with the norm behind it, of which the first has none, and the two layers of the end."""
    if layout == "basicsr":
        return [(f"conv{n}_{k}", f"bn{n}_{k}") for n in range(layers) for k in (0, 1)], "linear1", "linear2"
    stem = {"srgan": "net", "first": "features"}[layout]
    chain = [(f"{stem}.0", "")] + [(f"{stem}.{3 * n + 2}", f"{stem}.{3 * n + 3}") for n in range(2 * layers - 1)]
    return chain, *(("classifier.0", "classifier.2") if layout == "first" else (f"net.{6 * layers}", f"net.{6 * layers + 2}"))


def peer_vgg_state(
    layout: str = "basicsr", *, layers: int = 5, width: int = 4, hidden: int = 10, side: int = 4, channels: int = 3
) -> State:
    """``side`` is that of the last maps, which SRGAN averages."""
    draw, (chain, first, last) = Draw(), _vgg_names(layout, layers)
    inner = channels
    for n, (name, norm) in enumerate(chain):
        outer = width * min(2 ** (n // 2), 8)
        draw.conv(name, inner, outer, 3 if n % 2 == 0 or layout == "srgan" else 4, bias=n == 0 or layout != "basicsr")
        if n > 0:
            draw.norm(norm, outer, "batch")
        inner = outer
    if layout == "srgan":
        draw.conv(first, inner, hidden, 1, bias=True)
        draw.conv(last, hidden, 1, 1, bias=True)
    else:
        draw.linear(first, inner * side**2, hidden)
        draw.linear(last, hidden, 1)
    return draw.state


def peer_vgg(state: State, picture: Tensor, layout: str = "basicsr", *, layers: int = 5, training: bool = True) -> Tensor:
    """Of a picture in [0, 1], before the sigmoid of SRGAN."""
    chain, first, last = _vgg_names(layout, layers)
    maps = picture
    for n, (name, norm) in enumerate(chain):
        maps = conv(state, name, maps, stride=1 + n % 2, padding=1)
        maps = F.leaky_relu(maps if n == 0 else normed(state, norm, maps, "batch", training=training), 0.2)
    if layout == "srgan":
        return conv(state, last, F.leaky_relu(conv(state, first, maps.mean((2, 3), keepdim=True)), 0.2)).flatten(1)
    hidden = F.leaky_relu(F.linear(maps.flatten(1), state[f"{first}.weight"], state[f"{first}.bias"]), 0.2)
    return F.linear(hidden, state[f"{last}.weight"], state[f"{last}.bias"])


def peer_unet_critic_state(*, width: int = 8, channels: int = 3, lag: float = 0.1) -> State:
    """With u and v of the step before, since which the weights have moved by ``lag`` of their deviation."""
    draw = Draw()
    draw.conv("conv0", channels, width, 3, bias=True)
    widths = [1, 2, 4, 8, 4, 2, 1, 1, 1]
    for n in range(1, 9):
        before = draw.tensor(width * widths[n], width * widths[n - 1], *((4, 4) if n < 4 else (3, 3)))
        matrix, u = before.flatten(1), F.normalize(draw.tensor(len(before)), dim=0)
        for _ in range(5):
            v = F.normalize(matrix.t() @ u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
        draw.state[f"conv{n}.weight_orig"] = before + lag * draw.tensor(*before.shape)
        draw.state |= {f"conv{n}.weight_u": u, f"conv{n}.weight_v": v}
    draw.conv("conv9", width, 1, 3, bias=True)
    return draw.state


def peer_unet_critic(state: State, picture: Tensor) -> Tensor:
    """Of a picture in [0, 1], as in evaluation mode."""

    def spectral(n: int, maps: Tensor, **how: int) -> Tensor:
        weight, u = state[f"conv{n}.weight_orig"], state[f"conv{n}.weight_u"]
        v = state.get(f"conv{n}.weight_v", F.normalize(u @ weight.flatten(1), dim=0))
        return F.leaky_relu(F.conv2d(maps, weight / (u @ weight.flatten(1) @ v), padding=1, **how), 0.2)

    down = [F.leaky_relu(conv(state, "conv0", picture, padding=1), 0.2)]
    for n in (1, 2, 3):
        down.append(spectral(n, down[-1], stride=2))
    maps = down[3]
    for n in (4, 5, 6):
        maps = spectral(n, F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)) + down[6 - n]
    return conv(state, "conv9", spectral(8, spectral(7, maps)), padding=1)


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
STATES |= {"vgg": peer_vgg_state, "unet_critic": peer_unet_critic_state}
FORWARDS = {"esrgan": peer_esrgan, "compact": peer_compact, "srresnet": peer_srresnet, "srgan": peer_srgan}
FORWARDS |= {"vgg": peer_vgg, "unet_critic": peer_unet_critic}
"""By family."""
