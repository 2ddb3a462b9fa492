"""Small to sharp: a picture enlarged by a whole factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pixloom.errors import DataError, ImageError
from pixloom.images import from_model, resize, to_model
from pixloom.tasks.base import Given, Measured, Pixels, Shown, Task, Values, as_pixels, folding, lone, unit
from pixloom.tasks.degradations import chain

MOST_PIXELS = 1_000_000_000
"""Pixels of the largest picture that is made: it goes through the network piece by piece, but is written to its file as a whole."""


@dataclass(frozen=True)
class SuperResolve(Task):
    """x = the small picture enlarged, y = the picture; the network adds what is missing.

    Small pictures are made with an antialiased bicubic filter (a = -0.5, as MATLAB's ``imresize`` has it). The network sees them at the
    large size, so that any network can be used; ``shuffle`` folds the pixels back and works at the small one. So do the generators of
    ``nets.enlarging``, which take the small picture back out of one that was enlarged by ``nearest``.

    Attributes:
        scale: how many times as many rows and columns.
        degradation: ``bicubic`` alone, or ``chain`` with blur, noise and JPEG before it, for pictures from the wild.
        enlargement: how the small picture is brought to the large size before the network sees it: the bicubic filter, or repeated pixels.
    """

    scale: Annotated[int, Field(ge=2, le=8)] = 4
    degradation: Literal["bicubic", "chain"] = "bicubic"
    enlargement: Literal["bicubic", "nearest"] = "bicubic"

    name: ClassVar[str] = "super-resolve"
    summary: ClassVar[str] = "enlarge 2 to 8 times; train on a folder of sharp pictures"
    recipe: ClassVar[str] = "pix2pix"
    pixelwise: ClassVar[bool] = False
    native: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("psnr_y", "ssim_y")

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """The picture's own, in and out."""
        lone(self.name, target)
        return source, source

    def settings(self, recipe: str) -> dict[str, Any]:
        """The network that works at the small size."""
        return folding(self.scale)

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The picture made small, and the picture, cut to whole multiples of the scale."""
        rows, columns = (side // self.scale for side in source.shape[:2])
        if not (rows and columns):
            raise DataError(f"a picture of {source.shape[1]} x {source.shape[0]} pixels cannot be made {self.scale} times smaller")
        sharp = source[: rows * self.scale, : columns * self.scale]
        worse = sharp if self.degradation == "bicubic" else as_pixels(chain(unit(sharp), rng), source.dtype)
        return Shown(resize(np.ascontiguousarray(worse), height=rows, width=columns), sharp)

    @property
    def magnification(self) -> int:
        """The scale."""
        return self.scale

    @property
    def reach(self) -> int:
        """That of the bicubic filter; repeated pixels have none."""
        return 2 if self.enlargement == "bicubic" else 0

    def accepted(self, source: Pixels, given: Given) -> Given:
        """Nothing.

        Raises:
            ImageError: the picture would become too large.
        """
        height, width = source.shape[:2]
        if height * width * self.scale**2 > MOST_PIXELS:
            raise ImageError(
                f"{width} x {height} pixels are too many to be enlarged {self.scale} times",
                why=f"at most {MOST_PIXELS:,} pixels may come out",
                fix="cut the picture into parts, or use a model of a smaller scale",
            )
        return given

    def encode_source(self, source: Pixels, given: Given) -> Values:
        """The picture at its new size."""
        height, width = (side * self.scale for side in source.shape[:2])
        return to_model(resize(source, height=height, width=width, nearest=self.enlargement == "nearest"))

    def compose(self, output: Values, source: Pixels, given: Given) -> Pixels:
        """The output itself."""
        return from_model(output, dtype=source.dtype)

    def measure(self, shown: Shown, prediction: Pixels) -> Measured:
        """PSNR and SSIM of the luma, ``scale`` pixels left out at every border, as the field's tables have them."""
        from pixloom.metrics.luma import psnr_y, ssim_y

        row = {"psnr_y": psnr_y(prediction, shown.target, border=self.scale)}
        value = ssim_y(prediction, shown.target, border=self.scale)
        return Measured(row if value is None else row | {"ssim_y": value})
