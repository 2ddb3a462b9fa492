"""Before a run starts: what it will cost, counted on paper and measured on a few real steps, and whether it fits."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from pixloom.config import RunConfig
from pixloom.data.loading import training_batches
from pixloom.errors import OutputError
from pixloom.files import write_text
from pixloom.nets.cost import StepCost
from pixloom.training.counting import counted
from pixloom.training.engine import Engine
from pixloom.training.folder import peak_memory_bytes
from pixloom.training.learner import Learner
from pixloom.training.plan import STEP_SHARE, Plan, count_parameters, hastened, load_examples, with_minutes
from pixloom.training.schedule import stage_ends, stages
from pixloom.training.startfrom import check_fits
from pixloom.training.status import format_bytes, format_clock, format_number, format_seconds

WARM_UP_STEPS, TIMED_STEPS = 2, 3
LONG_START = 5.0
"""So many seconds before the usual steps begin are worth a word."""

GIB = 2**30
GIGA = 10**9


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        generator_parameters, critic_parameters: trainable numbers.
        seconds_by_size: of a real step on this machine, divided by its images, at each size that the run goes through.
        start_seconds: what the first steps take beyond that, at all sizes together: most of it compiling, where that is on.
        peak_memory_bytes: held by this process during those steps.
        disk_bytes: checkpoints and models at the fullest moment.
        step: this process's share of a step by count, at the last size; None where a network makes products that are not counted.
    """

    generator_parameters: int
    critic_parameters: int
    seconds_by_size: Mapping[int, float]
    start_seconds: float
    peak_memory_bytes: int | None
    disk_bytes: int
    step: StepCost | None = None

    @property
    def seconds_per_image(self) -> float:
        """The mean over the sizes, which have equal shares of a run."""
        return fmean(self.seconds_by_size.values())


def measure(plan: Plan, engine: Engine) -> Cost:
    """Count a step, and time real ones on throw-away networks (the run itself starts from fresh ones).

    Raises:
        DataError: no picture can be read.
    """
    config = plan.config
    learner = Learner(config, channels=plan.network_channels, engine=engine)
    learner.passed = config.training.pretrain_share  # the steps after pretraining, which is cheaper and short
    steps = {size: _seconds(plan, engine, learner=learner, size=size) for size in stages(config.data)}
    usual = {size: median(seconds[WARM_UP_STEPS:]) for size, seconds in steps.items()}
    start = sum(max(0.0, sum(seconds[:WARM_UP_STEPS]) - WARM_UP_STEPS * usual[size]) for size, seconds in steps.items())
    named = {**{str(size): seconds / config.training.batch_size for size, seconds in usual.items()}, "start": start}
    means = engine.mean({name: torch.tensor(value, device=engine.device) for name, value in named.items()})
    generator, critic = count_parameters(learner.generator), 0 if learner.critic is None else count_parameters(learner.critic)
    kept = config.training.keep_checkpoints + config.training.autopilot  # which holds one to go back to
    return Cost(
        generator_parameters=generator,
        critic_parameters=critic,
        seconds_by_size={size: means[str(size)] for size in usual},
        start_seconds=means["start"],
        peak_memory_bytes=peak_memory_bytes(engine.device),
        disk_bytes=_disk_bytes(generator, critic, averaged=learner.ema is not None, keep=kept)
        + (kept + 1) * _pool_bytes(plan, pools=len(learner.pools)),
        step=counted(config, channels=plan.network_channels, processes=engine.world_size),
    )


def checked(plan: Plan, engine: Engine, *, out: Path) -> tuple[Plan, Cost]:
    """The plan with its length decided, and its cost, printed and found to fit on the disk.

    Raises:
        ModelError: the model to begin with is not of this run's networks.
        OutputError: too little space for the checkpoints.
    """
    check_fits(plan)
    if engine.is_main:
        print(f"measuring {WARM_UP_STEPS + TIMED_STEPS} steps ...", file=sys.stderr, flush=True)
    plan, cost = _affordable(plan, engine)
    if engine.is_main:
        print("\n".join(describe(plan, cost)), flush=True)
        check_disk(out, cost.disk_bytes)
    return plan, cost


def _affordable(plan: Plan, engine: Engine) -> tuple[Plan, Cost]:
    """The plan with its length, and its cost: by smaller networks where the minutes given would be too few for these."""
    cost = measure(plan, engine)
    timed = with_minutes(plan, seconds_per_image=cost.seconds_per_image, start_seconds=cost.start_seconds)
    assert timed.config.training.images is not None, "the plan has its length now"
    smaller = hastened(plan, images=timed.config.training.images)
    return (timed, cost) if smaller is None else _affordable(smaller, engine)


