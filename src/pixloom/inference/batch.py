"""Many files through one translator: names and tree kept, nothing overwritten unasked, one bad file does not stop the rest."""

from __future__ import annotations

import errno
import glob
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pixloom.errors import ConfigError, DataError, DependencyError, ImageError, OutputError, PixloomError, installing, nearest
from pixloom.files import FULL, error_number, writing
from pixloom.images import SUFFIXES, Picture, list_pictures, read, read_header, to_depth, write
from pixloom.images.codecs import encode
from pixloom.inference.runtimes import cores
from pixloom.inference.tiling import MAX_PIXELS_AT_ONCE
from pixloom.inference.translator import Prepared, Size, Translator, as_given

Progress = Callable[[float, int], None]
"""Called with the files done and all of them; a picture that goes through in tiles counts by its share."""

TYPES: dict[int, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16), 32: np.dtype(np.float32)}
"""Types of values by their bits."""

LOSSY = frozenset({".jpg", ".jpeg", ".webp"})
"""Suffixes of formats that change pixels."""

_MEMORY = 2**29  # bytes that pictures on their way may take before another one is read; the largest adds itself to this


@dataclass(frozen=True)
class Job:
    """One file to translate, where the result goes, files that the task wants beside it, by name, and the number of the answer from 0."""

    source: Path
    out: Path
    given: Mapping[str, Path] = field(default_factory=dict, hash=False, compare=False)
    sample: int = 0


@dataclass
class Report:
    """What became of the jobs.

    Attributes:
        done: outputs by source, of several answers the last.
        count: of files written.
        failed: the error of each failure.
        notes: what to know about a translation, by source: conversions of the picture, tiles.
    """

    done: dict[Path, Path] = field(default_factory=dict)
    count: int = 0
    failed: dict[Path, PixloomError] = field(default_factory=dict)
    notes: dict[Path, tuple[str, ...]] = field(default_factory=dict)


