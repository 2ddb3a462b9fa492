"""pytorch-CycleGAN-and-pix2pix, and what shares its networks: CUT with its filters, the generators of pix2pixHD.

Names and shapes have been the same since 2017 (Isola et al., 2017; Zhu et al., 2017). What differs by era: instance norms of 2018 kept
statistics that nobody used, and batch norms before PyTorch 0.4.1 did not count their batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch

from pixloom.config import InferenceConfig
from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, channels, completed, folded, norm_of, renamed
from pixloom.importers.foreign import State
from pixloom.importers.labels import may_be_labels

DROPPED = (
    "whether it was trained with dropout cannot be seen; it is taken to have been, as pix2pix is, and is off in use unless it is imported "
    "with --set inference.dropout=true"
)

LEVEL = ".model.3"
"""What every further level of the U-Net adds to the names."""


def unet(state: State) -> Found | None:
    """The U-Net: ``unet_128``, ``unet_256`` and any other depth."""
    if "model.model.0.weight" not in state:
        return None
    depth = 2 + max(_levels(name) for name in state)
    source, width = channels(state["model.model.0.weight"])
    target = channels(state["model.model.3.weight"], transposed=True)[1]
    inner = _level(1)
    norm = norm_of(state, f"{inner}.2", convolution=f"{inner}.1") if depth > 2 else norm_of(state, f"{inner}.4", convolution=f"{inner}.3")
    options = {
        **{"source_channels": source, "target_channels": target, "depth": depth, "width": width, "norm": norm},
        "dropout": 0.5 if norm == "batch" and depth > 5 else 0.0,
    }
    found = completed(renamed(state, unet_layers(depth), ignored=no_weight(state)))
    notes = (DROPPED,) if options["dropout"] else ()
    return Found("unet", options, found, task=_task(source, target), size=2**depth, inference=as_tested(norm), notes=notes)


def unet_layers(depth: int) -> Pairs:
    """(our layer, theirs)."""
    yield "encoder.0", "model.model.0"
    for level in range(1, depth):
        yield f"encoder.{level}.1", f"{_level(level)}.1"
        if level < depth - 1:
            yield f"encoder.{level}.2", f"{_level(level)}.2"
    yield "decoder.0.1", f"{_level(depth - 1)}.3"
    yield "decoder.0.2", f"{_level(depth - 1)}.4"
    for place, level in enumerate(range(depth - 2, 0, -1), start=1):
        yield f"decoder.{place}.1", f"{_level(level)}.5"
        yield f"decoder.{place}.2", f"{_level(level)}.6"
    yield f"decoder.{depth - 1}.1", "model.model.3"


def resnet(state: State) -> Found | None:
    """The residual generators: two halvings in CycleGAN and CUT, four in pix2pixHD."""
    shape = resnet_shape(state)
    if shape is None or any(name.startswith("model1_1.") for name in state):  # of pix2pixHD's local enhancer
        return None
    halvings, blocks, dropout, antialias = shape
    source, width = channels(state["model.1.weight"])
    last = list(resnet_layers(halvings, blocks, dropout=dropout, antialias=antialias))[-1][1]
    target = state[f"{last}.weight"].shape[0]
    options = {
        **{"source_channels": source, "target_channels": target, "blocks": blocks, "halvings": halvings, "width": width},
        **{"norm": norm_of(state, "model.2", convolution="model.1"), "dropout": 0.5 if dropout else 0.0, "antialias": antialias},
    }
    layers = resnet_layers(halvings, blocks, dropout=dropout, antialias=antialias)
    if antialias:
        check_filters(state)
    tensors = folded(completed(renamed(state, layers, ignored=no_weight(state))))
    found = Found("resnet", options, tensors, task=_task(source, target), inference=as_tested(str(options["norm"])))
    return may_be_labels(found, readers=("encoder.1",))


def resnet_shape(state: State, *, root: str = "model") -> tuple[int, int, bool, bool] | None:
    """Halvings, blocks, whether they have dropout, and whether CUT's filters stand beside the convolutions; None where it is another."""
    blocks = {int(match[1]) for name in state if (match := re.match(rf"{root}\.(\d+)\.conv_block\.", name))}
    if not blocks or f"{root}.1.weight" not in state:
        return None
    first = min(blocks)
    antialias = any(name.endswith(".filt") for name in state)
    halvings = (first - 4) // (4 if antialias else 3)
    dropout = f"{root}.{first}.conv_block.6.weight" in state and state[f"{root}.{first}.conv_block.6.weight"].ndim == 4
    return halvings, len(blocks), dropout, antialias


