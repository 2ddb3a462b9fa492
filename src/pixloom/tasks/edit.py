"""One picture, other attributes: an expression, an age, a season; by name and strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pixloom.tasks.base import Pixels, Shown, Task, lone


@dataclass(frozen=True)
class Edit(Task):
    """x = a picture, c' = the class or the attributes that it is to show; there is no y.

    Learnt from single pictures that state what they show: by folders of classes, an index file, or an attribute table such as CelebA's.
    What a picture becomes is drawn from what the others show, so that only combinations are asked for that there are.
    """

    name: ClassVar[str] = "edit"
    summary: ClassVar[str] = "a picture with another class or other attributes; train on folders of classes, or a table of attributes"
    between: ClassVar[bool] = True
    recipe: ClassVar[str] = "retouch"
    pixel_loss: ClassVar[bool] = False

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """As many out as in."""
        lone(self.name, target)
        return source, source

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The picture, and, where it is judged, another one that shows what it is to become."""
        return Shown(source, source if target is None else target)

    def terms(self, losses: Any) -> dict[str, Any]:
        """None: nothing says what should come out."""
        return {}
