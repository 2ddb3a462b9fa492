"""The translator: a generator with all it needs to be used on any picture."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pixloom.conditions import build_conditions
from pixloom.errors import ConfigError, ImageError, ModelError, OutputError, PixloomError
from pixloom.images import MAX_PIXELS, Picture, as_picture, from_model, resize, to_depth, to_model, to_pil, with_channels
from pixloom.images.picture import fits_pil
from pixloom.inference.choice import find_model as find_model
from pixloom.inference.choice import open_model
from pixloom.inference.choice import translates_back as translates_back
from pixloom.inference.given import Beside
from pixloom.inference.given import as_given as as_given
from pixloom.inference.runtimes import Runtime, TorchRuntime
from pixloom.inference.tiling import MAX_PIXELS_AT_ONCE, Progress, Tiling, bands, choose_tiling, plan_tiles, tiled
from pixloom.modelfile import DESCRIPTION, ModelDescription, load_model, read_description, save_model
from pixloom.tasks import Given, Task, build_task

if TYPE_CHECKING:
    import torch
    from torch import nn

Size = int | Literal["trained", "native"]

MAX_SQUARES = 16
"""A picture is worked on with at most so many times the pixels of a square of the working size, so that one of 1 x 1000 stays small."""


@dataclass(frozen=True)
class Prepared:
    """A picture on its way through a model.

    Attributes:
        picture: in the channels that the model takes.
        values: what the network sees, (C, H, W) float32 in [-1, 1], the source and after it the conditions that are pictures; None: too
            many pixels for that, :meth:`Translator.translate` goes through them piece by piece.
        given: what was given beside the picture: pixels of its height and width, and conditions as they were stated.
        condition: the other conditions, tensors by kind.
    """

    picture: Picture
    values: np.ndarray | None
    given: Given = field(default_factory=dict)
    condition: Mapping[str, np.ndarray] = field(default_factory=dict)


class Translator:
    """A trained generator as a function on pictures.

    Args:
        generator: the network, or a runtime that has it already.
        description: what ``modelfile`` stores beside it.
        device: where to compute a network; ``auto`` takes CUDA, then Apple's MPS, then the CPU.
        index: translations are ids of classes in one channel, not colours.
        strength: s in x + s (y - x), from 0, the source itself, over 1, the translation, to 1.5, more than that.

    Raises:
        ConfigError: ``index`` for a task that makes no label maps, or a strength where source and translation are not alike.

    >>> translate = Translator.from_pretrained("runs/x")       # doctest: +SKIP
    >>> translate("photo.jpg").save("translated.png")          # doctest: +SKIP
    """

    def __init__(
        self,
        generator: nn.Module | Runtime,
        description: ModelDescription,
        *,
        device: str = "auto",
        index: bool = False,
        strength: float = 1.0,
    ) -> None:
        self.description = description
        self.task: Task = build_task(description.task)
        self.conditions = build_conditions(description.conditions, dropout=description.condition_dropout)
        self.beside = Beside(self.task, self.conditions)
        self.index = index
        if index and not self.task.makes_labels:
            raise ConfigError(f"the task '{self.task.name}' makes no label maps, so there are no ids", fix="leave --index out")
        self.strength = strength
        if strength != 1:
            _check_strength(strength, self.task, description)
        self.runtime = generator if isinstance(generator, Runtime) else TorchRuntime(generator, description.inference, device=device)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        runtime: str = "auto",
        device: str = "auto",
        index: bool = False,
        strength: float = 1.0,
        back: bool = False,
    ) -> Translator:
        """Load a model folder, the model of a run folder, an exported file, or a model on the Hugging Face Hub.

        Args:
            path: of it, or ``user/name`` (``user/name@REVISION``).
            runtime: ``torch``, ``onnxruntime`` or ``openvino``; ``auto``: the fastest on this machine, see ``choice.open_model``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``; all but torch run on the CPU.
            index: translations are ids of classes in one channel, not colours.
            strength: how far from the source to the translation, see :class:`Translator`.
            back: the other direction, of a model that learnt both.

        Raises:
            ConfigError: an unknown runtime or device, or one that cannot have the other; or ``index`` where there are no classes.
            DependencyError: the runtime is not installed.
            ModelError: no model there, or a damaged or foreign one.
        """
        return cls(*open_model(find_model(Path(path), back=back), runtime=runtime, device=device), index=index, strength=strength)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder.

        Raises:
            ModelError: the translator runs an exported file, and its weights are not beside it.
            OutputError: the folder exists (only a model is replaced, and only with ``overwrite``), or cannot be written.
        """
        folder = Path(folder)
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            if not (folder / DESCRIPTION).is_file():
                raise OutputError("this place is taken by something that is not a model", where=folder, fix="choose another folder")
            if not overwrite:
                raise OutputError("there is a model here already", where=folder, fix="choose another folder, or pass overwrite=True")
        save_model(folder, generator=self.generator, description=self.description)

    def push_to_hub(self, name: str, *, licence: str | None = None, private: bool = False, token: str | None = None) -> str:
        """Put the model on the Hugging Face Hub as ``user/name``; see :func:`pixloom.inference.hub.push`, which has a run's report, too."""
        import tempfile

        from pixloom.inference.hub import push

        with tempfile.TemporaryDirectory() as place:
            self.save_pretrained(Path(place) / "model")
            return push(Path(place) / "model", name, licence=licence, private=private, token=token)

    @property
    def generator(self) -> nn.Module:
        """The network; where an exported one runs, it is read from the model folder that the export lies in.

        Raises:
            ModelError: the export does not lie in the folder of its own model.
        """
        if isinstance(self.runtime, TorchRuntime):
            return self.runtime.generator
        exported = self.runtime.exported  # type: ignore[attr-defined]
        if read_description(exported.path.parent)[1] != exported.sha256:
            raise ModelError("the weights of this exported model are not beside it", where=exported.path, fix="load its model folder")
        return load_model(exported.path.parent)[0]

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        import torch

        return self.runtime.device if isinstance(self.runtime, TorchRuntime) else torch.device("cpu")

    @property
    def batch_size(self) -> int:
        """How many pictures of one working size are best given to :meth:`generate` at once."""
        return self.runtime.batch_size

    @property
    def has_answers(self) -> bool:
        """Whether a seed changes the translation of a picture."""
        return bool(self.runtime.signature.noise_channels or self.description.inference.dropout)

    @property
    def output_channels(self) -> int:
        """Channels of the translated pictures."""
        return 1 if self.index else self._composed_channels

    @property
    def _composed_channels(self) -> int:
        return self.task.output_channels(int(self.description.generator.options["target_channels"]))

    def __call__(
        self, things: Any, *, size: Size = "trained", seed: int = 0, keep_alpha: bool = False, given: Mapping[str, Any] | None = None
    ) -> Any:
        """Translate a path, PIL image, array, tensor or list of them, and give the same kind back (a path gives a PIL image).

        Args:
            things: a path; a PIL image; an array (H, W) or (H, W, C) of uint8, uint16 or floats in [0, 1]; a float tensor (C, H, W) or
                (B, C, H, W) in [-1, 1]; or a list of these.
            size: the short side at which the network works: ``trained``, ``native`` (the picture's own) or a number of pixels.
            seed: of the noise z, for generators that have noise or dropout; the same seed gives the same picture.
            keep_alpha: give the source's transparency back (of paths and PIL images; arrays and tensors have none).
            given: what the task wants beside the source, by name (``mask``), and what the translation is to show: ``label`` (a name),
                ``attributes`` (numbers by name), ``text``, ``map``, ``image``, ``style``. Pictures are paths, PIL images or arrays; all of
                it is the same for all of a list.

        Returns:
            Pictures of the sources' sizes; PIL images in 8 bits where Pillow has no mode for more.

        Raises:
            ImageError: one cannot be read, or has channels that the model does not take.
            ConfigError: an impossible size or seed.
        """
        self.beside.check(given or {})
        if isinstance(things, (list, tuple)):
            return [self(thing, size=size, seed=seed, keep_alpha=keep_alpha, given=given) for thing in things]
        if "torch" in sys.modules and isinstance(things, sys.modules["torch"].Tensor):
            return self._translate_tensor(things, size=size, seed=seed, given=given)
        translated = self.translate(as_picture(things), size=size, seed=seed, keep_alpha=keep_alpha, given=as_given(given))
        if isinstance(things, np.ndarray):
            pixels = translated.pixels.astype(things.dtype, copy=False) if things.dtype.kind == "f" else translated.pixels
            return pixels[..., 0] if things.ndim == 2 and translated.channels == 1 else pixels
        return to_pil(translated if fits_pil(translated) else to_depth(translated, np.dtype(np.uint8)))

    def translate(
        self,
        picture: Picture,
        *,
        size: Size = "trained",
        seed: int = 0,
        keep_alpha: bool = False,
        given: Given | None = None,
        progress: Progress | None = None,
    ) -> Picture:
        """Translate one decoded picture; the one way through, everything else converts.

        Args:
            picture: of any size.
            size: the short side at which the network works, see :meth:`__call__`.
            seed: of the noise.
            keep_alpha: give the source's transparency back.
            given: what the task wants beside the picture, by name, of its height and width; see :func:`as_given`.
            progress: called with the share that is done while a picture goes through in tiles.

        Raises:
            ConfigError: an impossible size or seed.
            ImageError: the picture has channels that the model does not take, or needs more memory than there is.
            ModelError: the network fails on it.
        """
        return self.translate_prepared(self.prepare(picture, size=size, given=given), seed=seed, keep_alpha=keep_alpha, progress=progress)

    def translate_prepared(
        self, prepared: Prepared, *, seed: int = 0, keep_alpha: bool = False, progress: Progress | None = None
    ) -> Picture:
        """What follows :meth:`prepare` in :meth:`translate`, for one picture of any size."""
        condition = {kind: values[None] for kind, values in prepared.condition.items()}
        if prepared.values is None:
            pixels = self._through_bands(prepared, condition, seed=seed, progress=progress)
            return self._finished(pixels, prepared.picture, keep_alpha=keep_alpha, note=self._tiling.note)
        output = self.generate(prepared.values[None], condition=condition, seed=seed, progress=progress)[0]
        return self.finish(prepared, output, keep_alpha=keep_alpha)

    def prepare(self, picture: Picture, *, size: Size = "trained", given: Given | None = None) -> Prepared:
        """The first of the three steps of :meth:`translate`, which needs no network: what the network is to see.

        Raises:
            ConfigError: an impossible size, or something given that the task does not take.
            ImageError: the picture has channels that the model does not take, or what is given is missing or of another size.
        """
        wanted = {name: value for name, value in self.task.wanted().items() if name in self.conditions.names}
        picture, given = self.accept(picture), {**wanted, **(given or {})}
        self.beside.check(given)
        self.beside.check_sizes(given, size=picture.pixels.shape[:2])
        given = {**self.task.accepted(picture.pixels, self.beside.of_task(given)), **self.beside.stated(given)}
        condition = self.beside.vectors(given)
        at_own_size = size == "native" or (self.task.native and size == "trained")
        if at_own_size and self.task.local and _is_large(self._made_size(picture.pixels)):
            return Prepared(picture, None, given, condition)
        pixels = self._at_working_size(picture.pixels, size)
        source = self.task.encode_source(pixels, self.beside.fitted(given, height=pixels.shape[0], width=pixels.shape[1]))
        values = np.concatenate([source, *self.beside.planes(given, size=source.shape[1:])])
        return Prepared(picture, values, given, condition)

    def generate(
        self,
        values: np.ndarray,
        *,
        condition: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """The second step: G on encoded pictures of one size, whatever that is; each comes out as it would alone.

        Sides are padded to the network's rule and cropped back; what is too large to go through at once goes through in tiles.

        Args:
            values: (B, C, H, W) float32 in [-1, 1], see :class:`Prepared`.
            condition: tensors by kind, (B, ...), of the conditions that are no pictures.
            seed: of the noise, which is the same for every picture.
            progress: called with the share that is done, where there are tiles.

        Returns:
            (B, C', H, W) float32 in [-1, 1].

        Raises:
            ConfigError: an impossible seed.
            ImageError: the picture needs more memory than there is.
            ModelError: the network fails on it.
        """
        height, width = values.shape[-2:]
        condition = condition or {}
        with _explained((height, width)):
            if not _is_large((height, width)):
                at_once = max(1, MAX_PIXELS_AT_ONCE // (height * width))
                places = [slice(first, first + at_once) for first in range(0, len(values), at_once)]
                parts = [self._run(values[place], {kind: rows[place] for kind, rows in condition.items()}, seed=seed) for place in places]
                return parts[0] if len(parts) == 1 else np.concatenate(parts)
            tiling = self._tiling
            return tiled(
                lambda part: self._run(part, condition, seed=seed),
                values,
                tile=tiling.tile,
                margin=tiling.margin,
                multiple=tiling.multiple,
                blend=tiling.blend,
                progress=progress,
            )

    def finish(self, prepared: Prepared, output: np.ndarray, *, keep_alpha: bool = False) -> Picture:
        """The third step, which needs no network: the picture of the source's size and depth from the output (C', H, W)."""
        note = self._tiling.note if _is_large(output.shape[-2:]) else None
        pixels = self.task.compose(output, prepared.picture.pixels, prepared.given)
        return self._finished(pixels, prepared.picture, keep_alpha=keep_alpha, note=note)

    def accept(self, picture: Picture) -> Picture:
        """The picture in the channels that the model's sources have."""
        network = int(self.description.generator.options["source_channels"])
        return with_channels(picture, self.task.source_channels(picture.channels, network))

    @cached_property
    def _tiling(self) -> Tiling:
        signature = self.runtime.signature
        if not self.description.inference.dropout:
            return choose_tiling(radius=signature.radius, multiple=signature.size_multiple)
        tiling = choose_tiling(radius=None, multiple=signature.size_multiple)
        return replace(tiling, note="translated in tiles that fade into each other, each with the same dropout")

    def _run(self, values: np.ndarray, condition: Mapping[str, np.ndarray], *, seed: int) -> np.ndarray:
        """The network on pictures (B, C, H, W) of any size, conditions that are pictures among their channels."""
        if not 0 <= seed < 2**63:
            raise ConfigError(f"the seed cannot be {seed}", fix="give a whole number from 0 to 2^63 - 1")
        height, width = values.shape[-2:]
        signature = self.runtime.signature
        padded = pad(values, multiple=signature.size_multiple, least=signature.min_size)
        source, spatial = self.beside.parted(padded, source_channels=int(self.description.generator.options["source_channels"]))
        return self.runtime.run(source, condition={**condition, **spatial}, seed=seed)[..., :height, :width]

    def _through_bands(
        self, prepared: Prepared, condition: Mapping[str, np.ndarray], *, seed: int, progress: Progress | None
    ) -> np.ndarray:
        """The translation of a large picture at its own size, band by band: only one row of tiles is ever held as floats."""
        tiling, pixels = self._tiling, prepared.picture.pixels
        given = self.beside.of_task(prepared.given)
        height, width = self._made_size(pixels)
        beside = self.beside.resized(prepared.given, height=height, width=width)
        result = np.empty((height, width, self._composed_channels), pixels.dtype)
        with _explained((height, width)):
            rows, columns = plan_tiles(height, width, tile=tiling.tile, margin=tiling.margin, multiple=tiling.multiple, blend=tiling.blend)

            def read(down: slice, across: slice) -> np.ndarray:
                source = self.task.encode_part(pixels, given, down, across)
                stated = {name: picture[down, across] for name, picture in beside.items()}
                return np.concatenate([source, *self.beside.planes(stated, size=source.shape[1:])])[None]

            for kept, band in bands(
                lambda part: self._run(part, condition, seed=seed), read, rows=rows, columns=columns, progress=progress
            ):
                below = kept if height == len(pixels) else slice(0, 1)  # what enlarges has its pixels from the network alone
                result[kept] = self.task.compose(band[0], pixels[below], {name: extra[below] for name, extra in given.items()})
        return result

    def _made_size(self, pixels: np.ndarray) -> tuple[int, int]:
        """Height and width of the translation."""
        return pixels.shape[0] * self.task.magnification, pixels.shape[1] * self.task.magnification

    def _finished(self, pixels: np.ndarray, source: Picture, *, keep_alpha: bool, note: str | None) -> Picture:
        if self.index:
            return Picture(self.task.indexed(pixels), notes=source.notes if note is None else (*source.notes, note))
        if self.strength != 1:
            pixels = _between(source.pixels, pixels, strength=self.strength)
        return _finished(pixels, source, keep_alpha=keep_alpha, note=note)

    def _at_working_size(self, source: np.ndarray, size: Size) -> np.ndarray:
        if self.task.native and size not in ("trained", "native"):
            raise ConfigError(
                f"the task '{self.task.name}' works at the picture's own size", why=f"the size is {size}", fix="leave --size out"
            )
        if size == "native" or self.task.native:
            return source
        side = self.description.size if size == "trained" else size
        if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= math.isqrt(MAX_PIXELS):
            raise ConfigError(
                f"the working size cannot be {size!r}",
                fix=f"give 'trained', 'native', or a number of pixels up to {math.isqrt(MAX_PIXELS)}",
            )
        signature = self.runtime.signature
        height, width = working_size(
            source.shape[0], source.shape[1], short_side=side, multiple=max(signature.size_multiple, signature.min_size)
        )
        return resize(source, height=height, width=width, nearest=self.task.source_is_labels)

    def _translate_tensor(self, images: torch.Tensor, *, size: Size, seed: int, given: Mapping[str, Any] | None) -> torch.Tensor:
        import torch

        if images.ndim == 4:
            if not len(images):
                raise ImageError("the batch is empty", fix="give at least one picture")
            return torch.stack([self._translate_tensor(image, size=size, seed=seed, given=given) for image in images])
        if images.ndim != 3 or not images.is_floating_point():
            raise ImageError(
                f"a tensor of shape {tuple(images.shape)} and type {images.dtype} is no picture",
                fix="give float (C, H, W) or (B, C, H, W) in [-1, 1]",
            )
        values = images.detach().float().cpu().numpy()
        if not (np.isfinite(values).all() and np.abs(values).max(initial=0.0) <= 1.0 + 1e-5):
            raise ImageError("a tensor picture has values outside [-1, 1]", fix="scale it: x * 2 - 1 for x in [0, 1]")
        picture = Picture(pixels=from_model(values, dtype=np.float32), alpha=None, notes=())
        translated = self.translate(picture, size=size, seed=seed, given=as_given(given))
        return torch.from_numpy(to_model(translated.pixels)).to(images)


MOST_STRENGTH = 1.5
"""Beyond it a translation is mostly what was clipped."""


def _check_strength(strength: float, task: Task, description: ModelDescription) -> None:
    """Refuse a strength that cannot be, or that would mix what is not alike."""
    if not 0 <= strength <= MOST_STRENGTH:
        raise ConfigError(f"the strength cannot be {strength:g}", fix=f"give a number from 0 to {MOST_STRENGTH}")
    options = description.generator.options
    alike = options["source_channels"] == options["target_channels"] and task.magnification == 1
    if not alike or task.makes_labels or task.source_is_labels or task.exact:
        raise ConfigError(
            f"the task '{task.name}' has no strength",
            why="there is no way between a source and a translation that are not alike",
            fix="leave --strength out",
        )


def _between(source: np.ndarray, translation: np.ndarray, *, strength: float) -> np.ndarray:
    """X + s (y - x), in the number type of both."""
    values = to_model(source)
    return from_model(np.clip(values + strength * (to_model(translation) - values), -1, 1), dtype=translation.dtype)


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


def pad(images: np.ndarray, *, multiple: int, least: int = 1) -> np.ndarray:
    """Pictures (B, C, H, W) continued at the right and bottom to a multiple of a size: by mirroring, or by the edge where too small."""
    height, width = images.shape[-2:]
    down, right = max(-height % multiple, least - height), max(-width % multiple, least - width)
    if not (down or right):
        return images
    widths = ((0, 0), (0, 0), (0, down), (0, right))
    return np.pad(images, widths, mode="reflect") if down < height and right < width else np.pad(images, widths, mode="edge")


def _is_large(size: tuple[int, ...]) -> bool:
    """Whether so many pixels (height, width) are not to go through a network at once."""
    return size[0] * size[1] > MAX_PIXELS_AT_ONCE


def _finished(pixels: np.ndarray, source: Picture, *, keep_alpha: bool, note: str | None) -> Picture:
    notes = source.notes if note is None else (*source.notes, note)
    alpha, (height, width) = source.alpha if keep_alpha else None, pixels.shape[:2]
    if alpha is not None and alpha.shape != (height, width):
        alpha = resize(alpha[..., None], height=height, width=width)[..., 0]
    return Picture(pixels=pixels, alpha=alpha, notes=notes)


@contextmanager
def _explained(size: tuple[int, ...]) -> Iterator[None]:
    """What a runtime fails with on a picture of some size, as an error that says what to do."""
    try:
        yield
    except PixloomError:
        raise
    except Exception as error:  # every runtime has classes of its own, for memory that runs out as well
        why = (str(error).strip() or "out of memory").splitlines()[0]
        if isinstance(error, MemoryError) or "alloc" in why:
            fix = "work at a smaller size: --size trained, or a number of pixels"
            raise ImageError(f"{size[1]} x {size[0]} pixels need more memory than there is", why=why, fix=fix) from error
        raise ModelError("the network fails on this picture", why=why, fix="use a model folder as pixloom saved it") from error
