"""One training step: Pixloom's against the plain loop, and against the peer's own code where a checkout of it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.speed.cases import PUBLISHED, QUICK, Case
from benchmarks.speed.harness import Comparison, Options, Outcome, Reading, Worker, alternate
from benchmarks.speed.prepare import pairs

WARM_UP_STEPS = 2


def run(options: Options) -> Outcome:
    """Every case in turn."""
    cases = [QUICK] if options.quick else PUBLISHED
    data = pairs(options)
    comparisons = []
    for case in cases:
        with sides(case, options=options, data=str(data)) as workers:
            for worker in workers.values():
                worker.ask("steps", count=WARM_UP_STEPS)
            candidates = {name: partial(read_steps, worker, count=case.steps) for name, worker in workers.items()}
            comparisons.append(Comparison(case.name, alternate(candidates, rounds=options.rounds, warm_up=0)))
    return Outcome(comparisons, notes=NOTES)


@contextmanager
def sides(case: Case, *, options: Options, data: str, dropout: bool = True, double: bool = False) -> Iterator[Mapping[str, Worker]]:
    """The sides of a comparison, all at the same start; the plain loop is the reference."""
    start, tail = options.scratch / "start.pt", [*([] if dropout else ["--no-dropout"]), *(["--double"] if double else [])]
    start.unlink(missing_ok=True)
    with ExitStack() as stack:
        ours = stack.enter_context(Worker("our_steps", case.name, "--data", data, "--start", start, *tail))
        ours.ask("peak")  # answers once the start is written
        workers = {"plain loop": stack.enter_context(Worker("plain_steps", case.name, "--start", start, *tail))}
        if options.peer is not None:
            arguments = [case.name, "--checkout", options.peer.resolve(), "--start", start, *tail]
            workers["peer"] = stack.enter_context(Worker("peer_steps", *arguments))
        yield {**workers, "pixloom": ours}


def read_steps(worker: Worker, *, count: int) -> Reading:
    """The time of a step, over so many of them, and the worker's peak memory up to now."""
    taken = worker.ask("steps", count=count)
    return {"seconds": taken["seconds"] / count, "cpu_seconds": taken["cpu_seconds"] / count, "peak_mib": worker.ask("peak")}


NOTES = (
    "Seconds are those of one step on a batch that is ready: generator pass, critic's update, generator's update. Every side runs in a "
    "process of its own, from the same weights, on the same batches; the others wait while one works. The plain loop is "
    "`benchmarks/speed/plain.py`: default Adam, default allocator, and like the peer it spares the critic's gradients in the "
    "generator's step. Pixloom's memory settings are those that it makes itself. There is no CycleGAN method yet: the ResNet cases are "
    "the conditional method on pairs with the generator and the normalisation of CycleGAN.",
)
