"""StarGAN v2 (Choi et al., 2020): generator G and mapping network F, two networks of one file, which make one of ours.

Its style encoder E ends in a convolution of 4x4 over the whole of a reference of one size, where ours takes a mean, so it stays behind.
"""

from __future__ import annotations

from typing import Any

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, renamed
from pixloom.importers.foreign import State

OWN = ("generator.", "mapping_network.")

MOST_WIDTH = 512
SIDE_AT_ONE = 2**14
"""The size in pixels at which the first layer would have one channel: it has 2^14 / size."""

LEFT_BEHIND = "the style encoder stays behind (its 4x4 end takes references of one size), so --reference cannot be used; styles are drawn"


def networks(state: State) -> Found | None:
    """G and F; the high-pass skips of its CelebA-HQ are refused."""
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
    options: dict[str, Any] = {
        **{"source_channels": channels, "target_channels": own["generator.to_rgb.2.weight"].shape[0], "width": width},
        **{"max_width": MOST_WIDTH, "halvings": levels, "code": code, "noise_channels": noise, "hidden": hidden},
        **{"references": False, "head": "clamp", "conditions": {"label": domains}},
    }
    return Found(
        "stargan2",
        options,
        renamed(own, layers(levels, domains)),
        task={"name": "edit"},
        size=2 ** (levels + 4),
        conditions={"label": {}},
        notes=(LEFT_BEHIND,),
    )


def layers(levels: int, domains: int) -> Pairs:
    """(our layer, theirs): of a network with so many halvings, and of F."""
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


def _block(ours: str, theirs: str, *, places: tuple[int, int, int, int], shortcut: int, norm: str, their_norm: str) -> Pairs:
    for place, layer in zip(places, ("norm1", "conv1", "norm2", "conv2"), strict=True):
        more = (norm, their_norm) if layer.startswith("norm") else ("", "")
        yield f"{ours}.residual.{place}{more[0]}", f"{theirs}.{layer}{more[1]}"
    yield f"{ours}.shortcut.{shortcut}", f"{theirs}.conv1x1"
