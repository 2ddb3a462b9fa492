"""Conditions that are names: one class of several, or attributes with strengths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from pixloom.conditions.base import Condition
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError, nearest

MOST_LABELS = 1000

STRONGEST = 2.0
"""An attribute may be asked for at up to so many times its full strength, and a class with up to so much of itself."""

EXCLUSIVE_EXAMPLES = 10
"""Attributes are taken to exclude each other when no example has two of them, though by chance so many would."""


@dataclass(frozen=True)
class Label(Condition):
    """One class of several, as a share for each: 1 for the class, 0 for the others.

    A value is a name, or shares by name (``{"cat": 0.5, "dog": 0.5}``) for what lies between classes.

    Attributes:
        names: the classes; none: learnt from the examples.
    """

    names: tuple[str, ...] = ()

    name: ClassVar[str] = "label"
    summary: ClassVar[str] = "a class: the column label of an index file, or the folder that a picture lies in"
    offer: ClassVar[str] = "give it with --label NAME"

    @property
    def width(self) -> int:
        """One number per class."""
        return len(self.names)

    @property
    def known(self) -> tuple[str, ...]:
        """The names."""
        return self.names

    @property
    def example(self) -> str:
        """The option with the last name."""
        return f"--label '{self.names[-1]}'"

    def settled(self, records: Sequence[Record]) -> Self:
        """With the names of the examples' classes, in alphabetical order."""
        counts = Counter(record.label for record in records if record.label is not None)
        if not counts:
            raise DataError(
                "the examples have no labels",
                fix="put the pictures of each class into a folder of its name, or add a column 'label' to the index file",
            )
        if self.names:
            _check_known(self.names, counts, what="label")
        if len(self.names) > 1:
            return self
        if len(counts) < 2:
            raise DataError(f"there is only one label, '{next(iter(counts))}'", why="one class steers nothing", fix="leave the label out")
        if len(counts) > MOST_LABELS:
            raise DataError(
                f"there are {len(counts)} labels", why=f"at most {MOST_LABELS} make sense", fix="is the column a name of files?"
            )
        return replace(self, names=tuple(sorted(counts)))

    def of(self, record: Record) -> str | None:
        """The example's class; one that is not known states nothing."""
        return record.label if not self.names or record.label in self.names else None

    def encode(self, value: Any, *, size: tuple[int, int]) -> np.ndarray:
        """(classes,) float32."""
        shares = {value: 1.0} if isinstance(value, str) else value
        numbers = _numbers(self.names, shares, what="label", low=0.0, high=STRONGEST, scale=lambda place, number: number)
        if not numbers.any():
            raise ConfigError("all shares of the label are 0", why="that states nothing", fix="leave the label out, or give a share")
        return numbers

    def nothing(self, *, size: tuple[int, int]) -> np.ndarray:
        """Zeros."""
        return np.zeros(self.width, np.float32)


