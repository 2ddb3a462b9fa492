"""Photo to painting: from one collection of pictures to another, of which no two belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from pixloom.config import TaskConfig
from pixloom.errors import DataError
from pixloom.tasks.base import Given, Pixels, Values, as_pixels, unit
from pixloom.tasks.colorize import lab_to_rgb, rgb_to_lab
from pixloom.tasks.edit import Edit

if TYPE_CHECKING:
    from pixloom.data.sources import Record


@dataclass(frozen=True)
class Stylize(Edit):
    """x = a picture of one collection, which is to look like those of the other.

    Both ways are learnt, as the way back is what keeps the content.

    Attributes:
        to: the collection whose style is wanted, a folder's name; none: the target folder, or the second of A and B.
        origin: the other one; follows from the folders.
        keep_colour: palette control, from 0 (the style's colours) to 1 (the source's own): of CIE Lab, L is the translation's, and (a, b)
            lie between both.
    """

    to: str | None = None
    origin: str | None = None
    keep_colour: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

    name: ClassVar[str] = "stylize"
    summary: ClassVar[str] = "photo to painting, from two folders of pictures that are no pairs"

    def settled(self, records: Sequence[Record]) -> Self:
        """With the collection whose style is wanted.

        Raises:
            DataError: there are not two collections, or it is not clear which one is wanted.
        """
        counts = Counter(record.label for record in records if record.label is not None)
        if len(counts) != 2:
            raise DataError(
                f"the task 'stylize' needs two collections, and there are {len(counts)}",
                why=", ".join(map(str, counts)) or "the pictures lie in no sub-folder",
                fix="put the pictures into two folders (photo and painting, trainA and trainB), or name two with --source and --target; "
                "for all of them, take --task edit",
            )
        first, second = sorted(counts)
        to = self.to or (second if (first.casefold(), second.casefold()) == ("a", "b") else None)
        if to is not None and to not in counts:  # folders are found whatever their case
            to = next((name for name in counts if name.casefold() == to.casefold()), to)
        if to not in counts:
            what = "it is not clear which style is wanted" if to is None else f"there is no collection '{to}'"
            raise DataError(what, why=f"the folders are {first} and {second}", fix=f"--target {second}")
        return replace(self, to=to, origin=next(name for name in counts if name != to))

    def reversed(self) -> TaskConfig:
        """The other collection's style."""
        return TaskConfig(name=self.name, options={**self.options(), "to": self.origin, "origin": self.to})

    def wanted(self) -> dict[str, Any]:
        """The style, unless another is asked for."""
        return {"label": self.to}

    def compose(self, output: Values, source: Pixels, given: Given) -> Pixels:
        """The translation, with as much of the source's colour as is kept."""
        translated = super().compose(output, source, given)
        if not self.keep_colour or source.shape[2] != 3:
            return translated
        ours, own = rgb_to_lab(unit(translated)), rgb_to_lab(unit(source))
        ours[..., 1:] += self.keep_colour * (own[..., 1:] - ours[..., 1:])
        return as_pixels(lab_to_rgb(ours), np.dtype(source.dtype))
