"""Which runtime translates: an exported model that is fresh and whole runs without torch, in whatever was measured to be the fastest."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pixloom.errors import ConfigError, DependencyError, ModelError, OutputError, installing, nearest
from pixloom.files import cache_folder, checksum, write_text
from pixloom.inference.onnxfile import EXPORT, Exported, read_export
from pixloom.inference.runtimes import EXPORTED, Runtime, TorchRuntime, check_device_name, cores

if TYPE_CHECKING:
    from pixloom.modelfile import ModelDescription

_FOR_OTHERS = (".pt2", ".tflite")
"""Exports that are for programs without Pixloom."""

FOREIGN = (".pth", ".pt", ".ckpt", ".safetensors")
"""Suffixes of other programs' weights."""

_DECIDING = ("sha256", "task", "generator", "inference", "size")  # what of a description decides the translation

RUNTIMES = ("auto", "torch", *EXPORTED)
"""What can be asked for."""

_TORCH_START, _PICTURES = 2.0, 100  # importing torch takes so many seconds more than a runtime; it must win them back in so many pictures


def open_model(path: Path, *, runtime: str = "auto", device: str = "auto") -> tuple[Runtime, ModelDescription]:
    """What computes a model, and its description.

    Args:
        path: a model folder, or a file that ``export_onnx`` made.
        runtime: ``torch``, ``onnxruntime`` or ``openvino``; ``auto`` takes torch on an accelerator, and elsewhere the fastest that
            :func:`remember` knows of where the folder holds an export of exactly its weights. One that is stale or damaged is left
            aside, and a line on standard error says so.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ConfigError: an unknown runtime or device, or a runtime that cannot use the device.
        DependencyError: the runtime is not installed.
        ModelError: no model there, a damaged or foreign one, or none that the runtime can run.
    """
    _check(runtime, device)
    if path.is_file() and path.suffix == Path(EXPORT).suffix:
        if runtime == "torch" or device not in ("auto", "cpu"):
            raise ConfigError("an exported file runs on the CPU, without torch", where=path, fix="give the model folder it was made from")
        return _open_export(read_export(path), runtime=runtime, others=())
    if path.is_file():
        raise ModelError(
            "this file is no model that can be used here",
            where=path,
            why="models are folders, exported .onnx files, and other programs' weights (.pth and the like)",
            fix="give the model that it was exported from" if path.suffix in _FOR_OTHERS else "give the folder of a model or of a run",
        )
    if runtime in EXPORTED:
        return _open_export(fresh_export(path), runtime=runtime, others=())
    on_cpu = device == "cpu" or (device == "auto" and not has_accelerator())
    if runtime == "auto" and on_cpu and (path / EXPORT).is_file() and installed():
        try:
            return _open_export(fresh_export(path), runtime=runtime, others=("torch",))
        except ModelError as error:
            print(f"note: {error.what}, so torch is used; {error.fix}", file=sys.stderr)
    return _open_torch(path, device=device)


def fresh_export(folder: Path) -> Exported:
    """The export in a model folder, when it was made from the model as its description has it now.

    That the weights are those that the description names is not checked: they are not used.

    Raises:
        ModelError: there is none, or one that is stale or no export.
    """
    if not (folder / EXPORT).is_file():
        raise ModelError("this model has not been exported", where=folder, fix=f"pixloom export {folder}")
    exported = read_export(folder / EXPORT)
    try:
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        is_fresh = all(described[key] == exported.tree[key] for key in _DECIDING)
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        is_fresh = False
    if not is_fresh:
        fix = f"make it again: pixloom export {folder} --overwrite"
        raise ModelError("the exported model is not of the model as it is now", where=exported.path, fix=fix)
    return exported


def is_exported(folder: Path) -> bool:
    """Whether a model folder holds a whole export of the model as it is now."""
    try:
        fresh_export(folder).check()
    except ModelError:
        return False
    return True


def is_measured(folder: Path) -> bool:
    """Whether it is known how fast the export in a model folder is here."""
    return bool(_remembered(fresh_export(folder).sha256))


def find_model(path: Path, *, back: bool = False) -> Path:
    """The model that a path means: itself, or ``model`` inside a run folder; or the one in it that translates back.

    Raises:
        ModelError: nothing there.
    """
    if back:
        there = find_model(path)
        if not (there / "back" / "config.json").is_file():
            raise ModelError(
                "this model does not translate back",
                where=there,
                why="only one direction was learnt",
                fix="leave --direction out, or learn both: --recipe cyclegan",
            )
        return there / "back"
    path = path.expanduser()
    if not path.exists():
        if _on_the_hub(path):
            from pixloom.inference.hub import fetched

            return fetched(path.as_posix())
        raise ModelError(
            "there is no such model",
            where=path,
            fix="give a model folder, a run folder, e.g. runs/NAME, or user/name on the Hugging Face Hub",
        )
    if (path / "config.yaml").is_file() and not (path / "config.json").is_file():
        if not (path / "model").is_dir():
            raise ModelError(
                "this run has no model yet", where=path, why="a model is written at each validation", fix=f"pixloom resume {path}"
            )
        return path / "model"
    return _taken_in(path) or path