@dataclass(frozen=True)
class Attributes(Condition):
    """Numbers by name, each scaled from what the examples have to [-1, 1]: 2 (v - low) / (high - low) - 1; 0 where it is not stated.

    Attributes that exclude each other are data, not code: where one of a group is asked for, the others that are not stated are
    set to their lowest.

    Attributes:
        names: the attributes; none: all that the examples have.
        low, high: the smallest and largest value of each in the examples.
        exclusive: groups of names of which only one can hold; None: found in the examples.
    """

    names: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] | None = None

    name: ClassVar[str] = "attributes"
    summary: ClassVar[str] = "numbers by name: the other columns of an index file or attribute table"
    offer: ClassVar[str] = "give them with --attribute NAME=VALUE"

    @property
    def width(self) -> int:
        """A number per attribute, and after them 1 for each that is stated, else 0: the middle of a range is not the lack of a value."""
        return 2 * len(self.names)

    @property
    def known(self) -> tuple[str, ...]:
        """The names."""
        return self.names

    @property
    def example(self) -> str:
        """The option with the last name."""
        return f"--attribute '{self.names[-1]}={self.high[-1]:g}'"

    def settled(self, records: Sequence[Record]) -> Self:
        """With names, ranges and groups."""
        found = sorted({name for record in records for name in record.attributes})
        if not found:
            raise DataError(
                "the examples have no attributes",
                fix="add columns of numbers to the index file (index.csv with a column source), or give a list_attr table",
            )
        names = self.names or tuple(found)
        _check_known(names, found, what="attribute")
        if self.low and (len(self.low), len(self.high)) != (len(self.names), len(self.names)):
            raise ConfigError("conditions.attributes.low and high do not go with its names", fix="leave them out: they are learnt")
        for record in records:
            if lacking := [name for name in names if name not in record.attributes]:
                raise DataError(
                    f"'{record.id}' has no value for '{lacking[0]}'",
                    where=record.source,
                    fix="fill the cell of the table, take the row out, or choose attributes: --set conditions.attributes.names=[...]",
                )
        if self.low:
            return self
        return self._learnt(names, np.array([[record.attributes[name] for name in names] for record in records]))

    def _learnt(self, names: tuple[str, ...], table: np.ndarray) -> Self:
        """With the ranges and groups of a table (examples, attributes); what has one value is left out unless it was named."""
        varied = table.min(0) < table.max(0)
        if self.names and not varied.all():
            place = int(varied.argmin())
            raise DataError(f"the attribute '{names[place]}' is {table[0, place]:g} in every example", fix="leave it out")
        if not varied.any():
            raise DataError("every attribute has one value only", why="that steers nothing", fix="leave the attributes out")
        names, table = tuple(name for name, kept in zip(names, varied, strict=True) if kept), table[:, varied]
        low, high = table.min(0), table.max(0)
        exclusive = _exclusive(names, table, high) if self.exclusive is None else self.exclusive
        for group in exclusive:
            _check_known(group, names, what="attribute")
            _check_exclusive(group, names, table, low, high)
        return replace(self, names=names, low=tuple(low.tolist()), high=tuple(high.tolist()), exclusive=exclusive)

    def of(self, record: Record) -> Mapping[str, float] | None:
        """The example's numbers of the attributes that are used, within what may be asked for."""
        own = {name: record.attributes[name] for name in self.names if name in record.attributes}
        if self.low:
            own = {name: self._within(name, value) for name, value in own.items()}
        return own or None

    def _within(self, name: str, value: float) -> float:
        place = self.names.index(name)
        middle, reach = (self.low[place] + self.high[place]) / 2, STRONGEST * (self.high[place] - self.low[place]) / 2
        return min(max(value, middle - reach), middle + reach)

    def encode(self, value: Any, *, size: tuple[int, int]) -> np.ndarray:
        """(2 attributes,) float32."""

        def scale(place: int, number: float) -> float:
            return 2 * (number - self.low[place]) / (self.high[place] - self.low[place]) - 1

        numbers = _numbers(self.names, value, what="attribute", low=-math.inf, high=math.inf, scale=scale)
        if (strongest := np.abs(numbers).max(initial=0.0)) > STRONGEST + 1e-6:
            name = self.names[int(np.abs(numbers).argmax())]
            place = self.names.index(name)
            raise ConfigError(
                f"the attribute '{name}' cannot be {value[name]}",
                why=f"it was between {self.low[place]:g} and {self.high[place]:g} in training; that is {strongest:.3g} times its strength",
                fix=f"stay within {STRONGEST:g} times that range around its middle",
            )
        stated = {*value, *self._rivals(numbers, stated=set(value))}
        for name in stated.difference(value):
            numbers[self.names.index(name)] = -1.0
        return np.concatenate([numbers, np.array([name in stated for name in self.names], np.float32)])

    def nothing(self, *, size: tuple[int, int]) -> np.ndarray:
        """Zeros."""
        return np.zeros(self.width, np.float32)

    def thinned(self, value: Mapping[str, float], *, dropout: float, rng: np.random.Generator) -> Mapping[str, float] | None:
        """Every attribute on its own is left out as often as the whole."""
        draws = rng.random(len(self.names))
        return {name: value[name] for name, draw in zip(self.names, draws, strict=True) if name in value and draw >= dropout} or None

    def _rivals(self, numbers: np.ndarray, *, stated: set[str]) -> list[str]:
        """What the stated attributes exclude."""
        rivals: list[str] = []
        for group in self.exclusive or ():
            wanted = [name for name in group if name in stated and numbers[self.names.index(name)] > 0]
            if len(wanted) > 1:
                raise ConfigError(
                    f"'{wanted[0]}' and '{wanted[1]}' exclude each other",
                    why="no training example has both, or conditions.attributes.exclusive says so",
                    fix="ask for one of them",
                )
            rivals += [rival for rival in group if wanted and rival not in stated]
        return rivals


