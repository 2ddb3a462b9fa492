"""Checkpoints: everything that a run needs to continue bit for bit, in one folder that is whole or absent.

    checkpoints/000012800/
        state.safetensors   tensors of the networks, the average and the optimizers, by name
        state.json          progress, and what the run is
        manifest.json       size and SHA-256 of the two; written last

Random numbers need no saving: every step derives its own from (seed, rank, images seen).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pixloom.errors import CheckpointError
from pixloom.files import checksum, new_folder

TENSORS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    images: int = 0
    step: int = 0
    elapsed_seconds: float = 0.0
    learning_rate_scale: float = 1.0
    """Halved at every roll-back."""
    rollbacks: int = 0
    skipped_steps: int = 0
    best_value: float | None = None
    best_images: int | None = None
    bad_steps: int = 0
    """In a row, up to here."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys that the autopilot has changed."""
    remedies: int = 0
    """How often it has."""
    remedied_images: int = 0
    """Images seen when it last did."""

    @property
    def halvings(self) -> int:
        """How often the run went back with half the learning rates."""
        return round(-math.log2(self.learning_rate_scale))

    @property
    def deeds(self) -> int:
        """How often something was done against an alarm."""
        return self.remedies + self.halvings


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read and found whole."""

    folder: Path
    progress: Progress
    tensors: dict[str, torch.Tensor]
    scalars: dict[str, Any]
    identity: str
    machine: dict[str, Any]


def save_checkpoint(
    root: Path,
    *,
    progress: Progress,
    states: Mapping[str, Mapping[str, Any]],
    identity: str,
    machine: Mapping[str, Any],
    keep: int,
    hold: int | None = None,
) -> Path:
    """Write a checkpoint and remove all but the newest ``keep``.

    Args:
        root: the run's ``checkpoints`` folder.
        progress: where the run stands.
        states: named state dictionaries of networks and optimizers.
        identity: what the run is; a checkpoint of another identity is refused at resume.
        machine: versions and thread count, to tell when bit-exactness cannot be promised.
        keep: how many to keep.
        hold: images; the newest checkpoint that has seen no more stays in any case, to go back to.

    Raises:
        CheckpointError: a tensor is not finite; the former checkpoint stays.
        OutputError: the disk is full or the place is not writable; the former checkpoint stays.
    """
    tensors, scalars = flatten(states)
    check_finite(tensors)
    folder = root / f"{progress.images:09d}"
    with new_folder(folder, what="the checkpoint") as draft:
        save_file(tensors, draft / TENSORS)
        tree = {"progress": asdict(progress), "identity": identity, "machine": dict(machine), "scalars": scalars}
        (draft / STATE).write_text(json.dumps(tree, indent=1), encoding="utf-8")
        files = {name: {"bytes": (draft / name).stat().st_size, "sha256": checksum(draft / name)} for name in (TENSORS, STATE)}
        (draft / MANIFEST).write_text(json.dumps(files, indent=1), encoding="utf-8")
    # Those beyond this one are damaged ones that a resume has passed over, or of a time that a roll-back has undone.
    undone = [path for path in list_checkpoints(root) if path.name > folder.name]
    there = [path for path in list_checkpoints(root) if path not in undone]
    held = [path for path in there if hold is not None and int(path.name) <= hold][-1:]
    for old in (*undone, *(path for path in there[:-keep] if path not in held)):
        _remove(old)
    return folder


def list_checkpoints(root: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return sorted(path for path in root.glob("[0-9]*") if path.is_dir()) if root.is_dir() else []


def forget_checkpoints(root: Path, *, after: int) -> None:
    """Remove the checkpoints of a time that the run has gone back on."""
    for folder in reversed(list_checkpoints(root)):
        if int(folder.name) > after:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Under a name that is no checkpoint's first: a kill half way through leaves nothing that looks like a damaged one."""
    gone = folder.with_name(f".{folder.name}-removed")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def newest_checkpoint(root: Path, *, identity: str) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint of this run (None: there is none yet), and a sentence for each damaged one passed over.

    Raises:
        CheckpointError: there are checkpoints but none is whole, or the newest belongs to another run.
    """
    complaints: list[str] = []
    for folder in reversed(list_checkpoints(root)):
        try:
            checkpoint = read_checkpoint(folder)
        except CheckpointError as error:
            complaints.append(f"checkpoint {folder.name} is damaged ({error.why}) and was passed over")
            continue
        if checkpoint.identity != identity:
            raise CheckpointError(
                "this checkpoint belongs to another run",
                where=folder,
                why="its config or data are not those of this run folder",
                fix="restore config.yaml and the data as they were, or train anew with another --out",
            )
        return checkpoint, complaints
    if complaints:
        raise CheckpointError(
            "no checkpoint of this run is whole",
            where=root,
            why="; ".join(complaints),
            fix="restore the folder from a copy, or train anew with another --out",
        )
    return None, []


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, every byte checked against its manifest.

    Raises:
        CheckpointError: something is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name in (TENSORS, STATE):
            if checksum(folder / name) != manifest[name]["sha256"]:
                raise ValueError(f"{name} has not the checksum that the manifest states")
        tree = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return Checkpoint(
            folder=folder,
            progress=Progress(**tree["progress"]),
            tensors=load_file(folder / TENSORS),
            scalars=tree["scalars"],
            identity=tree["identity"],
            machine=tree["machine"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError("the checkpoint is damaged", where=folder, why=str(error)) from error


def flatten(states: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A nested state as two flat dictionaries by path: its tensors, and everything else.

    >>> flatten({"a": {"w": 1, "b": [2, 3]}})
    ({}, {'a/w': 1, 'a/b/0': 2, 'a/b/1': 3})
    """
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, Any] = {}
    for key, value in states.items():
        path = f"{prefix}{key}"
        if isinstance(value, torch.Tensor):
            tensors[path] = value.detach().cpu().contiguous()
        elif isinstance(value, Mapping):
            inner = flatten(value, f"{path}/")
            tensors.update(inner[0])
            scalars.update(inner[1])
        elif isinstance(value, (list, tuple)):
            inner = flatten({str(i): item for i, item in enumerate(value)}, f"{path}/")
            tensors.update(inner[0])
            scalars.update(inner[1])
        else:
            scalars[path] = value
    return tensors, scalars


