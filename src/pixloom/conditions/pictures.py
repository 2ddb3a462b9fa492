"""Conditions that are pictures: a label map, any other picture of the source's size, a picture whose style is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from pixloom.conditions.base import Condition
from pixloom.config import REFERENCE_SIDE
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError
from pixloom.images import Picture, read_header, resize, to_model, with_channels
from pixloom.tasks.labels import Classes, Label, check_labels, classes_of, counted, numbered, plain
from pixloom.tasks.vocabulary import find_classes


@dataclass(frozen=True)
class Map(Condition):
    """A label map of the source's size: a plane for every class, 1 where it is and else 0.

    Attributes:
        beside: the folder or index column that holds the maps.
        classes: none: learnt from a ``classes.csv`` beside or above the maps, else from the maps themselves.
        edges: the maps hold ids of objects, which may be any; networks see where objects meet, by which those of one class are told
            apart.
    """

    beside: str = "map"
    classes: tuple[Label, ...] = ()
    edges: bool = False

    name: ClassVar[str] = "map"
    summary: ClassVar[str] = "a label map beside the source: a folder or index column called map"
    offer: ClassVar[str] = "give it with --map FILE"
    nearest: ClassVar[bool] = True

    @property
    def tensor(self) -> str:
        """Planes of classes, or numbers of objects."""
        return "objects" if self.edges else self.name

    @property
    def planes(self) -> int:
        """As many as it is wide."""
        return self.width

    @property
    def folder(self) -> str | None:
        """As set."""
        return self.beside

    @property
    def width(self) -> int:
        """One plane per class, or one of numbers."""
        return 1 if self.edges else len(self.vocabulary.kept)

    @property
    def known(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(label.name for label in self.classes)

    @property
    def vocabulary(self) -> Classes:
        """The codec of the maps."""
        return classes_of(self.classes)

    def settled(self, records: Sequence[Record]) -> Self:
        """With its classes."""
        maps = [Record(record.id, record.pictures["map"]) for record in records if "map" in record.pictures]
        if not maps:
            raise _lacking("map", self.beside)
        if self.edges and self.classes:
            raise ConfigError("conditions.map.classes would have no effect", why="ids of objects are of no class", fix="leave it out")
        if self.edges:
            return self
        return replace(self, classes=find_classes(maps, target=False, labels=self.classes))

    def of(self, record: Record) -> None:
        """A picture, which the loader reads."""

    def encode(self, value: Any, *, size: tuple[int, int]) -> np.ndarray:
        """(classes, H, W) float32 in {0, 1}; of objects (1, H, W), numbered from 0 in some order."""
        if not isinstance(value, np.ndarray) or value.ndim != 3:
            raise ConfigError(f"{type(value).__name__} is no label map", fix="give it as a file, an array or a PIL image")
        if self.edges:
            return numbered(value)[None].astype(np.float32)
        check_labels(*counted(value), classes=self.vocabulary, where=None)
        return self.vocabulary.planes(self.vocabulary.ids(value), unknown=False) / 2 + np.float32(0.5)

    def nothing(self, *, size: tuple[int, int]) -> np.ndarray:
        """Zeros."""
        return np.zeros((self.width, *size), np.float32)

    def settings(self) -> dict[str, Any]:
        """The classes as a list of mappings."""
        return super().settings() | {"classes": plain(self.classes)}


@dataclass(frozen=True)
class Image(Condition):
    """Any picture of the source's size: edges, a sketch, another modality.

    Attributes:
        beside: the folder or index column that holds them.
        channels: 0: those of the examples' pictures.
    """

    beside: str = "image"
    channels: Annotated[int, Field(ge=0, le=64)] = 0

    name: ClassVar[str] = "image"
    summary: ClassVar[str] = "a picture beside the source, such as edges: a folder or index column called image"
    offer: ClassVar[str] = "give it with --image FILE"

    @property
    def folder(self) -> str | None:
        """As set."""
        return self.beside

    @property
    def planes(self) -> int:
        """Its channels."""
        return self.channels

    @property
    def width(self) -> int:
        """Its channels."""
        return self.channels

    def settled(self, records: Sequence[Record]) -> Self:
        """With the channels of the first pictures."""
        files = [record.pictures["image"] for record in records if "image" in record.pictures]
        if not files:
            raise _lacking("image", self.beside)
        return self if self.channels else replace(self, channels=max(read_header(path).channels for path in files[:32]))

    def of(self, record: Record) -> None:
        """A picture, which the loader reads."""

    def encode(self, value: Any, *, size: tuple[int, int]) -> np.ndarray:
        """(channels, H, W) float32 in [-1, 1]."""
        return to_model(_with_channels(value, self.channels, what="image"))

    def nothing(self, *, size: tuple[int, int]) -> np.ndarray:
        """Zeros."""
        return np.zeros((self.channels, *size), np.float32)


@dataclass(frozen=True)
class Style(Condition):
    """The style of a reference picture, as a code that an encoder learns to read off it; or such a code.

    In training the reference is the target itself, of which the code is too short to hold more than its colours and textures.

    Attributes:
        code: numbers of the code.
        channels: of reference pictures; 0: follows from the targets.
        side: of the squares that references are brought to, in pixels; follows from the generator.
        drawn: whether a code is drawn by chance where no reference is given; follows from the generator's noise.
        of_objects: a code for every object of the map (``conditions.map.edges=true``) instead of one for the picture, so that single
            objects can be given another look. The reference then has the source's size and layout.
    """

    code: Annotated[int, Field(ge=1, le=512)] = 8
    channels: Annotated[int, Field(ge=0, le=64)] = 0
    side: Annotated[int, Field(ge=16, le=1024)] = REFERENCE_SIDE
    drawn: bool = False
    of_objects: bool = False

    name: ClassVar[str] = "style"
    summary: ClassVar[str] = "the style of a reference picture; in training of the target"
    offer: ClassVar[str] = "give a reference picture with --reference FILE"

    @property
    def tensor(self) -> str:
        """One style, or the look of every object."""
        return "look" if self.of_objects else self.name

    @property
    def planes(self) -> int | None:
        """The reference's channels, where it has the source's size."""
        return self.channels if self.of_objects else None

    @property
    def is_drawn(self) -> bool:
        """As set."""
        return self.drawn

    @property
    def width(self) -> int:
        """Numbers of the code."""
        return self.code

    def settled(self, records: Sequence[Record]) -> Self:
        """As it is: the channels follow from the task."""
        if self.of_objects and self.drawn:
            raise ConfigError(
                "conditions.style.of_objects does not go with noise",
                why="looks of objects are read off a reference; they are not drawn by chance",
                fix="leave one of them out",
            )
        return self

    def of(self, record: Record) -> None:
        """The target, which the loader has."""

    def encode(self, value: Any, *, size: tuple[int, int]) -> np.ndarray:
        """(channels, side, side) float32 in [-1, 1], or the code, (code,) float32; for objects (channels, H, W)."""
        if self.of_objects:
            return to_model(_with_channels(value, self.channels, what="style"))
        if isinstance(value, np.ndarray) and value.ndim == 3:
            return to_model(resize(_with_channels(value, self.channels, what="style"), height=self.side, width=self.side))
        try:
            code = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError):
            code = np.zeros(0, np.float32)
        if code.shape != (self.code,) or not np.isfinite(code).all():
            raise ConfigError(f"{value!r} is no style", why=f"a code has {self.code} numbers", fix=self.offer)
        return code

    def nothing(self, *, size: tuple[int, int]) -> np.ndarray:
        """Zeros."""
        return np.zeros((self.channels, *(size if self.of_objects else (self.side, self.side))), np.float32)


def _lacking(kind: str, folder: str) -> DataError:
    return DataError(
        f"the examples have no {kind}",
        why=f"there is no folder '{folder}' with pictures of the sources' names, and no such column in an index file",
        fix=f"name the folder: --set conditions.{kind}.beside=NAME",
    )


def _with_channels(pixels: Any, channels: int, *, what: str) -> np.ndarray:
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3:
        raise ConfigError(f"{pixels!r} is no picture", fix=f"give the {what} as a file, an array or a PIL image")
    return with_channels(Picture(pixels), channels).pixels
