"""The state of an installation, each line checked by doing the thing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pixloom.errors import installing
from pixloom.heap import free_memory_bytes

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "accelerate", "torchmetrics", "pydantic")
EXTRAS = {
    "tifffile": "data",
    "imagecodecs": "data",
    "tensorboard": "tensorboard",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "openvino",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python-multipart": "serve",
    "prometheus-client": "serve",
}
LEAST_FREE_GIB, LEAST_MEMORY_GIB = 2.0, 1.0
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, whether that is well, and the fix if not; ``needed`` ones decide the exit code."""

    name: str
    found: str
    ok: bool
    fix: str | None = None
    needed: bool = True


def examine() -> list[Check]:
    """Look at everything."""
    versions = [_version(name) for name in PACKAGES] + [_version(name, extra=extra) for name, extra in EXTRAS.items()]
    return [_python(), *versions, *_devices(), _memory(), _disk(), _writing(), _encoding(), *_feature_networks()]


def _python() -> Check:
    return Check(
        "python", f"{platform.python_version()} on {platform.platform()}", sys.version_info >= (3, 11), "install Python 3.11 or newer"
    )


def _version(name: str, *, extra: str | None = None) -> Check:
    install = installing(extra) if extra else "pip install --force-reinstall pixloom"
    try:
        return Check(name, importlib.metadata.version(name), ok=True)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "not installed" + (" (optional)" if extra else ""), ok=False, fix=install, needed=extra is None)


def _devices() -> list[Check]:
    import torch

    names = ["cpu", *(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if torch.backends.mps.is_available() else [])]
    return [_device(name) for name in names]


def _device(name: str) -> Check:
    """A real convolution, forwards and backwards, compared with its known result."""
    import torch

    try:
        image = torch.ones(1, 3, 8, 8, device=name, requires_grad=True)
        result = torch.nn.functional.conv2d(image, torch.ones(4, 3, 3, 3, device=name))
        torch.autograd.backward(result.sum())
        right = bool((result == 27).all()) and image.grad is not None and float(image.grad.max()) == 36.0
    except RuntimeError as error:
        return Check(
            f"device {name}", str(error).splitlines()[0], ok=False, fix="install a torch build that fits this machine, or use --device cpu"
        )
    label = torch.cuda.get_device_name() if name == "cuda" else f"{torch.get_num_threads()} threads" if name == "cpu" else name
    return Check(
        f"device {name}", f"{label}, a convolution and its gradient are {'right' if right else 'wrong'}", ok=right, fix="reinstall torch"
    )


def _memory() -> Check:
    free = free_memory_bytes()
    if free is None:
        return Check("memory", "cannot be read on this system", ok=True)
    return Check("memory", f"{free / GIB:.1f} GiB free", free / GIB >= LEAST_MEMORY_GIB, "close other programs or use --size 64")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / GIB
    return Check("disk here", f"{free:.1f} GiB free", free >= LEAST_FREE_GIB, "free some space: a pix2pix run at 256 px keeps about 3 GiB")


def _writing() -> Check:
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            pass
    except OSError as error:
        return Check("writing here", error.strerror or str(error), ok=False, fix="work in a folder that you may write to")
    return Check("writing here", "works", ok=True)


def _encoding() -> Check:
    encoding = sys.getfilesystemencoding()
    return Check("file names", f"encoded as {encoding}", encoding.lower().replace("-", "") == "utf8", "set PYTHONUTF8=1", needed=False)


def _feature_networks() -> list[Check]:
    from pixloom.backbones.weights import find_weights
    from pixloom.metrics.features import FEATURES

    fix = "see docs/metrics.md, then: pixloom weights FILES, or set PIXLOOM_WEIGHTS"
    files = {"lpips heads": "lpips_heads_v0.1.safetensors", **{f"features {name}": spec.file for name, spec in FEATURES.items()}}
    found = {name: find_weights(file) for name, file in files.items()}
    return [Check(name, str(path) if path else "not found (optional)", path is not None, fix, needed=False) for name, path in found.items()]
