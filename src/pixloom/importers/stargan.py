"""StarGAN (Choi et al., 2018): one generator for several attributes at once, or one class of several, given as planes beside the picture;
and its critic, which reads them off pictures.

Its instance norms have weights, and by mistake statistics that its program never uses: batch norm by each picture's own statistics is
exactly that. No convolution has a bias; our last one gets zeros.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch

from pixloom.config import InferenceConfig
from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, Said, channels, completed, renamed
from pixloom.importers.foreign import State

PICTURE = 3
"""Channels of its pictures; all others of the first convolution are of the condition."""

STEPWISE = "what is not stated counts as not so, as in its program: state every attribute that is to hold"


def generator(state: State) -> Found | None:
    """The generator, for any number of blocks and halvings."""
    numbers = sorted({int(match[1]) for name in state if (match := re.match(r"main\.(\d+)\.main\.0\.weight$", name))})
    if not numbers or "main.0.weight" not in state or state["main.0.weight"].shape[2:] != (7, 7):
        return None
    halvings, blocks = numbers[0] // 3 - 1, len(numbers)
    seen, width = channels(state["main.0.weight"])
    last = numbers[-1] + 1 + 3 * halvings
    target = state[f"main.{last}.weight"].shape[0]
    if seen <= PICTURE:
        raise ModelError("nothing steers it", why=f"its first layer reads {seen} channels, and a picture has {PICTURE}")
    tensors = completed(renamed(state, layers(halvings, blocks)))
    tensors["decoder." + str(3 * halvings + 1) + ".bias"] = torch.zeros(target)
    options: dict[str, Any] = {
        **{"source_channels": PICTURE, "target_channels": target, "blocks": blocks, "halvings": halvings, "width": width},
        **{"norm": "batch", "padding": "zeros", "kernel": 4},
    }
    found = Found(
        "resnet",
        options,
        _with_statistics(tensors),
        task={"name": "edit"},
        size=128,
        inference=InferenceConfig(statistics="image"),
        asks=("condition",),
    )
    return replace(found, settle=lambda said: _settled(found, said, width=seen - PICTURE))


def layers(halvings: int, blocks: int) -> Pairs:
    """(our layer, theirs); ours has the padding as a layer before some convolutions."""
    yield "encoder.1", "main.0"
    yield "encoder.2", "main.1"
    for halving in range(1, halvings + 1):
        yield f"encoder.{3 * halving + 1}", f"main.{3 * halving}"
        yield f"encoder.{3 * halving + 2}", f"main.{3 * halving + 1}"
    first = 3 * halvings + 3
    for block in range(blocks):
        for ours, theirs in ((1, 0), (2, 1), (5, 3), (6, 4)):
            yield f"blocks.{block}.residual.{ours}", f"main.{first + block}.main.{theirs}"
    first += blocks
    for doubling in range(halvings):
        for place in (0, 1):
            yield f"decoder.{3 * doubling + place}", f"main.{first + 3 * doubling + place}"
    yield f"decoder.{3 * halvings + 1}", f"main.{first + 3 * halvings}"


def critic(state: State) -> Found | None:
    """The critic, for pictures of the size that its classifier sees the whole of."""
    numbers = sorted(int(match[1]) for name in state if (match := re.fullmatch(r"main\.(\d+)\.weight", name)))
    if not numbers or "conv1.weight" not in state or "conv2.weight" not in state:
        return None
    names, _, side, _ = state["conv2.weight"].shape
    target, width = channels(state["main.0.weight"])
    count = len(numbers)
    options: dict[str, Any] = {
        **{"source_channels": 0, "target_channels": target, "size": side * 2**count, "layers": count, "width": width}
    }
    found = Found("stargan", options, state, role="critic", asks=("condition",))
    return replace(found, settle=lambda said: _classifying(found, said, width=names))


def critic_layers(count: int, kind: str) -> Pairs:
    """(our layer, theirs): of so many halvings, and a classifier of this kind of condition."""
    yield from ((f"stages.{layer}.0", f"main.{2 * layer}") for layer in range(count))
    yield "head", "conv1"
    yield f"reading.guesses.{kind}", "conv2"


def _classifying(found: Found, said: Said, *, width: int) -> Found:
    """Guessing attributes, or a label."""
    kind = _kind(said)
    conditions = {kind: 2 * width if kind == "attributes" else width}
    tensors = renamed(found.state, critic_layers(found.options["layers"], kind))
    return replace(found, options={**found.options, "conditions": conditions}, state=tensors)


def _kind(said: Said) -> str:
    """Which condition it is about."""
    kind: str = said.choice("condition", ("attributes", "label"), default="attributes")
    return kind


def _settled(found: Found, said: Said, *, width: int) -> Found:
    """Steered by attributes, or by a label.

    An attribute is two numbers here, v in [-1, 1] and s, 1 where it is stated: its plane of 1 and 0 is (v + s) / 2.
    """
    if _kind(said) == "label":
        return replace(found, options={**found.options, "conditions": {"label": width}}, conditions={"label": {}})
    weight = found.state["encoder.1.weight"]
    halves = weight[:, PICTURE:] / 2
    return replace(
        found,
        options={**found.options, "conditions": {"attributes": 2 * width}},
        state={**found.state, "encoder.1.weight": torch.cat([weight[:, :PICTURE], halves, halves], 1)},
        conditions={"attributes": {"low": [0.0] * width, "high": [1.0] * width, "exclusive": []}},
        notes=(STEPWISE, "where one class of several steers it: --set condition=label"),
    )


def _with_statistics(state: State) -> State:
    """With the statistics that files lack whose norms kept none; by each picture's own they have no part in anything."""
    found = dict(state)
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and tensor.ndim == 1 and f"{layer}.running_mean" not in state:
            found |= {f"{layer}.running_mean": torch.zeros_like(tensor), f"{layer}.running_var": torch.ones_like(tensor)}
    return completed(found)
