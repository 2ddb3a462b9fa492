"""How far something has come that can be counted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

LINE_SECONDS = 10.0
"""So often there is a line where there is no terminal to draw a bar on; nothing for what is done sooner."""


def count_bar(label: str) -> Callable[[float, int], None]:
    """A callback (done, total): a bar on a terminal, elsewhere a line now and then."""
    return _bar(label) if sys.stderr.isatty() else _lines(label)


def _bar(label: str) -> Callable[[float, int], None]:
    begun = time.monotonic()

    def show(done: float, total: int) -> None:
        share = done / max(total, 1)
        passed = time.monotonic() - begun
        left = f", {passed / share - passed:.0f} s left" if 0 < share < 1 and passed > 2 else ""
        bar = f"[{'#' * int(30 * share)}{'.' * (30 - int(30 * share))}] {int(done)}/{total}, {share:.0%}{left}"
        print(f"\r{label} {bar:70}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def _lines(label: str) -> Callable[[float, int], None]:
    said = time.monotonic()

    def show(done: float, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            print(f"{label} {int(done)}/{total}, {done / max(total, 1):.0%}", file=sys.stderr, flush=True)

    return show
