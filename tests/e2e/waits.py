"""How long a program took, without what a busy machine kept it waiting."""

from __future__ import annotations

import time
from pathlib import Path


class Stopwatch:
    """Counts the seconds in which processes had the cores that their threads asked for.

    Where the kernel does not say how long threads wait for a core, it counts all seconds.
    """

    def __init__(self, *processes: int) -> None:
        self._processes = processes
        self._waited = self._read()
        self._began = time.monotonic()

    def seconds(self) -> float:
        """So many since it was made."""
        took_s = time.monotonic() - self._began
        waited_ns = sum(ns - self._waited.get(task, 0) for task, ns in self._read().items())
        return took_s - waited_ns / 1e9

    def _read(self) -> dict[Path, int]:
        """Nanoseconds for which each thread was ready to run and no core was free."""
        waited = {}
        for process in self._processes:
            for task in Path(f"/proc/{process}/task").glob("*"):
                try:
                    waited[task] = int((task / "schedstat").read_text().split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
        return waited
