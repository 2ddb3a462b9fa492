"""Examples of several collections: sources beside targets that are not their own, and classes that are shown equally often."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pixloom.data.loading import Draw, Example, Pictures

_TRIES = 32
"""So many targets are tried before a source is given up: bad ones are passed over."""


class Unpaired:
    """The examples of two collections: as many as the larger one has, sources in turn, each beside a target drawn by chance.

    Args:
        sources: of which the sources are taken.
        targets: of which the targets are taken: the second picture of an example, or its only one.
    """

    def __init__(self, sources: Pictures, targets: Pictures) -> None:
        self.sources, self.targets = sources, targets
        self.bad = sources.bad

    @property
    def bad(self) -> dict[str, str]:
        """Why an example could not be used, by its id."""
        return self.sources.bad

    @bad.setter
    def bad(self, noted: dict[str, str]) -> None:
        self.sources.bad = self.targets.bad = noted

    @property
    def load_side(self) -> int:
        """Short side in pixels."""
        return min(self.sources.load_side, self.targets.load_side)

    def __len__(self) -> int:
        return max(len(self.sources), len(self.targets))

    def holds(self, index: int) -> bool:
        """Whether a source is in memory, and whatever target it may get."""
        return self.sources.holds(index % len(self.sources)) and self.targets.is_held

    def cut(self, index: int, draw: Draw, *, size: int, rng: np.random.Generator) -> Example | None:
        """A square of a source, and one of a target drawn by chance; None when the source is bad, or too many targets are."""
        source = self.sources.cut(index % len(self.sources), draw, size=size, rng=rng)
        if source is None:
            return None
        for _ in range(_TRIES):
            target = self.targets.cut(int(rng.integers(len(self.targets))), draw, size=size, rng=rng)
            if target is not None:
                return replace(source, target=target.source if target.target is None else target.target)
        return None


class Balanced:
    """Examples of which every class is shown as often as any other: those of a small class come again sooner.

    Choi et al., "StarGAN v2", CVPR 2020, draw domains alike.

    Args:
        pictures: all of them.
        classes: of each, in their order.
    """

    def __init__(self, pictures: Pictures, classes: Sequence[Hashable]) -> None:
        places: dict[Hashable, list[int]] = {}
        for place, name in enumerate(classes):
            places.setdefault(name, []).append(place)
        self.pictures, self.groups = pictures, list(places.values())

    @property
    def bad(self) -> Mapping[str, str]:
        """Why an example could not be used, by its id."""
        return self.pictures.bad

    @bad.setter
    def bad(self, noted: dict[str, str]) -> None:
        self.pictures.bad = noted

    @property
    def load_side(self) -> int:
        """Short side in pixels."""
        return self.pictures.load_side

    def __len__(self) -> int:
        return len(self.groups) * max(map(len, self.groups))

    def holds(self, index: int) -> bool:
        """Whether an example is in memory."""
        return self.pictures.holds(self._place(index))

    def cut(self, index: int, draw: Draw, *, size: int, rng: np.random.Generator) -> Example | None:
        """A square of an example; None when it is bad."""
        return self.pictures.cut(self._place(index), draw, size=size, rng=rng)

    def _place(self, index: int) -> int:
        turn, number = divmod(index, len(self.groups))
        group = self.groups[number]
        return group[turn % len(group)]
