"""The record of a run: ``history.jsonl``, one JSON object per line, only ever appended to.

Every entry has ``kind``, ``images`` (images seen) and ``elapsed_seconds`` (of the whole run, resumed parts included). Its other keys:

=============  =====================================================================================================
kind           values
=============  =====================================================================================================
``losses``     ``generator`` and ``critic``: unweighted terms by name; ``learning_rate``: by network; ``images_per_second``
``signs``      one number per vital sign, see :mod:`pixloom.training.signs`, and ``skipped``: steps so far that were not finite
``validation`` one number per metric; optionally ``protocol``, words or a dictionary that say how they were measured
``event``      ``event``: a word such as started, resumed, skipped, rollback, interrupted, finished; ``message``: a sentence;
               the ``started`` event carries ``total_images``; what was done against an alarm, ``deed``, its number
=============  =====================================================================================================
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pixloom.files import write_text, writing

Kind = Literal["losses", "signs", "validation", "event"]
Entry = dict[str, Any]

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class History:
    """Appends entries to ``history.jsonl``; each is in the file when the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: Kind, *, images: int, elapsed_seconds: float, **values: Any) -> Entry:
        """Write one entry and return it.

        Numbers that are not finite become the strings ``"nan"``, ``"inf"`` and ``"-inf"``, since JSON has no word for them.

        Args:
            kind: see the table above.
            images: images seen so far.
            elapsed_seconds: seconds of training so far.
            **values: JSON values; NumPy and torch scalars are accepted as numbers.

        Raises:
            OutputError: the file cannot be written.
        """
        entry: Entry = {"images": images, "kind": kind, "elapsed_seconds": elapsed_seconds, **values}
        line = json.dumps(_encode(entry), allow_nan=False) + "\n"
        with writing("the history of the run", self.path), self.path.open("a+b") as file:
            file.write(_missing_newline(file) + line.encode("ascii"))
        return entry


def read(path: Path) -> list[Entry]:
    """Every whole entry of a history file in order; none when there is no file.

    A line that is not a JSON object is left out: a process that was killed may leave one half-written.
    The strings ``"nan"``, ``"inf"`` and ``"-inf"`` become numbers again.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [entry for line in lines if (entry := _parse(line)) is not None]


def truncate_after(path: Path, images: int, *, deeds: int) -> None:
    """Drop what is of a time that is undone, in one atomic step.

    Called when a run goes on from a checkpoint, so that it tells the same story as one that was never stopped. What was done against
    alarms stays as long as it is in force, whenever it was done.

    Args:
        path: the history.
        images: of the checkpoint; entries with more are dropped.
        deeds: how often something was done so far; those that come after are dropped.

    Raises:
        OutputError: the file cannot be replaced.
    """
    kept = [entry for entry in read(path) if (entry["deed"] <= deeds if "deed" in entry else entry["images"] <= images)]
    if path.is_file():
        write_text(path, "".join(json.dumps(_encode(entry), allow_nan=False) + "\n" for entry in kept))


def rung(entries: Iterable[Entry]) -> Iterator[str]:
    """What rang, and what was done against it, in sentences."""
    for entry in entries:
        if entry.get("event") == "alarm":
            yield entry["message"]
        elif entry.get("event") in ("autopilot", "rollback"):
            yield f"{entry['event'].upper()}, {entry['message']}"


def _missing_newline(file: BinaryIO) -> bytes:
    """A newline when the file ends in a half-written line, so that the next entry starts on its own."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _parse(line: str) -> Entry | None:
    try:
        entry = _decode(json.loads(line))
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("images"), int) and "kind" in entry else None


def _encode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if hasattr(value, "item"):  # a NumPy or torch scalar
        return _encode(value.item())
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
