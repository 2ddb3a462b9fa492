"""The one line that says where a run is: progress, speed, the time left of the whole run, losses, memory, last checkpoint.

On a terminal the line is rewritten in place; elsewhere plain lines follow each other at a calm pace. Plain ASCII and no colour, so
that it is the same in every console, log file and code page.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TextIO

REDRAW_SECONDS = 0.1
SHORTEST_PLAIN_SECONDS, LONGEST_PLAIN_SECONDS = 10.0, 300.0
SMOOTHING_SECONDS, SMOOTHING_SHARE = 10.0, 0.1
SAY_SECONDS = 15.0
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # strftime's would follow the locale


@dataclass(frozen=True)
class Progress:
    """What the line shows.

    Attributes:
        losses: values by network and term, such as ``{"generator": {"pixel": 0.1}}``.
        metrics: of the last validation, by name.
        budget_seconds: after which the run ends, whatever it has seen.
        checkpoint_age_seconds: since the last checkpoint was written; None before the first.
    """

    images: int
    total_images: int
    images_per_second: float | None = None
    elapsed_seconds: float = 0.0
    budget_seconds: float = math.inf
    losses: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    checkpoint_age_seconds: float | None = None

    @property
    def remaining_seconds(self) -> float | None:
        """Time left of the whole run at the present speed, or of its budget; None while the speed is unknown."""
        if self.images >= self.total_images:
            return 0.0
        if not self.images_per_second:
            return None
        left = (self.total_images - self.images) / self.images_per_second
        return min(left, max(0.0, self.budget_seconds - self.elapsed_seconds))


class Status:
    """Draws the status line.

    Args:
        total_images: images of the whole run.
        stream: usually standard error; None is silent (for every process but the first).
        enabled: rewrite one line in place; None decides by whether the stream is a terminal.
        clock: seconds that only grow.
        start_images: images seen before this process took over (resume).
        start_seconds: seconds of training before this process took over.
        budget_seconds: of training, after which the run ends.
    """

    def __init__(
        self,
        total_images: int,
        *,
        stream: TextIO | None,
        enabled: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        start_images: int = 0,
        start_seconds: float = 0.0,
        budget_seconds: float = math.inf,
    ) -> None:
        self._stream, self._clock = stream, clock
        self._in_place = _is_terminal(stream) if enabled is None else enabled
        self._started = self._updated = clock()
        self._start_seconds = start_seconds
        self._progress = Progress(start_images, total_images, elapsed_seconds=start_seconds, budget_seconds=budget_seconds)
        self._checkpoint_at: float | None = None
        self._drawn_at: float | None = None
        self._drawn_images = -1
        self._drawn_width = 0

    @property
    def progress(self) -> Progress:
        """What was last shown or would be shown next."""
        return self._progress

    def update(
        self,
        images: int,
        *,
        losses: Mapping[str, Mapping[str, float]] | None = None,
        metrics: Mapping[str, float] | None = None,
        peak_memory_bytes: int | None = None,
    ) -> None:
        """Tell where the run is; draws when it is time to. What is not given stays as it was."""
        last, now = self._progress, self._clock()
        self._progress = Progress(
            images=images,
            total_images=last.total_images,
            images_per_second=self._speed(images, now),
            elapsed_seconds=self._start_seconds + now - self._started,
            budget_seconds=last.budget_seconds,
            losses=last.losses if losses is None else losses,
            metrics=last.metrics if metrics is None else metrics,
            peak_memory_bytes=last.peak_memory_bytes if peak_memory_bytes is None else peak_memory_bytes,
            checkpoint_age_seconds=None if self._checkpoint_at is None else now - self._checkpoint_at,
        )
        self._updated = now
        if self._is_due(now):
            self._draw(now)

    def checkpoint_saved(self) -> None:
        """Start the age of the last checkpoint at zero."""
        self._checkpoint_at = self._clock()

    def message(self, text: str) -> None:
        """Print a sentence on lines of its own, above the status line."""
        self._write(self._blank() + text + "\n")
        self._drawn_width = 0
        if self._in_place and self._drawn_at is not None:
            self._draw(self._clock())

    def close(self) -> None:
        """Draw the last state, if it was not drawn yet, and end the line."""
        if self._drawn_images != self._progress.images:
            self._draw(self._clock())
        if self._in_place and self._drawn_width:
            self._write("\n")
            self._drawn_width = 0

    def _speed(self, images: int, now: float) -> float | None:
        last, seconds = self._progress, now - self._updated
        if seconds <= 0.0 or images < last.images:  # the run went back to an earlier checkpoint
            return last.images_per_second
        horizon = max(SMOOTHING_SECONDS, SMOOTHING_SHARE * (now - self._started))
        return smooth(last.images_per_second, (images - last.images) / seconds, seconds=seconds, horizon_seconds=horizon)

    def _is_due(self, now: float) -> bool:
        if self._drawn_at is None or self._progress.images >= self._progress.total_images > self._drawn_images:
            return True
        return now - self._drawn_at >= (REDRAW_SECONDS if self._in_place else plain_interval_seconds(self._progress))

    def _draw(self, now: float) -> None:
        line = format_line(self._progress, now=datetime.now(), columns=_columns(self._stream) if self._in_place else None)
        self._write(f"\r{line.ljust(self._drawn_width)}" if self._in_place else line + "\n")
        self._drawn_at, self._drawn_images, self._drawn_width = now, self._progress.images, len(line)

    def _blank(self) -> str:
        return f"\r{' ' * self._drawn_width}\r" if self._in_place and self._drawn_width else ""

    def _write(self, text: str) -> None:
        """A console that is gone or cannot show a character must never end a training run."""
        if self._stream is None:
            return
        try:
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError, LookupError):
            pass


def now_and_then(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """Says how far a judgement is, where it takes long: contender, pictures done, pictures in all."""
    said = time.monotonic()

    def told(contender: str, done: int, count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            say(f"  {contender}: {done:,} of {count:,} pictures")

    return told


def format_line(progress: Progress, *, now: datetime, columns: int | None = None) -> str:
    """The status line as text.

    The most important part comes first; a part that does not fit into ``columns`` is left out, so the line never wraps.

    >>> format_line(Progress(250, 1000, images_per_second=5.0, elapsed_seconds=50), now=datetime(2026, 1, 5, 14, 0))
    '25.0% 250/1000 images | 5.0 images/s | 0:50 passed, 2:30 left, done 14:02'
    """
    parts = [_format_progress(progress), _format_speed(progress.images_per_second), _format_times(progress, now)]
    parts += [f"{name} {format_number(value)}" for name, value in progress.metrics.items()]
    if progress.checkpoint_age_seconds is not None:
        parts.append(f"saved {format_seconds(progress.checkpoint_age_seconds)} ago")
    if progress.peak_memory_bytes is not None:
        parts.append(f"peak {progress.peak_memory_bytes / 2**30:.1f} GiB")
    for network, terms in progress.losses.items():
        parts.append(" ".join([network[:1].upper(), *(f"{name} {format_number(value)}" for name, value in terms.items())]))
    return _fit([_ascii(part) for part in parts if part], columns)


def format_seconds(seconds: float | None) -> str:
    """A duration as people read it.

    >>> format_seconds(75), format_seconds(3_725), format_seconds(200_000), format_seconds(None)
    ('1:15', '1:02:05', '2d 7h', '?')
    """
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = max(int(seconds), 0)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def format_clock(moment: datetime, *, now: datetime) -> str:
    """A moment to come: the time today, with the weekday this week, the date beyond.

    >>> format_clock(datetime(2026, 1, 6, 9, 5), now=datetime(2026, 1, 5, 14, 0))
    'Tue 09:05'
    """
    time_of_day = f"{moment.hour:02}:{moment.minute:02}"
    days = (moment.date() - now.date()).days
    if days == 0:
        return time_of_day
    return f"{WEEKDAYS[moment.weekday()]} {time_of_day}" if 0 < days < 7 else f"{moment.date().isoformat()} {time_of_day}"


def format_number(value: float) -> str:
    """Three significant digits, in the shortest of the usual forms.

    >>> format_number(0.09321), format_number(21.3456), format_number(1234.5), format_number(0.000012)
    ('0.0932', '21.3', '1234', '1.2e-05')
    """
    return f"{value:.0f}" if 999.5 <= abs(value) < 1e6 else f"{value:.3g}"


def format_bytes(count: float) -> str:
    """Memory as people read it.

    >>> format_bytes(85 * 2**20), format_bytes(1.26 * 2**30)
    ('85 MiB', '1.3 GiB')
    """
    return f"{count / 2**20:.0f} MiB" if count < 0.95 * 2**30 else f"{count / 2**30:.1f} GiB"


def smooth(average: float | None, value: float, *, seconds: float, horizon_seconds: float) -> float:
    """An exponential moving average over unevenly spaced values: ``a + (1 - exp(-dt / horizon)) (v - a)``."""
    if average is None:
        return value
    return average - math.expm1(-seconds / horizon_seconds) * (value - average)


def plain_interval_seconds(progress: Progress) -> float:
    """Seconds between plain lines: about a hundred lines in a run, within 10 s and 5 min."""
    remaining = progress.remaining_seconds or 0.0
    return min(max((progress.elapsed_seconds + remaining) / 100, SHORTEST_PLAIN_SECONDS), LONGEST_PLAIN_SECONDS)


def _format_progress(progress: Progress) -> str:
    # Rounded down: 100.0% is not shown before the end.
    permille = 1000 * progress.images // max(progress.total_images, 1)
    return f"{permille // 10}.{permille % 10}% {progress.images}/{progress.total_images} images"


def _format_speed(images_per_second: float | None) -> str:
    return "" if images_per_second is None else f"{images_per_second:.{0 if images_per_second >= 100 else 1}f} images/s"


def _format_times(progress: Progress, now: datetime) -> str:
    passed, remaining = f"{format_seconds(progress.elapsed_seconds)} passed", progress.remaining_seconds
    if remaining == 0.0:
        return passed
    try:
        done = format_clock(now + timedelta(seconds=remaining or 0.0), now=now)
    except OverflowError:
        remaining = None
    return f"{passed}, ? left" if remaining is None else f"{passed}, {format_seconds(remaining)} left, done {done}"


def _fit(parts: list[str], columns: int | None) -> str:
    """Join the parts, leaving out each that would make the line longer than ``columns``."""
    line, *rest = parts
    for part in rest:
        longer = f"{line} | {part}"
        line = longer if columns is None or len(longer) <= columns else line
    return line if columns is None else line[: max(columns, 0)]


def _ascii(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError, OSError):
        return False


def _columns(stream: TextIO | None) -> int:
    """Columns of the terminal, less the last: writing there would wrap in some terminals."""
    try:
        assert stream is not None
        width = os.get_terminal_size(stream.fileno()).columns
    except (AssertionError, AttributeError, ValueError, OSError):
        width = 0
    return (width or shutil.get_terminal_size().columns) - 1
