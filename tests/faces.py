"""Descriptions and tiny models of every task, with the conditions that go with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixloom.config import InferenceConfig, NetworkConfig, TaskConfig
from pixloom.modelfile import ModelDescription

CLASSES = [
    {"name": name, "colour": colour, "id": id, "share": 0.25}
    for id, (name, colour) in enumerate(
        {"sky": [110, 170, 230], "house": [150, 110, 90], "road": [90, 90, 100], "tree": [60, 130, 70]}.items()
    )
]
LABEL = {"names": ["cat", "dog"]}
ATTRIBUTES = {"names": ["smile", "dark", "fair"], "low": [-1.0, 0.0, 0.0], "high": [1.0, 1.0, 1.0], "exclusive": [["dark", "fair"]]}
WIDTHS = {"label": 2, "attributes": 6, "map": 4, "image": 1, "text": 2, "style": 4}
CONDITIONS: dict[str, Any] = {
    "label": LABEL,
    "attributes": ATTRIBUTES,
    "map": {"classes": CLASSES},
    "image": {"channels": 1},
    "text": {"words": ["red", "blue"]},
    "style": {"code": 4, "channels": 3},
}

TASKS: dict[str, dict[str, Any]] = {
    "pair": {"channels": (3, 3)},
    "noisy": {"task": "pair", "channels": (1, 3), "noise": 3},
    "colorize": {"channels": (4, 2), "options": {"hints": True}},
    "inpaint": {"channels": (4, 3)},
    "segment": {"channels": (3, 4), "options": {"classes": CLASSES}, "head": "softmax"},
    "synthesize": {"channels": (5, 3), "options": {"classes": CLASSES}},
    "stylize": {"channels": (3, 3), "options": {"to": "cat", "origin": "dog", "keep_colour": 0.5}, "conditions": ["label"]},
    "edit": {"channels": (3, 3), "conditions": ["label", "attributes"]},
    "super-resolve": {"channels": (3, 3), "options": {"scale": 2}},
    "restore": {"channels": (3, 3)},
}
"""A model of each task: channels of its network, its settings, its conditions."""


def described(
    name: str, *, conditions: list[str] | None = None, dropout: float = 0.1, network: NetworkConfig | None = None
) -> ModelDescription:
    """The description of a model of a kind in :data:`TASKS`."""
    kind = TASKS[name]
    kinds = kind.get("conditions", []) if conditions is None else conditions
    source, target = kind["channels"]
    options: dict[str, Any] = {"source_channels": source, "target_channels": target, "noise_channels": kind.get("noise", 0)}
    options["conditions"] = {each: WIDTHS[each] for each in kinds}
    return ModelDescription(
        task=TaskConfig(name=kind.get("task", name), options=kind.get("options", {})),
        generator=network or NetworkConfig(name="residual_unet", options=options),
        inference=InferenceConfig(),
        size=32,
        recipe="test",
        conditions={each: CONDITIONS[each] for each in kinds},
        condition_dropout=dropout,
    )


def save(folder: Path, name: str) -> None:
    """A model of a kind with random weights that are large enough to be seen."""
    import torch

    from pixloom.modelfile import describe_generator, save_model
    from pixloom.nets import build
    from pixloom.nets.layers import initialize
    from playing import wake

    kind = TASKS[name]
    torch.manual_seed(0)
    options: dict[str, Any] = {"halvings": 2, "width": 4, "noise_channels": kind.get("noise", 0), "head": kind.get("head", "tanh")}
    if kinds := kind.get("conditions", []):
        options["conditions"] = {each: WIDTHS[each] for each in kinds}
    network = build("residual_unet", options, source_channels=kind["channels"][0], target_channels=kind["channels"][1])
    initialize(network, gain=0.2)
    wake(network, gain=0.2)
    save_model(folder, generator=network, description=described(name, network=describe_generator("residual_unet", network)))
