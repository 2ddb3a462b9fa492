"""The one training loop: batches and the adversarial step; what is due between steps is the session's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pixloom.training.engine import Engine
from pixloom.training.folder import RunFolder
from pixloom.training.learner import learning_rate_factor
from pixloom.training.plan import Plan, complete
from pixloom.training.preflight import measured
from pixloom.training.session import RunResult, Session
from pixloom.training.state import Progress
from pixloom.training.stop import Stop
from pixloom.training.watch import settled

MAX_BAD_STEPS = 5
"""So many steps in a row with a loss that is not finite, and the run goes back to its last checkpoint at half the learning rate."""


def train(plan: Plan, *, out: str | Path, quiet: bool = False) -> RunResult:
    """Train from the beginning into a new run folder.

    Raises:
        OutputError: the folder is taken, inside the data or not writable, or the disk too full.
        TrainingError: the losses stay non-finite after every remedy.
    """
    engine = Engine(plan.config.training)
    folder = RunFolder(Path(out))
    with _sole_owner(folder, engine):
        folder.check_free(data=plan.listing.root)
        plan = measured(plan, engine, out=folder.root)
        plan = settled(plan)
        if engine.is_main:
            folder.create(plan.config)
        engine.wait()
        return _run(plan, folder, engine, quiet=quiet)


def resume(run: str | Path, *, quiet: bool = False) -> RunResult:
    """Continue a run exactly where its newest whole checkpoint stands, as if nothing had happened.

    Raises:
        CheckpointError: no run there, no whole checkpoint, or the data is no longer the same.
    """
    folder = RunFolder(Path(run))
    config = folder.open()
    engine = Engine(config.training)
    with _sole_owner(folder, engine):
        return _run(complete(config), folder, engine, quiet=quiet)


def _run(plan: Plan, folder: RunFolder, engine: Engine, *, quiet: bool) -> RunResult:
    session = Session(plan, folder, engine, quiet=quiet)
    progress = session.take_up()
    stop = Stop()
    with stop.listening():
        while (progress.images < session.total_images) and not stop.wanted(engine) and not session.out_of_time(progress):
            progress = _descend_until_rollback(session, progress, stop)
        return session.close(progress, signal_number=stop.wanted(engine) or None)


def _descend_until_rollback(session: Session, progress: Progress, stop: Stop) -> Progress:
    """The adversarial game, batch after batch, until the end, a stop, or a return to the last checkpoint."""
    config, engine, learner = session.plan.config, session.engine, session.learner
    bad_steps = 0
    with closing(session.batches(progress.images)) as batches:
        for batch in batches:
            engine.seed_step(config.training.seed, progress.images)
            factor = learning_rate_factor(progress.images, total=session.total_images, decay_start=config.training.decay_start)
            rates = learner.set_learning_rates(factor * progress.learning_rate_scale)
            train_generator = progress.step % config.training.num_critic == config.training.num_critic - 1
            result = learner.step(batch.to(engine.device), train_generator=train_generator)
            bad_steps = 0 if result.finite else bad_steps + 1
            before, progress = progress, session.advance(progress, skipped=not result.finite)
            if result.finite:
                session.terms.add("generator", result.generator)
                session.terms.add("critic", result.critic)
            else:
                session.tell("skipped", progress, f"step {progress.step} ({', '.join(batch.ids[:3])}): a loss was not finite; skipped")
                if bad_steps >= MAX_BAD_STEPS:
                    return session.roll_back(progress, f"{MAX_BAD_STEPS} steps in a row were not finite")
            progress = session.attend(before, progress, rates)
            rolled_back = progress.rollbacks > before.rollbacks
            if rolled_back or progress.images >= session.total_images or stop.wanted(engine) or session.out_of_time(progress):
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
