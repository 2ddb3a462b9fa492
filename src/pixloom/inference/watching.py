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
    looks: int | None = None,
    pause: float = PAUSE,
) -> None:
    """Translate what is there, then what comes in or changes, until Ctrl-C.

    A file that fails is left until it changes.

    Args:
        find: the jobs of all files that are there.
        work: translates some of them.
        say: told what became of them.
        looks: so many times; None: for ever.
        pause: seconds between two looks.
    """
    tried: dict[Path, float] = {}
    with suppress(KeyboardInterrupt):
        while looks is None or looks > 0:
            due = _due(find, tried)
            if due:
                tried |= {job.source: _changed(job.source) for job in due}
                say(work(due))
            looks = None if looks is None else looks - 1
            if looks != 0:
                time.sleep(pause)


def _due(find: Callable[[], list[Job]], tried: dict[Path, float]) -> list[Job]:
    """The jobs whose source is whole, and newer than what was made or tried of it."""
    try:
        jobs = find()
    except DataError:  # nothing is there yet
        return []
    now = time.time()
    return [
        job
        for job in jobs
        if (changed := _changed(job.source)) <= now - SETTLED and changed > tried.get(job.source, 0.0) and changed > _changed(job.out)
    ]


def _changed(path: Path) -> float:
    """When a file last changed; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
