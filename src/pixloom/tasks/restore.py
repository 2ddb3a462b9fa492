"""Bad to good: noise, blur and JPEG removed. The bad pictures are made from good ones while training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pixloom.images import from_model, to_model
from pixloom.tasks.base import Pixels, Shown, Task, lone
from pixloom.tasks.degradations import DEGRADATIONS


@dataclass(frozen=True)
class Restore(Task):
    """x = the picture after a degradation whose strength is drawn by chance, y = the picture.

    For pairs of bad and good pictures that are there already, the task ``pair`` is the right one.

    Attributes:
        degradation: a name in ``degradations.DEGRADATIONS``.
    """

    degradation: Literal["noise", "blur", "jpeg", "mixed", "chain"] = "mixed"

    name: ClassVar[str] = "restore"
    summary: ClassVar[str] = "remove noise, blur and JPEG; train on a folder of good pictures"
    pixelwise: ClassVar[bool] = False
    native: ClassVar[bool] = True

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """The picture's own, in and out."""
        lone(self.name, target)
        return source, source

    def settings(self) -> dict[str, Any]:
        """A network that adds to its source."""
        return {
            "generator.name": "shuffle",
            "generator.options": {"factor": 2},
            "inference.dropout": False,
            "inference.statistics": "running",
        }

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The picture made bad, and the picture."""
        bad = DEGRADATIONS[self.degradation](unit(source), rng)
        return Shown(as_pixels(bad, source.dtype), source)


def unit(pixels: Pixels) -> np.ndarray:
    """Pixels of any number type as float32 in [0, 1], still H W C."""
    return np.ascontiguousarray((to_model(np.ascontiguousarray(pixels)).transpose(1, 2, 0) + 1) / 2)


def as_pixels(values: np.ndarray, dtype: np.dtype[Any]) -> Pixels:
    """Float values in [0, 1], H W C, in a number type."""
    return from_model(np.ascontiguousarray(values.transpose(2, 0, 1)) * 2 - 1, dtype=dtype)
