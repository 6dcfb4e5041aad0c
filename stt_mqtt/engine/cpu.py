"""How many cores this process may really use, and how the model shares them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import floor
from pathlib import Path, PurePosixPath

THREADS_PER_WORKER = 2
"""Measured with tiny.en: one thread takes a quarter longer or more, four are no faster than two."""


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
        threads = min(budget, THREADS_PER_WORKER) if workers is None else max(1, budget // workers)
    if workers is None:
        workers = max(1, budget // threads)
    return Parallelism(workers, threads)


def usable_cores(root: Path = Path("/")) -> float:
    """Cores that this process may use: its CPU affinity, or less where a cgroup limits it.

    `root` is the folder that holds `proc` and `sys`.
    """
    limits = [float(_affinity()), *_cgroup_limits(root)]
    return min(limits)


def parse_cgroup_membership(text: str) -> dict[str, PurePosixPath]:
    """The process's cgroup by controller, from `/proc/self/cgroup`; version 2 is under `""`."""
    membership: dict[str, PurePosixPath] = {}
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if hierarchy.isdigit() and colon and path.startswith("/"):
            for controller in controllers.split(","):
                membership[controller] = PurePosixPath(path)
    return membership


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


def _cgroup_limits(root: Path) -> Iterator[float]:
    membership = parse_cgroup_membership(_read(root / "proc/self/cgroup"))
    for controller, mounts in (("", [""]), ("cpu", ["cpu", "cpu,cpuacct"])):
        if controller not in membership:
            continue
        for mount in mounts:
            for folder in _with_parents(root / "sys/fs/cgroup" / mount, membership[controller]):
                limit = (
                    parse_cfs_quota(
                        _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
                    )
                    if controller
                    else parse_cpu_max(_read(folder / "cpu.max"))
                )
                if limit is not None:
                    yield limit


def _with_parents(mount: Path, group: PurePosixPath) -> Iterator[Path]:
    # A container may see its own group mounted as the root although the kernel names the whole
    # path, so each level is tried, down to the mount itself. `..` leads out of the namespace.
    steps = [step for step in group.parts[1:] if step != ".."]
    for depth in range(len(steps), -1, -1):
        yield mount.joinpath(*steps[:depth])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _affinity() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
