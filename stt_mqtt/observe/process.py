"""Memory and CPU use of this process and of those that it started, such as decoders."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIN_WINDOW_S = 1.0
"""Shortest time to average CPU use over."""

MAX_PROCESSES = 64
"""Most processes below this one that are read."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def rss_mb() -> float:
    """Resident memory in MB (10^6 bytes), that of all processes below this one included.

    What processes share is counted for each of them.
    """
    statm = Path("/proc/self/statm")
    if statm.exists():
        own_bytes = int(statm.read_text().split()[1]) * _PAGE_BYTES
    else:
        own_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (own_bytes + sum(process.rss_bytes for process in _below())) / 1e6


def cpu_s() -> float:
    """CPU seconds so far, those of all processes below this one included."""
    ended = os.times()
    running_s = sum(process.cpu_s for process in _below())
    return time.process_time() + ended.children_user + ended.children_system + running_s


@dataclass(frozen=True, slots=True)
class _Process:
    """A process below this one. `cpu_s` includes those below it that have ended."""

    cpu_s: float
    rss_bytes: int

    @classmethod
    def read(cls, pid: str) -> _Process:
        """Raises `OSError` if the process has ended."""
        # The name comes before the last parenthesis, and may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(sum(map(int, fields[11:15])) / _TICKS_PER_S, int(fields[21]) * _PAGE_BYTES)


def _below() -> Iterator[_Process]:
    """The processes below this one, at most `MAX_PROCESSES`; where /proc lists none, none."""
    waiting = _children("self")
    for _ in range(MAX_PROCESSES):
        if not waiting:
            return
        pid = waiting.pop(0)
        with suppress(OSError):
            yield _Process.read(pid)
            waiting += _children(pid)


def _children(pid: str) -> list[str]:
    children: list[str] = []
    for threads in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            children += threads.read_text().split()
    return children


class CpuMeter:
    """Measures the CPU use of this process and those below it between two calls of `read`."""

    def __init__(
        self,
        wall: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = cpu_s,
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
        wall_s, used_s = self._wall(), self._cpu()
        if self._last is None:
            self._last = (wall_s, used_s)
            return None
        elapsed_s = wall_s - self._last[0]
        if elapsed_s >= MIN_WINDOW_S:
            # A process that ends meanwhile may be missed once.
            self._used = max(used_s - self._last[1], 0.0) / elapsed_s
            self._last = (wall_s, used_s)
        return self._used
