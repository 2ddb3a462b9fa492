"""StarGAN v2 (Choi et al., 2020): generator G, mapping network F and style encoder E, networks of one file, which make one of ours; and the
critic D of that file.
"""

from __future__ import annotations

from typing import Any

import torch

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, renamed
from pixloom.importers.foreign import State

OWN = ("generator.", "mapping_network.", "style_encoder.")

MOST_WIDTH = 512

_MOST_BLOCKS = 16
"""More layers than E has, whatever the size of its references."""

SIDE_AT_ONE = 2**14
"""The size in pixels at which the first layer would have one channel: it has 2^14 / size."""

NO_ENCODER = "there is no style encoder beside it, so --reference cannot be used; styles are drawn"


def networks(state: State) -> Found | None:
    """G and F, and E where it is there; the high-pass skips of its CelebA-HQ are refused."""
    if "from_rgb.weight" in state:
        raise ModelError(
            "it is the generator alone", why="styles are made by its mapping network", fix="give the whole file, NUMBER_nets_ema.ckpt"
        )
    if "generator.from_rgb.weight" not in state:
        return None
    own = {name: tensor for name, tensor in state.items() if name.startswith(OWN)}
    entry = own["generator.from_rgb.weight"]
    width, channels = entry.shape[:2]
    levels = len({name.split(".")[2] for name in own if name.startswith("generator.encode.")}) - 2
    if 2 ** (levels + 3) * width == SIDE_AT_ONE:
        raise ModelError(
            f"it has the high-pass skips of its models for CelebA-HQ (--w_hpf): {levels} halvings from {width} channels on",
            why="they add what a network of landmarks masks, and its blocks have no shortcuts",
            fix="none: models without them can be taken in (--w_hpf 0), as that for AFHQ",
        )
    hidden, noise = own["mapping_network.shared.0.weight"].shape
    domains = len({name.split(".")[2] for name in own if name.startswith("mapping_network.unshared.")})
    code = own["generator.decode.0.norm1.fc.weight"].shape[1]
    reads = "style_encoder.shared.0.weight" in own
    side = 2 ** (2 + len({name.split(".")[2] for name in own if name.startswith("style_encoder.shared.") and ".conv1." in name}))
    options: dict[str, Any] = {
        **{"source_channels": channels, "target_channels": own["generator.to_rgb.2.weight"].shape[0], "width": width},
        **{"max_width": MOST_WIDTH, "halvings": levels, "code": code, "noise_channels": noise, "hidden": hidden},
        **{"references": reads, "reference_side": side if reads else None, "head": "clamp"},
        "conditions": {"label": domains, **({"style": code} if reads else {})},
    }
    style = {"style": {"code": code, "channels": channels, "side": side, "drawn": True}}
    return Found(
        "stargan2",
        options,
        renamed(_one_head(own, domains), layers(levels, domains)),
        task={"name": "edit"},
        size=2 ** (levels + 4),
        conditions={"label": {}, **(style if reads else {})},
        notes=() if reads else (NO_ENCODER,),
    )


def layers(levels: int, domains: int) -> Pairs:
    """(our layer, theirs): of a network with so many halvings, of F, and of E, whose last layers are joined, see :func:`_one_head`."""
    yield "entry", "generator.from_rgb"
    yield from ((f"exit.{place}", f"generator.to_rgb.{place}") for place in (0, 2))
    for block in range(levels + 2):
        lower, raise_ = f"generator.encode.{block}", f"generator.decode.{block}"
        halves, doubles = block < levels, block >= 2
        second = 4 if halves else 3  # the mean of 2 x 2 stands between
        yield from _block(f"encoder.{block}", lower, places=(0, 2, second, second + 2), shortcut=0, norm="", their_norm="")
        first = 3 if doubles else 2  # the repetition of pixels stands before
        places = (0, first, first + 1, first + 3)
        yield from _block(f"decoder.{block}", raise_, places=places, shortcut=int(doubles), norm=".affine", their_norm=".fc")
    yield from ((f"mapping.shared.{place}", f"mapping_network.shared.{place}") for place in (0, 2, 4, 6))
    for domain in range(domains):
        yield from ((f"mapping.heads.{domain}.{place}", f"mapping_network.unshared.{domain}.{place}") for place in (0, 2, 4, 6))
    yield "style.heads", "style_encoder.unshared"
    yield from _trunk("style.stages", "style_encoder.shared", _MOST_BLOCKS)


def critic(state: State) -> Found | None:
    """D, with the 4x4 convolution at its end."""
    if "main.0.weight" not in state or "main.1.conv1.weight" not in state:
        return None
    halvings = len({name.split(".")[1] for name in state if ".conv1." in name})
    width, channels = state["main.0.weight"].shape[:2]
    last = f"main.{halvings + 4}.weight"
    options: dict[str, Any] = {
        **{"source_channels": 0, "target_channels": channels, "width": width, "max_width": MOST_WIDTH, "halvings": halvings},
        **{"whole": True, "conditions": {"label": state[last].shape[0]}},
    }
    flat = {**state, last: state[last].flatten(1)}  # a 1x1 convolution of one place
    return Found("domains", options, renamed(flat, critic_layers(halvings)), role="critic")


def critic_layers(halvings: int) -> Pairs:
    """(our layer, theirs) of D."""
    yield from _trunk("stages", "main", halvings + 1)
    yield "head.1", f"main.{halvings + 2}"
    yield "head.5", f"main.{halvings + 4}"


def _trunk(ours: str, theirs: str, count: int) -> Pairs:
    """(our layer, theirs) of what E and D share in kind: blocks of layers, or single ones."""
    for block in range(count):
        yield f"{ours}.{block}", f"{theirs}.{block}"
        yield from _block(f"{ours}.{block}", f"{theirs}.{block}", places=(0, 2, 4, 6), shortcut=0, norm="", their_norm="")


def _one_head(state: State, domains: int) -> State:
    """The tensors with the last layers of E, one for every domain, as one."""
    found = {name: tensor for name, tensor in state.items() if not name.startswith("style_encoder.unshared.")}
    for kind in ("weight", "bias") if len(found) < len(state) else ():
        rows = [state[f"style_encoder.unshared.{domain}.{kind}"] for domain in range(domains)]
        found[f"style_encoder.unshared.{kind}"] = torch.cat(rows)
    return found


def _block(ours: str, theirs: str, *, places: tuple[int, int, int, int], shortcut: int, norm: str, their_norm: str) -> Pairs:
    for place, layer in zip(places, ("norm1", "conv1", "norm2", "conv2"), strict=True):
        more = (norm, their_norm) if layer.startswith("norm") else ("", "")
        yield f"{ours}.residual.{place}{more[0]}", f"{theirs}.{layer}{more[1]}"
    yield f"{ours}.shortcut.{shortcut}", f"{theirs}.conv1x1"
