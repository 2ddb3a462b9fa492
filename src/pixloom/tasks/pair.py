"""Any picture into any other: label or edge map to photo, photo to map, day to night, modality to modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pixloom.config import Direction
from pixloom.errors import DataError
from pixloom.images import from_model, resize, to_model
from pixloom.tasks.base import Pixels, Values


@dataclass(frozen=True)
class Pair:
    """Pairs (A, B) of aligned pictures, translated from A to B or from B to A."""

    direction: Direction = "AtoB"

    name: ClassVar[str] = "pair"
    summary: ClassVar[str] = "any aligned pair A -> B (or B -> A with --direction BtoA)"
    needs_pairs: ClassVar[bool] = True
    pixelwise: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ()

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """The pictures' own channels, in the order of the direction."""
        if target is None:
            raise DataError(
                "the task 'pair' needs two pictures per example", fix="give pairs, or choose a task that makes them, e.g. --task colorize"
            )
        return (source, target) if self.direction == "AtoB" else (target, source)

    def encode(self, source: Pixels, target: Pixels | None) -> tuple[Values, Values]:
        """Both pictures scaled to [-1, 1], in the order of the direction."""
        x, y = self.views(source, target)
        return to_model(x), to_model(y)

    def encode_source(self, source: Pixels) -> Values:
        """The picture scaled to [-1, 1]."""
        return to_model(source)

    def source_channels(self, picture: int, network: int) -> int:
        """Those of the sources it was trained on."""
        return network

    def output_channels(self, network: int) -> int:
        """Those of the network."""
        return network

    def compose(self, output: Values, source: Pixels) -> Pixels:
        """The output itself, brought to the source's size."""
        height, width = source.shape[:2]
        pixels = from_model(output, dtype=source.dtype)
        return pixels if pixels.shape[:2] == (height, width) else resize(pixels, height=height, width=width)

    def views(self, source: Pixels, target: Pixels | None) -> tuple[Pixels, Pixels]:
        """(A, B) or (B, A)."""
        if target is None:
            raise DataError("an example of the task 'pair' has only one picture", fix="give pairs, or choose a task that makes them")
        return (source, target) if self.direction == "AtoB" else (target, source)
