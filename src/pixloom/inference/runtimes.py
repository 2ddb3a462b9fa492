"""What computes a generator: torch on the network itself, ONNX Runtime or OpenVINO on its export. Arrays in, arrays out.

All of them draw the same noise from the same seed, so that a picture does not depend on what computed it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from pixloom.errors import ConfigError, ModelError, OutputError, PixloomError, first_line, require
from pixloom.files import cache_folder, checksum, sync, write_text
from pixloom.inference.onnxfile import Dropped, Exported, Signature

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pixloom.config import InferenceConfig

_CUDA_BATCH = 16  # a batch of 256 x 256 pixels is a large picture; not measured on a GPU
_COMPILED_MODELS = 4  # that OpenVINO's cache holds; each takes as much disk as the weights
_NOTE = "checksums.json"  # beside a compiled network
_PRIME = 2**31 - 1


@runtime_checkable
class Runtime(Protocol):
    """A generator that can be run.

    Attributes:
        name: of the runtime.
        signature: what the network takes.
        batch_size: how many pictures of one size are best run at once.
    """

    name: str
    signature: Signature
    batch_size: int

    def run(self, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int) -> np.ndarray:
        """G(x, c, z): (B, C, H, W) float32 in [-1, 1], whose sides fit the signature, to (B, C', H, W); every picture has the same noise.

        The condition is tensors by kind, (B, ...), all those of the signature where there are any.
        """
        ...


class TorchRuntime:
    """The network itself, on any device.

    Args:
        generator: the network; it is moved to the device and put into the mode of use.
        inference: what batch norm normalises by, and whether dropout stays on.
        device: ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: the device is not there.
    """

    name = "torch"

    def __init__(self, generator: nn.Module, inference: InferenceConfig, *, device: str = "auto") -> None:
        from pixloom.nets.layers import set_inference

        self.device = choose_device(device)
        self.generator = generator.to(self.device)
        set_inference(self.generator, statistics=inference.statistics, dropout=inference.dropout)
        self.signature = signature_of(self.generator, inference)
        self.batch_size = _CUDA_BATCH if self.device.type == "cuda" else 1

    def run(self, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int) -> np.ndarray:
        """See :meth:`Runtime.run`."""
        import torch

        from pixloom.nets.layers import set_noise_seed

        set_noise_seed(self.generator, seed)
        noise = draw_noise(seed, channels=self.signature.noise_channels, batch=len(source))
        with torch.inference_mode():
            given = [None if array is None else torch.from_numpy(array).to(self.device) for array in (source, noise)]
            stated = {kind: torch.from_numpy(np.ascontiguousarray(rows)).to(self.device) for kind, rows in (condition or {}).items()}
            output: torch.Tensor = self.generator(given[0], stated or None, given[1])
            return output.float().cpu().numpy()


class OnnxRuntime:
    """An exported network in ONNX Runtime, on the CPU. It is loaded in the background, until it is first run."""

    name = "onnxruntime"
    batch_size = 1

    def __init__(self, exported: Exported) -> None:
        self.exported, self.signature = exported, exported.signature
        self._session = _in_background(self._load, what="ONNX Runtime cannot load the exported model")

    def run(self, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int) -> np.ndarray:
        """See :meth:`Runtime.run`."""
        output: np.ndarray = self._session.result().run(None, feeds(self.signature, source, condition=condition, seed=seed))[0]
        return output

    def _load(self) -> Any:
        ort = require("onnxruntime", extra="export", purpose="running an exported model")
        options = ort.SessionOptions()
        options.intra_op_num_threads = cores()
        options.enable_cpu_mem_arena = False  # as fast, and with it a picture of 1024 px takes 1.4 times the memory
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores to decoding and encoding
        options.log_severity_level = 3
        return ort.InferenceSession(self.exported.path, options, providers=["CPUExecutionProvider"])


class OpenVino:
    """An exported network in OpenVINO, on the CPU. It is loaded in the background, until it is first run.

    The compiled network is kept in the user's cache, where loading it takes a sixth of the time.
    """

    name = "openvino"
    batch_size = 1

    def __init__(self, exported: Exported) -> None:
        self.exported, self.signature = exported, exported.signature
        self._request = _in_background(self._load, what="OpenVINO cannot load the exported model")

    def run(self, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int) -> np.ndarray:
        """See :meth:`Runtime.run`."""
        request = self._request.result()
        request.infer(feeds(self.signature, source, condition=condition, seed=seed), share_inputs=True)
        output: np.ndarray = request.get_output_tensor().data.copy()
        return output

    def _load(self) -> Any:
        openvino = require("openvino", extra="openvino", purpose="running an exported model in OpenVINO")
        self.exported.check()  # before anything of it is kept in a cache
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}  # some processors would take bf16
        folder = compiled_folder(self.exported)
        if folder is not None:
            drop_unproven(folder)
            settings |= {"CACHE_DIR": str(folder)}
        request = openvino.Core().compile_model(self.exported.path, "CPU", settings).create_infer_request()
        if folder is not None:
            prove(folder)
        return request


EXPORTED: dict[str, Callable[[Exported], Runtime]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}
"""Runtimes of exported models by name, which is also that of their package; the first one is taken where nothing was measured."""


def signature_of(generator: nn.Module, inference: InferenceConfig, *, dropped: tuple[Dropped, ...] = ()) -> Signature:
    """What a network takes.

    Args:
        generator: the network.
        inference: how it is used: with the statistics of each single picture it has no radius.
        dropped: the layers whose dropout is an input, for an export.
    """
    from pixloom.nets.layers import has_batch_norm

    local = inference.statistics == "running" or not has_batch_norm(generator)
    return Signature(
        size_multiple=int(generator.size_multiple),  # type: ignore[arg-type]
        min_size=int(generator.min_size),  # type: ignore[arg-type]
        noise_channels=int(generator.noise_channels),  # type: ignore[arg-type]
        radius=getattr(generator, "radius", None) if local else None,
        dropped=dropped,
        conditions=shapes_of(generator),
    )


def shapes_of(generator: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of the conditions that a network takes, see :class:`Signature`."""
    steering = getattr(generator, "steering", None)
    return {} if steering is None else steering.shapes


def feeds(
    signature: Signature, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int
) -> dict[str, np.ndarray]:
    """The inputs of an exported network by name: the source, conditions (zeros where none is given), and the noise of a seed.

    Raises:
        ConfigError: a condition in a form that an exported network does not take.
    """
    for kind, values in (condition or {}).items():
        if values.ndim != 1 + len(signature.conditions[kind]):
            raise ConfigError(
                f"an exported model takes no code for the {kind}", fix="give a picture, or use the model with runtime='torch'"
            )
    noise = draw_noise(seed, channels=signature.noise_channels, batch=len(source))
    return {
        "source": source,
        **({} if noise is None else {"noise": noise}),
        **{kind: (condition or {}).get(kind, nothing) for kind, nothing in no_condition(signature, source).items()},
        **_all_kept(signature.dropped, seed, source.shape[2:]),
    }


def no_condition(signature: Signature, source: np.ndarray) -> dict[str, np.ndarray]:
    """The condition tensors that state nothing, for a batch of sources."""
    batch, (height, width) = len(source), source.shape[2:]
    return {
        kind: np.zeros(
            (batch, *(height if side == -1 else width if side == -2 else side for side in shape)),
            np.int64 if kind == "text" else np.float32,
        )
        for kind, shape in signature.conditions.items()
    }


def draw_noise(seed: int, *, channels: int, batch: int) -> np.ndarray | None:
    """The noise z of a seed, N(0, 1): the same row (batch, channels) for every picture; None without channels."""
    if not channels:
        return None
    return np.tile(np.random.default_rng(seed).standard_normal(channels, dtype=np.float32), (batch, 1))


def draw_kept(layer: Dropped, *, seed: int, number: int, height: int, width: int) -> np.ndarray:
    """What a layer's dropout multiplies its maps by, 0 or 1 / (1 - p): the one of ``nets.layers.Dropout``, place by place.

    Args:
        layer: its channels and probability.
        seed: of the picture.
        number: of the layer among those with dropout, from 1.
        height: of its maps.
        width: of its maps.

    Returns:
        (1, channels, height, width) float32.
    """
    mixed: Any = np.int64((seed + number * 1_000_003) % _PRIME + 1)
    channel, row, column = (np.arange(side, dtype=np.int64) for side in (layer.channels, height, width))
    for place in (channel[:, None, None], row[:, None], column):
        for step in (40503, 69621):
            mixed = (mixed * mixed + place * 16807 + step) % _PRIME
    mixed = (mixed * 48271 + 11) % _PRIME
    kept = (mixed * mixed + 1) % _PRIME >= int(layer.probability * _PRIME)
    return np.where(kept, np.float32(1 / (1 - layer.probability)), np.float32(0))[None]


@lru_cache(maxsize=1)  # pictures of one size, one after the other, have the same
def _all_kept(layers: tuple[Dropped, ...], seed: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    return {
        f"kept_{number}": draw_kept(layer, seed=seed, number=number, height=size[0] // layer.stride, width=size[1] // layer.stride)
        for number, layer in enumerate(layers, start=1)
    }


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: the device is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    check_device_name(name)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[name]:
        raise ConfigError(f"this machine has no {name} that torch can use", fix="--device cpu, or see what is here with: pixloom doctor")
    return torch.device(name)


def check_device_name(name: str) -> None:
    """Refuse a device that does not exist anywhere.

    Raises:
        ConfigError: it is none of auto, cpu, cuda, mps.
    """
    if name not in ("auto", "cpu", "cuda", "mps"):
        raise ConfigError(f"there is no device '{name}'", fix="auto, cpu, cuda or mps")


def _in_background(load: Callable[[], Any], *, what: str) -> Future[Any]:
    """The result of a function that runs beside the caller; its error is raised where the result is asked for."""

    def loaded() -> Any:
        try:
            return load()
        except PixloomError:
            raise
        except Exception as error:  # every runtime has classes of its own
            fix = "export it again with this version of the runtime, or use --runtime torch"
            raise ModelError(what, why=first_line(error), fix=fix) from error

    pool = ThreadPoolExecutor(1)
    result = pool.submit(loaded)
    pool.shutdown(wait=False)
    return result


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiled_folder(exported: Exported) -> Path | None:
    """Where the compiled form of a file is kept in the user's cache; those of the files used longest ago go. None where it cannot be.

    By content and place, as OpenVINO tells files apart by their place.
    """
    place = hashlib.sha256(str(exported.path.absolute()).encode(errors="surrogateescape")).hexdigest()
    folder = cache_folder() / "openvino" / f"{exported.tree['digest'][:24]}-{place[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()
        for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-_COMPILED_MODELS]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return None
    return folder


def drop_unproven(folder: Path) -> None:
    """Remove what is not, byte for byte, what :func:`prove` noted: it would be run unseen."""
    known = _noted(folder)
    with suppress(OSError):
        if any(known.get(path.name) != checksum(path) for path in _blobs(folder)):
            for path in (*_blobs(folder), folder / _NOTE):
                path.unlink(missing_ok=True)


def prove(folder: Path) -> None:
    """Note the checksums of compiled networks that are new, once they are on the disk."""
    known, blobs = _noted(folder), _blobs(folder)
    if {path.name for path in blobs} != set(known):
        with suppress(OSError, OutputError):  # then it is compiled again the next time
            for path in blobs:
                sync(path)
            write_text(folder / _NOTE, json.dumps({path.name: checksum(path) for path in blobs}))


def _blobs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _NOTE)


def _noted(folder: Path) -> dict[str, str]:
    try:
        tree = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        return dict(tree) if isinstance(tree, dict) else {}
    except (OSError, ValueError):
        return {}
