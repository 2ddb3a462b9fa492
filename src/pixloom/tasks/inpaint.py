"""Damaged to whole: the picture with a hole and the mask of the hole in, the whole picture out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field

from pixloom.errors import ConfigError
from pixloom.images import from_model, resize, to_model
from pixloom.images.picture import full_scale
from pixloom.tasks.base import Given, Measured, Pixels, Shown, Task, Term, Values, lone
from pixloom.tasks.masks import as_mask, check_mask, check_masks, draw_mask, own_mask

if TYPE_CHECKING:
    from torch import Tensor

    from pixloom.config import LossConfig
    from pixloom.data.sources import Record

Shape = Literal["mixed", "strokes", "boxes", "half", "outpaint", "blobs"]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]

BINS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of the picture between which PSNR in the hole is told apart."""


@dataclass(frozen=True)
class Inpaint(Task):
    """x = (the picture with 0 in the hole, the mask: 1 in the hole, else -1), y = the picture.

    At use a mask is given beside the picture, white where the hole is. Every pixel outside the hole is returned as it was, to the bit,
    unless ``feather`` asks for a soft edge.

    Attributes:
        mask: shape of the holes in training, a name in ``masks.MASKS``, or any of them.
        least: smallest share of the picture that is a hole.
        most: largest share.
        folder: of masks to train with instead, of any shape and size.
        hole_weight: of the content loss in the hole, times ``losses.pixel_weight``.
        known_weight: of the content loss elsewhere.
        feather: pixels around the hole over which the translation fades out.
    """

    mask: Shape = "mixed"
    least: Share = 0.1
    most: Share = 0.5
    folder: str = ""
    hole_weight: Annotated[float, Field(gt=0.0)] = 1.0
    known_weight: Annotated[float, Field(ge=0.0)] = 0.2
    feather: Annotated[int, Field(ge=0, le=256)] = 0

    name: ClassVar[str] = "inpaint"
    summary: ClassVar[str] = "fill holes; train on a folder of whole pictures, use with --mask"
    recipe: ClassVar[str] = "pix2pix"
    exact: ClassVar[bool] = True
    pixelwise: ClassVar[bool] = False
    takes: ClassVar[tuple[str, ...]] = ("mask",)
    measures: ClassVar[tuple[str, ...]] = ("hole_psnr",)

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ConfigError(
                f"task.options.least={self.least} is more than task.options.most={self.most}", fix=f"--set task.options.most={self.least}"
            )
        for name in ("mask", "least", "most"):
            if self.folder and getattr(self, name) != getattr(type(self), name):
                raise ConfigError(
                    f"task.options.{name}={getattr(self, name)} would have no effect",
                    why=f"the masks are those of task.options.folder={self.folder}",
                    fix="leave one of them out",
                )

    def settled(self, records: Sequence[Record]) -> Self:
        """The task itself; its own masks are looked over."""
        if self.folder:
            check_masks(Path(self.folder))
        return self

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """The picture's own and the mask in, the picture's own out."""
        lone(self.name, target)
        return source + 1, source

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The picture with a grey hole and its mask, and the picture."""
        hole = self._hole(rng, *source.shape[:2])
        damaged = source.copy()
        damaged[hole] = full_scale(source.dtype) / 2 if source.dtype.kind == "f" else full_scale(source.dtype) // 2
        return Shown(damaged, source, {"mask": (hole * np.uint8(255))[..., None]})

    def accepted(self, source: Pixels, given: Given) -> Given:
        """A mask with black and white.

        Raises:
            ImageError: it is all black, or all white.
        """
        check_mask(as_mask(given["mask"]))
        return given

    def encode_source(self, source: Pixels, given: Given) -> Values:
        """The picture with 0 in the hole, and the mask."""
        hole = as_mask(given["mask"])
        values = to_model(source)
        values[:, hole] = 0
        return np.concatenate([values, np.where(hole, np.float32(1), np.float32(-1))[None]])

    @property
    def local(self) -> bool:
        """Unless the translation fades out around the hole."""
        return not self.feather

    def source_channels(self, picture: int, network: int) -> int:
        """All of the network's but the mask."""
        return network - 1

    def compose(self, output: Values, source: Pixels, given: Given) -> Pixels:
        """The source, with the output in its hole."""
        height, width = source.shape[:2]
        filled = from_model(output, dtype=source.dtype)
        filled = filled if filled.shape[:2] == (height, width) else resize(filled, height=height, width=width)
        hole = as_mask(given["mask"])
        whole = np.where(hole[..., None], filled, source)
        return whole if not self.feather else _faded(whole, filled, hole, reach=self.feather)

    def terms(self, losses: LossConfig) -> dict[str, tuple[float, Term]]:
        """The content loss in the hole and outside it, each a mean over its own pixels."""
        from pixloom.losses.pixels import PIXEL

        pixel = PIXEL[losses.pixel]

        def within(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
            share = mask.float().mean().clamp(min=1e-6)
            return pixel(output.where(mask, target), target) / share

        terms: dict[str, tuple[float, Term]] = {
            "hole": (losses.pixel_weight * self.hole_weight, lambda output, source, target: within(output, target, source[:, -1:] > 0)),
            "known": (losses.pixel_weight * self.known_weight, lambda output, source, target: within(output, target, source[:, -1:] <= 0)),
        }
        return {name: term for name, term in terms.items() if term[0] > 0 or name == "hole"}

    def measure(self, shown: Shown, prediction: Pixels) -> Measured:
        """PSNR in the hole, in dB, of all pictures and by the share of the hole."""
        hole = as_mask(shown.given["mask"])
        difference = (prediction[hole].astype(np.float64) - shown.target[hole]) / full_scale(shown.target.dtype)
        value = float(10 * np.log10(1 / max(np.square(difference).mean(), 1e-10)))
        place = int(np.searchsorted(BINS, hole.mean()))
        edges = [0, *(round(100 * edge) for edge in BINS), 100]
        return Measured({"hole_psnr": value, f"hole_psnr, {edges[place]} to {edges[place + 1]} % hole": value})

    def _hole(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        if self.folder:
            return own_mask(rng, Path(self.folder), height=height, width=width)
        return draw_mask(rng, height=height, width=width, shape=self.mask, least=self.least, most=self.most)


def _faded(whole: Pixels, filled: Pixels, hole: np.ndarray, *, reach: int) -> Pixels:
    """The translation fading out around the hole: from all at its border, where a blurred hole is a half, to nothing at three sigma."""
    soft = Image.fromarray((hole * np.uint8(255)).astype(np.uint8)).filter(ImageFilter.GaussianBlur(reach / 3))
    weight = np.where(hole, np.float32(1), np.minimum(np.asarray(soft, np.float32) / 127.5, 1))[..., None]
    mixed: np.ndarray = whole + (filled.astype(np.float32) - whole) * weight
    return mixed if whole.dtype.kind == "f" else np.rint(mixed).astype(whole.dtype)
