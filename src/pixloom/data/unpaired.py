"""Sources, each with a target that is not its own: two collections, shuffled independently of each other."""

from __future__ import annotations

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
