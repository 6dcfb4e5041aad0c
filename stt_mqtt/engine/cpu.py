"""How many cores this process may really use, and how the model shares them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import floor
from pathlib import Path

from stt_mqtt.engine.cgroups import VERSION_2, cgroup_folders, read_if_there

MAX_WORKERS = 4
"""More are a matter of configuration: each works in memory of its own."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """`workers` utterances are transcribed at once, each on `threads` threads."""

    workers: int
    threads: int

    def oversubscribes(self, cores: float) -> bool:
        """Whether more threads may run than there are `cores`."""
        return self.workers * self.threads > max(1, floor(cores))


def choose_parallelism(cores: float, workers: int | None, threads: int | None) -> Parallelism:
    """Share `cores` out; None stands for a number that nobody configured.

    What is configured is kept, even where it oversubscribes the cores.
    """
    budget = max(1, floor(cores))
    if threads is None:
        threads = 1 if workers is None else max(1, budget // workers)
    if workers is None:
        workers = min(max(1, budget // threads), MAX_WORKERS)
    return Parallelism(workers, threads)


def usable_cores(root: Path = Path("/")) -> float:
    """Cores that this process may use: its CPU affinity, or less where a cgroup limits it.

    `root` is the folder that holds `proc` and `sys`.
    """
    limits = [limit for limit in _cgroup_limits(root) if limit is not None]
    return min([float(_affinity()), *limits])


def parse_cpu_max(text: str) -> float | None:
    """Cores allowed by a version 2 `cpu.max` (`quota period` in µs); None: no limit."""
    quota, _, period = text.strip().partition(" ")
    return parse_cfs_quota(quota, period)


def parse_cfs_quota(quota: str, period: str) -> float | None:
    """Cores allowed by version 1 `cpu.cfs_quota_us` and `cpu.cfs_period_us`; None: no limit."""
    try:
        quota_us, period_us = int(quota), int(period)
    except ValueError:
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _cgroup_limits(root: Path) -> Iterator[float | None]:
    for folder in cgroup_folders(root, VERSION_2):
        yield parse_cpu_max(read_if_there(folder / "cpu.max"))
    for folder in cgroup_folders(root, "cpu"):
        yield parse_cfs_quota(
            read_if_there(folder / "cpu.cfs_quota_us"), read_if_there(folder / "cpu.cfs_period_us")
        )


def _affinity() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
