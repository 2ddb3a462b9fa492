"""Networks of other programs, from their published layout: random tensors under their names, and a forward pass in plain functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


class Draw:
    """Random tensors by name."""

    def __init__(self, seed: int = 0) -> None:
        self.rng, self.state = torch.Generator().manual_seed(seed), {}

    def tensor(self, *shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*shape, generator=self.rng)

    def conv(self, name: str, inner: int, outer: int, side: int, *, bias: bool, transposed: bool = False) -> None:
        shape = (inner, outer, side, side) if transposed else (outer, inner, side, side)
        self.state[f"{name}.weight"] = self.tensor(*shape, scale=(inner * side * side) ** -0.5)
        if bias:
            self.state[f"{name}.bias"] = self.tensor(outer, scale=0.1)

    def linear(self, name: str, inner: int, outer: int) -> None:
        self.state[f"{name}.weight"] = self.tensor(outer, inner, scale=inner**-0.5)
        self.state[f"{name}.bias"] = self.tensor(outer, scale=0.1)

    def norm(self, name: str, channels: int, kind: str) -> None:
        if kind != "batch":
            return
        self.state[f"{name}.weight"] = 1 + self.tensor(channels, scale=0.2)
        self.state[f"{name}.bias"] = self.tensor(channels, scale=0.2)
        self.state[f"{name}.running_mean"] = self.tensor(channels, scale=0.2)
        self.state[f"{name}.running_var"] = 0.5 + self.tensor(channels, scale=0.3).square()
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def normed(state: State, name: str, maps: Tensor, kind: str, *, training: bool = True) -> Tensor:
    """Batch norm as a batch of one has it in training, or with running statistics; instance norm; or nothing."""
    if kind == "none" or (kind == "batch" and f"{name}.weight" not in state):
        return maps
    if kind == "instance":
        return F.instance_norm(maps)
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    if training and maps[0, 0].numel() > 1:
        return F.batch_norm(maps, None, None, weight, bias, training=True)
    return F.batch_norm(maps, state[f"{name}.running_mean"], state[f"{name}.running_var"], weight, bias)


def conv(state: State, name: str, maps: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)


def up(state: State, name: str, maps: Tensor, *, stride: int = 2, padding: int = 1, more: int = 0) -> Tensor:
    return F.conv_transpose2d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding, more)


# --- The U-Net -------------------------------------------------------------------------------------------------------------------------


def _places(depth: int) -> list[str]:
    return ["model.model", *("model.model.1.model" + ".3.model" * level for level in range(depth - 1))]


def peer_unet_state(source: int, target: int, *, depth: int, width: int, norm: str, seed: int = 0) -> State:
    draw, places, bias = Draw(seed), _places(depth), norm == "instance"
    widths = [width * min(2**level, 8) for level in range(depth)]
    draw.conv("model.model.0", source, widths[0], 4, bias=bias)
    for level in range(1, depth):
        draw.conv(f"{places[level]}.1", widths[level - 1], widths[level], 4, bias=bias)
        if level < depth - 1:
            draw.norm(f"{places[level]}.2", widths[level], norm)
    draw.conv(f"{places[-1]}.3", widths[-1], widths[-2], 4, bias=bias, transposed=True)
    draw.norm(f"{places[-1]}.4", widths[-2], norm)
    for level in range(depth - 2, 0, -1):
        draw.conv(f"{places[level]}.5", 2 * widths[level], widths[level - 1], 4, bias=bias, transposed=True)
        draw.norm(f"{places[level]}.6", widths[level - 1], norm)
    draw.conv("model.model.3", 2 * widths[0], target, 4, bias=True, transposed=True)
    return draw.state


def peer_unet(state: State, source: Tensor, *, depth: int, norm: str, training: bool = True) -> Tensor:
    places = _places(depth)

    def level(number: int, maps: Tensor) -> Tensor:
        """What the block at a level gives: its input beside what comes back, but for the outermost."""
        place = places[number]
        inner = conv(state, f"{place}.1", F.leaky_relu(maps, 0.2), stride=2, padding=1)
        if number == depth - 1:
            back = normed(state, f"{place}.4", up(state, f"{place}.3", inner.relu()), norm, training=training)
            return torch.cat([maps, back], 1)
        inner = level(number + 1, normed(state, f"{place}.2", inner, norm, training=training))
        back = normed(state, f"{place}.6", up(state, f"{place}.5", inner.relu()), norm, training=training)
        return torch.cat([maps, back], 1)

    first = conv(state, "model.model.0", source, stride=2, padding=1)
    return up(state, "model.model.3", level(1, first).relu()).tanh()


# --- The residual generator -------------------------------------------------------------------------------------------------------------


def peer_resnet_state(
    source: int, target: int, *, blocks: int, halvings: int, width: int, norm: str, dropout: bool, antialias: bool, seed: int = 0
) -> State:
    draw, bias, index = Draw(seed), norm == "instance", 4
    draw.conv("model.1", source, width, 7, bias=bias)
    draw.norm("model.2", width, norm)
    for _ in range(halvings):
        draw.conv(f"model.{index}", width, 2 * width, 3, bias=bias)
        draw.norm(f"model.{index + 1}", 2 * width, norm)
        if antialias:
            draw.state[f"model.{index + 3}.filt"] = _filter([1.0, 2.0, 1.0], 4.0).repeat(2 * width, 1, 1, 1)
        width, index = 2 * width, index + (4 if antialias else 3)
    for _ in range(blocks):
        second = 6 if dropout else 5
        for place in (1, second):
            draw.conv(f"model.{index}.conv_block.{place}", width, width, 3, bias=bias)
            draw.norm(f"model.{index}.conv_block.{place + 1}", width, norm)
        index += 1
    for _ in range(halvings):
        if antialias:
            draw.state[f"model.{index}.filt"] = _filter([1.0, 3.0, 3.0, 1.0], 4.0).repeat(width, 1, 1, 1)
            index += 1
        draw.conv(f"model.{index}", width, width // 2, 3, bias=bias, transposed=not antialias)
        draw.norm(f"model.{index + 1}", width // 2, norm)
        width, index = width // 2, index + 3
    draw.conv(f"model.{index + 1}", width, target, 7, bias=True)
    return draw.state


def _filter(taps: list[float], total: float) -> Tensor:
    row = torch.tensor(taps) / total
    return torch.outer(row, row)[None, None]


def peer_resnet(
    state: State, source: Tensor, *, blocks: int, halvings: int, norm: str, dropout: bool, antialias: bool, root: str = "model"
) -> Tensor:
    maps = F.pad(source, (3, 3, 3, 3), mode="reflect")
    maps = normed(state, f"{root}.2", conv(state, f"{root}.1", maps), norm).relu()
    index = 4
    for _ in range(halvings):
        maps = conv(state, f"{root}.{index}", maps, stride=1 if antialias else 2, padding=1)
        maps = normed(state, f"{root}.{index + 1}", maps, norm).relu()
        if antialias:
            kernel = state[f"{root}.{index + 3}.filt"]
            maps = F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=maps.shape[1])
        index += 4 if antialias else 3
    for _ in range(blocks):
        maps, index = maps + _block(state, f"{root}.{index}.conv_block", maps, norm=norm, second=6 if dropout else 5), index + 1
    for _ in range(halvings):
        if antialias:
            maps, index = _filtered_up(maps, state[f"{root}.{index}.filt"]), index + 1
            maps = conv(state, f"{root}.{index}", maps, padding=1)
        else:
            maps = up(state, f"{root}.{index}", maps, more=1)
        maps = normed(state, f"{root}.{index + 1}", maps, norm).relu()
        index += 3
    return conv(state, f"{root}.{index + 1}", F.pad(maps, (3, 3, 3, 3), mode="reflect")).tanh()


def _block(state: State, name: str, maps: Tensor, *, norm: str, second: int) -> Tensor:
    for place in (1, second):
        maps = normed(state, f"{name}.{place + 1}", conv(state, f"{name}.{place}", F.pad(maps, (1, 1, 1, 1), mode="reflect")), norm)
        maps = maps.relu() if place == 1 else maps
    return maps


def _filtered_up(maps: Tensor, kernel: Tensor) -> Tensor:
    """Borders repeated, zeros between the places, the filter; what reaches over the edges is cut."""
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    return F.conv_transpose2d(padded, kernel, stride=2, padding=2, groups=maps.shape[1])[:, :, 1:-1, 1:-1]


# --- Critics ---------------------------------------------------------------------------------------------------------------------------


def peer_patch_state(seen: int, *, layers: int, width: int, norm: str, antialias: bool = False) -> State:
    draw, bias, step = Draw(), norm == "instance", 4 if antialias else 3
    widths = [width * min(2**stage, 8) for stage in range(layers + 1)]
    draw.conv("model.0", seen, width, 4, bias=True)
    for stage in range(1, layers + 1):
        draw.conv(f"model.{step * stage - 1}", widths[stage - 1], widths[stage], 4, bias=bias)
        draw.norm(f"model.{step * stage}", widths[stage], norm)
    for stage in range(layers if antialias else 0):
        draw.state[f"model.{4 * stage + 2}.filt"] = _filter([1.0, 2.0, 1.0], 4.0).repeat(widths[stage], 1, 1, 1)
    draw.conv(f"model.{step * layers + 2}", widths[-1], 1, 4, bias=True)
    return draw.state


def peer_patch(state: State, seen: Tensor, *, layers: int, norm: str, antialias: bool = False) -> Tensor:
    step, stride = (4, 1) if antialias else (3, 2)

    def halved(maps: Tensor, stage: int) -> Tensor:
        if not antialias or stage == layers:
            return maps
        kernel = state[f"model.{4 * stage + 2}.filt"]
        return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=maps.shape[1])

    maps = halved(F.leaky_relu(conv(state, "model.0", seen, stride=stride, padding=1), 0.2), 0)
    for stage in range(1, layers + 1):
        maps = conv(state, f"model.{step * stage - 1}", maps, stride=stride if stage < layers else 1, padding=1)
        maps = halved(F.leaky_relu(normed(state, f"model.{step * stage}", maps, norm), 0.2), stage)
    return conv(state, f"model.{step * layers + 2}", maps, padding=1)


def peer_pixel_state(seen: int, *, width: int, norm: str) -> State:
    draw, bias = Draw(), norm == "instance"
    draw.conv("net.0", seen, width, 1, bias=True)
    draw.conv("net.2", width, 2 * width, 1, bias=bias)
    draw.norm("net.3", 2 * width, norm)
    draw.conv("net.5", 2 * width, 1, 1, bias=bias)
    return draw.state


def peer_pixel(state: State, seen: Tensor, *, norm: str) -> Tensor:
    maps = F.leaky_relu(conv(state, "net.0", seen), 0.2)
    return conv(state, "net.5", F.leaky_relu(normed(state, "net.3", conv(state, "net.2", maps), norm), 0.2))


STATES = {"unet": peer_unet_state, "resnet": peer_resnet_state, "patch": peer_patch_state, "pixel": peer_pixel_state}
FORWARDS = {"unet": peer_unet, "resnet": peer_resnet, "patch": peer_patch, "pixel": peer_pixel}
"""By family."""
