"""Giving memory back to the system, which an app that runs for weeks has to."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_MEGABYTE = 2**20


def return_what_is_freed() -> None:
    """Keeps glibc from holding on to freed pictures; to be called before threads are begun.

    Each thread would have an arena of its own, and large blocks would come from it once the first
    of them had been freed: memory grows with every photo until all arenas have seen the largest.
    Elsewhere than on glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt:
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 4 * _MEGABYTE)
        mallopt(_M_TRIM_THRESHOLD, 32 * _MEGABYTE)