def _taken_in(path: Path) -> Path | None:
    """The model made of another program's weights or of its folder ``checkpoints/NAME``, in the cache; None where it is neither."""
    folder = path.is_dir() and not (path / "config.json").is_file() and any(path.glob("latest_net_G*.pth"))
    if not (folder or (path.is_file() and path.suffix in FOREIGN)):
        return None
    from pixloom.importers import import_model
    from pixloom.importers.foreign import critic_beside, place_of_encoder
    from pixloom.importers.options import FILES

    weights = sorted(path.glob("latest_net_G*.pth")) if folder else [path]
    beside = [place_of_encoder(weights[0]), *(weights[0].parent / file for file in FILES)]  # what belongs to it, and its options
    critics = [critic for each in weights if (critic := critic_beside(each)) is not None]
    weights += [each for each in (*beside, *critics) if each.is_file()]
    name = hashlib.sha256("".join(checksum(each) for each in weights).encode()).hexdigest()[:16]
    place = cache_folder() / "imported" / name
    if not (place / "config.json").is_file():
        notes = import_model(path, out=place).notes
        print(f"note: taken in from {path}{''.join(f'; {note}' for note in notes)}", file=sys.stderr)
    return place


def _on_the_hub(path: Path) -> bool:
    """Whether a place that is not there can be ``user/name`` on the Hub: two parts, of which the first is no folder here.

    >>> _on_the_hub(Path("someone/cells")), _on_the_hub(Path("cells")), _on_the_hub(Path("/a/b"))
    (True, False, False)
    """
    return (
        path.as_posix().partition("@")[0].count("/") == 1
        and not path.is_absolute()
        and not Path(path.parts[0]).is_dir()
        and path.parts[0] not in (".", "..", "~", "runs")
    )


def config_of_run(model: Path) -> Path | None:
    """The settings of the run that a model is of: of a run folder, or of the run folder that a model lies in; None without a run."""
    return next((place / "config.yaml" for place in (model, model.parent) if (place / "config.yaml").is_file()), None)


def translates_back(path: Path) -> bool:
    """Whether a model, or that of a run folder, comes with one that translates back."""
    return (find_model(path) / "back" / "config.json").is_file()


def remember(sha256: str, seconds: Mapping[str, float]) -> None:
    """Keep, for :func:`fastest`, how long each runtime takes here for a picture of the model with these weights."""
    with suppress(OutputError):  # nothing but speed is lost
        write_text(_memory(sha256), json.dumps({"machine": _machine(), "seconds": dict(seconds)}, indent=1) + "\n")


def fastest(sha256: str, names: Sequence[str]) -> str:
    """The runtime among some that takes the least time for 100 pictures, its start included; the first where none was measured here."""
    seconds = _remembered(sha256)
    known = [name for name in names if name in seconds]
    return min(known, key=lambda name: _PICTURES * seconds[name] + _TORCH_START * (name == "torch")) if known else names[0]


def installed() -> list[str]:
    """The runtimes of exported models whose packages are here."""
    return [name for name in EXPORTED if importlib.util.find_spec(name) is not None]


def has_accelerator() -> bool:
    """Whether torch would compute on something faster than the CPU, as far as it can be seen without importing torch."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    drivers = ("/proc/driver/nvidia/version", "/dev/kfd")
    if not (any(os.path.exists(path) for path in drivers) or shutil.which("nvidia-smi")):
        return False
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and not importlib.metadata.version("torch").endswith("+cpu")


def _check(runtime: str, device: str) -> None:
    if runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime '{runtime}'", fix=nearest(runtime, RUNTIMES))
    check_device_name(device)
    if runtime in EXPORTED and device not in ("auto", "cpu"):
        raise ConfigError(f"{runtime} runs on the CPU here, and the device is to be {device}", fix="leave one of the two out")


def _open_torch(folder: Path, *, device: str) -> tuple[Runtime, ModelDescription]:
    from pixloom.modelfile import load_model

    generator, description = load_model(folder)
    return TorchRuntime(generator, description.inference, device=device), description


def _open_export(exported: Exported, *, runtime: str, others: tuple[str, ...]) -> tuple[Runtime, ModelDescription]:
    """The runtime asked for, or the fastest of those that are here and ``others``. It loads while the rest is checked."""
    here = installed()
    if not here or runtime not in ("auto", *here):
        name = runtime if runtime in EXPORTED else next(iter(EXPORTED))
        extra = "export" if name == "onnxruntime" else name
        raise DependencyError(f"running an exported model needs the package '{name}'", fix=installing(extra))
    name = fastest(exported.sha256, (*here, *others)) if runtime == "auto" else runtime
    if name == "torch":
        return _open_torch(exported.path.parent, device="cpu")
    opened, description = EXPORTED[name](exported), exported.description
    exported.check()
    return opened, description


def _remembered(sha256: str) -> dict[str, float]:
    """Seconds per picture by runtime, as measured on this machine; empty where nothing was."""
    try:
        tree = json.loads(_memory(sha256).read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in tree["seconds"].items()} if tree["machine"] == _machine() else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # it is a cache: whatever is wrong with it, measure again
        return {}


def _memory(sha256: str) -> Path:
    return cache_folder() / "runtimes" / f"{sha256[:32]}.json"


def _machine() -> str:
    return f"{platform.node()} {platform.machine()}, {cores()} cores"
