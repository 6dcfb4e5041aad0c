"""What this process takes of the machine."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_mb() -> float:
    """Resident memory of the process in MB (10^6 bytes)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * _PAGE_BYTES / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class CpuMeter:
    """Cores in use by this process, measured between two calls of `read`."""

    def __init__(self) -> None:
        self._wall_s = time.monotonic()
        self._cpu_s = time.process_time()

    def read(self) -> float:
        """CPU seconds per second since the last call (1.0: one core busy all the time)."""
        wall_s, cpu_s = time.monotonic(), time.process_time()
        elapsed_s = max(wall_s - self._wall_s, 1e-6)
        used = (cpu_s - self._cpu_s) / elapsed_s
        self._wall_s, self._cpu_s = wall_s, cpu_s
        return used
