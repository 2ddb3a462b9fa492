"""Tiny data sets and runs for tests: real code, small numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixloom.config import RunConfig, override
from pixloom.recipes import recipe

NARROW = {"generator.options.width": 4, "critic.options.width": 4}


def blobs(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask of a few discs, and a coloured picture that follows from it."""
    rows, columns = np.mgrid[:side, :side]
    mask = np.zeros((side, side), dtype=bool)
    for _ in range(3):
        row, column, radius = rng.integers(0, side), rng.integers(0, side), rng.integers(side // 8, side // 3)
        mask |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    shade = np.where(mask, 200, 40)
    picture = np.stack([shade, shade // 2 + rows % 16, 255 - shade], axis=-1).astype(np.uint8)
    return (mask * 255).astype(np.uint8), picture


def write_pairs(folder: Path, *, count: int = 6, side: int = 24, seed: int = 0) -> Path:
    """Folders A (grey masks) and B (colour pictures)."""
    rng = np.random.default_rng(seed)
    for name in ("A", "B"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        mask, picture = blobs(rng, side)
        Image.fromarray(mask).save(folder / "A" / f"{number}.png")
        Image.fromarray(picture).save(folder / "B" / f"{number}.png")
    return folder


def tiny_config(data: Path, *, name: str = "pix2pix", size: int = 16, **settings: Any) -> RunConfig:
    """A recipe with narrow networks and a few images; settings use double underscores for dots."""
    narrow = {key: value for key, value in NARROW.items() if not (name == "regression" and key.startswith("critic"))}
    critic = {} if name != "pix2pix" else {"critic.options.layers": 1}
    base = {"data.path": str(data), "training.images": 12, "compute.device": "cpu", "training.log_every_images": 2, "data.holdout": 0.2}
    return override(recipe(name, size=size), base | narrow | critic | {key.replace("__", "."): value for key, value in settings.items()})
