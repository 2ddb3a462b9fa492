"""Keeping the process's memory between the steps of a training on the CPU."""

from __future__ import annotations

import ctypes
import platform
import sys

# The numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_GROWTH_BYTES = 64 * 2**20


def keep_heap() -> bool:
    """Let malloc keep what is freed, for the rest of this process; True where that can be done (Linux with glibc).

    A training step allocates and frees the same several hundred MB again and again. By default each large block is mapped and unmapped
    anew, and its pages are faulted in one by one. Here blocks come from a heap that only grows, in strides of 64 MiB: peak memory stays
    about the same, but none of it goes back to the system before the process ends.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_TOP_PAD, _GROWTH_BYTES)])
