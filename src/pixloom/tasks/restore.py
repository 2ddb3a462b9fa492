"""Bad to good: noise, blur, JPEG or haze removed. The bad pictures are made from good ones while training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pixloom.tasks.base import Pixels, Shown, Task, as_pixels, folding, lone, unit
from pixloom.tasks.degradations import DEGRADATIONS


@dataclass(frozen=True)
class Restore(Task):
    """x = the picture after a degradation whose strength is drawn by chance, y = the picture.

    For pairs of bad and good pictures that are there already, the task ``pair`` is the right one.

    Attributes:
        degradation: a name in ``degradations.DEGRADATIONS``.
    """

    degradation: Literal["noise", "blur", "jpeg", "mixed", "chain", "haze"] = "mixed"

    name: ClassVar[str] = "restore"
    summary: ClassVar[str] = "remove noise, blur, JPEG or haze; train on a folder of good pictures"
    recipe: ClassVar[str] = "pix2pix"
    pixelwise: ClassVar[bool] = False
    native: ClassVar[bool] = True

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """The picture's own, in and out."""
        lone(self.name, target)
        return source, source

    def settings(self, recipe: str) -> dict[str, Any]:
        """A network that adds to its source."""
        return folding(2)

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The picture made bad, and the picture."""
        bad = DEGRADATIONS[self.degradation](unit(source), rng)
        return Shown(as_pixels(bad, source.dtype), source)
