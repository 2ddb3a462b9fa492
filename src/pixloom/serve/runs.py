"""The view of trainings: everything is read from run folders, nothing is ever written there."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pixloom.serve.contract import Alarm, HistoryView, RunView, Sample
from pixloom.serve.inside import opened, real, there
from pixloom.serve.refusal import cleaned, not_found, valid, without_places
from pixloom.serve.served import Followed
from pixloom.yamltext import read_yaml

AT_ONCE = 2000
"""Lines of a record that are sent at once."""

MOST_BYTES = 256 * 2**20
"""Of a record that is read."""

RECORD = "history.jsonl"
"""Name of a record, in the folder of its run."""

PICTURES = {"samples": re.compile(r"[0-9]{1,15}\.png"), "alarms": re.compile(r"[0-9]{1,15}(-[a-z]+)+\.png")}
"""Folders of a run with pictures, and the names that are served from them."""

_MOST_FILE = 64 * 2**20
_MOST_CONFIG = 2**20
_RECENT_SECONDS = 600.0
_SLOWEST = 1e-9  # images a second; below it there is no time left to tell
_MOST_DEPTH = 20  # of a line of the record; ours have three
_MOST_NUMBER = 2**53  # that a page can count to
_NOT_METRICS = ("images", "elapsed_seconds", "count")

Entry = dict[str, Any]


class Record:
    """The lines of a run's record; only what was added since the last look is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: list[Entry] = []
        self._offset = 0
        self._file: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """Every whole line that is a JSON object with a kind."""
        with self._lock:
            with suppress(OSError):  # it is not there yet, or is being replaced
                self._read_on()
            return self._entries

    def _read_on(self) -> None:
        with opened(self.folder, RECORD) as file:
            stat = os.fstat(file.fileno())
            if (stat.st_dev, stat.st_ino) != self._file or stat.st_size < self._offset:  # a resumed run writes its record anew
                self._entries, self._offset, self._file = [], 0, (stat.st_dev, stat.st_ino)
            file.seek(self._offset)
            whole, newline, _ = file.read(max(0, MOST_BYTES - self._offset)).rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        found = [entry for line in whole.splitlines() if (entry := _entry(line)) is not None]
        self._entries = [*self._entries, *found] if found else self._entries


@dataclass(frozen=True)
class Run:
    """A run that is followed."""

    place: Followed
    record: Record

    def view(self) -> RunView:
        """Where the training is."""
        entries, config = self.record.entries(), _config(self.place.folder)
        seen = max((entry["images"] for entry in entries), default=0)
        total = _total(entries, config)
        state = state_of(self.place.folder, entries)
        speed = next((_number(entry.get("images_per_second")) for entry in reversed(entries) if entry["kind"] == "losses"), None)
        return RunView(
            id=self.place.id,
            title=self.place.title,
            state=state,
            recipe=_text(config.get("recipe")),
            task=_text(_mapping(config.get("task")).get("name")),
            size=_whole(_mapping(config.get("data")).get("size")) or _whole(config.get("size")),
            images=seen,
            total_images=total,
            elapsed_seconds=max((_number(entry.get("elapsed_seconds")) or 0.0 for entry in entries), default=0.0),
            remaining_seconds=max(0, total - seen) / speed if state == "training" and total and speed and speed > _SLOWEST else None,
            images_per_second=speed,
            alarms=[_alarm(entry) for entry in entries if entry.get("event") == "alarm"],
            metrics=_metrics(entries),
            has_report=there(self.place.folder, "report.html"),
        )

    def history(self, *, after: int) -> HistoryView:
        """The lines of the record from a number on; a number that is larger than there are lines means that they were written anew."""
        entries = self.record.entries()
        part = entries[after : after + AT_ONCE]
        return HistoryView(next=min(after, len(entries)) + len(part), entries=part)

    def samples(self) -> list[Sample]:
        """The previews in order of images."""
        names = _listed(self.place.folder, "samples")
        return sorted((Sample(name=name, images=int(name.partition(".")[0])) for name in names), key=lambda sample: sample.images)

    def picture(self, kind: Literal["samples", "alarms"], name: str) -> bytes:
        """A picture of the run.

        Raises:
            RefusedError: there is none of that name in the list.
        """
        if name not in _listed(self.place.folder, kind):
            raise not_found("picture")
        return _content(self.place.folder, f"{kind}/{name}", what="picture")

    def report(self) -> bytes:
        """The report, as HTML.

        Raises:
            RefusedError: there is none yet.
        """
        return _content(self.place.folder, "report.html", what="report")


