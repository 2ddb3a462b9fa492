"""Many files through one translator: names and tree kept, nothing overwritten unasked, one bad file does not stop the rest."""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pixloom.errors import ConfigError, DataError, DependencyError, ImageError, OutputError, PixloomError, nearest
from pixloom.files import FULL, error_number, writing
from pixloom.images import SUFFIXES, Picture, list_pictures, read, read_header, write
from pixloom.images.codecs import encode
from pixloom.inference.translator import Size, Translator, to_depth

Progress = Callable[[int, int], None]
"""Called with the files done and all of them."""

TYPES: dict[int, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16), 32: np.dtype(np.float32)}
"""Types of values by their bits."""


@dataclass(frozen=True)
class Job:
    """One file to translate, and where the result goes."""

    source: Path
    out: Path


@dataclass
class Report:
    """What became of the jobs: outputs by source, and the error of each failure."""

    done: dict[Path, Path] = field(default_factory=dict)
    failed: dict[Path, PixloomError] = field(default_factory=dict)


def find_jobs(
    inputs: Sequence[str],
    *,
    out: Path,
    channels: int,
    recursive: bool = False,
    image_format: str | None = None,
    keep_alpha: bool = False,
    overwrite: bool = False,
) -> list[Job]:
    """The files that some inputs (files, folders, patterns) mean, and where their translations go.

    A translation keeps its source's name, and its place below the folder or the fixed part of the pattern that was given. It keeps the
    suffix too, unless ``image_format`` is given or the source's format cannot hold it.

    Args:
        inputs: files, folders and patterns.
        out: the output folder; where it lies inside an input folder, it is not searched.
        channels: of the translations.
        recursive: go into sub-folders.
        image_format: the format of all translations.
        keep_alpha: whether translations have the transparency of their sources.
        overwrite: whether existing files may be replaced; a source never is.

    Raises:
        DataError: an input that is not there or holds no pictures, or two sources with one output.
        OutputError: an unknown or unfit format, or an output that exists already.
    """
    suffix = None if image_format is None else _wished_suffix(image_format, channels=channels, keep_alpha=keep_alpha)
    if out.exists() and not out.is_dir():
        raise OutputError("the output place is a file", where=out, fix="give a folder with --out")
    jobs: dict[Path, Job] = {}
    for text in inputs:
        for source, relative in _expand(text, out=out, recursive=recursive):
            chosen = suffix or _fitting_suffix(source, channels=channels, keep_alpha=keep_alpha)
            job = Job(source, out / relative.with_suffix(chosen))
            if jobs.setdefault(job.out, job).source.resolve() != source.resolve():
                raise DataError(
                    "two pictures would have one output",
                    where=f"{jobs[job.out].source} and {source}",
                    why=str(job.out),
                    fix="translate them into two folders, or leave --format out",
                )
    _check_untaken(list(jobs.values()), overwrite=overwrite)
    return list(jobs.values())