def resnet_layers(halvings: int, blocks: int, *, dropout: bool, antialias: bool = False, root: str = "model", ours: str = "") -> Pairs:
    """(our layer, theirs); both are chains that count in the same way, until the blocks."""
    stride = 4 if antialias else 3
    yield from _flat(range(1, 4 + stride * halvings), f"{ours}encoder", root, begin=0)
    first = 4 + stride * halvings
    for block in range(blocks):
        for place in (1, 2, *((6, 7) if dropout else (5, 6))):
            yield f"{ours}blocks.{block}.residual.{place}", f"{root}.{first + block}.conv_block.{place}"
    begin = first + blocks
    yield from _flat(range(begin, begin + stride * halvings + 2), f"{ours}decoder", root, begin=begin)


def check_filters(state: State) -> None:
    """That they are the binomial ones of three and four taps that our halvings and doublings have.

    Raises:
        ModelError: they are others.
    """
    for name, tensor in state.items():
        if name.endswith(".filt"):
            taps = torch.tensor([1.0, 2.0, 1.0]) / 4 if tensor.shape[-1] == 3 else torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
            if tensor.shape[-1] != len(taps) or not torch.allclose(tensor[0, 0], torch.outer(taps, taps), atol=1e-6):
                raise ModelError("this network has low-pass filters of another kind than CUT's", why=f"{name} has {tensor.shape[-1]} taps")


def patch_critic(state: State) -> Found | None:
    """The PatchGAN: ``basic`` and ``n_layers``; CUT's with its filters, and BicycleGAN's of one scale, too."""
    numbers = sorted({int(match[1]) for name in state if (match := re.fullmatch(r"model\.(\d+)\.weight", name)) and state[name].ndim == 4})
    antialias = "model.2.filt" in state
    second = 3 if antialias else 2
    if len(numbers) < 3 or numbers[:2] != [0, second] or state[f"model.{numbers[-1]}.weight"].shape[0] != 1:
        return None
    if antialias:
        check_filters(state)
    layers = (numbers[-1] - 2) // (second + 1)
    seen, width = channels(state["model.0.weight"])
    options: dict[str, Any] = {
        "source_channels": seen - 3 if seen > 3 else 0,
        "target_channels": min(seen, 3),
        "layers": layers,
        "width": width,
        "antialias": antialias,
    }
    options["norm"] = norm_of(state, f"model.{second + 1}", convolution=f"model.{second}")
    options["bias"] = options["norm"] == "batch" and f"model.{second}.bias" in state  # as BicycleGAN has it
    found = completed(renamed(state, patch_layers(layers, antialias=antialias), ignored=no_weight(state)))
    return Found("patch", options, found, role="critic")


def patch_layers(layers: int, *, antialias: bool = False) -> Pairs:
    """(our layer, theirs)."""
    step = 4 if antialias else 3
    yield "stages.0.0", "model.0"
    for stage in range(1, layers + 1):
        yield f"stages.{stage}.0", f"model.{step * stage - 1}"
        yield f"stages.{stage}.1", f"model.{step * stage}"
    yield "head", f"model.{step * layers + 2}"


def pixel_critic(state: State) -> Found | None:
    """The 1x1 PatchGAN."""
    if "net.0.weight" not in state or state["net.0.weight"].shape[2:] != (1, 1):
        return None
    seen, width = channels(state["net.0.weight"])
    options: dict[str, Any] = {"source_channels": seen - 3 if seen > 3 else 0, "target_channels": min(seen, 3), "width": width}
    options["norm"] = norm_of(state, "net.3", convolution="net.2")
    pairs = iter([("stages.0.0", "net.0"), ("stages.1.0", "net.2"), ("stages.1.1", "net.3"), ("head", "net.5")])
    return Found("pixel", options, completed(renamed(state, pairs, ignored=no_weight(state))), role="critic")


def as_tested(norm: str) -> InferenceConfig:
    """test.py leaves networks in training mode, so that batch norm takes each picture's own statistics."""
    return InferenceConfig(statistics="image" if norm == "batch" else "running")


def no_weight(state: State) -> Any:
    """What belongs to no parameter: filters, and the statistics of instance norms that have neither weights nor a use for them."""

    def ignored(name: str) -> bool:
        layer, _, kind = name.rpartition(".")
        kept = kind in ("running_mean", "running_var", "num_batches_tracked")
        return kind == "filt" or (kept and f"{layer}.weight" not in state)

    return ignored


def _task(source: int, target: int) -> dict[str, Any]:
    """One channel to two is the colorization of that program."""
    return {"name": "colorize"} if (source, target) == (1, 2) else {"name": "pair"}


def _levels(name: str) -> int:
    """How often a name goes a level further in."""
    return name.count(".3.model")


def _level(level: int) -> str:
    """Where a level's layers lie, from 1 on."""
    return "model.model.1" + LEVEL * (level - 1) + ".model"


def _flat(places: range, ours: str, theirs: str, *, begin: int) -> Iterator[tuple[str, str]]:
    return ((f"{ours}.{place - begin}", f"{theirs}.{place}") for place in places)