def restore_module(module: torch.nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load a network's tensors by its name in the checkpoint.

    Raises:
        CheckpointError: they do not fit.
    """
    prefix = f"{name}/"
    state = {key.removeprefix(prefix): value for key, value in checkpoint.tensors.items() if key.startswith(prefix)}
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the {name}", where=checkpoint.folder, why=str(error)[:300]) from error


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: Iterable[torch.nn.Parameter]) -> dict[str, Any]:
    """An optimizer's moments and counters by the places of parameters in their network, however its groups divide them."""
    return {"state": {str(place): optimizer.state[parameter] for place, parameter in enumerate(parameters) if parameter in optimizer.state}}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, checkpoint: Checkpoint, name: str, *, parameters: Iterable[torch.nn.Parameter]
) -> None:
    """Load an optimizer's moments and counters, as :func:`optimizer_state` gave them; its settings come from the config.

    Raises:
        CheckpointError: they are of other parameters.
    """
    prefix = f"{name}/state/"
    found: dict[int, dict[str, Any]] = {}
    for source in (checkpoint.tensors, checkpoint.scalars):
        for key, value in source.items():
            if key.startswith(prefix):
                place, entry = key.removeprefix(prefix).split("/", 1)
                found.setdefault(int(place), {})[entry] = value
    in_group = {parameter: number for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    state = {in_group[parameter]: found[place] for place, parameter in enumerate(parameters) if place in found}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, moments in optimizer.state.items():
        for entry, value in moments.items():
            if not isinstance(value, torch.Tensor) or not value.dim():
                continue
            if value.shape != parameter.shape:
                why = f"moments of {tuple(value.shape)} where weights are {tuple(parameter.shape)}"
                fix = "train anew, or from its model: pixloom train ... --from RUN"
                raise CheckpointError(
                    f"the checkpoint does not fit the {name.replace('_', ' ')}", where=checkpoint.folder, why=why, fix=fix
                )
            # The fused kernel walks the memory of both: it must be laid out alike.
            moments[entry] = torch.empty_like(parameter).copy_(value)


def check_finite(tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse tensors that hold NaN or infinity.

    Raises:
        CheckpointError: naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"the tensor {name} is not finite",
                why="a NaN or infinity got into it",
                fix="lower learning rates, or training.clip_norm=1",
            )
