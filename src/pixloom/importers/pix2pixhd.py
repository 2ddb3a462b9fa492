"""The local enhancer of pix2pixHD (Wang et al., 2018, section 3.1), ``--netG local``; its global generator is a ``resnet``.

Every convolution has a bias, beside batch norm too, where ours have none: these move into the running means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, channels, completed, folded, norm_of, renamed
from pixloom.importers.foreign import State
from pixloom.importers.junyanz import as_tested, no_weight, resnet_layers, resnet_shape
from pixloom.importers.labels import may_be_labels

READERS = ("encoder.1", "coarse.0.1")


def enhancer(state: State) -> Found | None:
    """One local enhancer around the global generator without its output."""
    if "model1_1.1.weight" not in state:
        return None
    if any(name.startswith("model2_1.") for name in state):
        raise ModelError("it has several enhancers, one around the other", why="ours has one", fix="none: train it anew, with one")
    shape = resnet_shape(state)
    if shape is None:
        raise KeyError("model.N.conv_block")
    halvings, blocks, *_ = shape
    source, width = channels(state["model1_1.1.weight"])
    local = len({name.split(".")[1] for name in state if name.startswith("model1_2.") and ".conv_block." in name})
    target = state[f"model1_2.{local + 4}.weight"].shape[0]
    options: dict[str, Any] = {
        **{"source_channels": source, "target_channels": target, "width": width, "halvings": halvings, "blocks": blocks},
        **{"local_blocks": local, "norm": norm_of(state, "model1_1.2", convolution="model1_1.1")},
    }
    tensors = folded(completed(renamed(state, enhancer_layers(halvings, blocks, local), ignored=no_weight(state))))
    found = Found("enhancer", options, tensors, task={"name": "pair"}, size=512, inference=as_tested(str(options["norm"])))
    return may_be_labels(found, readers=READERS)


def enhancer_layers(halvings: int, blocks: int, local: int) -> Pairs:
    """(our layer, theirs): the global generator, and the local one around it."""
    parts = {"encoder": "coarse.0", "blocks": "coarse.1", "decoder": "coarse.2"}
    for ours, theirs in resnet_layers(halvings, blocks, dropout=False):
        part, _, place = ours.partition(".")
        yield f"{parts[part]}.{place}", theirs
    yield from ((f"encoder.{place}", f"model1_1.{place}") for place in (1, 2, 4, 5))
    yield from _local(local)


def _local(blocks: int) -> Iterator[tuple[str, str]]:
    for block in range(blocks):
        for place in (1, 2, 5, 6):
            yield f"blocks.{block}.residual.{place}", f"model1_2.{block}.conv_block.{place}"
    yield from ((f"decoder.{place}", f"model1_2.{blocks + place}") for place in (0, 1, 4))
