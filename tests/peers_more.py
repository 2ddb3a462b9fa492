"""More networks of other programs, as in ``peers``: random tensors under their names, and a forward pass in plain functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from peers import Draw, State, _block, conv, normed, up

# --- pix2pixHD: every convolution has a bias -------------------------------------------------------------------------------------------


def peer_global_state(source: int, target: int, *, width: int, halvings: int, blocks: int, norm: str) -> State:
    draw = Draw()
    last, index = _global(draw, source, width=width, halvings=halvings, blocks=blocks, norm=norm)
    draw.conv(f"model.{index + 1}", last, target, 7, bias=True)
    return draw.state


def _global(draw: Draw, source: int, *, width: int, halvings: int, blocks: int, norm: str) -> tuple[int, int]:
    """The layers before the output; its channels, and the number of the next layer."""
    draw.conv("model.1", source, width, 7, bias=True)
    draw.norm("model.2", width, norm)
    index = 4
    for _ in range(halvings):
        draw.conv(f"model.{index}", width, 2 * width, 3, bias=True)
        draw.norm(f"model.{index + 1}", 2 * width, norm)
        width, index = 2 * width, index + 3
    for _ in range(blocks):
        _block_state(draw, f"model.{index}", width, norm)
        index += 1
    for _ in range(halvings):
        draw.conv(f"model.{index}", width, width // 2, 3, bias=True, transposed=True)
        draw.norm(f"model.{index + 1}", width // 2, norm)
        width, index = width // 2, index + 3
    return width, index


def _block_state(draw: Draw, name: str, width: int, norm: str) -> None:
    for place in (1, 5):
        draw.conv(f"{name}.conv_block.{place}", width, width, 3, bias=True)
        draw.norm(f"{name}.conv_block.{place + 1}", width, norm)


def peer_enhancer_state(source: int, target: int, *, width: int, halvings: int, blocks: int, local: int, norm: str) -> State:
    draw = Draw()
    _global(draw, source, width=2 * width, halvings=halvings, blocks=blocks, norm=norm)
    for place, (inner, outer, side) in {1: (source, width, 7), 4: (width, 2 * width, 3)}.items():
        draw.conv(f"model1_1.{place}", inner, outer, side, bias=True)
        draw.norm(f"model1_1.{place + 1}", outer, norm)
    for block in range(local):
        _block_state(draw, f"model1_2.{block}", 2 * width, norm)
    draw.conv(f"model1_2.{local}", 2 * width, width, 3, bias=True, transposed=True)
    draw.norm(f"model1_2.{local + 1}", width, norm)
    draw.conv(f"model1_2.{local + 4}", width, target, 7, bias=True)
    return draw.state


def peer_enhancer(state: State, source: Tensor, *, halvings: int, blocks: int, local: int, norm: str, training: bool = True) -> Tensor:
    small = F.avg_pool2d(source, 3, 2, 1, count_include_pad=False)
    coarse = global_maps(state, small, halvings=halvings, blocks=blocks, norm=norm, training=training)
    maps = F.pad(source, (3, 3, 3, 3), mode="reflect")
    maps = normed(state, "model1_1.2", conv(state, "model1_1.1", maps), norm, training=training).relu()
    maps = normed(state, "model1_1.5", conv(state, "model1_1.4", maps, stride=2, padding=1), norm, training=training).relu()
    maps = maps + coarse
    for block in range(local):
        maps = maps + residual(state, f"model1_2.{block}.conv_block", maps, norm=norm, training=training)
    maps = normed(state, f"model1_2.{local + 1}", up(state, f"model1_2.{local}", maps, more=1), norm, training=training).relu()
    return conv(state, f"model1_2.{local + 4}", F.pad(maps, (3, 3, 3, 3), mode="reflect")).tanh()


def residual(state: State, name: str, maps: Tensor, *, norm: str, training: bool) -> Tensor:
    if training:
        return _block(state, name, maps, norm=norm, second=5)
    for place in (1, 5):
        maps = conv(state, f"{name}.{place}", F.pad(maps, (1, 1, 1, 1), mode="reflect"))
        maps = normed(state, f"{name}.{place + 1}", maps, norm, training=False)
        maps = maps.relu() if place == 1 else maps
    return maps


def global_maps(state: State, source: Tensor, *, halvings: int, blocks: int, norm: str, training: bool = True) -> Tensor:
    """What the global generator has before its output."""
    maps = conv(state, "model.1", F.pad(source, (3, 3, 3, 3), mode="reflect"))
    maps, index = normed(state, "model.2", maps, norm, training=training).relu(), 4
    for _ in range(halvings):
        maps = conv(state, f"model.{index}", maps, stride=2, padding=1)
        maps, index = normed(state, f"model.{index + 1}", maps, norm, training=training).relu(), index + 3
    for _ in range(blocks):
        maps = maps + residual(state, f"model.{index}.conv_block", maps, norm=norm, training=training)
        index += 1
    for _ in range(halvings):
        maps = normed(state, f"model.{index + 1}", up(state, f"model.{index}", maps, more=1), norm, training=training).relu()
        index += 3
    return maps


def peer_global(state: State, source: Tensor, *, halvings: int, blocks: int, norm: str, training: bool = True) -> Tensor:
    maps = global_maps(state, source, halvings=halvings, blocks=blocks, norm=norm, training=training)
    return conv(state, f"model.{4 + 6 * halvings + blocks + 1}", F.pad(maps, (3, 3, 3, 3), mode="reflect")).tanh()


# --- SPADE -----------------------------------------------------------------------------------------------------------------------------


def spade_blocks(width: int, *, most: bool) -> dict[str, tuple[int, int]]:
    """Name -> channels in and out."""
    full = 16 * width
    found = {"head_0": (full, full), "G_middle_0": (full, full), "G_middle_1": (full, full)}
    for number in range(5 if most else 4):
        found[f"up_{number}"] = (full >> number, full >> number + 1)
    return found


def peer_spade_state(
    labels: int,
    *,
    width: int,
    most: bool = False,
    spectral: bool = True,
    norm: str = "batch",
    noise: int = 0,
    places: int = 0,
    hidden: int = 8,
) -> State:
    draw, found = Draw(), spade_blocks(width, most=most)
    if noise:
        draw.linear("fc", noise, 16 * width * places)
    else:
        draw.conv("fc", labels, 16 * width, 3, bias=True)
    for name, (inner, outer) in found.items():
        between = min(inner, outer)
        shapes = {"0": (inner, between, 3), "1": (between, outer, 3), **({"s": (inner, outer, 1)} if inner != outer else {})}
        for place, (first, second, side) in shapes.items():
            draw.conv(f"{name}.conv_{place}", first, second, side, bias=place != "s")
            if spectral:
                _spectral(draw, f"{name}.conv_{place}")
            _label_norm(draw, f"{name}.norm_{place}", first, labels=labels, hidden=hidden, norm=norm)
    draw.conv("conv_img", list(found.values())[-1][1], 3, 3, bias=True)
    return draw.state


def peer_spade_encoder_state(*, width: int, code: int, halvings: int = 6) -> State:
    """E of ``--use_vae``: convolutions without bias under spectral norm, and two layers over 4x4."""
    draw, inner = Draw(5), 3
    for layer in range(halvings):
        outer = width * min(2**layer, 8)
        draw.conv(f"layer{layer + 1}.0", inner, outer, 3, bias=False)
        _spectral(draw, f"layer{layer + 1}.0")
        inner = outer
    draw.linear("fc_mu", inner * 16, code)
    draw.linear("fc_var", inner * 16, code)
    return draw.state


def peer_spade_code(state: State, reference: Tensor) -> Tensor:
    """Mu of a reference of 256 pixels."""
    maps = reference
    for layer in range(len([name for name in state if name.startswith("layer") and name.endswith("weight_orig")])):
        maps = F.instance_norm(
            F.conv2d(F.leaky_relu(maps, 0.2) if layer else maps, _weight(state, f"layer{layer + 1}.0"), stride=2, padding=1)
        )
    return F.linear(F.leaky_relu(maps, 0.2).flatten(1), state["fc_mu.weight"], state["fc_mu.bias"])


def _spectral(draw: Draw, name: str) -> None:
    """W is kept with the vectors of a power iteration that is not quite at its end."""
    weight = draw.state.pop(f"{name}.weight")
    matrix = weight.flatten(1)
    left = F.normalize(draw.tensor(len(matrix)), dim=0)
    for _ in range(3):
        right = F.normalize(matrix.t() @ left, dim=0)
        left = F.normalize(matrix @ right, dim=0)
    draw.state |= {f"{name}.weight_orig": 3 * weight, f"{name}.weight_u": left, f"{name}.weight_v": right}


def _label_norm(draw: Draw, name: str, channels: int, *, labels: int, hidden: int, norm: str) -> None:
    if norm == "batch":
        draw.state[f"{name}.param_free_norm.running_mean"] = draw.tensor(channels, scale=0.2)
        draw.state[f"{name}.param_free_norm.running_var"] = 0.5 + draw.tensor(channels, scale=0.3).square()
        draw.state[f"{name}.param_free_norm.num_batches_tracked"] = torch.tensor(7)
    draw.conv(f"{name}.mlp_shared.0", labels, hidden, 3, bias=True)
    draw.conv(f"{name}.mlp_gamma", hidden, channels, 3, bias=True)
    draw.conv(f"{name}.mlp_beta", hidden, channels, 3, bias=True)


def peer_spade(
    state: State, labels: Tensor, *, levels: int, norm: str = "batch", z: Tensor | None = None, start: tuple[int, int] | None = None
) -> Tensor:
    """``labels`` are ones and zeros."""
    names = [name for name in spade_blocks(1, most=True) if f"{name}.norm_0.mlp_shared.0.weight" in state]
    if z is None:
        small = F.interpolate(labels, size=(labels.shape[2] >> levels, labels.shape[3] >> levels))
        maps = conv(state, "fc", small, padding=1)
    else:
        maps = F.linear(z, state["fc.weight"], state["fc.bias"]).view(len(z), -1, *start)
    for name in names:
        if name not in ("head_0", "G_middle_1") or (name == "G_middle_1" and levels > 5):
            maps = F.interpolate(maps, scale_factor=2)
        maps = _spade_block(state, name, maps, labels, norm=norm)
    return conv(state, "conv_img", F.leaky_relu(maps, 0.2), padding=1).tanh()


def _spade_block(state: State, name: str, maps: Tensor, labels: Tensor, *, norm: str) -> Tensor:
    inner = maps
    for place in "01":
        inner = F.leaky_relu(_modulated(state, f"{name}.norm_{place}", inner, labels, norm=norm), 0.2)
        inner = F.conv2d(inner, _weight(state, f"{name}.conv_{place}"), state[f"{name}.conv_{place}.bias"], padding=1)
    if f"{name}.norm_s.mlp_beta.weight" in state:
        maps = F.conv2d(_modulated(state, f"{name}.norm_s", maps, labels, norm=norm), _weight(state, f"{name}.conv_s"))
    return maps + inner


def _modulated(state: State, name: str, maps: Tensor, labels: Tensor, *, norm: str) -> Tensor:
    kept = f"{name}.param_free_norm.running_"
    plain = F.batch_norm(maps, state[f"{kept}mean"], state[f"{kept}var"]) if norm == "batch" else F.instance_norm(maps)
    seen = conv(state, f"{name}.mlp_shared.0", F.interpolate(labels, size=maps.shape[2:]), padding=1).relu()
    return plain * (1 + conv(state, f"{name}.mlp_gamma", seen, padding=1)) + conv(state, f"{name}.mlp_beta", seen, padding=1)


def _weight(state: State, name: str) -> Tensor:
    if f"{name}.weight" in state:
        return state[f"{name}.weight"]
    weight = state[f"{name}.weight_orig"]
    return weight / torch.dot(state[f"{name}.weight_u"], torch.mv(weight.reshape(len(weight), -1), state[f"{name}.weight_v"]))


# --- Critics of several scales: PatchGANs of a picture and its halves ------------------------------------------------------------------


def _patch_stages(layers: int) -> list[tuple[int, int, int]]:
    """(stride, channels in, channels out) of every convolution but the last, in multiples of the width; 0: what is judged."""
    widths = [min(2**stage, 8) for stage in range(layers + 1)]
    return [(2, 0, 1), *((2 if stage < layers else 1, widths[stage - 1], widths[stage]) for stage in range(1, layers + 1))]


def peer_scales_state(seen: int, *, program: str, scales: int, layers: int, width: int, norm: str, spectral: bool = False) -> State:
    """``program``: ``features`` and ``plain`` of pix2pixHD, ``spade``, ``bicycle`` or ``bicycle-2017``."""
    draw = Draw(3)
    for scale in range(scales):
        own = width >> scale if program.startswith("bicycle") else width
        for stage, (_, inner, outer) in enumerate(_patch_stages(layers)):
            name, after = _scale_names(program, scale, stage, norm=norm)
            lost = program == "spade" and norm != "none" and stage > 0
            draw.conv(name, inner * own or seen, outer * own, 4, bias=not lost)
            if stage:
                draw.norm(after, outer * own, norm)
            if spectral and stage:
                _spectral(draw, name)
        draw.conv(_scale_names(program, scale, layers + 1, norm=norm, last=True)[0], _patch_stages(layers)[-1][2] * own, 1, 4, bias=True)
    return draw.state


def _scale_names(program: str, scale: int, stage: int, *, norm: str, last: bool = False) -> tuple[str, str]:
    """Of a stage's convolution and of its norm."""
    place = max(0, 3 * stage - 1)
    if program == "features":
        return f"scale{scale}_layer{stage}.0", f"scale{scale}_layer{stage}.1"
    if program == "spade":
        root = f"discriminator_{scale}.model{stage}.0"
        return (root, "") if stage == 0 or last or norm == "none" else (f"{root}.0", f"{root}.1")
    root = {"plain": f"layer{scale}", "bicycle": f"model_{scale}", "bicycle-2017": f"model{scale}"}[program]
    return f"{root}.{place}", f"{root}.{place + 1}"


