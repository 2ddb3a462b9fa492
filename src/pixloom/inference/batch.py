"""Many files through one translator: names and tree kept, nothing overwritten unasked, one bad file does not stop the rest."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pixloom.errors import DataError, OutputError, PixloomError
from pixloom.images import SUFFIXES, list_pictures, read, write
from pixloom.inference.translator import Size, Translator

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """One file to translate, and where the result goes."""

    source: Path
    out: Path


@dataclass
class Report:
    """What became of the jobs: outputs by source, and the reason of each failure."""

    done: dict[Path, Path] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)


def find_jobs(
    inputs: Sequence[str], *, out: Path, recursive: bool = False, image_format: str | None = None, overwrite: bool = False
) -> list[Job]:
    """The files that some inputs (files, folders, patterns) mean, and where their translations go.

    Raises:
        DataError: an input that is not there or holds no pictures, or two sources with one output.
        OutputError: an unknown format, or an output that exists already.
    """
    suffix = _suffix(image_format)
    jobs: dict[Path, Job] = {}
    for text in inputs:
        for source, relative in _expand(text, recursive=recursive):
            job = Job(source, out / (relative.with_suffix(suffix) if suffix else relative))
            if jobs.setdefault(job.out, job).source.resolve() != source.resolve():
                raise DataError(
                    "two pictures would have one output",
                    where=f"{jobs[job.out].source} and {source}",
                    why=str(job.out),
                    fix="translate them into two folders, or leave --format out",
                )
    taken = [job.out for job in jobs.values() if job.out.exists()]
    if taken and not overwrite:
        raise OutputError(
            f"{len(taken)} of {len(jobs)} outputs exist already",
            where=taken[0],
            fix="choose another --out, or replace them with --overwrite",
        )
    if out.exists() and not out.is_dir():
        raise OutputError("the output place is a file", where=out, fix="give a folder with --out")
    return list(jobs.values())


def translate_files(
    translator: Translator,
    jobs: Sequence[Job],
    *,
    size: Size = "trained",
    seed: int = 0,
    keep_alpha: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Translate file after file; a file that fails is reported with its reason."""
    report = Report()
    for number, job in enumerate(jobs, start=1):
        try:
            picture = translator.translate(read(job.source), size=size, seed=seed, keep_alpha=keep_alpha)
            job.out.parent.mkdir(parents=True, exist_ok=True)
            write(picture, job.out, overwrite=overwrite)
            report.done[job.source] = job.out
        except PixloomError as error:
            report.failed[job.source] = "; ".join(part for part in (error.what, error.why, error.fix) if part)
        except (OSError, MemoryError) as error:
            report.failed[job.source] = f"{type(error).__name__}: {error}"
        if progress is not None:
            progress(number, len(jobs))
    return report


def _expand(text: str, *, recursive: bool) -> list[tuple[Path, Path]]:
    """(file, path relative to the output folder) of one input."""
    path = Path(text)
    if path.is_dir():
        found = [(file, file.relative_to(path)) for file in list_pictures(path, recursive=recursive)]
        if not found:
            raise DataError(
                "there are no pictures in this folder",
                where=path,
                fix="add --recursive to look into its sub-folders" if not recursive else "give a folder with pictures",
            )
        return found
    if path.is_file():
        return [(path, Path(path.name))]
    files = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if Path(name).is_file()]
    matching = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not matching:
        raise DataError("there is no such picture or folder", where=text, fix="check the path; quote patterns, e.g. 'photos/*.jpg'")
    return [(file, Path(file.name)) for file in matching]


def _suffix(image_format: str | None) -> str | None:
    if image_format is None:
        return None
    suffix = f".{image_format.lower().lstrip('.')}"
    if suffix not in SUFFIXES:
        raise OutputError(
            f"pictures cannot be written as '{image_format}'", fix=f"one of: {', '.join(sorted(name.lstrip('.') for name in SUFFIXES))}"
        )
    return suffix
