"""Memory and CPU use of this process."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

MIN_WINDOW_S = 1.0
"""Shortest time to average CPU use over."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_mb() -> float:
    """Resident memory of the process in MB (10^6 bytes)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * _PAGE_BYTES / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class CpuMeter:
    """Measures the CPU use of this process between two calls of `read`."""

    def __init__(
        self,
        wall: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        """`wall` and `cpu`: clocks in seconds."""
        self._wall = wall
        self._cpu = cpu
        self._last: tuple[float, float] | None = None
        self._used: float | None = None

    def read(self) -> float | None:
        """CPU seconds per second since the last call (1.0: one core fully used).

        None at the first call. Within `MIN_WINDOW_S` the last value is repeated.
        """
        wall_s, cpu_s = self._wall(), self._cpu()
        if self._last is None:
            self._last = (wall_s, cpu_s)
            return None
        elapsed_s = wall_s - self._last[0]
        if elapsed_s >= MIN_WINDOW_S:
            self._used = (cpu_s - self._last[1]) / elapsed_s
            self._last = (wall_s, cpu_s)
        return self._used