def find_jobs(
    inputs: Sequence[str],
    *,
    out: Path,
    channels: int,
    recursive: bool = False,
    image_format: str | None = None,
    keep_alpha: bool = False,
    overwrite: bool = False,
    given: Mapping[str, Path] | None = None,
    optional: Sequence[str] = (),
    exact: bool = False,
    samples: int = 1,
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
        given: what the task wants beside each picture, by name: a file for all of them, or a folder that holds one of the same relative
            name for each, whatever its suffix.
        optional: names of what a folder need not hold for every picture.
        exact: whether no pixel may change in the file, as of label maps: then a lossy format is left for PNG.
        samples: how many answers to each picture; of several, each has its number behind its name.

    Raises:
        DataError: a picture for which nothing is given; an input that is not there or holds no pictures, or two sources with one output.
        OutputError: an unknown or unfit format, or an output that exists already.
    """
    suffix = None if image_format is None else _wished_suffix(image_format, channels=channels, keep_alpha=keep_alpha)
    if exact and suffix in LOSSY:
        raise OutputError(
            f"'{image_format}' changes pixels that must stay as they are", why="it is lossy, and this task's are exact", fix="--format png"
        )
    if out.exists() and not out.is_dir():
        raise OutputError("the output place is a file", where=out, fix="give a folder with --out")
    jobs: dict[Path, Job] = {}
    for text in inputs:
        for source, relative in _expand(text, out=out, recursive=recursive):
            chosen = suffix or _fitting_suffix(source, channels=channels, keep_alpha=keep_alpha, exact=exact)
            found = {name: _beside(place, relative, name=name, needed=name not in optional) for name, place in (given or {}).items()}
            beside = {name: path for name, path in found.items() if path is not None}
            for sample in range(samples):
                place = out / relative.with_suffix(chosen)
                job = Job(source, place if samples == 1 else place.with_stem(f"{place.stem}-{sample + 1}"), beside, sample)
                other = jobs.setdefault(job.out, job)
                if other is not job and other.source.resolve() != source.resolve():
                    raise DataError(
                        "two pictures would have one output",
                        where=f"{jobs[job.out].source} and {source}",
                        why=str(job.out),
                        fix="translate them into two folders, or in two commands",
                    )
    _check_all_used(given or {}, list(jobs.values()))
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
    stated: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Translate files into the folder ``out``; a file that fails is reported with its reason.

    Files are read and written by threads while the network is busy with others, as far as the memory for them goes. What the translations
    are to show, by name, is ``stated``: a label, attributes, a text.

    Raises:
        OutputError: nothing can be written there, or there is no more space: then every further file would fail as well.
    """
    wishes = _Wishes(size, seed, keep_alpha, overwrite, stated or {})
    outcomes: dict[Job, _Outcome] = {}
    told = 0.0

    def tell(more: float) -> None:
        nonlocal told
        told = max(told, len(outcomes) + more)  # a picture that is still being written was counted when it was translated
        if progress is not None:
            progress(told, len(jobs))

    new = not out.exists()
    with writing("the output folder", out):
        out.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(cores(), initializer=_give_way)
    try:
        for job, outcome in _flow(translator, jobs, wishes=wishes, pool=pool, tell=tell):
            outcomes[job] = outcome
            tell(0.0)
    except OutputError as error:
        what = f"stopped after {sum(outcome.error is None for outcome in outcomes.values())} of {len(jobs)} pictures: {error.what}"
        raise OutputError(what, where=error.where, why=error.why, fix=error.fix) from error
    finally:
        pool.shutdown(cancel_futures=True)  # what is being written becomes whole; nothing more is begun
        if new:
            with suppress(OSError):  # it stays unless it is empty
                out.rmdir()
    return Report(
        done={job.source: job.out for job in jobs if outcomes[job].error is None},
        count=sum(outcomes[job].error is None for job in jobs),
        failed={job.source: failure for job in jobs if (failure := outcomes[job].error) is not None},
        notes={job.source: notes for job in jobs if (notes := outcomes[job].notes)},
    )


@dataclass(frozen=True)
class _Wishes:
    """How pictures are to be translated and written."""

    size: Size
    seed: int
    keep_alpha: bool
    overwrite: bool
    stated: Mapping[str, Any]


@dataclass(frozen=True)
class _Outcome:
    """What became of a job: the error it failed with, or what to know about its result."""

    error: PixloomError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Step:
    """A file that a thread is reading or writing (its future gives the notes), and the bytes of memory that it may take till then."""

    job: Job
    memory: int
    future: Future[Any]


def _flow(
    translator: Translator, jobs: Sequence[Job], *, wishes: _Wishes, pool: ThreadPoolExecutor, tell: Callable[[float], None]
) -> Iterator[tuple[Job, _Outcome]]:
    """Each job when it is written or has failed; ``tell`` hears how much more is translated while a picture goes through in tiles.

    Raises:
        ConfigError: a mistake in what was asked, not in a file.
        OutputError: there is no more space.
    """
    left, incoming, outgoing = deque(jobs), deque[_Step](), deque[_Step]()
    ahead = 2 * translator.batch_size + cores() - 1  # the batch that is next, one to follow, and work for the threads meanwhile
    try:
        while left or incoming or outgoing:
            while left and len(incoming) < ahead and sum(step.memory for step in (*incoming, *outgoing)) < _MEMORY:
                job = left.popleft()
                incoming.append(
                    _Step(
                        job,
                        _memory_for(job.source, magnification=translator.task.magnification),
                        pool.submit(_prepared, translator, job, wishes=wishes),
                    )
                )
            if incoming:
                together = _next_together(incoming, most=translator.batch_size)
                outgoing.extend(_translated(translator, together, wishes=wishes, pool=pool, tell=lambda share: tell(len(outgoing) + share)))
                del together  # and its pictures, before anything else takes memory
            else:
                yield _settled(outgoing.popleft())
            while outgoing and outgoing[0].future.done():
                yield _settled(outgoing.popleft())
    except OutputError:
        for step in outgoing:
            if not step.future.cancel() and step.future.exception() is None:
                yield step.job, _Outcome()
        raise


def _give_way() -> None:
    """Let the network's threads go before this one: they wait for each other, so that one that has to wait stops all of them."""
    if sys.platform == "linux":  # where a thread has a niceness of its own
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 10)


