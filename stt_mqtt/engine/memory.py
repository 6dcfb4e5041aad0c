"""What the C allocator does with memory between two inferences.

An inference allocates and frees a hundred megabytes. By default glibc hands them back to the
system each time and takes them again, page by page: a quarter of the time of a short utterance.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Of <malloc.h>: keep what is freed, do not map large blocks apart, one heap for all threads.
_KEEP = {"M_TRIM_THRESHOLD": (-1, 1 << 30), "M_MMAP_MAX": (-4, 0), "M_ARENA_MAX": (-8, 1)}


def keep_freed_memory() -> None:
    """Hold freed memory for the next inference. Does nothing where the C library is not glibc."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for option, value in _KEEP.values():
            library.mallopt(option, value)


def give_back_freed_memory() -> None:
    """Return to the system what is held unused, once; the next inference is slower for it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
