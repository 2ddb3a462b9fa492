"""The interface of a method: how generator and critic learn from each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from torch import nn

from pixloom.data.batch import Batch
from pixloom.shapes import Images, Scalar


@dataclass(frozen=True)
class Outputs:
    """What one generator pass gives; both updates share it."""

    fake: Images

    def detached(self) -> Outputs:
        """The same pictures without the generator's graph: what the critic's update sees."""
        return replace(self, fake=self.fake.detach())


@runtime_checkable
class Method(Protocol):
    """A way of learning a translation. Data-free, and nothing passes from one call to the next through ``self``.

    ``weights`` holds the weight of every term that can appear; the engine multiplies them in one place. Terms are returned unweighted.
    """

    @property
    def generator(self) -> nn.Module:
        """G(x, c, z)."""
        ...

    @property
    def critic(self) -> nn.Module | None:
        """D(x, y, c), where there is one."""
        ...

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every term."""
        ...

    def translate(self, batch: Batch) -> Outputs:
        """One generator pass."""
        ...

    def critic_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The terms that the critic minimises; empty without a critic."""
        ...

    def generator_terms(self, batch: Batch, outputs: Outputs) -> dict[str, Scalar]:
        """The terms that the generator minimises."""
        ...
