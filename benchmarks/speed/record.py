"""The record of a benchmark: what was found, with everything that its numbers depend on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.speed.harness import ROOT, Options, Outcome, Reading, column, measures, ratio, summarise

PACKAGES = ("torch", "numpy", "pillow", "onnx", "onnxruntime", "openvino")
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, and the variables that change speed."""
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in PACKAGES}},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def processor_name() -> str:
    """The model as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in fields.items()}
    family = ", ".join(f"{key} {values[key]}" for key in ("cpu family", "model") if key in values)
    return f"{values.get('model name', platform.machine())}" + (f" ({family})" if family else "")


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


PROGRAMS = (".", ":!benchmarks/results")
"""What of a checkout can change a measurement: all but what others have left."""


def commit(checkout: Path) -> str | None:
    """The commit of a checkout, marked where files differ from it; None where it is no git checkout."""
    asked = ("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "--", *PROGRAMS)
    answers = [subprocess.run(["git", "-C", str(checkout), *command], capture_output=True, text=True, check=False) for command in asked]
    if any(answer.returncode for answer in answers):
        return None
    return answers[0].stdout.strip() + (" with changes" if answers[1].stdout.strip() else "")


def summary(readings: Mapping[str, Sequence[Reading]]) -> dict[str, Any]:
    """For every measure: each candidate in numbers, and how many times less than the reference, the first one, it takes."""
    reference = next(iter(readings))
    found: dict[str, Any] = {}
    for measure in measures(readings):
        columns = {name: column(several, measure) for name, several in readings.items()}
        found[measure] = {
            name: {**summarise(values), **({} if name == reference else {"ratio": ratio(columns[reference], values)})}
            for name, values in columns.items()
        }
    return found


def make_record(
    name: str, outcome: Outcome, *, options: Options, command: str, started: datetime, load: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """Everything about one run of a benchmark, as plain values.

    Args:
        name: of the benchmark.
        outcome: what it found.
        options: what the command line chose.
        command: the command line that does it again.
        started: when it began.
        load: the load averages before and after (over 1, 5 and 15 minutes).
    """
    return {
        "name": name,
        "quick": options.quick,
        "date": started.isoformat(timespec="seconds"),
        "minutes": round((datetime.now(UTC) - started).total_seconds() / 60, 1),
        "command": command,
        "commit": commit(ROOT),
        "peer_commit": None if options.peer is None else commit(options.peer),
        "pictures": "synthetic" if options.data is None else "facades",
        "machine": describe_machine(),
        "load_average": {"before": list(load[0]), "after": list(load[1])},
        "notes": list(outcome.notes),
        "comparisons": [{**asdict(comparison), "summary": summary(comparison.readings)} for comparison in outcome.comparisons],
        "rows": [dict(row) for row in outcome.rows],
    }


def write_record(record: Mapping[str, Any], folder: Path) -> Path:
    """The record as FOLDER/NAME.json, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['name']}.json"
    replace_text(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def replace_text(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
