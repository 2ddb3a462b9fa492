"""What the sides of a training comparison share: where they start, and steps on request. No pixloom here."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.cases import CASES
from benchmarks.speed.harness import peak_mib, serve

Pair = tuple[Tensor, Tensor]
Step = Callable[[Tensor, Tensor], dict[str, float]]
"""Source and target -> the unweighted losses by name: real, fake, adversarial, pixel."""


@dataclass(frozen=True)
class Start:
    """Weights by position, and the batches that every side goes round in."""

    generator: list[Tensor]
    critic: list[Tensor]
    batches: list[Pair]

    def save(self, path: Path) -> None:
        """For the other sides."""
        torch.save(vars(self), path)

    @classmethod
    def load(cls, path: Path) -> Start:
        """What another side saved."""
        return cls(**torch.load(path))


def arguments() -> argparse.ArgumentParser:
    """The command line of every side; ``--double`` acts as soon as it is read."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--start", type=Path, required=True, help="the file that our side writes and the others read")
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument("--double", action=DoublePrecision, nargs=0)
    return parser


class DoublePrecision(argparse.Action):
    """What is built from now on has 64 bits."""

    def __call__(self, *_: object) -> None:
        torch.set_default_dtype(torch.float64)


class Steps:
    """Steps on the same few batches, round and round, the random numbers of each from its own seed."""

    def __init__(self, step: Step, batches: Sequence[Pair]) -> None:
        self.step, self.batches, self.done = step, batches, 0

    def run(self, count: int) -> dict[str, Any]:
        """So many steps: their seconds together, on the clock and of the processors, and the losses of each."""
        seconds, cpu_seconds, losses = 0.0, 0.0, []
        for _ in range(count):
            torch.manual_seed(self.done)
            started, started_cpu = time.perf_counter(), time.process_time()
            losses.append(self.step(*self.batches[self.done % len(self.batches)]))
            seconds += time.perf_counter() - started
            cpu_seconds += time.process_time() - started_cpu
            self.done += 1
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "losses": losses}


def serve_steps(step: Step, batches: Sequence[Pair]) -> None:
    """Answer ``steps`` and ``peak`` until the input ends."""
    serve({"steps": Steps(step, batches).run, "peak": peak_mib})


@torch.no_grad()
def set_parameters(network: nn.Module, values: Sequence[Tensor]) -> None:
    """Take over weights by position.

    Raises:
        ValueError: another number of them, or another shape.
    """
    for mine, value in zip(network.parameters(), values, strict=True):
        if mine.shape != value.shape:
            raise ValueError(f"a parameter of {tuple(mine.shape)} cannot become one of {tuple(value.shape)}")
        mine.copy_(value)
