"""What is served: models found by what was named at the start, with names for addresses, and what a page needs to know of each."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pixloom.errors import ModelError
from pixloom.inference.face import face_of
from pixloom.inference.runtimes import TorchRuntime
from pixloom.inference.translator import Translator, find_model, translates_back
from pixloom.modelfile import model_card
from pixloom.serve.contract import ModelView
from pixloom.serve.refusal import RefusedError, cleaned, valid, without_places

_PLAIN_NAMES = ("model", "model-last", "back")  # of folders that say nothing about what is in them


@dataclass(frozen=True)
class Served:
    """A model that is served.

    Attributes:
        id: in addresses.
        title: for people.
        forward: the translator.
        back: the one that translates back, where both directions were learnt.
    """

    id: str
    title: str
    forward: Translator
    back: Translator | None = None

    def translator(self, direction: Literal["forward", "back"], *, strength: float = 1.0, index: bool = False) -> Translator:
        """The translator for some wishes; all those of one direction share their runtime.

        Raises:
            ConfigError: the wishes have no meaning for this model.
            RefusedError: only one direction was learnt.
        """
        chosen = self.forward if direction == "forward" else self.back
        if chosen is None:
            raise RefusedError("this model does not translate back", code="no-way-back", status=422, fix="leave the direction out")
        return chosen if strength == 1 and not index else _with(chosen, strength, index)

    @property
    def translators(self) -> tuple[Translator, ...]:
        """One per direction."""
        return (self.forward,) if self.back is None else (self.forward, self.back)

    @property
    def card(self) -> str:
        """The model card."""
        return without_places(valid(model_card(self.forward.description)))


@dataclass(frozen=True)
class Followed:
    """A run whose training can be looked at."""

    id: str
    title: str
    folder: Path


def open_all(
    places: Sequence[str], *, device: str = "auto", runtime: str = "auto", say: Callable[[str], None] = lambda text: None
) -> tuple[list[Served], list[Followed]]:
    """Load what was named at the start: model folders, exported files, run folders.

    Raises:
        PixloomError: something is no model and no run, cannot be loaded, or gives pictures that PNG cannot hold.
    """
    paths = [Path(place).expanduser() for place in places]
    names = [title_of(path) for path in paths]
    served, followed = [], []
    for path, title, ident in zip(paths, names, unique_ids(names), strict=True):
        if is_run(path):
            followed.append(Followed(ident, title, path))
        if not is_run(path) or (path / "model" / "config.json").is_file():
            say(f"loading {title} ...")
            served.append(_opened(path, ident, title, device=device, runtime=runtime))
    return served, followed


def is_run(path: Path) -> bool:
    """Whether a place is the folder of a run."""
    return (path / "config.yaml").is_file() and not (path / "config.json").is_file()


def title_of(path: Path) -> str:
    """What people call what lies in a place.

    >>> title_of(Path("runs/cells/model")), title_of(Path("nuclei.onnx")), title_of(Path("someone/cells@main"))
    ('cells', 'nuclei', 'cells')
    """
    path = path.resolve() if path.exists() else path
    name = path.stem if path.suffix == ".onnx" else path.name
    title = path.parent.name if name in _PLAIN_NAMES and path.parent.name else name.partition("@")[0] or "model"
    return os.fsencode(title).decode("utf-8", "replace")  # names of files are bytes, and need not be text


def unique_ids(titles: Iterable[str]) -> list[str]:
    """Names for addresses, no two alike.

    >>> unique_ids(["my cells", "my-cells", "细胞", "Zäune"])
    ['my-cells', 'my-cells-2', 'model', 'Zaune']
    """
    taken: list[str] = []
    for title in titles:
        ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_only).strip("-_")[:60] or "model"
        number = next(number for number in range(1, len(taken) + 2) if (base if number == 1 else f"{base}-{number}") not in taken)
        taken.append(base if number == 1 else f"{base}-{number}")
    return taken


@lru_cache(maxsize=256)
def describe(model: Served) -> ModelView:
    """All that a page needs to offer a model."""
    face = face_of(model.forward.description, title=model.title, back=model.back is not None)
    return ModelView(id=model.id, title=model.title, **cleaned(face, valid))


def device_of(translator: Translator) -> str:
    """Where a translator computes; exported models run on the CPU, without torch."""
    return str(translator.runtime.device) if isinstance(translator.runtime, TorchRuntime) else "cpu"


def _opened(path: Path, ident: str, title: str, *, device: str, runtime: str) -> Served:
    found = find_model(path)
    forward = Translator.from_pretrained(found, device=device, runtime=runtime)
    _check_png(forward, path)
    back = (
        Translator.from_pretrained(found, device=device, runtime=runtime, back=True) if found.is_dir() and translates_back(found) else None
    )
    return Served(ident, title, forward, back)


def _check_png(translator: Translator, path: Path) -> None:
    source = translator.task.source_channels(3, int(translator.description.generator.options["source_channels"]))
    for channels in (source, translator.output_channels):
        if channels not in (1, 3):
            raise ModelError(
                f"pictures of {channels} channels cannot be served",
                where=path,
                why="PNG holds 1 or 3",
                fix="use it with: pixloom translate",
            )


@lru_cache(maxsize=64)
def _with(translator: Translator, strength: float, index: bool) -> Translator:
    return Translator(translator.runtime, translator.description, strength=strength, index=index)