def peer_scales(state: State, pair: Tensor, *, program: str, scales: int, layers: int, norm: str) -> list[Tensor]:
    """The logits at every scale, the full one first; ``pair`` is what is judged, after what it is judged by."""
    padding, found = 1 if program.startswith("bicycle") else 2, []
    for number in range(scales):
        scale, maps = scales - 1 - number if program in ("features", "plain") else number, pair
        for stage, (stride, *_) in enumerate(_patch_stages(layers)):
            name, after = _scale_names(program, scale, stage, norm=norm)
            maps = F.conv2d(maps, _weight(state, name), state.get(f"{name}.bias"), stride, padding)
            maps = F.leaky_relu(normed(state, after, maps, norm) if stage else maps, 0.2)
        name, _ = _scale_names(program, scale, layers + 1, norm=norm, last=True)
        found.append(F.conv2d(maps, state[f"{name}.weight"], state[f"{name}.bias"], 1, padding))
        pair = F.avg_pool2d(pair, 3, 2, 1, count_include_pad=False)
    return found


# --- StarGAN ---------------------------------------------------------------------------------------------------------------------------


def peer_stargan_state(names: int, *, width: int, blocks: int) -> State:
    draw = Draw()

    def layer(number: int | str, inner: int, outer: int, side: int, *, transposed: bool = False) -> None:
        place, _, last = f"main.{number}".rpartition(".")
        draw.conv(f"{place}.{last}", inner, outer, side, bias=False, transposed=transposed)
        draw.norm(f"{place}.{int(last) + 1}", outer, "batch")

    layer(0, 3 + names, width, 7)
    layer(3, width, 2 * width, 4)
    layer(6, 2 * width, 4 * width, 4)
    for block in range(9, 9 + blocks):
        layer(f"{block}.main.0", 4 * width, 4 * width, 3)
        layer(f"{block}.main.3", 4 * width, 4 * width, 3)
    layer(9 + blocks, 4 * width, 2 * width, 4, transposed=True)
    layer(12 + blocks, 2 * width, width, 4, transposed=True)
    draw.conv(f"main.{15 + blocks}", width, 3, 7, bias=False)
    return draw.state


