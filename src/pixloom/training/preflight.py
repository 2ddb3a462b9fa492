"""Before a run starts: what it will cost, measured on a few real steps, and whether it fits."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import torch

from pixloom.data.loading import Pictures, training_batches
from pixloom.errors import OutputError
from pixloom.training.engine import Engine
from pixloom.training.folder import peak_memory_bytes
from pixloom.training.learner import Learner
from pixloom.training.plan import STEP_SHARE, Plan, count_parameters, with_minutes
from pixloom.training.status import format_clock, format_seconds

WARM_UP_STEPS, TIMED_STEPS = 2, 3
GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        generator_parameters, critic_parameters: trainable numbers.
        seconds_per_image: of a real step on this machine, divided by its images.
        peak_memory_bytes: held during those steps.
        disk_bytes: checkpoints and models at the fullest moment.
    """

    generator_parameters: int
    critic_parameters: int
    seconds_per_image: float
    peak_memory_bytes: int | None
    disk_bytes: int


def measure(plan: Plan, engine: Engine) -> Cost:
    """Time real steps on throw-away networks (the run itself starts from fresh ones).

    Raises:
        DataError: no picture can be read.
    """
    config = plan.config
    learner = Learner(config, channels=plan.network_channels, engine=engine)
    load_side = round(config.data.size * config.data.jitter)
    pictures = Pictures(plan.train, encode=plan.task.encode, load_side=load_side, channels=plan.picture_channels, cache_gib=0.0)
    options = {"batch_size": config.training.batch_size, "seed": config.training.seed, "start_image": 0}
    seconds = []
    batches = training_batches(
        pictures, **options, size=config.data.size, flip=config.data.flip, rank=engine.rank, world_size=engine.world_size
    )
    with closing(batches):
        for _, batch in zip(range(WARM_UP_STEPS + TIMED_STEPS), batches, strict=False):
            started = time.perf_counter()
            learner.step(batch.to(engine.device))
            if engine.device.type == "cuda":
                torch.cuda.synchronize(engine.device)
            seconds.append(time.perf_counter() - started)
    typical = sorted(seconds[WARM_UP_STEPS:])[TIMED_STEPS // 2]
    generator, critic = count_parameters(learner.generator), 0 if learner.critic is None else count_parameters(learner.critic)
    return Cost(
        generator_parameters=generator,
        critic_parameters=critic,
        seconds_per_image=engine.mean({"seconds": torch.tensor(typical, device=engine.device)})["seconds"] / config.training.batch_size,
        peak_memory_bytes=peak_memory_bytes(engine.device),
        disk_bytes=_disk_bytes(generator, critic, averaged=learner.ema is not None, keep=config.training.keep_checkpoints),
    )


def measured(plan: Plan, engine: Engine, *, out: Path) -> Plan:
    """The plan with its length decided, its cost printed and found to fit on the disk.

    Raises:
        OutputError: too little space for the checkpoints.
    """
    if engine.is_main:
        print(f"measuring {WARM_UP_STEPS + TIMED_STEPS} steps ...", file=sys.stderr, flush=True)
    cost = measure(plan, engine)
    plan = with_minutes(plan, seconds_per_image=cost.seconds_per_image)
    if engine.is_main:
        print("\n".join(describe(plan, cost)), flush=True)
        check_disk(out, cost.disk_bytes)
    return plan


def describe(plan: Plan, cost: Cost, *, now: datetime | None = None) -> list[str]:
    """The lines that are printed before a run starts."""
    now = now or datetime.now()
    config, images = plan.config, plan.config.training.images
    assert images is not None, "the plan decides the number of images"
    size, batch = config.data.size, config.training.batch_size
    seconds = images * cost.seconds_per_image / STEP_SHARE
    memory = "unknown" if cost.peak_memory_bytes is None else f"{cost.peak_memory_bytes / GIB:.1f} GiB"
    critic = f", critic {config.critic.name} {cost.critic_parameters / 1e6:.2f} M" if config.critic else ""
    step = f"{cost.seconds_per_image * batch:.2f} s per step of {batch}"
    return [
        f"{plan.task.name} by {config.recipe}: {len(plan.train)} training and {len(plan.validation)} validation examples at {size} px",
        *(f"  - {reason}" for reason in plan.reasons),
        f"generator {config.generator.name} {cost.generator_parameters / 1e6:.1f} M parameters{critic}",
        f"{step}, peak memory {memory}, disk up to {cost.disk_bytes / GIB:.1f} GiB",
        f"{images:,} images take about {format_seconds(seconds)}, until {format_clock(now + timedelta(seconds=seconds), now=now)}",
    ]


def check_disk(out: Path, needed_bytes: int) -> None:
    """Refuse to start what cannot be saved.

    Raises:
        OutputError: naming what is needed and what is free.
    """
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise OutputError(
            f"the disk has {free / GIB:.1f} GiB free and the run needs up to {needed_bytes / GIB:.1f} GiB",
            where=place,
            fix="free some space, choose an --out on another disk, or --set training.keep_checkpoints=1",
        )


def _disk_bytes(generator: int, critic: int, *, averaged: bool, keep: int) -> int:
    """Checkpoints hold weights and two Adam moments; one more exists while the oldest is not yet removed; two models, one in the making."""
    checkpoint = 4 * (3 * (generator + critic) + (generator if averaged else 0))
    return (keep + 1) * checkpoint + 3 * 4 * generator + 50 * 2**20
