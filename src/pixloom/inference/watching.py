"""Folders that are followed: what comes in is translated, what changes is translated again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pixloom.errors import DataError
from pixloom.inference.batch import Job, Report

PAUSE = 1.0
"""Seconds between two looks."""

SETTLED = 1.0
"""Seconds since a file last changed, from which on it is taken to be whole."""


def watch(
    find: Callable[[], list[Job]],
    work: Callable[[list[Job]], Report],
    *,
    say: Callable[[Report], None],
    complain: Callable[[str], None] = lambda sentence: None,
    looks: int | None = None,
    pause: float = PAUSE,
) -> None:
    """Translate what is there, then what comes in or changes, until Ctrl-C.

    A file that fails is left until it changes.

    Args:
        find: the jobs of all files that are there.
        work: translates some of them.
        say: told what became of them.
        complain: told, once, why nothing can be translated as things are.
        looks: so many times; None: for ever.
        pause: seconds between two looks.
    """
    tried: dict[Path, float] = {}
    seen: dict[Path, float] = {}
    told: str | None = None
    with suppress(KeyboardInterrupt):
        while looks is None or looks > 0:
            due, complaint = _due(find, tried, seen)
            if complaint not in (None, told):
                complain(str(complaint))
            told = complaint
            if due:
                tried |= {job.source: _changed(job.source) for job in due}
                say(work(due))
            looks = None if looks is None else looks - 1
            if looks != 0:
                time.sleep(pause)


def _due(find: Callable[[], list[Job]], tried: dict[Path, float], seen: dict[Path, float]) -> tuple[list[Job], str | None]:
    """The jobs whose source is whole, and has changed since it was tried, or is newer than what was made of it; and why there are none.

    Whole is what has not changed for a while, or since it was ``seen`` at the last look: clocks of other machines may be ahead.
    """
    try:
        jobs = find()
    except DataError as error:  # nothing is there yet, or two files would have one output
        return [], str(error)
    now, former = time.time(), dict(seen)
    seen.clear()
    seen |= {job.source: _changed(job.source) for job in jobs}
    whole = [job for job in jobs if seen[job.source] <= now - SETTLED or former.get(job.source) == seen[job.source]]
    return [job for job in whole if _is_new(job, seen[job.source], tried)], None


def _is_new(job: Job, changed: float, tried: dict[Path, float]) -> bool:
    """Whether a file is another than the one that was tried; of the first look, whether it is newer than its translation."""
    return changed != tried[job.source] if job.source in tried else changed > _changed(job.out)


def _changed(path: Path) -> float:
    """When a file last changed; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
