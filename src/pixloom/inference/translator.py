"""The translator: a generator with all it needs to be used on any picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from pixloom.errors import ConfigError, ImageError, ModelError
from pixloom.images import Picture, as_picture, from_model, resize, to_model, to_pil, with_channels
from pixloom.modelfile import ModelDescription, load_model, save_model
from pixloom.nets.layers import set_inference
from pixloom.tasks import Task, build_task

Size = int | Literal["trained", "native"]


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

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model folder."""
        save_model(Path(folder), generator=self.generator, description=self.description)

    def __call__(self, things: Any, *, size: Size = "trained", seed: int = 0) -> Any:
        """Translate a path, PIL image, array, tensor or list of them, and give the same kind back (a path gives a PIL image).

        Args:
            things: a path; a PIL image; an array (H, W) or (H, W, C) of uint8, uint16 or floats in [0, 1]; a float tensor (C, H, W) or
                (B, C, H, W) in [-1, 1]; or a list of these.
            size: the short side at which the network works: ``trained``, ``native`` (the picture's own) or a number of pixels.
            seed: of the noise z, for generators that have noise or dropout; the same seed gives the same picture.

        Returns:
            Pictures of the sources' sizes.
        """
        if isinstance(things, (list, tuple)):
            return [self(thing, size=size, seed=seed) for thing in things]
        if isinstance(things, torch.Tensor):
            return self._translate_tensor(things, size=size, seed=seed)
        translated = self.translate(as_picture(things), size=size, seed=seed)
        if isinstance(things, np.ndarray):
            return translated.pixels[..., 0] if things.ndim == 2 and translated.channels == 1 else translated.pixels
        return to_pil(translated)

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
        if self.description.task.name == "colorize":
            return picture if picture.channels == 1 else with_channels(picture, 3)
        return with_channels(picture, int(self.description.generator.options["source_channels"]))

    def generate(self, values: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """G on one encoded picture (C, H, W) in [-1, 1] of any size: padded to the network's rule, and cropped back."""
        source = torch.from_numpy(values).unsqueeze(0).to(self.device)
        height, width = source.shape[-2:]
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            channels = int(self.generator.noise_channels)  # type: ignore[arg-type]
            noise = torch.randn(1, channels).to(self.device) if channels else None
            output = self.generator(pad_to_multiple(source, int(self.generator.size_multiple)), None, noise)  # type: ignore[arg-type]
        return np.ascontiguousarray(output[0, :, :height, :width].float().cpu().numpy())

    def _at_working_size(self, source: np.ndarray, size: Size) -> np.ndarray:
        if size == "native":
            return source
        side = self.description.size if size == "trained" else size
        if not isinstance(side, int) or isinstance(side, bool) or side < 1:
            raise ConfigError(f"the working size cannot be {size!r}", fix="give 'trained', 'native' or a positive number of pixels")
        height, width = working_size(source.shape[0], source.shape[1], short_side=side)
        return source if (height, width) == source.shape[:2] else resize(source, height=height, width=width)

    def _translate_tensor(self, images: torch.Tensor, *, size: Size, seed: int) -> torch.Tensor:
        if images.ndim == 4:
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
    if not path.exists():
        raise ModelError("there is no such model", where=path, fix="give a model folder or a run folder, e.g. runs/NAME")
    if (path / "config.yaml").is_file() and not (path / "config.json").is_file():
        if not (path / "model").is_dir():
            raise ModelError(
                "this run has no model yet", where=path, why="a model is written at each validation", fix=f"pixloom resume {path}"
            )
        return path / "model"
    return path


def working_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """The size with a given short side and the same aspect, in whole pixels.

    >>> working_size(321, 481, short_side=128)
    (128, 192)
    """
    scale = short_side / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def pad_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pictures (B, C, H, W) continued at the right and bottom to a multiple of a size: by mirroring, or by the edge where too small."""
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not (down or right):
        return images
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, down), mode=mode)


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