def parse_names(texts: Iterable[str]) -> dict[str, float]:
    """Numbers by name from ``NAME=VALUE`` texts; a name alone is 1.

    >>> parse_names(["smile=0.5", "young"])
    {'smile': 0.5, 'young': 1.0}

    Raises:
        ConfigError: no number.
    """
    numbers = {}
    for text in texts:
        name, equals, value = text.rpartition("=") if "=" in text else (text, "", "1")
        try:
            name = name.strip()
            if name in numbers:
                raise ConfigError(f"'{name}' is given twice", fix="give it once")
            numbers[name] = float(value)
        except ValueError as error:
            raise ConfigError(f"cannot read '{text}'", why=f"'{value}' is no number", fix="write NAME=VALUE, e.g. smile=1") from error
    return numbers


def _numbers(names: tuple[str, ...], value: Any, *, what: str, low: float, high: float, scale: Any) -> np.ndarray:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f"{value!r} is no {what}", fix=f"one of: {', '.join(names)}")
    numbers = np.zeros(len(names), np.float32)
    for name, number in value.items():
        if name not in names:
            raise ConfigError(f"there is no {what} '{name}'", fix=nearest(str(name), names))
        if isinstance(number, bool) or not isinstance(number, (int, float, np.number)) or not math.isfinite(number):
            raise ConfigError(f"the {what} '{name}' cannot be {number!r}", fix="give a number")
        if not low <= number <= high:
            raise ConfigError(f"the {what} '{name}' cannot be {number:g}", fix=f"give a number from {low:g} to {high:g}")
        place = names.index(name)
        numbers[place] = scale(place, float(number))
    return numbers


def _exclusive(names: tuple[str, ...], table: np.ndarray, high: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """Groups of two-valued attributes of which no example has two, each as large as can be made going through them in order."""
    holds = table == high
    two_valued = [place for place in range(len(names)) if len(np.unique(table[:, place])) == 2]

    def exclude(first: int, second: int) -> bool:
        together, by_chance = (holds[:, first] & holds[:, second]).any(), holds[:, first].mean() * holds[:, second].sum()
        return not together and bool(by_chance >= EXCLUSIVE_EXAMPLES)

    groups: list[list[int]] = []
    for place in two_valued:
        home = next((group for group in groups if all(exclude(other, place) for other in group)), None)
        if home is None:
            groups.append([place])
        else:
            home.append(place)
    return tuple(tuple(names[place] for place in group) for group in groups if len(group) > 1)


def _check_exclusive(group: Sequence[str], names: Sequence[str], table: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    places = [names.index(name) for name in group]
    above = table[:, places] > (low[places] + high[places]) / 2
    if (above.sum(1) > 1).any():
        raise DataError(
            f"'{group[0]}' and its group do not exclude each other",
            why=f"{int((above.sum(1) > 1).sum())} examples have two of {', '.join(group)}",
            fix="correct conditions.attributes.exclusive, or leave it out",
        )


def _check_known(wanted: Iterable[str], known: Iterable[str], *, what: str) -> None:
    for name in wanted:
        if name not in set(known):
            raise DataError(f"no example has the {what} '{name}'", fix=nearest(name, list(known)))
