"""The conditions of training examples: what holds of them, or, between domains, what they are to become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixloom.conditions import Conditions
from pixloom.conditions.base import Values
from pixloom.data.sources import Record

_TRIES = 32


@dataclass(frozen=True)
class Stated:
    """Gives the loader the conditions of each example.

    Attributes:
        conditions: with their vocabularies.
        between: whether what is asked for is another example's, as where one picture is translated between domains; else its own.
        training: whether conditions are left out by chance, and the target shows its own style.
        backwards: whether the second picture of a pair is translated into the first.
    """

    conditions: Conditions
    between: bool = False
    training: bool = False
    backwards: bool = False

    def files(self, record: Record) -> Mapping[str, tuple[Path, bool]]:
        """The files of its pictures that are conditions, by name, each with whether it is a label map."""
        nearest = self.conditions.nearest
        return {name: (record.pictures[name], nearest[name]) for name in self.conditions.folders if name in record.pictures}

    def example(
        self,
        records: Sequence[Record],
        index: int,
        pictures: Mapping[str, np.ndarray],
        pair: tuple[np.ndarray, np.ndarray | None],
        *,
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What the translation is to show and what the source shows already; see ``loading.Steer``."""
        own = self.conditions.values(records[index], pictures)
        if self.between:
            wanted = self.wanted(records, index, rng=rng)
            wanted = self.conditions.thinned(wanted, rng=rng) if self.training else wanted
            return self.conditions.encode(wanted, size=size), self.conditions.encode(own, size=size)
        reference = pair[0] if self.backwards else pair[1]
        if self.training and reference is not None and "style" in self.conditions.names:
            own = {**own, "style": reference}
        return self.conditions.encode(self.conditions.thinned(own, rng=rng) if self.training else own, size=size), {}

    def wanted(self, records: Sequence[Record], index: int, *, rng: np.random.Generator) -> Values:
        """What an example is to become: any other class, or what another example shows, which is a combination that there is."""
        own = self.conditions.values(records[index], {})
        stated = [kind for kind in self.conditions.kinds if not kind.is_drawn]
        if [kind.name for kind in stated] == ["label"]:
            others = [name for name in stated[0].known if name != own.get("label")]
            return {"label": others[int(rng.integers(len(others)))]}
        for _ in range(_TRIES):
            other = self.conditions.values(records[int(rng.integers(len(records)))], {})
            if other and other != own:
                break
        return other
