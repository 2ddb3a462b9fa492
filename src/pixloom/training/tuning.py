"""How a training computes fastest on this machine: measured by ``pixloom tune``, remembered, and used wherever a setting says ``auto``.

What helps one processor harms another (bf16 is faster on CPUs that have instructions for it, and tens of times slower on others): none of
it is a default.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pixloom.config import RunConfig, override
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError, PixloomError, first_line
from pixloom.files import cache_folder, write_text, writing
from pixloom.inference.runtimes import choose_device
from pixloom.training.engine import Engine
from pixloom.training.learner import Learner
from pixloom.training.plan import Plan

DEFAULTS: dict[str, Any] = {"precision": "no", "memory_format": "contiguous", "compile": "no"}
"""What ``auto`` means where nothing has been measured."""

LEAST_GAIN = 1.05
"""A setting is chosen when it is so many times as fast; less is not told from noise."""

HOPELESS = 5.0
"""What takes so many times as long is not measured to the end."""

WARM_UP, ROUNDS = 1, 5


@dataclass(frozen=True)
class Trial:
    """One way of computing the step.

    Attributes:
        settings: of ``compute``, those that were changed.
        seconds: the median of its steps; None where it failed.
        ratio: how many times as fast as the best so far, in the same rounds.
        chosen: whether it became the best.
        failure: why it could not be measured.
        former_seconds: of the best so far, in the same rounds.
        start_seconds: from nothing to the end of the first step, which every run pays once.
    """

    settings: dict[str, Any]
    seconds: float | None
    ratio: float | None
    chosen: bool
    failure: str | None = None
    former_seconds: float | None = None
    start_seconds: float = 0.0


def tune(config: RunConfig, *, channels: tuple[int, int], say: Callable[[str], None] = print) -> dict[str, Any]:
    """Find the fastest settings of ``compute`` for the networks, size and batch of a config on this machine, and remember them.

    One setting after the other is tried against the best so far, alternating, on real steps with random pictures. What a config does not
    leave to ``auto`` is kept as it is.

    Args:
        config: of the run.
        channels: of the generator's input and output.
        say: called with a line for every trial.

    Returns:
        The chosen settings by name, for ``compute``.

    Raises:
        ConfigError: the config leaves nothing to choose, or its step cannot be computed at all.
        OutputError: the result cannot be kept.
    """
    if not _open_settings(config):
        raise ConfigError("there is nothing to choose", why="every setting of compute is given", fix="leave one of them out")
    place, threads = _place(config, channels=channels), torch.get_num_threads()
    with writing("what is measured", place):  # found out now, not after minutes
        place.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place.parent).close()
    warning = busy()
    if warning:
        say(warning)
    best: dict[str, Any] = {name: value for name, value in DEFAULTS.items() if name in _open_settings(config)}
    compiling: dict[str, float] = {}
    try:
        seconds = _seconds_alone(config, best | {"threads": config.compute.threads or threads}, channels=channels)
        say(f"{'as it is':28} {1000 * seconds:8.1f} ms a step")
        for change in _candidates(config, threads=threads):
            trial = _compare(config, {"threads": config.compute.threads or threads} | best, change, channels=channels, seconds=seconds)
            if trial.chosen and trial.seconds is not None:
                if "compile" in change:
                    compiling = {"start_seconds": trial.start_seconds, "saved_seconds": (trial.former_seconds or seconds) - trial.seconds}
                best, seconds = best | change, trial.seconds
            say(describe_trial(trial, change))
    finally:
        torch.set_num_threads(threads)
    date = datetime.now(UTC).date().isoformat()
    entry = {
        "settings": best,
        "seconds": seconds,
        "compiling": compiling,
        "busy": warning is not None,
        "date": date,
        "torch": torch.__version__,
    }
    write_text(place, json.dumps(entry, indent=1) + "\n")
    return best


def tuned(plan: Plan) -> Plan:
    """The plan with ``auto`` replaced by what was measured here (else by the defaults), and a sentence where something was."""
    config, reasons = plan.config, plan.reasons
    remembered = recall(config, channels=plan.network_channels)
    choice = DEFAULTS | ({} if remembered is None else remembered["settings"])
    used = {name: value for name, value in choice.items() if name in _open_settings(config)}
    if remembered is not None and used.get("compile") not in (None, "no") and (why := _too_short(plan, remembered)):
        used, reasons = used | {"compile": "no"}, (*reasons, why)
    told = {name: value for name, value in used.items() if DEFAULTS.get(name) != value}
    if remembered is None and _open_settings(config):
        reasons = (
            *reasons,
            "not tuned: pixloom tune, with the same data and settings, measures once what is fastest here",
        )
    elif remembered is not None and told:
        when = f"{remembered.get('date', 'some day')}{', while the machine was busy' if remembered.get('busy') else ''}"
        reasons = (*reasons, f"{_listed(told)}: the fastest here, as pixloom tune measured on {when}")
    return replace(plan, config=override(config, {f"compute.{name}": value for name, value in used.items()}), reasons=reasons)


def _too_short(plan: Plan, remembered: Mapping[str, Any]) -> str | None:
    """Why a run is not to be compiled: it has too few steps to win back the time that compiling takes. None where it has enough."""
    training, compiling = plan.config.training, remembered["compiling"]
    minutes = training.minutes or 0.0
    steps = 60 * minutes / max(remembered["seconds"], 1e-9) if training.images is None else training.images / training.batch_size
    if compiling["saved_seconds"] * steps >= compiling["start_seconds"]:
        return None
    return f"not compiled: {steps:,.0f} steps would save less than the {compiling['start_seconds']:.0f} s that compiling takes"


def recall(config: RunConfig, *, channels: tuple[int, int]) -> dict[str, Any] | None:
    """What :func:`tune` found for these networks, this size and batch on this machine; None where it was not run."""
    unusable = OSError, ValueError, TypeError, KeyError, AttributeError, ConfigError
    with suppress(*unusable):  # it is a cache: whatever is wrong with it, there is none
        entry: dict[str, Any] = json.loads(_place(config, channels=channels).read_text(encoding="utf-8"))
        override(config, {f"compute.{name}": value for name, value in entry["settings"].items()})
        if entry["settings"].get("compile", "no") != "no":
            float(entry["seconds"]), float(entry["compiling"]["start_seconds"]), float(entry["compiling"]["saved_seconds"])
        return entry
    return None


def describe_trial(trial: Trial, change: Mapping[str, Any]) -> str:
    """A line for one trial."""
    if trial.seconds is None or trial.ratio is None or trial.former_seconds is None:
        return f"{_listed(change):28} does not work here: {trial.failure}"
    times = f"{1000 * trial.seconds:8.1f} ms a step where the best so far takes {1000 * trial.former_seconds:.1f}"
    start = f", and {trial.start_seconds:.0f} s at the start of every run" if "compile" in change else ""
    return f"{_listed(change):28} {times}: {trial.ratio:.2f} times as fast{start}{': chosen' if trial.chosen else ''}"


def busy() -> str | None:
    """A warning when other programs compute, for then what is measured is their doing too; None on a quiet machine."""
    load, cores = (os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0), os.cpu_count() or 1
    return f"this machine is busy (load {load:.1f} on {cores} cores): measure again when it is quiet" if load > cores / 2 else None


def _candidates(config: RunConfig, *, threads: int) -> Iterator[dict[str, Any]]:
    """The changes to try, one after the other; the dearest to measure last."""
    is_open, device = _open_settings(config), choose_device(config.compute.device).type
    if "threads" in is_open and device == "cpu":
        cores = os.cpu_count() or 1
        yield from ({"threads": count} for count in sorted({max(1, cores // 2), cores}) if count != threads)
    for name, values in (
        ("memory_format", ("channels_last",)),
        ("precision", ("bf16",)),
        ("compile", ("default", "reduce-overhead") if device == "cuda" else ("default",)),
    ):
        yield from ({name: value} for value in values if name in is_open)


def _open_settings(config: RunConfig) -> set[str]:
    """The settings that the config leaves to be chosen."""
    return {name for name in (*DEFAULTS, "threads") if getattr(config.compute, name) in ("auto", None)}


def _compare(config: RunConfig, best: Mapping[str, Any], change: Mapping[str, Any], *, channels: tuple[int, int], seconds: float) -> Trial:
    """The best so far with a change against the best without it: A B A B ..., medians."""
    settings = dict(change)
    try:
        steps = [_step(config, best, channels=channels)]
        began = time.perf_counter()
        steps.append(_step(config, {**best, **change}, channels=channels))
        started = time.perf_counter() - began
        if "compile" not in change and (first := steps[1]()) > HOPELESS * seconds:
            return Trial(settings, None, None, chosen=False, failure=f"a step takes {first:.1f} s, and was not measured to the end")
        rounds = [[step() for step in steps] for _ in range(ROUNDS)]
    except PixloomError:
        raise
    except Exception as error:  # a compiler, a driver or memory may fail in any way; then this is not a way to compute here
        return Trial(settings, None, None, chosen=False, failure=first_line(error)[:200])
    ratios = [old / new for old, new in rounds]
    # A median can be luck; four of five rounds seldom are.
    chosen = statistics.median(ratios) >= LEAST_GAIN and sum(ratio > 1 for ratio in ratios) >= ROUNDS - 1
    old, new = (statistics.median(times) for times in zip(*rounds, strict=True))
    return Trial(settings, new, statistics.median(ratios), chosen=chosen, former_seconds=old, start_seconds=started)


def _seconds_alone(config: RunConfig, settings: Mapping[str, Any], *, channels: tuple[int, int]) -> float:
    step = _step(config, settings, channels=channels)
    return statistics.median(step() for _ in range(ROUNDS))


def _step(config: RunConfig, settings: Mapping[str, Any], *, channels: tuple[int, int]) -> Callable[[], float]:
    """A function that makes one warmed-up training step on random pictures and gives its seconds."""
    config = override(config, {f"compute.{name}": value for name, value in settings.items()})
    assert config.compute.threads is not None, "whatever ran before may have left another number"
    threads = config.compute.threads
    engine = Engine(config)
    learner, batch = Learner(config, channels=channels, engine=engine), engine.place(_random_batch(config, channels, engine=engine))

    def step() -> float:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        learner.step(batch)
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        return time.perf_counter() - started

    for _ in range(WARM_UP):
        step()
    return step


def _random_batch(config: RunConfig, channels: Sequence[int], *, engine: Engine) -> Batch:
    count, size = config.training.batch_size // engine.world_size, config.data.size
    source, target = (torch.rand(count, number, size, size) * 2 - 1 for number in channels)
    return Batch(source, target, ("",) * count)


def _place(config: RunConfig, *, channels: tuple[int, int]) -> Path:
    """Where the result for this machine, these networks, this size and batch is kept."""
    device = choose_device(config.compute.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    machine = [platform.node(), platform.machine(), name, os.cpu_count(), torch.__version__]
    task = config.model_dump(include={"method": True, "generator": True, "critic": True, "losses": True})
    given = config.compute.model_dump(include={*DEFAULTS, "threads", "accumulate", "recompute_activations"})
    processes = os.environ.get("WORLD_SIZE", "1"), os.environ.get("OMP_NUM_THREADS")
    key = json.dumps([machine, processes, task, given, config.data.size, config.training.batch_size, channels], sort_keys=True)
    return cache_folder() / "tuning" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
