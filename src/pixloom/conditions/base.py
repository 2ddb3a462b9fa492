"""What a condition is: a value that a person can state, a vocabulary, and a tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pixloom.data.sources import Record

Values = Mapping[str, Any]
"""What is stated, by the name of the condition: a name, numbers by name, a text, or pixels (H, W, C)."""


@dataclass(frozen=True)
class Condition(ABC):
    """One kind of condition. Its fields are its settings and its vocabulary; both are stored in the model.

    Attributes:
        name: in ``CONDITIONS``.
        summary: a line for people.
        offer: how it is given at use.
        nearest: whether it is a label map, of which the nearest pixel is taken when it is resized.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    offer: ClassVar[str]
    nearest: ClassVar[bool] = False

    @property
    def tensor(self) -> str:
        """The kind of its tensor, a key of ``nets.steering.Widths``."""
        return self.name

    @property
    def planes(self) -> int | None:
        """Channels of its tensor where that has the source's size; None where it has not."""
        return None

    @property
    def folder(self) -> str | None:
        """Where its pictures lie beside those of the source, when it is made of pictures of its own."""
        return None

    @property
    def example(self) -> str:
        """An option of the command line that states it."""
        return self.offer.rpartition(" with ")[2]

    @property
    def is_drawn(self) -> bool:
        """Whether chance stands in where it is not given, in training and at use."""
        return False

    @property
    def known(self) -> tuple[str, ...]:
        """The names that it knows, where it knows any."""
        return ()

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers, channels or known words; at least 1 once it is settled."""

    @abstractmethod
    def settled(self, records: Sequence[Record]) -> Self:
        """With its vocabulary, learnt from the training examples unless it is there.

        Raises:
            DataError: the examples do not state it.
        """

    @abstractmethod
    def of(self, record: Record) -> Any | None:
        """What an example states; None for nothing, and for pictures, which the loader reads."""

    @abstractmethod
    def encode(self, value: Any, *, size: tuple[int, int]) -> np.ndarray:
        """The tensor of a value, without a batch dimension.

        Raises:
            ConfigError: a name that is not known (with the nearest), or a value of the wrong type.
        """

    @abstractmethod
    def nothing(self, *, size: tuple[int, int]) -> np.ndarray:
        """The tensor that states nothing: zeros."""

    def thinned(self, value: Any, *, dropout: float, rng: np.random.Generator) -> Any:
        """A value of which some parts are left out by chance, where it has parts; None when none is left."""
        return value

    def settings(self) -> dict[str, Any]:
        """Its fields, as a config has them."""
        return {name: _plain(value) for name, value in vars(self).items()}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
