"""What is given to a model beside a picture: what its task wants (a mask, hints), and its conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixloom.conditions import CONDITIONS, STATED, Conditions
from pixloom.errors import ConfigError, ImageError
from pixloom.images import as_picture, resize
from pixloom.tasks import Given, Task


@dataclass(frozen=True)
class Beside:
    """What a model takes beside a picture.

    Attributes:
        task: that it was learnt for.
        conditions: with their vocabularies.
    """

    task: Task
    conditions: Conditions

    def check(self, names: Iterable[str]) -> None:
        """Refuse what is not taken, and the lack of what is needed.

        Raises:
            ConfigError: naming it.
        """
        given = set(names)
        for name in sorted(given.difference(self.task.takes, self.task.optional, self.conditions.names)):
            option = {"attributes": "attribute", "style": "reference"}.get(name, name)
            raise ConfigError(f"the task '{self.task.name}' takes no {name}, as it was learnt", fix=f"leave --{option} out")
        if "style" in given and self.conditions.tensors.get("style") == "look" and "map" not in given:
            raise ConfigError(
                "a reference without a map of objects would have no effect", why="it shows the look of each object", fix="give --map too"
            )
        stated = [*self.task.wanted(), *(name for name in self.conditions.names if name in given)]
        self.conditions.check(stated)
        if self.task.between and not stated:
            offers = "; or ".join(kind.offer for kind in self.conditions.kinds)
            raise ConfigError("it is not said what the pictures are to show", fix=offers)
        for name in self.task.takes:
            if name not in given:
                raise ConfigError(f"the task '{self.task.name}' needs a {name} beside the picture", fix=f"give it with --{name}")

    def check_stated(self, given: Given) -> None:
        """Refuse names that the model does not know, which needs no picture.

        Raises:
            ConfigError: naming the nearest that it does.
        """
        self.conditions.encode({name: value for name, value in given.items() if name in STATED}, size=(1, 1))

    def check_sizes(self, given: Given, *, size: tuple[int, ...]) -> None:
        """Refuse pictures that are not of their source's size (height, width).

        Raises:
            ImageError: naming the picture and both sizes.
        """
        for name, pixels in given.items():
            if name in self.conditions.names and name not in self.conditions.planes:
                continue
            if not isinstance(pixels, np.ndarray) or pixels.ndim != 3:
                raise ConfigError(f"the {name} is no picture", fix="give it as a file, an array or a PIL image")
            if pixels.shape[:2] != size:
                height, width = pixels.shape[:2]
                raise ImageError(
                    f"the {name} has another size than the picture",
                    why=f"{width} x {height} and {size[1]} x {size[0]} pixels",
                    fix=f"give a {name} of the picture's size",
                )

    def of_task(self, given: Given) -> Given:
        """What is the task's."""
        return {name: value for name, value in given.items() if name not in self.conditions.names}

    def stated(self, given: Given) -> Given:
        """What is stated for the conditions."""
        return {name: value for name, value in given.items() if name in self.conditions.names}

    def fitted(self, given: Given, *, height: int, width: int) -> Given:
        """What is the task's, at a size."""
        return {
            name: pixels if pixels.shape[:2] == (height, width) else self.task.fit_given(name, pixels, height=height, width=width)
            for name, pixels in self.of_task(given).items()
        }

    def vectors(self, given: Given) -> dict[str, np.ndarray]:
        """The tensors of the conditions that are not of the source's size, by kind."""
        spatial, tensors = self.conditions.planes, self.conditions.tensors
        encoded = self.conditions.encode({name: value for name, value in self.stated(given).items() if name not in spatial}, size=(1, 1))
        return {tensors[name]: encoded[tensors[name]] for name in self.conditions.names if name not in spatial}

    def resized(self, given: Given, *, height: int, width: int) -> Given:
        """The conditions that are pictures of the source's size, at a size."""
        nearest = self.conditions.nearest
        return {name: resize(given[name], height=height, width=width, nearest=nearest[name]) for name in nearest if name in given}

    def planes(self, given: Given, *, size: tuple[int, ...]) -> list[np.ndarray]:
        """The same as tensors, each (channels, height, width), in the order of the network's."""
        if not self.conditions.planes:
            return []
        height, width = size
        encoded = self.conditions.encode(self.resized(given, height=height, width=width), size=(height, width))
        return [encoded[self.conditions.tensors[name]] for name in self.conditions.planes]

    def parted(self, values: np.ndarray, *, source_channels: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The source and the conditions among the channels of (batch, channels, height, width), where :meth:`planes` were put after it."""
        spatial, first = {}, source_channels
        for name, channels in self.conditions.planes.items():
            spatial[self.conditions.tensors[name]] = np.ascontiguousarray(values[:, first : first + channels], dtype=np.float32)
            first += channels
        return np.ascontiguousarray(values[:, :source_channels], dtype=np.float32), spatial


def as_given(given: Mapping[str, Any] | None) -> Given:
    """What is given beside a picture: pictures, whatever they are given as, as pixels, a task's with transparency as their last channel;
    and names, numbers and texts as they are.
    """

    def is_stated(name: str, value: Any) -> bool:
        return name in STATED or isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)

    stated = {name: value for name, value in (given or {}).items() if is_stated(name, value)}
    pictures = {name: as_picture(thing) for name, thing in (given or {}).items() if name not in stated}
    return stated | {
        name: picture.pixels if picture.alpha is None or name in CONDITIONS else np.dstack([picture.pixels, picture.alpha])
        for name, picture in pictures.items()
    }
