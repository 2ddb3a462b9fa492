"""A bar for what can be counted."""

from __future__ import annotations

import sys
from typing import Any


def count_bar(label: str) -> Any:
    """A callback (done, total) that draws a bar on a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: float, total: int) -> None:
        filled = int(30 * done / max(total, 1))
        print(
            f"\r{label} [{'#' * filled}{'.' * (30 - filled)}] {int(done)}/{total}",
            end="\n" if done == total else "",
            file=sys.stderr,
            flush=True,
        )

    return show
