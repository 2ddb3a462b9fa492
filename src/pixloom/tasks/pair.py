"""Any picture into any other: label or edge map to photo, photo to map, day to night, modality to modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pixloom.config import Direction, TaskConfig
from pixloom.tasks.base import Pixels, Shown, Task, paired


@dataclass(frozen=True)
class Pair(Task):
    """Pairs (A, B) of aligned pictures, translated from A to B or from B to A."""

    direction: Direction = "AtoB"

    name: ClassVar[str] = "pair"
    summary: ClassVar[str] = "any aligned pair A -> B (or B -> A with --direction BtoA)"
    needs_pairs: ClassVar[bool] = True

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """The pictures' own channels, in the order of the direction."""
        paired(self.name, target)
        assert target is not None
        return (source, target) if self.direction == "AtoB" else (target, source)

    def reversed(self) -> TaskConfig:
        """The other direction."""
        return TaskConfig(name=self.name, direction="BtoA" if self.direction == "AtoB" else "AtoB")

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """(A, B) or (B, A)."""
        paired(self.name, target)
        assert target is not None
        return Shown(source, target) if self.direction == "AtoB" else Shown(target, source)
