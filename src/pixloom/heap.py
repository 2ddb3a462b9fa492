"""The memory of the machine that is free, and keeping the process's own between the steps of a training on the CPU."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The numbers of glibc's malloc.h, and its defaults.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_USUAL_THRESHOLD, _USUAL_PAD, _USUAL_MMAPS = 128 * 2**10, 128 * 2**10, 65536
_GROWTH_BYTES = 64 * 2**20

_kept = False


def free_memory_bytes() -> int | None:
    """The memory that programs can still be given: of the machine, or of the container where that has less; None where no one tells."""
    there = [amount for amount in (_of_machine(), _of_container()) if amount is not None]
    return min(there, default=None)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):  # with what the system would give up for it; of other systems only what is unused
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_container() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        most, used = (folder.joinpath(name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return None if most == "max" else max(0, int(most) - int(used))
    except (OSError, ValueError):
        return None


def keep_heap() -> bool:
    """Let malloc keep what is freed, for the rest of this process; True where that can be done (Linux with glibc).

    A training step allocates and frees the same several hundred MB again and again. By default each large block is mapped and unmapped
    anew, and its pages are faulted in one by one. Here blocks come from a heap that only grows, in strides of 64 MiB: peak memory stays
    about the same as long as every step asks for the same; for what does not, see :func:`heap_as_usual`.
    """
    global _kept
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    _kept = _set(mmaps=0, threshold=-1, pad=_GROWTH_BYTES)
    return _kept


@contextmanager
def heap_as_usual() -> Iterator[None]:
    """While it is entered, large blocks go back to the system when they are freed; so does, at its end, what the heap holds free.

    For work of other sizes than a step's: in a heap that is kept its blocks would lie between those of the steps, and few of the gaps that
    they leave would fit anything (a run at 128 px grew by 3.6 GiB in a validation of 64 pictures, and by 0.1 GiB this way).
    """
    if not _kept:
        yield
        return
    _set(mmaps=_USUAL_MMAPS, threshold=_USUAL_THRESHOLD, pad=_USUAL_PAD)
    try:
        yield
    finally:
        ctypes.CDLL(None).malloc_trim(0)
        keep_heap()


def _set(*, mmaps: int, threshold: int, pad: int) -> bool:
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(_M_MMAP_MAX, mmaps), mallopt(_M_TRIM_THRESHOLD, threshold), mallopt(_M_TOP_PAD, pad)])
