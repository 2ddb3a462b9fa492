"""Label map to photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pixloom.config import Direction
from pixloom.tasks.base import Given, Pixels, Shown, Task, Values, paired
from pixloom.tasks.labels import Classes, Label, check_labels, classes_of, counted, plain
from pixloom.tasks.vocabulary import find_classes

if TYPE_CHECKING:
    from pixloom.data.sources import Record


@dataclass(frozen=True)
class Synthesize(Task):
    """x = a plane per class and one for pixels of none, 1 where it is and else -1; y = the photo.

    Planes do not say that one class lies between two others, as colours or ids as numbers would (Park et al., "Semantic Image Synthesis
    with Spatially-Adaptive Normalization", 2019, section 3). At use a label map may come in any form that its classes have: ids or colours.

    Attributes:
        direction: which picture of a pair is the label map.
        classes: of the label maps; none: learnt from a ``classes.csv`` beside or above them, else from the maps themselves.
    """

    direction: Direction = "AtoB"
    classes: tuple[Label, ...] = ()

    name: ClassVar[str] = "synthesize"
    summary: ClassVar[str] = "label map to photo; train on pairs of label map (ids, masks or colours) and photo"
    needs_pairs: ClassVar[bool] = True

    @property
    def vocabulary(self) -> Classes:
        """The codec of the label maps.

        Raises:
            ConfigError: the classes are not known yet.
        """
        return classes_of(self.classes)

    @property
    def labels(self) -> tuple[bool, bool]:
        """The first picture, or the second from B to A."""
        return self.direction == "AtoB", self.direction == "BtoA"

    @property
    def source_is_labels(self) -> bool:
        """A label map is translated."""
        return True

    def settled(self, records: Sequence[Record]) -> Self:
        """The task with its classes."""
        return replace(self, classes=find_classes(records, target=self.labels[1], labels=self.classes))

    def options(self) -> dict[str, Any]:
        """The settings, the classes as a list of mappings."""
        return super().options() | {"classes": plain(self.classes)}

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """One per class and one for pixels of none, and the photo's own."""
        _, photo = self._ordered(source, target)
        return len(self.vocabulary.kept) + 1, photo

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The label map in colour, and the photo."""
        labels, photo = self._ordered(source, target)
        return Shown(self.vocabulary.picture(self.vocabulary.ids(labels)), photo)

    def encode(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> tuple[Values, Values]:
        """(planes, photo)."""
        labels, photo = self._ordered(source, target)
        return self.encode_source(labels, {}), self.encode_target(photo)

    def accepted(self, source: Pixels, given: Given) -> Given:
        """Nothing; a label map of the classes.

        Raises:
            DataError: it has an id or much of a colour that is none.
        """
        check_labels(*counted(source), classes=self.vocabulary, where=None)
        return given

    def encode_source(self, source: Pixels, given: Given) -> Values:
        """The planes of a label map in any form."""
        return self.vocabulary.planes(self.vocabulary.ids(source), unknown=True)

    def source_channels(self, picture: int, network: int) -> int:
        """Grey ids stay grey, everything else must be colour."""
        return 1 if picture == 1 else 3

    def _ordered(self, source: Any, target: Any) -> tuple[Any, Any]:
        """What belongs to the label map, and to the photo."""
        paired(self.name, target)
        return (source, target) if self.direction == "AtoB" else (target, source)
