"""The training steps that are measured. No torch here: the process that alternates knows them too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Case:
    """One adversarial step on pairs.

    Attributes:
        generator: U-Net with batch norm and dropout, or ResNet-9 with instance norm; the critic has the same normalisation.
        size: of the square pictures, in pixels.
        batch: pictures per step.
        steps: in one reading; a short step is repeated so that a reading takes about a second.
    """

    generator: Literal["unet", "resnet"]
    size: int
    batch: int
    steps: int = 1

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.generator} {self.size} px batch {self.batch}"

    @property
    def depth(self) -> int:
        """Halvings of the U-Net, down to 1 x 1."""
        return self.size.bit_length() - 1

    def settings(self, *, dropout: bool = True) -> dict[str, Any]:
        """Pixloom's settings on top of the recipe pix2pix."""
        shared = {"training.batch_size": self.batch, "training.images": 10_000}
        if self.generator == "unet" and dropout:
            return shared
        without = {"generator.options.dropout": 0.0, "inference.dropout": False}
        if self.generator == "unet":
            return shared | without
        options = {"generator.name": "resnet", "generator.options.blocks": 9, "critic.options.norm": "instance"}
        return shared | options | without | {"inference.statistics": "running"}


PUBLISHED = (
    Case("unet", 128, 1, steps=4),
    Case("unet", 256, 1, steps=2),
    Case("unet", 128, 8),
    Case("unet", 256, 4),
    Case("resnet", 128, 1, steps=2),
)
QUICK = replace(PUBLISHED[0], steps=1)
EQUAL_CASES = (Case("unet", 128, 1), Case("unet", 128, 2), Case("resnet", 64, 1))
CASES = {case.name: case for case in (*EQUAL_CASES, *PUBLISHED)}