def record(plan: Plan, cost: Cost, *, folder: Path) -> None:
    """Write ``cost.json``, which the report shows, into a run folder.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    write_text(folder / "cost.json", json.dumps(facts(plan, cost), indent=1))


def describe(plan: Plan, cost: Cost, *, now: datetime | None = None) -> list[str]:
    """The lines that are printed before a run starts."""
    now = now or datetime.now()
    config, images = plan.config, plan.config.training.images
    assert images is not None, "the plan decides the number of images"
    seconds = images * cost.seconds_per_image / STEP_SHARE + cost.start_seconds
    sizes = " to ".join(str(size) for size in sorted({stages(config.data)[0], config.data.size}))
    return [
        f"{plan.task.name} by {config.recipe}: {len(plan.train)} training and {len(plan.validation)} validation examples at {sizes} px",
        *(f"  - {reason}" for reason in plan.reasons),
        *(_describe_network(role, facts) for role, facts in _networks(config, cost).items()),
        _describe_step(cost, batch=config.training.batch_size),
        *_describe_stages(config, cost),
        f"{images:,} images take about {format_seconds(seconds)}, until {format_clock(now + timedelta(seconds=seconds), now=now)}",
    ]


def facts(plan: Plan, cost: Cost) -> dict[str, Any]:
    """What a run costs as the report shows it: of each network, by count, and as measured before the start."""
    batch, step, peak = plan.config.training.batch_size, cost.step, cost.peak_memory_bytes
    counted = step and {
        "weights, gradients, moments": step.state_bytes / GIB,
        "activations": step.activation_bytes / GIB,
        "together, by count": step.memory_bytes / GIB,
    }
    return {
        **_networks(plan.config, cost),
        "step": {"pictures": batch, "GMAC": step and _step_gmac(step, batch=batch), "seconds": cost.seconds_per_image * batch},
        "memory of a process in GiB": {**(counted or {}), "measured peak, with all libraries": peak and peak / GIB},
        "disk in GiB": cost.disk_bytes / GIB,
    }


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


def _pool_bytes(plan: Plan, *, pools: int) -> int:
    """Of the made pictures that a checkpoint holds."""
    return pools * plan.config.training.pool_images * max(plan.network_channels) * plan.config.data.size**2 * 4


def _seconds(plan: Plan, engine: Engine, *, learner: Learner, size: int) -> list[float]:
    """How long real steps take at a size, the first ones before the usual ones."""
    training, data = plan.config.training, plan.config.data
    order = {"batch_size": training.batch_size, "seed": training.seed, "start_image": 0}
    place = {"rank": engine.rank, "world_size": engine.world_size}
    seconds = []
    with closing(training_batches(load_examples(plan, size=size, cache_gib=0.0), **order, size=size, flip=data.flip, **place)) as batches:
        for _, batch in zip(range(WARM_UP_STEPS + TIMED_STEPS), batches, strict=False):
            started = time.perf_counter()
            learner.step(engine.place(batch))
            if engine.device.type == "cuda":
                torch.cuda.synchronize(engine.device)
            seconds.append(time.perf_counter() - started)
    return seconds


def _networks(config: RunConfig, cost: Cost) -> dict[str, dict[str, Any]]:
    """The facts about each network by its role."""
    step, rows = cost.step, {}
    for role, network in (("generator", config.generator), ("critic", config.critic)):
        if network is not None:
            counted = step and getattr(step, role).macs / step.batch / GIGA
            rows[role] = {"name": network.name, "parameters": getattr(cost, f"{role}_parameters"), "GMAC per picture": counted}
    return rows


def _step_gmac(step: StepCost, *, batch: int) -> float:
    """Of all processes together."""
    return step.macs * (batch // step.batch) / GIGA


def _describe_network(role: str, facts: Mapping[str, Any]) -> str:
    macs = "" if facts["GMAC per picture"] is None else f", {format_number(facts['GMAC per picture'])} GMAC per picture"
    return f"{role} {facts['name']} {format_number(facts['parameters'] / 1e6)} M parameters{macs}"


def _describe_step(cost: Cost, *, batch: int) -> str:
    step = cost.step
    macs = "" if step is None else f" for {format_number(_step_gmac(step, batch=batch))} GMAC"
    peak = "unknown" if cost.peak_memory_bytes is None else format_bytes(cost.peak_memory_bytes)
    count = "" if step is None else f" (networks {format_bytes(step.state_bytes)}, activations {format_bytes(step.activation_bytes)})"
    seconds = f"{cost.seconds_per_image * batch:.2f} s per step of {batch}"
    if cost.start_seconds >= LONG_START:
        seconds += f" after a start of {cost.start_seconds:.0f} s"
    return f"{seconds}{macs}, peak memory {peak}{count}, disk up to {format_bytes(cost.disk_bytes)}"


def _describe_stages(config: RunConfig, cost: Cost) -> list[str]:
    """Which sizes a growing run goes through, until when, and how long a step takes at each; nothing where there is one size."""
    batch, images = config.training.batch_size, config.training.images
    assert images is not None, "the plan decides the number of images"
    ends = stage_ends(config.data, total=images, batch=batch)
    if len(ends) == 1:
        return []
    return [
        f"  - {size} px to image {end:,}: {cost.seconds_by_size[size] * batch:.2f} s per step"
        for size, end in zip(stages(config.data), ends, strict=True)
    ]