def peer_stargan(state: State, source: Tensor, wanted: Tensor, *, blocks: int) -> Tensor:
    """``wanted`` is 1 and 0 for each name, (batch, names)."""

    def norm(name: str, maps: Tensor) -> Tensor:
        return F.instance_norm(maps, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])

    maps = torch.cat([source, wanted[:, :, None, None].repeat(1, 1, *source.shape[2:])], 1)
    maps = norm("main.1", conv(state, "main.0", maps, padding=3)).relu()
    for number in (3, 6):
        maps = norm(f"main.{number + 1}", conv(state, f"main.{number}", maps, stride=2, padding=1)).relu()
    for block in range(9, 9 + blocks):
        inner = norm(f"main.{block}.main.1", conv(state, f"main.{block}.main.0", maps, padding=1)).relu()
        maps = maps + norm(f"main.{block}.main.4", conv(state, f"main.{block}.main.3", inner, padding=1))
    for number in (9 + blocks, 12 + blocks):
        maps = norm(f"main.{number + 1}", up(state, f"main.{number}", maps)).relu()
    return conv(state, f"main.{15 + blocks}", maps, padding=3).tanh()


def peer_stargan_critic_state(names: int, *, width: int, layers: int, side: int) -> State:
    draw = Draw()
    for layer in range(layers):
        draw.conv(f"main.{2 * layer}", 3 if not layer else width << layer - 1, width << layer, 4, bias=True)
    draw.conv("conv1", width << layers - 1, 1, 3, bias=False)
    draw.conv("conv2", width << layers - 1, names, side >> layers, bias=False)
    return draw.state