def _memory_for(source: Path, *, magnification: int = 1) -> int:
    """Bytes for a picture: in its file's type as source, result, Pillow's copy and file; and as floats, in and out of the network."""
    try:
        header = read_header(source)
    except PixloomError:  # reported when it is read
        return 0
    pixels, channels = header.width * header.height * magnification**2, header.channels + header.alpha
    return channels * (pixels * 4 * header.depth // 8 + min(pixels, MAX_PIXELS_AT_ONCE) * 2 * 4)


def _next_together(incoming: deque[_Step], *, most: int) -> list[_Step]:
    """Take the first file, and of those that follow the ones that the network sees in the same size."""
    together = [incoming.popleft()]
    for step in list(incoming):
        if len(together) == most:
            break
        if _shape(step) is not None and _shape(step) == _shape(together[0]) and step.job.sample == together[0].job.sample:
            incoming.remove(step)
            together.append(step)
    return together


def _shape(step: _Step) -> tuple[int, ...] | None:
    """Of what the network sees; None for a file that cannot be read, or a picture that goes through in pieces. Waits for the file."""
    values = None if step.future.exception() is not None else step.future.result().values
    return None if values is None else values.shape


def _translated(
    translator: Translator, steps: list[_Step], *, wishes: _Wishes, pool: ThreadPoolExecutor, tell: Callable[[float], None]
) -> list[_Step]:
    """What was read, put through the network together and handed to threads to be written; what fails alone comes back failed."""
    if steps[0].future.exception() is not None:
        return steps
    try:
        answered = replace(wishes, seed=wishes.seed + steps[0].job.sample)
        results = _results(translator, [step.future.result() for step in steps], wishes=answered, tell=tell)
    except ConfigError:
        raise
    except PixloomError as error:
        if len(steps) > 1:
            return [done for step in steps for done in _translated(translator, [step], wishes=wishes, pool=pool, tell=tell)]
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return [replace(steps[0], future=failed)]
    return [
        replace(step, future=pool.submit(_write, [result], step.job.out, overwrite=wishes.overwrite))
        for step, result in zip(steps, results, strict=True)
    ]


def _results(
    translator: Translator, pictures: list[Prepared], *, wishes: _Wishes, tell: Callable[[float], None]
) -> list[Callable[[], Picture]]:
    """What gives the translations of some pictures: all that needs the network is done."""
    if pictures[0].values is None:  # then it is alone
        picture = translator.translate_prepared(pictures[0], seed=wishes.seed, keep_alpha=wishes.keep_alpha, progress=tell)
        return [lambda: picture]
    values = np.stack([picture.values for picture in pictures if picture.values is not None])
    condition = {kind: np.stack([picture.condition[kind] for picture in pictures]) for kind in pictures[0].condition}
    outputs = translator.generate(values, condition=condition, seed=wishes.seed, progress=tell)
    return [
        partial(translator.finish, picture, output, keep_alpha=wishes.keep_alpha) for picture, output in zip(pictures, outputs, strict=True)
    ]


def _prepared(translator: Translator, job: Job, *, wishes: _Wishes) -> Prepared:
    return translator.prepare(read(job.source), size=wishes.size, given=as_given({**job.given, **wishes.stated}))


def _write(results: list[Callable[[], Picture]], path: Path, *, overwrite: bool) -> tuple[str, ...]:
    """Write a result and give its notes; the list is emptied, so that the source is let go before the file is made."""
    picture = results.pop()()
    with writing("the translated picture", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    fitting = _in_depth_for(picture, path.suffix.lower())
    write(fitting, path, overwrite=overwrite)
    return fitting.notes


def _settled(step: _Step) -> tuple[Job, _Outcome]:
    """The job with what became of it; waits for that."""
    try:
        notes = step.future.result()
    except ConfigError:
        raise
    except PixloomError as error:
        if error_number(error.__cause__) in FULL | {errno.EROFS}:
            raise OutputError(error.what, where=error.where, why=error.why, fix=error.fix) from error
        return step.job, _Outcome(error=_located(error, step.job.source))
    return step.job, _Outcome(notes=notes)


def _located(error: PixloomError, source: Path) -> PixloomError:
    """The error with its file named."""
    return error if error.where is not None else type(error)(error.what, where=source, why=error.why, fix=error.fix)


def _check_all_used(given: Mapping[str, Path], jobs: Sequence[Job]) -> None:
    for name, place in given.items():
        if not any(name in job.given for job in jobs):
            raise DataError(f"none of the pictures has {name}", where=place, why="they are found by their names", fix="rename them")


def _check_untaken(jobs: Sequence[Job], *, overwrite: bool) -> None:
    taken = [job for job in jobs if job.out.exists()]
    sources = {job.source.resolve() for job in jobs} if taken else set()
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


def _beside(place: Path, relative: Path, *, name: str, needed: bool = True) -> Path | None:
    """The file that is given beside a picture: the one that is for all, or the one of its name; None where there need be none."""
    if place.is_file():
        return place
    if not place.is_dir():
        raise DataError(f"there is no such {name}", where=place, fix=f"give a picture for all, or a folder of them, with --{name}")
    found = [path for path in sorted((place / relative.parent).glob(f"{glob.escape(relative.stem)}.*")) if path.suffix.lower() in SUFFIXES]
    if not found and needed:
        raise DataError(f"there is no {name} for this picture", where=place / relative, fix=f"give one of its name with --{name}")
    return found[0] if found else None


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
            f"'{image_format}' cannot hold the {channels} channels of this model's pictures",
            fix=f"--format npy, or tif after: {installing('data')}",
        )
    if keep_alpha and not _holds(suffix, channels=channels, depth=8, alpha=True):
        raise OutputError(f"'{image_format}' cannot hold transparency", fix="leave --keep-alpha out, or choose --format png")
    return suffix


def _fitting_suffix(source: Path, *, channels: int, keep_alpha: bool, exact: bool) -> str:
    """The source's own suffix where its format can hold the translation, else the first that can."""
    try:
        header = read_header(source)
    except PixloomError:  # reported when its turn comes
        return source.suffix or ".png"
    for suffix in (source.suffix, ".png", ".tif"):
        fits = _holds(suffix.lower(), channels=channels, depth=header.depth, alpha=keep_alpha and header.alpha)
        if fits and not (exact and suffix.lower() in LOSSY):
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