def translate_files(
    translator: Translator,
    jobs: Sequence[Job],
    *,
    out: Path,
    size: Size = "trained",
    seed: int = 0,
    keep_alpha: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Translate file after file into the folder ``out``; a file that fails is reported with its reason.

    Raises:
        OutputError: nothing can be written there, or there is no more space: then every further file would fail as well.
    """
    report, new = Report(), not out.exists()
    with writing("the output folder", out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        for number, job in enumerate(jobs, start=1):
            try:
                picture = translator.translate(read(job.source), size=size, seed=seed, keep_alpha=keep_alpha)
                _save(picture, job.out, overwrite=overwrite)
                report.done[job.source] = job.out
            except ConfigError:  # a mistake in what was asked, not in this file
                raise
            except PixloomError as error:
                if error_number(error.__cause__) in FULL | {errno.EROFS}:
                    what = f"stopped after {len(report.done)} of {len(jobs)} pictures: {error.what}"
                    raise OutputError(what, where=error.where, why=error.why, fix=error.fix) from error
                report.failed[job.source] = _located(error, job.source)
            if progress is not None:
                progress(number, len(jobs))
    finally:
        if new:
            with suppress(OSError):  # it stays unless it is empty
                out.rmdir()
    return report


def _located(error: PixloomError, source: Path) -> PixloomError:
    """The error with its file named."""
    return error if error.where is not None else type(error)(error.what, where=source, why=error.why, fix=error.fix)


def _save(picture: Picture, path: Path, *, overwrite: bool) -> None:
    with writing("the translated picture", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write(_in_depth_for(picture, path.suffix.lower()), path, overwrite=overwrite)


def _check_untaken(jobs: Sequence[Job], *, overwrite: bool) -> None:
    sources = {job.source.resolve() for job in jobs}
    taken = [job for job in jobs if job.out.exists()]
    own = [job.out for job in taken if job.out.resolve() in sources]
    if own:
        raise OutputError(
            "a translation would replace a picture that is to be translated",
            where=own[0],
            why="sources are never overwritten",
            fix="choose another --out, or another format with --format",
        )
    if taken and not overwrite:
        raise OutputError(
            f"{len(taken)} of {len(jobs)} outputs exist already",
            where=taken[0].out,
            fix="choose another --out, or replace them with --overwrite",
        )


def _expand(text: str, *, out: Path, recursive: bool) -> list[tuple[Path, Path]]:
    """(file, path relative to the output folder) of one input."""
    path = Path(text).expanduser()
    if not text:
        raise DataError("an input is empty", fix="name a picture, a folder or a pattern")
    try:
        if path.is_dir():
            return [(file, file.relative_to(path)) for file in _in_folder(path, out=out, recursive=recursive)]
        if path.is_file():
            return [(path, Path(path.name))]
        if path.is_symlink():
            raise DataError("this link leads nowhere", where=text, why=f"it points to {path.readlink()}", fix="mend or leave it out")
        if re.search(r"[*?[]", text):
            return _matching(path)
    except OSError as error:
        raise DataError("this input cannot be read", where=text, why=error.strerror, fix="check the path and its permissions") from error
    siblings = [name for name in os.listdir(path.parent) if not name.startswith(".")] if path.parent.is_dir() else []
    fix = nearest(path.name, siblings) if 0 < len(siblings) <= 20 else "check the path"
    raise DataError("there is no such picture or folder", where=text, fix=fix)


def _in_folder(folder: Path, *, out: Path, recursive: bool) -> list[Path]:
    """The pictures of a folder, without those in an output folder inside it."""
    inside = out.resolve().relative_to(folder.resolve()) if out.resolve().is_relative_to(folder.resolve()) else Path()
    found = list_pictures(folder, recursive=recursive)
    if inside.parts:
        found = [file for file in found if not file.is_relative_to(folder / inside)]
    if not found:
        deeper = not recursive and any(list_pictures(entry) for entry in folder.iterdir() if entry.is_dir())
        raise DataError(
            "there are no pictures in this folder",
            where=folder,
            why=f"pictures are recognised by their suffix: {', '.join(sorted(SUFFIXES))}",
            fix="add --recursive to look into its sub-folders" if deeper else "give a folder with pictures",
        )
    return found


def _matching(pattern: Path) -> list[tuple[Path, Path]]:
    """The pictures that a pattern matches, relative to its fixed part: ``a/*/b.png`` keeps what is below ``a``."""
    fixed = Path(pattern.parts[0], *pattern.parts[1 : _first_magic(pattern)]) if _first_magic(pattern) else Path()
    names = sorted(glob.glob(str(pattern), recursive=True))
    files = [Path(name) for name in names if Path(name).is_file() and Path(name).suffix.lower() in SUFFIXES]
    if not files:
        raise DataError("no picture matches this pattern", where=pattern, fix="check it, and quote it, e.g. 'photos/*.jpg'")
    return [(file, file.relative_to(fixed)) for file in files]


def _first_magic(pattern: Path) -> int:
    return next(place for place, part in enumerate(pattern.parts) if re.search(r"[*?[]", part))


def _wished_suffix(image_format: str, *, channels: int, keep_alpha: bool) -> str:
    known = ", ".join(sorted(name.lstrip(".") for name in SUFFIXES))
    suffix = f".{image_format.lower().lstrip('.')}"
    if suffix not in SUFFIXES:
        raise OutputError(f"pictures cannot be written as '{image_format}'", fix=f"--format with one of: {known}")
    if not _holds(suffix, channels=channels, depth=8, alpha=False):
        raise OutputError(
            f"'{image_format}' cannot hold the {channels} channels of this model's pictures", fix="--format npy, or tif with pixloom[data]"
        )
    if keep_alpha and not _holds(suffix, channels=channels, depth=8, alpha=True):
        raise OutputError(f"'{image_format}' cannot hold transparency", fix="leave --keep-alpha out, or choose --format png")
    return suffix


def _fitting_suffix(source: Path, *, channels: int, keep_alpha: bool) -> str:
    """The source's own suffix where its format can hold the translation, else the first that can."""
    try:
        header = read_header(source)
    except PixloomError:  # reported when its turn comes
        return source.suffix or ".png"
    for suffix in (source.suffix, ".png", ".tif"):
        if _holds(suffix.lower(), channels=channels, depth=header.depth, alpha=keep_alpha and header.alpha):
            return suffix
    return ".npy"


def _in_depth_for(picture: Picture, suffix: str) -> Picture:
    """The picture in the most bits that a format holds; only a format that was asked for can hold fewer than the picture has."""
    bits = {dtype: depth for depth, dtype in TYPES.items()}[picture.pixels.dtype]
    depths = [depth for depth in (bits, 16, 8) if depth <= bits]
    alpha = picture.alpha is not None
    fitting = next((depth for depth in depths if _holds(suffix, channels=picture.channels, depth=depth, alpha=alpha)), bits)
    return picture if fitting == bits else to_depth(picture, TYPES[fitting])


@cache
def _holds(suffix: str, *, channels: int, depth: int, alpha: bool) -> bool:
    """Whether a picture of this kind can be written in the format of a suffix here; found out by writing one of a single pixel."""
    if suffix not in SUFFIXES:
        return False
    pixels = np.zeros((1, 1, channels), TYPES[depth])
    try:
        encode(Picture(pixels, pixels[..., 0] if alpha else None), suffix)
    except (OutputError, ImageError, DependencyError):
        return False
    return True
