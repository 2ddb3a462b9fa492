"""The one object that knows about devices, precision and processes: a thin layer over Accelerate.

Several processes are started by torchrun, never by us. Each of the two networks is wrapped on its own, so that no unused parameter has
to be looked for; batch-norm buffers are synchronised by the layer itself (``nets.layers.BatchNorm2d``), not broadcast before each pass.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from pixloom.config import ComputeConfig, RunConfig
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError
from pixloom.heap import keep_heap
from pixloom.inference.runtimes import choose_device
from pixloom.nets.layers import bare


class Engine:
    """Device, precision, processes.

    Attributes:
        device, rank, world_size: of this process, and how many there are.
        lag: so many steps may be under way before one is looked at; on CUDA the host works ahead of the card.

    Raises:
        ConfigError: the device is not there, or the batch does not divide over the processes and the parts of ``compute.accumulate``.
    """

    def __init__(self, config: RunConfig) -> None:
        compute, batch_size = config.compute, config.training.batch_size
        device = choose_device(compute.device)
        _set_up(device, compute)
        # A second run in this process may use another precision or device.
        AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
        self.compute = compute
        self.accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="no" if compute.precision == "auto" else compute.precision,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        if self.accelerator.num_processes > 1:
            atexit.register(_leave)
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world_size: int = self.accelerator.num_processes
        self.lag = 1 if self.device.type == "cuda" else 0
        shares = self.world_size * compute.accumulate
        if batch_size % shares:
            over = f"{self.world_size} processes" + (f" x {compute.accumulate} parts" if compute.accumulate > 1 else "")
            raise ConfigError(
                f"a batch of {batch_size} does not divide over {over}",
                fix=f"--set training.batch_size={-(-batch_size // shares) * shares}"
                + (", or another compute.accumulate" if compute.accumulate > 1 else ""),
            )

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @property
    def memory_format(self) -> torch.memory_format:
        """The order of a picture's numbers in memory."""
        return torch.channels_last if self.compute.memory_format == "channels_last" else torch.contiguous_format

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network on its device, wrapped for mixed precision and several processes, and compiled if so configured."""
        network.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
            wrapped: nn.Module = self.accelerator.prepare_model(network)
        self.accelerator._models.clear()  # it would keep every network that it ever saw; free_memory() collects garbage as well
        return wrapped if self.compute.compile in ("auto", "no") else _compiled(wrapped, mode=self.compute.compile)

    def place(self, batch: Batch) -> Batch:
        """The batch on the device, in the networks' memory format."""
        moved = batch.to(self.device)
        if self.memory_format is torch.contiguous_format:
            return moved
        target = None if moved.target is None else moved.target.contiguous(memory_format=self.memory_format)
        return replace(moved, source=moved.source.contiguous(memory_format=self.memory_format), target=target)

    def backward(self, loss: Tensor) -> None:
        """Back-propagate."""
        self.accelerator.backward(loss)

    def averaging(self, network: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Around a part's forward and backward pass: the last part averages the network's gradients over the processes, no other does."""
        return nullcontext() if last or self.world_size == 1 else self.accelerator.no_sync(bare(network, compiled_only=True))

    def on_all(self, flag: Tensor) -> Tensor:
        """Whether a flag, a bool tensor, is up on every process; nobody waits for the answer here."""
        if self.world_size == 1:
            return flag
        total: Tensor = self.accelerator.reduce(flag.float(), reduction="sum")
        return total == self.world_size

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


def _leave() -> None:
    """The processes part before Python ends: threads of a group that is still there may end a process that did all its work by an abort."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _set_up(device: torch.device, compute: ComputeConfig) -> None:
    """What holds for the whole process: threads, the heap, and how CUDA multiplies."""
    if compute.threads is not None:
        torch.set_num_threads(min(compute.threads, os.cpu_count() or 1))
    if device.type == "cpu" and compute.keep_heap:
        keep_heap()
    if device.type == "cuda":
        # TF32 keeps 10 bits of each factor and adds in fp32; cuDNN's convolutions use it by torch's own default.
        torch.set_float32_matmul_precision("high")


def _compiled(network: nn.Module, *, mode: str) -> nn.Module:
    return cast(nn.Module, torch.compile(network, mode=mode, dynamic=False))


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from integers, well mixed and the same on every machine.

    >>> derive_seed(0, 0, 1) == derive_seed(0, 0, 1), derive_seed(0, 0, 1) == derive_seed(0, 1, 0)
    (True, False)
    """
    digest = hashlib.sha256(",".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