def peer_stargan_critic(state: State, candidate: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of its patches, and those of its classes or attributes."""
    maps, layers = candidate, sum(name.startswith("main.") and name.endswith(".weight") for name in state)
    for layer in range(layers):
        maps = F.leaky_relu(conv(state, f"main.{2 * layer}", maps, stride=2, padding=1), 0.01)
    return conv(state, "conv1", maps, padding=1), conv(state, "conv2", maps)[:, :, 0, 0]


# --- StarGAN v2 ------------------------------------------------------------------------------------------------------------------------


def peer_stargan2_state(domains: int, *, width: int, halvings: int, code: int = 6, noise: int = 5, hidden: int = 7) -> dict[str, State]:
    """Network -> its tensors, as the file has them."""
    draw, widths = Draw(), [min(width << level, 512) for level in range(halvings + 1)]
    ends = [(widths[-1], widths[-1])] * 2
    lower = [*zip(widths[:-1], widths[1:], strict=True), *ends]
    draw.conv("from_rgb", 3, width, 3, bias=True)
    for number, (inner, outer) in enumerate(lower):
        name = f"encode.{number}"
        draw.conv(f"{name}.conv1", inner, inner, 3, bias=True)
        draw.conv(f"{name}.conv2", inner, outer, 3, bias=True)
        for norm in ("norm1", "norm2"):
            _affine(draw, f"{name}.{norm}", inner)
        if inner != outer:
            draw.conv(f"{name}.conv1x1", inner, outer, 1, bias=False)
    for number, (outer, inner) in enumerate(reversed(lower)):
        name = f"decode.{number}"
        draw.conv(f"{name}.conv1", inner, outer, 3, bias=True)
        draw.conv(f"{name}.conv2", outer, outer, 3, bias=True)
        draw.linear(f"{name}.norm1.fc", code, 2 * inner)
        draw.linear(f"{name}.norm2.fc", code, 2 * outer)
        if inner != outer:
            draw.conv(f"{name}.conv1x1", inner, outer, 1, bias=False)
    _affine(draw, "to_rgb.0", width)
    draw.conv("to_rgb.2", width, 3, 1, bias=True)
    mapping, reading = Draw(1), Draw(2)
    for place in (0, 2, 4, 6):
        mapping.linear(f"shared.{place}", hidden if place else noise, hidden)
        for domain in range(domains):
            mapping.linear(f"unshared.{domain}.{place}", hidden, code if place == 6 else hidden)
    last = _seeing(reading, "shared", width=width, halvings=halvings + 2)  # from 2^(halvings + 4) pixels to 4
    for domain in range(domains):
        reading.linear(f"unshared.{domain}", last, code)
    return {"generator": draw.state, "mapping_network": mapping.state, "style_encoder": reading.state}


def peer_stargan2_critic_state(domains: int, *, width: int, halvings: int) -> State:
    draw = Draw(3)
    draw.conv(f"main.{halvings + 4}", _seeing(draw, "main", width=width, halvings=halvings), domains, 1, bias=True)
    return draw.state


def _seeing(draw: Draw, name: str, *, width: int, halvings: int) -> int:
    """Blocks without normalisation and a convolution over the whole; the channels after it."""
    widths = [min(width << level, 512) for level in range(halvings + 1)]
    draw.conv(f"{name}.0", 3, width, 3, bias=True)
    for block, (inner, outer) in enumerate(zip(widths[:-1], widths[1:], strict=True), 1):
        draw.conv(f"{name}.{block}.conv1", inner, inner, 3, bias=True)
        draw.conv(f"{name}.{block}.conv2", inner, outer, 3, bias=True)
        if inner != outer:
            draw.conv(f"{name}.{block}.conv1x1", inner, outer, 1, bias=False)
    draw.conv(f"{name}.{len(widths) + 1}", widths[-1], widths[-1], 4, bias=True)
    return widths[-1]


def _affine(draw: Draw, name: str, channels: int) -> None:
    draw.state[f"{name}.weight"] = 1 + draw.tensor(channels, scale=0.2)
    draw.state[f"{name}.bias"] = draw.tensor(channels, scale=0.2)


def peer_stargan2(parts: dict[str, State], source: Tensor, z: Tensor, domain: int, *, style: Tensor | None = None) -> Tensor:
    state, mapping = parts["generator"], parts["mapping_network"]
    code = z
    for place in (0, 2, 4, 6):
        code = F.linear(code, mapping[f"shared.{place}.weight"], mapping[f"shared.{place}.bias"]).relu()
    for place in (0, 2, 4, 6):
        code = F.linear(code.relu() if place else code, *(mapping[f"unshared.{domain}.{place}.{kind}"] for kind in ("weight", "bias")))
    code = code if style is None else style
    blocks = len({name.split(".")[1] for name in state if name.startswith("encode.")})
    maps = conv(state, "from_rgb", source, padding=1)
    for number in range(blocks):
        maps = _lowered(state, f"encode.{number}", maps, halve=number < blocks - 2)
    for number in range(blocks):
        maps = _raised(state, f"decode.{number}", maps, code, double=number >= 2)
    return conv(state, "to_rgb.2", F.leaky_relu(_instance(state, "to_rgb.0", maps), 0.2)).clamp(-1, 1)


def peer_stargan2_style(state: State, reference: Tensor, domain: int) -> Tensor:
    """The style encoder: what sees the whole, and a layer for every domain."""
    return F.linear(_seen(state, "shared", reference).flatten(1), state[f"unshared.{domain}.weight"], state[f"unshared.{domain}.bias"])


def peer_stargan2_critic(state: State, candidate: Tensor) -> Tensor:
    """A logit for every domain, (batch, domains)."""
    last = max(int(name.split(".")[1]) for name in state)
    return conv(state, f"main.{last}", _seen(state, "main", candidate))[:, :, 0, 0]


def _seen(state: State, begin: str, pictures: Tensor) -> Tensor:
    """Through blocks without normalisation and the convolution over the whole, to one place."""
    maps, block = conv(state, f"{begin}.0", pictures, padding=1), 1
    while f"{begin}.{block}.conv1.weight" in state:
        name = f"{begin}.{block}"
        short = conv(state, f"{name}.conv1x1", maps) if f"{name}.conv1x1.weight" in state else maps
        inner = F.avg_pool2d(conv(state, f"{name}.conv1", F.leaky_relu(maps, 0.2), padding=1), 2)
        inner = conv(state, f"{name}.conv2", F.leaky_relu(inner, 0.2), padding=1)
        maps, block = (F.avg_pool2d(short, 2) + inner) / 2**0.5, block + 1
    whole = F.leaky_relu(conv(state, f"{begin}.{block + 1}", F.leaky_relu(maps, 0.2)), 0.2)
    assert whole.shape[2:] == (1, 1)
    return whole


def _instance(state: State, name: str, maps: Tensor) -> Tensor:
    return F.instance_norm(maps, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])


def _lowered(state: State, name: str, maps: Tensor, *, halve: bool) -> Tensor:
    short = conv(state, f"{name}.conv1x1", maps) if f"{name}.conv1x1.weight" in state else maps
    inner = conv(state, f"{name}.conv1", F.leaky_relu(_instance(state, f"{name}.norm1", maps), 0.2), padding=1)
    if halve:
        short, inner = F.avg_pool2d(short, 2), F.avg_pool2d(inner, 2)
    inner = conv(state, f"{name}.conv2", F.leaky_relu(_instance(state, f"{name}.norm2", inner), 0.2), padding=1)
    return (short + inner) / 2**0.5


def _raised(state: State, name: str, maps: Tensor, code: Tensor, *, double: bool) -> Tensor:
    def adaptive(layer: str, given: Tensor) -> Tensor:
        scale, shift = F.linear(code, state[f"{name}.{layer}.fc.weight"], state[f"{name}.{layer}.fc.bias"])[:, :, None, None].chunk(2, 1)
        return F.leaky_relu((1 + scale) * F.instance_norm(given) + shift, 0.2)

    inner, short = adaptive("norm1", maps), maps
    if double:
        inner, short = F.interpolate(inner, scale_factor=2), F.interpolate(short, scale_factor=2)
    if f"{name}.conv1x1.weight" in state:
        short = conv(state, f"{name}.conv1x1", short)
    inner = conv(state, f"{name}.conv2", adaptive("norm2", conv(state, f"{name}.conv1", inner, padding=1)), padding=1)
    return (short + inner) / 2**0.5


# --- BicycleGAN ------------------------------------------------------------------------------------------------------------------------


def peer_bicycle_state(source: int, target: int, *, depth: int, width: int, norm: str, noise: int) -> State:
    """With noise at every level."""
    draw, widths = Draw(), [width * min(2**level, 8) for level in range(depth)]
    name = "model"
    draw.conv("model.down.0", source + noise, width, 4, bias=True)
    draw.conv("model.up.1", 2 * width, target, 4, bias=True, transposed=True)
    for level in range(1, depth):
        name, innermost = f"{name}.submodule", level == depth - 1
        draw.conv(f"{name}.down.1", widths[level - 1] + noise, widths[level], 4, bias=True)
        if not innermost:
            draw.norm(f"{name}.down.2", widths[level], norm)
        draw.conv(f"{name}.up.1", widths[level] * (1 if innermost else 2), widths[level - 1], 4, bias=True, transposed=True)
        draw.norm(f"{name}.up.2", widths[level - 1], norm)
    return draw.state


def peer_bicycle(state: State, source: Tensor, z: Tensor, *, depth: int, norm: str) -> Tensor:
    def with_z(maps: Tensor) -> Tensor:
        return torch.cat([maps, z[:, :, None, None].expand(-1, -1, *maps.shape[2:])], 1)

    def level(number: int, maps: Tensor) -> Tensor:
        name, innermost = "model" + ".submodule" * number, number == depth - 1
        inner = conv(state, f"{name}.down.1", F.leaky_relu(with_z(maps), 0.2), stride=2, padding=1)
        if not innermost:
            inner = level(number + 1, normed(state, f"{name}.down.2", inner, norm, training=False))
        back = normed(state, f"{name}.up.2", up(state, f"{name}.up.1", inner.relu()), norm, training=False)
        return torch.cat([back, maps], 1)

    first = conv(state, "model.down.0", with_z(source), stride=2, padding=1)
    return up(state, "model.up.1", level(1, first).relu()).tanh()


def peer_bicycle_input_state(seen: int, target: int, *, depth: int, width: int, norm: str) -> State:
    """With noise on the source only: the names of pix2pix, and biases everywhere."""
    draw, widths = Draw(), [width * min(2**level, 8) for level in range(depth)]
    name = "model.model"
    draw.conv(f"{name}.0", seen, width, 4, bias=True)
    draw.conv(f"{name}.3", 2 * width, target, 4, bias=True, transposed=True)
    for level in range(1, depth):
        name, innermost = f"{name}.1.model" if level == 1 else f"{name}.3.model", level == depth - 1
        draw.conv(f"{name}.1", widths[level - 1], widths[level], 4, bias=True)
        if not innermost:
            draw.norm(f"{name}.2", widths[level], norm)
        draw.conv(
            f"{name}.{3 if innermost else 5}", widths[level] * (1 if innermost else 2), widths[level - 1], 4, bias=True, transposed=True
        )
        draw.norm(f"{name}.{4 if innermost else 6}", widths[level - 1], norm)
    return draw.state


def peer_bicycle_input(state: State, source: Tensor, z: Tensor, *, depth: int, norm: str) -> Tensor:
    def level(number: int, name: str, maps: Tensor) -> Tensor:
        inner = conv(state, f"{name}.1", F.leaky_relu(maps, 0.2), stride=2, padding=1)
        upper = 3
        if number < depth - 1:
            inner, upper = level(number + 1, f"{name}.3.model", normed(state, f"{name}.2", inner, norm, training=False)), 5
        back = normed(state, f"{name}.{upper + 1}", up(state, f"{name}.{upper}", inner.relu()), norm, training=False)
        return torch.cat([back, maps], 1)

    seen = torch.cat([source, z[:, :, None, None].expand(-1, -1, *source.shape[2:])], 1)
    first = conv(state, "model.model.0", seen, stride=2, padding=1)
    return up(state, "model.model.3", level(1, "model.model.1.model", first).relu()).tanh()


STATES = {
    "enhancer": peer_enhancer_state,
    "spade": peer_spade_state,
    "stargan": peer_stargan_state,
    "stargan2": peer_stargan2_state,
    "stargan_critic": peer_stargan_critic_state,
    "stargan2_critic": peer_stargan2_critic_state,
    "bicycle": peer_bicycle_state,
    "pix2pixhd_critic": peer_scales_state,
    "spade_critic": peer_scales_state,
    "bicycle_critic": peer_scales_state,
}
FORWARDS = {
    "enhancer": peer_enhancer,
    "spade": peer_spade,
    "stargan": peer_stargan,
    "stargan2": peer_stargan2,
    "stargan_critic": peer_stargan_critic,
    "stargan2_critic": peer_stargan2_critic,
    "bicycle": peer_bicycle,
    "pix2pixhd_critic": peer_scales,
    "spade_critic": peer_scales,
    "bicycle_critic": peer_scales,
}
"""By family."""
