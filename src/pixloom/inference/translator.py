"""The translator: a generator with all it needs to be used on any picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from pixloom.errors import ConfigError, ImageError, ModelError, OutputError
from pixloom.images import MAX_PIXELS, Picture, as_picture, from_model, resize, to_model, to_pil, with_channels
from pixloom.images.picture import fits_pil, full_scale, to_type
from pixloom.modelfile import DESCRIPTION, ModelDescription, load_model, save_model
from pixloom.nets.layers import set_inference
from pixloom.tasks import Task, build_task

Size = int | Literal["trained", "native"]

MAX_SQUARES = 16
"""A picture is worked on with at most so many times the pixels of a square of the working size, so that one of 1 x 1000 stays small."""


class Translator:
    """A trained generator as a function on pictures.

    Args:
        generator: the network.
        description: what ``modelfile`` stores beside it.
        device: where to compute; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    >>> translate = Translator.from_pretrained("runs/x")       # doctest: +SKIP
    >>> translate("photo.jpg").save("translated.png")          # doctest: +SKIP
    """

    def __init__(self, generator: nn.Module, description: ModelDescription, *, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.description = description
        self.task: Task = build_task(description.task)
        self.generator = generator.to(self.device)
        set_inference(self.generator, statistics=description.inference.statistics, dropout=description.inference.dropout)

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str = "auto") -> Translator:
        """Load a model folder, or the model of a run folder.

        Raises:
            ModelError: no model there, or a damaged or foreign one.
        """
        generator, description = load_model(find_model(Path(path)))
        return cls(generator, description, device=device)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder.

        Raises:
            OutputError: the folder exists (only a model is replaced, and only with ``overwrite``), or cannot be written.
        """
        folder = Path(folder)
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            if not (folder / DESCRIPTION).is_file():
                raise OutputError("this place is taken by something that is not a model", where=folder, fix="choose another folder")
            if not overwrite:
                raise OutputError("there is a model here already", where=folder, fix="choose another folder, or pass overwrite=True")
        save_model(folder, generator=self.generator, description=self.description)

    @property
    def output_channels(self) -> int:
        """Channels of the translated pictures."""
        return self.task.output_channels(int(self.description.generator.options["target_channels"]))

    def __call__(self, things: Any, *, size: Size = "trained", seed: int = 0, keep_alpha: bool = False) -> Any:
        """Translate a path, PIL image, array, tensor or list of them, and give the same kind back (a path gives a PIL image).

        Args:
            things: a path; a PIL image; an array (H, W) or (H, W, C) of uint8, uint16 or floats in [0, 1]; a float tensor (C, H, W) or
                (B, C, H, W) in [-1, 1]; or a list of these.
            size: the short side at which the network works: ``trained``, ``native`` (the picture's own) or a number of pixels.
            seed: of the noise z, for generators that have noise or dropout; the same seed gives the same picture.
            keep_alpha: give the source's transparency back (of paths and PIL images; arrays and tensors have none).

        Returns:
            Pictures of the sources' sizes; PIL images in 8 bits where Pillow has no mode for more.

        Raises:
            ImageError: one cannot be read, or has channels that the model does not take.
            ConfigError: an impossible size or seed.
        """
        if isinstance(things, (list, tuple)):
            return [self(thing, size=size, seed=seed, keep_alpha=keep_alpha) for thing in things]
        if isinstance(things, torch.Tensor):
            return self._translate_tensor(things, size=size, seed=seed)
        translated = self.translate(as_picture(things), size=size, seed=seed, keep_alpha=keep_alpha)
        if isinstance(things, np.ndarray):
            pixels = translated.pixels.astype(things.dtype, copy=False) if things.dtype.kind == "f" else translated.pixels
            return pixels[..., 0] if things.ndim == 2 and translated.channels == 1 else pixels
        return to_pil(translated if fits_pil(translated) else to_depth(translated, np.dtype(np.uint8)))

    def translate(self, picture: Picture, *, size: Size = "trained", seed: int = 0, keep_alpha: bool = False) -> Picture:
        """Translate one decoded picture; the one way through, everything else converts.

        Raises:
            ImageError: the picture has channels that the model does not take.
        """
        source = self.accept(picture).pixels
        output = self.generate(self.task.encode_source(self._at_working_size(source, size)), seed=seed)
        pixels = self.task.compose(output, source)
        return Picture(pixels=pixels, alpha=picture.alpha if keep_alpha else None, notes=picture.notes)

    def accept(self, picture: Picture) -> Picture:
        """The picture in the channels that the model's sources have."""
        network = int(self.description.generator.options["source_channels"])
        return with_channels(picture, self.task.source_channels(picture.channels, network))

    def generate(self, values: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """G on one encoded picture (C, H, W) in [-1, 1] of any size: padded to the network's rule, and cropped back.

        Raises:
            ImageError: the picture needs more memory than there is.
            ModelError: the network fails on it.
        """
        height, width = values.shape[-2:]
        try:
            with torch.inference_mode(), _seeded(seed, device=self.device):
                channels = int(self.generator.noise_channels)  # type: ignore[arg-type]
                noise = torch.randn(1, channels).to(self.device) if channels else None
                source = pad(torch.from_numpy(values).unsqueeze(0).to(self.device), multiple=self._multiple, least=self._least)
                output: torch.Tensor = self.generator(source, None, noise)[0, :, :height, :width]
                return np.ascontiguousarray(output.float().cpu().numpy())
        except (RuntimeError, MemoryError) as error:  # torch has no class of its own for memory that runs out on the CPU
            why = (str(error).strip() or "out of memory").splitlines()[0]
            if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "alloc" in why:
                fix = "work at a smaller size: --size trained, or a number of pixels"
                raise ImageError(f"{width} x {height} pixels need more memory than there is", why=why, fix=fix) from error
            raise ModelError("the network fails on this picture", why=why, fix="use a model folder as pixloom saved it") from error

    @property
    def _multiple(self) -> int:
        return int(self.generator.size_multiple)  # type: ignore[arg-type]

    @property
    def _least(self) -> int:
        return int(self.generator.min_size)  # type: ignore[arg-type]

    def _at_working_size(self, source: np.ndarray, size: Size) -> np.ndarray:
        if size == "native":
            return source
        side = self.description.size if size == "trained" else size
        if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= math.isqrt(MAX_PIXELS):
            raise ConfigError(
                f"the working size cannot be {size!r}",
                fix=f"give 'trained', 'native', or a number of pixels up to {math.isqrt(MAX_PIXELS)}",
            )
        height, width = working_size(source.shape[0], source.shape[1], short_side=side, multiple=max(self._multiple, self._least))
        return resize(source, height=height, width=width)

    def _translate_tensor(self, images: torch.Tensor, *, size: Size, seed: int) -> torch.Tensor:
        if images.ndim == 4:
            if not len(images):
                raise ImageError("the batch is empty", fix="give at least one picture")
            return torch.stack([self._translate_tensor(image, size=size, seed=seed) for image in images])
        if images.ndim != 3 or not images.is_floating_point():
            raise ImageError(
                f"a tensor of shape {tuple(images.shape)} and type {images.dtype} is no picture",
                fix="give float (C, H, W) or (B, C, H, W) in [-1, 1]",
            )
        values = images.detach().float().cpu().numpy()
        if not (np.isfinite(values).all() and np.abs(values).max(initial=0.0) <= 1.0 + 1e-5):
            raise ImageError("a tensor picture has values outside [-1, 1]", fix="scale it: x * 2 - 1 for x in [0, 1]")
        picture = Picture(pixels=from_model(values, dtype=np.float32), alpha=None, notes=())
        translated = self.translate(picture, size=size, seed=seed)
        return torch.from_numpy(to_model(translated.pixels)).to(images)


def find_model(path: Path) -> Path:
    """The model folder that a path means: itself, or ``model`` inside a run folder.

    Raises:
        ModelError: nothing there.
    """
    path = path.expanduser()
    if not path.exists():
        raise ModelError("there is no such model", where=path, fix="give a model folder or a run folder, e.g. runs/NAME")
    if (path / "config.yaml").is_file() and not (path / "config.json").is_file():
        if not (path / "model").is_dir():
            raise ModelError(
                "this run has no model yet", where=path, why="a model is written at each validation", fix=f"pixloom resume {path}"
            )
        return path / "model"
    return path


def working_size(height: int, width: int, *, short_side: int, multiple: int = 1) -> tuple[int, int]:
    """The size with a given short side and the same aspect, in whole pixels.

    A long picture gets a shorter short side, so that with the padding to ``multiple`` it has at most :data:`MAX_SQUARES` times the pixels
    of a square of ``short_side`` (or of ``multiple``, where that is larger).

    >>> working_size(321, 481, short_side=128), working_size(1, 1000, short_side=128), working_size(1, 1000, short_side=128, multiple=128)
    ((128, 192), (16, 16191), (2, 2048))
    """
    short, long = min(height, width), max(height, width)
    budget = MAX_SQUARES * max(short_side, multiple) ** 2
    longest = min(math.sqrt(budget * long / short), budget / multiple)
    scale = min(short_side / short, longest / long)
    return max(1, round(height * scale)), max(1, round(width * scale))


def pad(images: torch.Tensor, *, multiple: int, least: int = 1) -> torch.Tensor:
    """Pictures (B, C, H, W) continued at the right and bottom to a multiple of a size: by mirroring, or by the edge where too small."""
    height, width = images.shape[-2:]
    down, right = max(-height % multiple, least - height), max(-width % multiple, least - width)
    if not (down or right):
        return images
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, down), mode=mode)


def to_depth(picture: Picture, dtype: np.dtype[Any]) -> Picture:
    """The picture with values of another type: uint8, uint16 or float32."""
    factor = float(full_scale(dtype)) / float(full_scale(picture.pixels.dtype))
    pixels, alpha = (
        None if values is None else to_type(values.astype(np.float64) * factor, dtype) for values in (picture.pixels, picture.alpha)
    )
    assert pixels is not None
    return replace(picture, pixels=pixels, alpha=alpha, notes=(*picture.notes, f"{picture.pixels.dtype} to {dtype}"))


@contextmanager
def _seeded(seed: int, *, device: torch.device) -> Iterator[None]:
    """Torch's random numbers from a seed while the block runs; the caller's go on afterwards as if nothing had happened."""
    if not 0 <= seed < 2**63:
        raise ConfigError(f"the seed cannot be {seed}", fix="give a whole number from 0 to 2^63 - 1")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name not in there:
        raise ConfigError(f"there is no device '{name}'", fix="auto, cpu, cuda or mps")
    if not there[name]:
        raise ConfigError(f"this machine has no {name} that torch can use", fix="--device cpu, or see what is here with: pixloom doctor")
    return torch.device(name)
