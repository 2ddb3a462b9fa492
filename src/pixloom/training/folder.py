"""The run folder: where everything about one run lies, and the lock that keeps a second process out of it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pixloom import __version__
from pixloom.config import ComputeConfig, RunConfig, dump_config, load_config
from pixloom.errors import CheckpointError, OutputError
from pixloom.files import recover_folder, remove_drafts, write_text, writing

try:
    import fcntl
except ImportError:  # Windows has no flock; two processes on one run folder are then the user's to avoid
    fcntl = None  # type: ignore[assignment]


LINEAGE = "begun_from.json"
"""What a run was begun from."""


@dataclass(frozen=True)
class RunFolder:
    """Paths inside ``runs/NAME``."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved settings; a folder with this file is a run."""
        return self.root / "config.yaml"

    @property
    def history(self) -> Path:
        """One line per record."""
        return self.root / "history.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Full training states."""
        return self.root / "checkpoints"

    @property
    def samples(self) -> Path:
        """Preview grids."""
        return self.root / "samples"

    @property
    def alarms(self) -> Path:
        """Pictures that show what an alarm is about."""
        return self.root / "alarms"

    @property
    def model(self) -> Path:
        """The best model so far by the validation metric."""
        return self.root / "model"

    @property
    def last_model(self) -> Path:
        """The model as it was when training ended."""
        return self.root / "model-last"

    @property
    def evaluation(self) -> Path:
        """The final judgement."""
        return self.root / "evaluation"

    def check_free(self, *, data: Path) -> None:
        """Refuse a place where a new run cannot be made, before anything costs time.

        Raises:
            OutputError: there is a run already, other files lie there, or it is inside the data (whose pictures it would add to).
        """
        if self.config.exists():
            raise OutputError(
                "there is a run here already", where=self.root, fix=f"go on with it: pixloom resume {self.root}, or choose another --out"
            )
        if self.root.is_file() or (self.root.is_dir() and any(path.name != ".lock" for path in self.root.iterdir())):
            raise OutputError(
                "this place is taken by something that is not a run", where=self.root, fix="choose an --out that does not exist yet"
            )
        if data.is_dir() and self.root.resolve().is_relative_to(data.resolve()):
            raise OutputError("the run would lie inside its own data", where=self.root, fix=f"choose an --out outside {data}")

    def create(self, config: RunConfig) -> None:
        """Start a new run in a place that is free; from the first file on it can be resumed.

        Raises:
            OutputError: the place is not writable.
        """
        write_text(self.config, dump_config(config))

    def describe(self, *, data: dict[str, Any], environment: dict[str, Any]) -> None:
        """Write what the report says about data and machine."""
        write_text(self.root / "data.json", json.dumps(data, indent=1, ensure_ascii=False))
        write_text(self.root / "environment.json", json.dumps(environment, indent=1, ensure_ascii=False))

    def keep_lineage(self, lineage: Mapping[str, Any]) -> None:
        """Write what the run was begun from: the model itself may be gone when another one is saved."""
        write_text(self.root / LINEAGE, json.dumps(lineage, indent=1))

    def lineage(self) -> dict[str, Any]:
        """What the run was begun from; nothing where its weights were drawn by chance."""
        try:
            found: dict[str, Any] = json.loads((self.root / LINEAGE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    def forget_after(self, images: int) -> None:
        """Remove the pictures of a time that the run has gone back on."""
        for path in (*self.samples.glob("[0-9]*.png"), *self.alarms.glob("[0-9]*.png")):
            number = path.stem.partition("-")[0]
            if number.isdecimal() and int(number) > images:
                path.unlink(missing_ok=True)

    def open(self) -> RunConfig:
        """The settings of an existing run.

        Raises:
            CheckpointError: there is none.
        """
        if not self.config.is_file():
            why = "there is no such folder" if not self.root.exists() else "it has no config.yaml"
            raise CheckpointError(
                "there is no run to resume here",
                where=self.root,
                why=why,
                fix="give the folder that --out named, e.g. pixloom resume runs/x",
            )
        return load_config(self.config)

    def recover(self) -> None:
        """Undo what a kill left half done; only for the process that holds the lock."""
        for folder in (self.model, self.last_model, self.evaluation):
            recover_folder(folder)
        if self.checkpoints.is_dir():
            for draft in self.checkpoints.glob(".*"):
                shutil.rmtree(draft, ignore_errors=True)
        remove_drafts(self.root)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it however the process ends.

        Raises:
            OutputError: another process holds it.
        """
        lock = self.root / ".lock"
        with writing("the run folder", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_CREAT | os.O_RDWR)
        try:
            _flock(handle, self.root)
            yield
        finally:
            os.close(handle)
            if not self.config.exists():  # nothing came of it: leave no trace
                with suppress(OSError):
                    lock.unlink()
                    self.root.rmdir()


def _flock(handle: int, root: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            "another process is training in this run folder", where=root, fix="wait for it to end, or train into another folder"
        ) from error


def describe_machine(*, device: torch.device, world_size: int, compute: ComputeConfig) -> dict[str, Any]:
    """What bit-exactness depends on."""
    return {
        "processes": world_size,
        "device": device.type,
        "memory format": compute.memory_format,
        "compiling": compute.compile,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def describe_environment(*, device: torch.device, world_size: int, compute: ComputeConfig) -> dict[str, Any]:
    """Versions, machine and device, for the report."""
    return {
        "pixloom": __version__,
        **describe_machine(device=device, world_size=world_size, compute=compute),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "command": " ".join(["pixloom", *sys.argv[1:]]) if sys.argv else "",
    }


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most memory this process has held: of the GPU where one computes, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
