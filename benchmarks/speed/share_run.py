"""A real training run with a clock round its parts. A worker."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import Any

import torch

from benchmarks.speed.harness import serve
from pixloom.methods.conditional import Conditional
from pixloom.training import session
from pixloom.training.engine import Engine
from pixloom.training.history import History
from pixloom.training.learner import Learner
from pixloom.training.loop import train
from pixloom.training.plan import make_plan
from pixloom.training.session import Session
from pixloom.training.terms import Terms
from pixloom.training.watch import Watch

NETWORKS, WAITING, STEP, LOOP = "networks and optimizers", "waiting for the loader", "rest of the step", "loop"
LOG, PREVIEW, VALIDATION, CHECKPOINT, REPORT, CHECK = "log", "preview", "validation", "checkpoint", "report", "check of the weights"

PARTS: tuple[tuple[Any, str, str], ...] = (
    (Conditional, "translate", NETWORKS),
    (Conditional, "critic_terms", NETWORKS),
    (Conditional, "generator_terms", NETWORKS),
    (Engine, "backward", NETWORKS),
    (torch.optim.Adam, "step", NETWORKS),
    (Learner, "step", STEP),
    (Terms, "means", LOG),
    (History, "append", LOG),
    (Watch, "preview", PREVIEW),
    (Watch, "validate", VALIDATION),
    (Watch, "save_model", VALIDATION),
    (Learner, "is_finite", CHECK),
    (Session, "save", CHECKPOINT),
    (session, "write_report", REPORT),
)
"""Owner, function, and the part of the run that it belongs to; what a part calls is counted where it belongs itself."""


class Clock:
    """Divides the time between start and stop among parts: the innermost that is running has it.

    Attributes:
        seconds, calls: by part.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._running: list[str] = []
        self._since = 0.0

    def start(self, name: str) -> None:
        """Begin, with the part that has whatever no other one has."""
        self._running, self._since = [name], time.perf_counter()

    def stop(self) -> None:
        """End; what runs afterwards has no part in it."""
        self._turn()
        self._running = []

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """A part, while the block runs between start and stop."""
        if not self._running:
            yield
            return
        self._turn()
        self._running.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function as a part."""

        @wraps(function)
        def part(*arguments: Any, **options: Any) -> Any:
            with self.within(name):
                return function(*arguments, **options)

        return part

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now


def run(data: str, *, out: str, size: int, images: int) -> dict[str, Any]:
    """Train; the seconds and calls of every part, of the whole loop, and of all before and after it."""
    clock = Clock()
    for owner, function, name in PARTS:
        setattr(owner, function, clock.timed(getattr(owner, function), name))
    marks: list[float] = []
    _mark_loop(clock, marks)
    _time_waiting(clock)
    started = time.perf_counter()
    plan = make_plan(data, size=size, images=images, device="cpu")
    train(plan, out=out, quiet=True)
    return {
        "seconds": dict(clock.seconds),
        "calls": dict(clock.calls),
        "before": marks[0] - started,
        "loop": marks[1] - marks[0],
        "after": time.perf_counter() - marks[1],
        "examples": len(plan.train),
        "full_length_images": round(plan.config.training.epochs * len(plan.train)),
    }


def _mark_loop(clock: Clock, marks: list[float]) -> None:
    """The loop lies between the session's first word and its last."""
    take_up, close = Session.take_up, Session.close

    def begin(self: Session) -> Any:
        progress = take_up(self)
        marks.append(time.perf_counter())
        clock.start(LOOP)
        return progress

    def end(self: Session, *arguments: Any, **options: Any) -> Any:
        clock.stop()
        marks.append(time.perf_counter())
        return close(self, *arguments, **options)

    Session.take_up, Session.close = begin, end  # type: ignore[method-assign]


def _time_waiting(clock: Clock) -> None:
    """Every batch that the loop asks for."""
    original = Session.batches

    def batches(self: Session, *arguments: Any, **options: Any) -> Generator[Any, None, None]:
        with closing(original(self, *arguments, **options)) as inner:
            while True:
                with clock.within(WAITING):
                    batch = next(inner, None)
                if batch is None:
                    return
                yield batch

    Session.batches = batches  # type: ignore[method-assign]


if __name__ == "__main__":
    serve({"run": run})
