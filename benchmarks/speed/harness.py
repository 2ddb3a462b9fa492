"""Alternate, read, summarise: every candidate in turn, round after round, so that a busy moment of the machine meets all of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, where every process starts."""

FEWEST_ROUNDS = 3
"""A median and quartiles of fewer say nothing."""

ANSWERS = "PIXLOOM_BENCHMARK_ANSWERS"
"""Tells a worker the number of the pipe into which it writes."""

Reading = Mapping[str, float]
"""What one piece of work took, by the measure's name: ``seconds``, ``cpu_seconds``, ``peak_mib``."""


@dataclass(frozen=True)
class Options:
    """What the command line chose.

    Attributes:
        scratch: an empty folder that is removed at the end.
        data: a folder with real pictures; None: synthetic ones.
        peer: a checkout of junyanz/pytorch-CycleGAN-and-pix2pix to measure beside; None: none.
        quick: less of everything, to see that it runs; not for publication.
    """

    scratch: Path
    data: Path | None = None
    peer: Path | None = None
    quick: bool = False

    @property
    def rounds(self) -> int:
        """Readings of every candidate."""
        return FEWEST_ROUNDS if self.quick else 5


@dataclass(frozen=True)
class Comparison:
    """The same work done by several candidates; the first of them is the reference of the ratios."""

    name: str
    readings: Mapping[str, Sequence[Reading]]


@dataclass(frozen=True)
class Outcome:
    """What a benchmark found: comparisons with their raw readings, rows of single facts, and what a reader must know of either."""

    comparisons: Sequence[Comparison] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()


def alternate(candidates: Mapping[str, Callable[[], Reading]], *, rounds: int, warm_up: int = 1) -> dict[str, list[Reading]]:
    """The readings of A B A B ..., after rounds that are thrown away."""
    readings: dict[str, list[Reading]] = {name: [] for name in candidates}
    for turn in range(warm_up + rounds):
        for name, work in candidates.items():
            reading = work()
            if turn >= warm_up:
                readings[name].append(reading)
    return readings


def summarise(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles (interpolated) and least.

    >>> summarise([4.0, 1.0, 2.0])
    {'median': 2.0, 'q1': 1.5, 'q3': 3.0, 'min': 1.0}

    Raises:
        ValueError: fewer than :data:`FEWEST_ROUNDS` values.
    """
    if len(values) < FEWEST_ROUNDS:
        raise ValueError(f"{len(values)} rounds are too few to summarise: {FEWEST_ROUNDS} at least")
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3, "min": min(values)}


def ratio(reference: Sequence[float], candidate: Sequence[float]) -> dict[str, float]:
    """How many times less the candidate takes: the ratio of the medians, and the quartiles of the ratios within each round.

    >>> ratio([2.0, 4.0, 6.0], [1.0, 2.0, 2.0])
    {'of_medians': 2.0, 'q1': 2.0, 'q3': 2.5}

    Raises:
        ValueError: fewer than :data:`FEWEST_ROUNDS` rounds, or not the same number of both.
    """
    rounds = summarise([theirs / ours for theirs, ours in zip(reference, candidate, strict=True)])
    return {"of_medians": statistics.median(reference) / statistics.median(candidate), "q1": rounds["q1"], "q3": rounds["q3"]}


def measures(readings: Mapping[str, Sequence[Reading]]) -> list[str]:
    """The names of the measures that every reading has, in their order."""
    every = [reading for several in readings.values() for reading in several]
    return [name for name in every[0] if all(name in reading for reading in every)]


def column(readings: Iterable[Reading], measure: str) -> list[float]:
    """One measure, round after round."""
    return [reading[measure] for reading in readings]


class Worker:
    """A module of this package that does work on request in a process of its own, with one line of JSON each way.

    It waits without using the processor, so that several can alternate, each with its own memory settings.

    Args:
        module: its name in this package; it calls :func:`serve`.
        *arguments: its command line.
        env: variables beside those of this process.
    """

    def __init__(self, module: str, *arguments: object, env: Mapping[str, str] | None = None) -> None:
        answers, theirs = os.pipe()  # not the standard output, into which libraries print
        self.module, self.answers = module, os.fdopen(answers, encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{module}", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **(env or {}), ANSWERS: str(theirs)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs,),
            text=True,
        )
        os.close(theirs)

    def ask(self, request: str, **arguments: Any) -> Any:
        """Have one of the worker's functions called; what it returned.

        Raises:
            RuntimeError: the worker ended; its own message stands on standard error.
        """
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # its answers end as well
            self.process.stdin.write(json.dumps([request, arguments]) + "\n")
            self.process.stdin.flush()
        line = self.answers.readline()
        if not line:
            raise RuntimeError(f"the worker {self.module} ended with {self.process.wait()} at '{request}'")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        """Let it end, and wait until its memory is free again."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.answers.close()


def serve(functions: Mapping[str, Callable[..., Any]]) -> None:
    """A worker's side: answer requests until the input ends."""
    with os.fdopen(int(os.environ[ANSWERS]), "w", encoding="utf-8") as answers:
        for line in sys.stdin:
            request, arguments = json.loads(line)
            answers.write(json.dumps(functions[request](**arguments)) + "\n")
            answers.flush()


def run_command(arguments: Sequence[object], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Reading:
    """A whole process: its seconds on the clock and of the processors, and the most memory it held.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, arguments)), cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            tail = log.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(map(str, arguments))} ended with {process.returncode}:\n{tail}")
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}


def peak_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
