"""The batch: what one step of training sees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from pixloom.shapes import Images


@dataclass(frozen=True)
class Batch:
    """Source images ``x``, target images ``y`` (None when unpaired), conditions ``c`` and the names of the examples.

    Attributes:
        source: (batch, source channels, height, width) in [-1, 1].
        target: (batch, target channels, height, width) in [-1, 1], aligned with ``source``.
        ids: one id per example.
        condition: named tensors with a leading batch dimension; empty when nothing but ``source`` steers the translation.
    """

    source: Images
    target: Images | None
    ids: tuple[str, ...]
    condition: dict[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return replace(
            self,
            source=self.source.to(device, non_blocking=True),
            target=None if self.target is None else self.target.to(device, non_blocking=True),
            condition={name: value.to(device, non_blocking=True) for name, value in self.condition.items()},
        )