def follow(place: Followed) -> Run:
    """A run, with its record."""
    return Run(place, Record(place.folder))


def state_of(folder: Path, entries: list[Entry]) -> Literal["training", "finished", "stopped", "unknown"]:
    """Whether a run goes on: whether a process holds it, where the system tells, and what its record says last."""
    locked = is_locked(folder / ".lock")
    last = next((entry.get("event") for entry in reversed(entries) if entry["kind"] == "event"), None)
    if locked:
        return "training"
    if last in ("finished", "interrupted", "stopped", "failed"):
        return "finished" if last == "finished" else "stopped"
    if locked is False:
        return "stopped"
    return "training" if _age_seconds(folder / RECORD) < _RECENT_SECONDS else "unknown"


def is_locked(path: Path) -> bool | None:
    """Whether a process holds a lock on a file; None where that cannot be seen without taking it, which could end a training.

    The system lists locks by device and inode. A file of that number on another device is another one, or the same by the name that some
    file systems (btrfs, overlays) have for the device inside: that is not known.
    """
    if sys.platform != "linux":
        return None
    try:
        stat = path.stat()
        held = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False if not path.exists() else None
    except OSError:
        return None
    if f" {os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino} " in held:
        return True
    return None if f":{stat.st_ino} " in held else False


def _entry(line: bytes) -> Entry | None:
    """A line of the record as it can be sent: of whole characters, finite numbers and little depth, without paths of the machine."""
    try:
        entry = json.loads(line.decode("utf-8", "replace"), parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or _depth(entry) > _MOST_DEPTH or "kind" not in entry:
        return None
    images = entry.get("images")
    is_count = isinstance(images, int) and not isinstance(images, bool) and 0 <= images <= _MOST_NUMBER
    return cleaned(entry, _clean) if is_count else None


def _clean(text: str) -> str:
    return without_places(valid(text))


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _depth(value: Any) -> int:
    """How deep lists and dictionaries lie in each other; beyond :data:`_MOST_DEPTH` it is not looked."""
    depth, level = 0, [value]
    while level and depth <= _MOST_DEPTH:
        inner = [list(each.values()) if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        depth, level = depth + bool(inner), [item for items in inner for item in items]
    return depth


def _alarm(entry: Entry) -> Alarm:
    folder, _, name = str(entry.get("picture", "")).rpartition("/")
    remedies = entry.get("remedies")
    return Alarm(
        name=str(entry.get("alarm", "alarm")),
        images=entry["images"],
        message=str(entry.get("evidence") or entry.get("message") or ""),
        remedies=[str(remedy) for remedy in remedies] if isinstance(remedies, list) else [],
        picture=name if folder == "alarms" and PICTURES["alarms"].fullmatch(name) else None,
    )


def _metrics(entries: list[Entry]) -> dict[str, float]:
    last: Entry = next((entry for entry in reversed(entries) if entry["kind"] == "validation"), {})
    return {name: number for name, value in last.items() if name not in _NOT_METRICS and (number := _number(value)) is not None}


def _total(entries: list[Entry], config: Mapping[str, Any]) -> int | None:
    announced = [entry["total_images"] for entry in entries if "total_images" in entry]
    return _whole(announced[-1] if announced else _mapping(config.get("training")).get("images"))


def _listed(folder: Path, kind: str) -> set[str]:
    try:
        with os.scandir(real(folder, kind)) as found:
            return {entry.name for entry in found if PICTURES[kind].fullmatch(entry.name) and entry.is_file(follow_symlinks=False)}
    except OSError:
        return set()


def _content(folder: Path, name: str, *, what: str) -> bytes:
    try:
        with opened(folder, name) as file:
            content = file.read(_MOST_FILE + 1)
    except OSError as error:
        raise not_found(what) from error
    if len(content) > _MOST_FILE:
        raise not_found(what)
    return content


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        return _read_config(folder, (folder / "config.yaml").stat().st_mtime_ns)
    except (OSError, ValueError, RecursionError):
        return {}


@lru_cache(maxsize=64)
def _read_config(folder: Path, modified_ns: int) -> Mapping[str, Any]:
    with opened(folder, "config.yaml") as file:
        return _mapping(read_yaml(file.read(_MOST_CONFIG).decode("utf-8")))


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return None if value is None else _clean(str(value))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_NUMBER else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if is_number else None
