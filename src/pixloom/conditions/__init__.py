"""What steers a translation besides its source: typed data from file to network. Kinds by name in ``CONDITIONS``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pixloom.conditions.base import Condition, Values
from pixloom.conditions.names import Attributes, Label
from pixloom.conditions.pictures import Image, Map, Style
from pixloom.conditions.text import Text
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, nearest

__all__ = ["CONDITIONS", "STATED", "Condition", "Conditions", "build_conditions"]

CONDITIONS: dict[str, type[Condition]] = {
    "label": Label,
    "attributes": Attributes,
    "text": Text,
    "map": Map,
    "image": Image,
    "style": Style,
}
"""Every kind by its name."""


STATED = ("label", "attributes", "text")
"""Conditions that are stated in names, numbers and words; the others are pictures."""


@dataclass(frozen=True)
class Conditions:
    """The conditions of a run or a model, in the order in which networks take them.

    Attributes:
        kinds: each with its vocabulary.
        dropout: how often each is left out of an example in training, so that it need not be given at use; 0: it must be.
    """

    kinds: tuple[Condition, ...] = ()
    dropout: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds by name."""
        return tuple(kind.name for kind in self.kinds)

    @property
    def widths(self) -> dict[str, int]:
        """What networks are built for: numbers or channels by the kind of tensor."""
        return {kind.tensor: kind.width for kind in self.kinds}

    @property
    def planes(self) -> dict[str, int]:
        """The conditions of the source's size, by name: channels of their tensors, in the order in which networks take them."""
        return {kind.name: kind.planes for kind in self.kinds if kind.planes}

    @property
    def tensors(self) -> dict[str, str]:
        """The kind of tensor that each becomes, by name."""
        return {kind.name: kind.tensor for kind in self.kinds}

    @property
    def folders(self) -> dict[str, str]:
        """Folders of the pictures that are conditions, by kind."""
        return {kind.name: kind.folder for kind in self.kinds if kind.folder}

    @property
    def nearest(self) -> dict[str, bool]:
        """For pictures of the source's size, whether they are label maps, which must not be smoothed when they are resized."""
        return {kind.name: kind.nearest for kind in self.kinds if kind.planes}

    def settings(self) -> dict[str, dict[str, Any]]:
        """The kinds with their settings and vocabularies, as ``conditions`` in a config has them."""
        return {kind.name: kind.settings() for kind in self.kinds}

    def settled(self, records: Sequence[Record]) -> Self:
        """With the vocabularies of the training examples.

        Raises:
            DataError: the examples do not state what a condition is made of.
        """
        return replace(self, kinds=tuple(kind.settled(records) for kind in self.kinds))

    def values(self, record: Record, pictures: Mapping[str, np.ndarray]) -> Values:
        """What holds of an example, as a person would state it.

        Args:
            record: the example.
            pictures: those that are conditions, at the size of the source, by kind.
        """
        stated = {kind.name: kind.of(record) for kind in self.kinds if not kind.folder} | dict(pictures)
        return {name: value for name, value in stated.items() if value is not None}

    def thinned(self, values: Values, *, rng: np.random.Generator) -> Values:
        """Without what is left out by chance."""
        kept = {}
        for kind in self.kinds:
            left_out = (
                rng.random() < self.dropout and not kind.is_drawn
            )  # drawn whether or not there is a value: the next draw must not depend on it
            if kind.name in values and not left_out:
                kept[kind.name] = kind.thinned(values[kind.name], dropout=self.dropout, rng=rng)
        return {name: value for name, value in kept.items() if value is not None}

    def encode(self, values: Values, *, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """Tensors by kind, without a batch dimension; zero where nothing is stated.

        Args:
            values: what is stated, by name.
            size: height and width of the source, which spatial values have.

        Raises:
            ConfigError: an unknown kind or name (with the nearest right one), or a value of the wrong type.
        """
        return {
            kind.tensor: kind.encode(values[kind.name], size=size) if kind.name in values else kind.nothing(size=size)
            for kind in self.kinds
        }

    @property
    def optional(self) -> tuple[str, ...]:
        """Names of what need not be given: all that it sometimes learnt without, and codes that are drawn where none is given."""
        return tuple(kind.name for kind in self.kinds if self.dropout or kind.is_drawn)

    def check(self, names: Sequence[str]) -> None:
        """Refuse the lack of a condition that must be given.

        Raises:
            ConfigError: naming it.
        """
        for kind in self.kinds:
            if kind.name not in (*names, *self.optional):
                raise ConfigError(f"this model needs the condition '{kind.name}'", why="it never learnt without one", fix=kind.offer)


def build_conditions(settings: Mapping[str, Mapping[str, Any]], *, dropout: float) -> Conditions:
    """The conditions of a config.

    Raises:
        ConfigError: an unknown kind or setting (with the nearest right name), or a value of the wrong type.
    """
    ordered = sorted(settings, key=lambda name: [*CONDITIONS, name].index(name))
    return Conditions(tuple(_build(name, settings[name]) for name in ordered), dropout)


def _build(name: str, settings: Mapping[str, Any] | None) -> Condition:
    if name not in CONDITIONS:
        raise ConfigError(f"there is no condition '{name}'", fix=nearest(name, CONDITIONS))
    kind, settings = CONDITIONS[name], settings or {}
    fields = kind.__dataclass_fields__
    for key in settings:
        if key not in fields:
            raise ConfigError(f"the condition '{name}' has no setting '{key}'", fix=nearest(key, fields))
    try:
        built: Condition = TypeAdapter(kind).validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"conditions.{name}.{key} cannot be {first['input']!r}", why=first["msg"], fix="see docs/conditions.md"
        ) from error
    return built
