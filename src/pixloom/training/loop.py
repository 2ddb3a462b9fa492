"""The one training loop: batches and the adversarial step; what is due between steps is the session's."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from pixloom.config import MOST_MINUTES
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError
from pixloom.training.engine import Engine
from pixloom.training.folder import RunFolder
from pixloom.training.learner import StepResult, learning_rate_factor
from pixloom.training.plan import Plan, complete
from pixloom.training.preflight import checked, record
from pixloom.training.session import RunResult, Session
from pixloom.training.state import Progress
from pixloom.training.stop import Stop
from pixloom.training.tuning import tuned
from pixloom.training.watch import settled

MAX_BAD_STEPS = 5
"""So many steps in a row with a loss that is not finite, and the run goes back to its last checkpoint at half the learning rate."""

STEPS_BETWEEN_QUESTIONS = 8
"""So often several processes ask each other whether one is to stop: every answer is waited for."""


def train(plan: Plan, *, out: str | Path, quiet: bool = False) -> RunResult:
    """Train from the beginning into a new run folder.

    Raises:
        OutputError: the folder is taken, inside the data or not writable, or the disk too full.
        TrainingError: the losses stay non-finite after every remedy.
    """
    plan = tuned(plan)
    engine = Engine(plan.config)
    folder = RunFolder(Path(out))
    with _sole_owner(folder, engine):
        folder.check_free(data=plan.listing.root)
        plan, cost = checked(plan, engine, out=folder.root)
        plan = settled(plan)
        if engine.is_main:
            folder.create(plan.config)
            record(plan, cost, folder=folder.root)
        engine.wait()
        return _run(plan, folder, engine, quiet=quiet)


def resume(run: str | Path, *, minutes: float | None = None, quiet: bool = False) -> RunResult:
    """Continue a run exactly where its newest whole checkpoint stands, as if nothing had happened.

    Args:
        run: the folder.
        minutes: so many more from now on, at most; None: what its settings leave.
        quiet: print nothing.

    Raises:
        ConfigError: minutes that are none.
        CheckpointError: no run there, no whole checkpoint, or the data is no longer the same.
    """
    if minutes is not None and not 0 < minutes < MOST_MINUTES:
        raise ConfigError(f"a run cannot go on for {minutes:g} minutes", fix="give a number above 0 and below ten million")
    folder = RunFolder(Path(run))
    config = folder.open()
    engine = Engine(config)
    with _sole_owner(folder, engine):
        return _run(complete(config), folder, engine, quiet=quiet, more_minutes=minutes)


def _run(plan: Plan, folder: RunFolder, engine: Engine, *, quiet: bool, more_minutes: float | None = None) -> RunResult:
    session = Session(plan, folder, engine, quiet=quiet, more_minutes=more_minutes)
    progress = session.take_up()
    stop = Stop()
    with stop.listening():
        while (progress.images < session.total_images) and not stop.wanted(engine) and not session.out_of_time(progress):
            progress = _descend_until_turn(session, progress, stop)
        return session.close(progress, signal_number=stop.wanted(engine) or None)


def _descend_until_turn(session: Session, progress: Progress, stop: Stop) -> Progress:
    """The adversarial game, batch after batch, until the end, a stop, a larger size, or a return to the last checkpoint."""
    config, engine, learner = session.plan.config, session.engine, session.learner
    end = session.begin_stage(progress)
    under_way: deque[tuple[StepResult, Batch]] = deque()
    with closing(session.batches(progress.images)) as batches:
        for batch in batches:
            engine.seed_step(config.training.seed, progress.images)
            factor = learning_rate_factor(
                progress.images, total=session.total_images, decay_start=config.training.decay_start, decay=config.training.decay
            )
            rates = learner.set_learning_rates(factor * progress.learning_rate_scale)
            learner.passed, learner.seen = progress.images / session.total_images, progress.images
            train_generator = progress.step % config.training.num_critic == config.training.num_critic - 1
            result = learner.step(engine.place(batch), train_generator=train_generator)
            session.terms.add("generator", result.generator, sound=result.sound)
            session.terms.add("critic", result.critic, sound=result.sound)
            before, progress = progress, session.advance(progress)
            under_way.append((result, batch))
            asks = engine.world_size == 1 or progress.step % STEPS_BETWEEN_QUESTIONS == 0
            leaves = progress.images >= end or (asks and bool(stop.wanted(engine) or session.out_of_time(progress)))
            while len(under_way) > (0 if leaves or session.is_due(before, progress) else engine.lag):
                looked_at, its_batch = under_way.popleft()
                if looked_at.sound:
                    progress = replace(progress, bad_steps=0)
                    continue
                progress = replace(progress, bad_steps=progress.bad_steps + 1, skipped_steps=progress.skipped_steps + 1)
                session.tell("skipped", progress, f"a loss was not finite; the step with {', '.join(its_batch.ids[:3])} was skipped")
                if progress.bad_steps >= MAX_BAD_STEPS:
                    return session.roll_back(progress, f"{MAX_BAD_STEPS} steps in a row were not finite")
            progress = session.attend(before, progress, rates)
            if leaves or progress.rollbacks > before.rollbacks:
                return progress
    return progress


@contextmanager
def _sole_owner(folder: RunFolder, engine: Engine) -> Iterator[None]:
    """The first process locks the run folder for all."""
    if not engine.is_main:
        yield
        return
    with folder.locked():
        folder.recover()
        yield
