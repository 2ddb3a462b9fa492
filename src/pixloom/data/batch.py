"""The batch: what one step of training sees, and its way to the device."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
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
        condition: what the translation is to show, tensors by kind with a leading batch dimension; empty when the source alone steers.
        own: what the source shows already, where that is something else: in translation between domains.
    """

    source: Images
    target: Images | None
    ids: tuple[str, ...]
    condition: dict[str, torch.Tensor] = field(default_factory=dict)
    own: dict[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self._each(lambda values: values.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """The same batch in page-locked memory, from which CUDA copies without waiting; itself where there is no CUDA."""
        return self._each(pinned)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return replace(
            self,
            source=change(self.source),
            target=None if self.target is None else change(self.target),
            condition={name: change(value) for name, value in self.condition.items()},
            own={name: change(value) for name, value in self.own.items()},
        )


def pinned(values: torch.Tensor) -> torch.Tensor:
    """The same values in page-locked memory; themselves where they are on a device already, or there is no CUDA."""
    return values.pin_memory() if values.is_cpu and torch.cuda.is_available() else values


def on_device(batches: Generator[Batch, None, None], *, device: torch.device) -> Generator[Batch, None, None]:
    """The same batches on a device, each made and copied while the one before is in use; close it to close them too.

    On the CPU there is nothing to copy, and making a batch aside would take a core from the step: they come as they are.

    Args:
        batches: from :func:`pixloom.data.loading.training_batches` or like it.
        device: where the step is computed, on its default stream.
    """
    if device.type == "cpu":
        yield from batches
        return

    def copied() -> Batch | None:
        batch = next(batches, None)
        return None if batch is None else batch.pin().to(device)

    pool = ThreadPoolExecutor(1, thread_name_prefix="pixloom-upload")
    try:
        coming = pool.submit(copied)
        while (batch := coming.result()) is not None:
            coming = pool.submit(copied)
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        batches.close()
