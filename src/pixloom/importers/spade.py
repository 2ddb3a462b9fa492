"""The generator of SPADE (Park et al., 2019): ``latest_net_G.pth``, with spectral norm or without, from labels or from noise; with noise
its style encoder, too, where ``latest_net_E.pth`` lies beside it.

At use its convolutions are W / (u^T W v), u and v as they were kept beside W; that is what is taken, into a network without spectral norm.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from pixloom.config import InferenceConfig
from pixloom.errors import ModelError, first_line
from pixloom.importers.base import Found, Pairs, Said, completed, renamed
from pixloom.importers.foreign import State
from pixloom.importers.labels import with_classes
from pixloom.importers.spectral import without_spectral_norm
from pixloom.nets.steering import END

BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4")

MEAN = "of the codes that the style encoder gives a reference picture the mean is taken, where its program draws one about it"

NOT_ITS_OWN = "the style encoder beside it is not its own"

NO_ENCODER = "there is no latest_net_E.pth beside it, so --reference cannot be used; codes are drawn from noise"

FIVE = (
    "that it doubles five times (--num_upsampling_layers normal) is assumed, for names and shapes are the same with six "
    "(more: --set generator.options.levels=6)"
)


def generator(state: State) -> Found | None:
    """From five to seven doublings, the first map from labels or, with ``--use_vae``, from noise."""
    if "fc_mu.weight" in state and any(name.startswith("layer1.") for name in state):
        raise ModelError(
            "it is the style encoder E that lies beside that",
            why="it reads codes off pictures, and makes none",
            fix="give latest_net_G.pth, with this file beside it",
        )
    if "head_0.norm_0.mlp_shared.0.weight" not in state:
        return None
    blocks = [name for name in BLOCKS if f"{name}.conv_0.weight" in state or f"{name}.conv_0.weight_orig" in state]
    effective = without_spectral_norm(state)
    hidden, labels = effective["head_0.norm_0.mlp_shared.0.weight"].shape[:2]
    target, width = effective["conv_img.weight"].shape[:2]
    options: dict[str, Any] = {
        **{"source_channels": labels, "target_channels": target, "levels": 7 if "up_4" in blocks else 5, "width": width},
        **{"hidden": hidden, "norm": "batch" if "head_0.norm_0.param_free_norm.running_mean" in state else "instance"},
        **{"spectral": False, "bias": True},
    }
    joined = with_affine(effective)
    found = Found(
        "spade",
        options,
        completed(renamed(joined, layers(blocks))),
        task={"name": "synthesize"},
        inference=InferenceConfig(statistics="running"),
        asks=("classes", "edges", "generator.options.levels", "generator.options.start"),
    )
    return replace(found, settle=lambda said: _settled(found, said, seen=labels))


def layers(blocks: list[str]) -> Pairs:
    """(our layer, theirs); gamma and beta of theirs are joined, see :func:`with_affine`."""
    yield "entry", "fc"
    yield "exit.1", "conv_img"
    for number, theirs in enumerate(blocks):
        ours = f"blocks.{number}"
        for place in (0, 1):
            yield f"{ours}.convolutions.{place}", f"{theirs}.conv_{place}"
            yield from _norm(f"{ours}.norms.{place}", f"{theirs}.norm_{place}")
        yield f"{ours}.shortcut.1", f"{theirs}.conv_s"
        yield from _norm(f"{ours}.shortcut.0", f"{theirs}.norm_s")


def with_affine(state: State) -> State:
    """The tensors with the convolutions to gamma and beta as one, ``affine``, gamma first."""
    found = {name: tensor for name, tensor in state.items() if ".mlp_gamma." not in name and ".mlp_beta." not in name}
    for name, scale in state.items():
        if ".mlp_gamma." in name:
            found[name.replace("mlp_gamma", "affine")] = torch.cat([scale, state[name.replace("mlp_gamma", "mlp_beta")]])
    return found


def _norm(ours: str, theirs: str) -> Pairs:
    yield f"{ours}.norm", f"{theirs}.param_free_norm"
    yield f"{ours}.shared", f"{theirs}.mlp_shared.0"
    yield f"{ours}.affine", f"{theirs}.affine"


def _settled(found: Found, said: Said, *, seen: int) -> Found:
    """With its doublings, its first map and its classes.

    Raises:
        ModelError: the first map has another number of places than that, or the classes are not said.
    """
    named = found.options["levels"]
    levels = said.number("generator.options.levels") or named
    if levels not in ((7,) if named == 7 else (5, 6)):
        raise ModelError(f"it cannot double {levels} times", why=f"with {'up_4 seven' if named == 7 else 'up_3 five or six'} are possible")
    notes = () if named == 7 or "generator.options.levels" in said.settings else (FIVE,)
    readers = [name.removesuffix(".weight") for name in found.state if name.endswith(".shared.weight")]
    entry, options, size = found.state["entry.weight"], {**found.options, "levels": levels}, found.size
    if entry.ndim == 2:
        first = options["width"] * (32 if levels == 7 else 16)
        start = _start(len(entry) // first, said)
        options |= {"noise_channels": entry.shape[1], "start": start}
        size, notes = min(start) * 2**levels, (*notes, f"its first map has {start[0]} rows and {start[1]} columns")
        encoder = said.encoder()
        found, options = _with_encoder(found, options, encoder) if encoder else (found, options)
        notes = (*notes, MEAN if encoder else NO_ENCODER)
    elif said.settings.get("generator.options.start") is not None:
        raise ModelError("generator.options.start would have no effect", why="its first map is made of the labels", fix="leave it out")
    else:
        readers.append("entry")
    about = replace(found, options=options, size=size, notes=notes)
    return with_classes(about, said, readers=tuple(readers), seen=seen, ignorable=True)


def _with_encoder(found: Found, options: dict[str, Any], encoder: State) -> tuple[Found, dict[str, Any]]:
    """With the style encoder's tensors, and the options with it; its two last layers are one convolution over the whole here.

    Raises:
        ModelError: it is not that of this generator.
    """
    try:
        return _joined(found, options, without_spectral_norm(encoder))
    except (ModelError, RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(NOT_ITS_OWN, why=first_line(error), fix="move latest_net_E.pth elsewhere, or fetch it again") from error


def _joined(found: Found, options: dict[str, Any], encoder: State) -> tuple[Found, dict[str, Any]]:
    halvings = len({name.partition(".")[0] for name in encoder if name.startswith("layer")})
    side, code = END * 2**halvings, options["noise_channels"]
    ends = {kind: [encoder[name] for name in (f"fc_mu.{kind}", f"fc_var.{kind}") if name in encoder] for kind in ("weight", "bias")}
    if not halvings or any([len(end) for end in both] != [code, code] for both in ends.values()):
        raise ModelError(f"it gives no two times {code} numbers")
    weights = torch.cat(ends["weight"]).reshape(2 * code, -1, END, END)
    tensors = {name: tensor for name, tensor in encoder.items() if not name.startswith("fc_")}
    own = renamed(tensors, ((f"steering.style.layers.{3 * layer}", f"layer{layer + 1}.0") for layer in range(halvings)))
    own |= {"steering.style.project.weight": weights, "steering.style.project.bias": torch.cat(ends["bias"])}
    channels = encoder["layer1.0.weight"].shape[1]
    found = replace(
        found,
        state={**found.state, **own},
        conditions={"style": {"code": code, "channels": channels, "side": side, "drawn": True}},
    )
    return found, {**options, "reference_side": side, "conditions": {"style": code}}


def _start(places: int, said: Said) -> list[int]:
    """Rows and columns of the first map: as said, else a square, or twice as wide as high.

    Raises:
        ModelError: so many places are neither, or not as said.
    """
    given = said.settings.get("generator.options.start")
    if given is None:
        rows = next((math.isqrt(places // wide) for wide in (1, 2) if math.isqrt(places // wide) ** 2 * wide == places), 1)
        given = [rows, places // rows]
    whole = isinstance(given, list) and len(given) == 2 and all(isinstance(side, int) for side in given)
    if not whole or given[0] * given[1] != places:
        raise ModelError(
            f"the first map cannot be {given}",
            why=f"it has {places} places, rows times columns",
            fix="--set 'generator.options.start=[ROWS, COLUMNS]'",
        )
    return list(given)
