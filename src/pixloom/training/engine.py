"""The one object that knows about devices, precision and processes: a thin layer over Accelerate.

Several processes are started by torchrun, never by us. Each of the two networks is wrapped on its own, so that no unused parameter has
to be looked for; batch-norm buffers are synchronised by the layer itself (``nets.layers.BatchNorm2d``), not broadcast before each pass.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from pixloom.config import TrainingConfig
from pixloom.errors import ConfigError
from pixloom.inference.translator import choose_device


class Engine:
    """Device, precision, processes.

    Raises:
        ConfigError: the device is not there, or the batch does not divide over the processes.
    """

    def __init__(self, config: TrainingConfig) -> None:
        device = choose_device(config.device)
        # A second run in this process may use another precision or device.
        AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
        self.accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=config.precision,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world_size: int = self.accelerator.num_processes
        if config.batch_size % self.world_size:
            raise ConfigError(
                f"a batch of {config.batch_size} does not divide over {self.world_size} processes",
                fix=f"--set training.batch_size={-(-config.batch_size // self.world_size) * self.world_size}",
            )

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def prepare(self, *things: Any) -> list[Any]:
        """Networks and optimizers placed, wrapped and cast."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
            return [self.accelerator.prepare(thing) for thing in things]

    def backward(self, loss: Tensor) -> None:
        """Back-propagate, with gradients averaged over the processes."""
        self.accelerator.backward(loss)

    def clip(self, network: nn.Module, max_norm: float) -> None:
        """Scale the gradients so that their joint norm is at most ``max_norm``."""
        self.accelerator.clip_grad_norm_(network.parameters(), max_norm)

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is up on any process; all get the same answer."""
        if self.world_size == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device), reduction="sum") > 0)

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers; all get the same answer."""
        if self.world_size == 1:
            return number
        return int(self.accelerator.gather(torch.tensor([number], device=self.device)).max())

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Named scalars, averaged over the processes."""
        if not values:
            return {}
        stacked = torch.stack([value.float() for value in values.values()])
        if self.world_size > 1:
            stacked = self.accelerator.reduce(stacked, reduction="mean")
        return dict(zip(values, stacked.tolist(), strict=True))

    def wait(self) -> None:
        """Until all processes are here."""
        self.accelerator.wait_for_everyone()

    def seed_step(self, seed: int, images: int) -> None:
        """Make all randomness of a step a function of (seed, rank, images seen), so that nothing about it needs saving."""
        torch.manual_seed(derive_seed(seed, self.rank, images))


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from integers, well mixed and the same on every machine.

    >>> derive_seed(0, 0, 1) == derive_seed(0, 0, 1), derive_seed(0, 0, 1) == derive_seed(0, 1, 0)
    (True, False)
    """
    digest = hashlib.sha256(",".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
