"""The polite end of a run: Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pixloom.training.engine import Engine


class Stop:
    """Whether a signal asked for the end: the first one lets the step finish and saves, the second one ends at once."""

    def __init__(self) -> None:
        self.number = 0

    def wanted(self, engine: Engine) -> int:
        """The signal that any process has had (0: none), so that all stop together and for the same reason."""
        return engine.largest(self.number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over Ctrl-C and SIGTERM while the block runs (only a main thread can)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        former = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number = number
