"""What the process may use of the machine: cores and memory, also within control groups."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import floor, inf
from pathlib import Path, PurePosixPath

MAX_WORKERS = 4
"""More are a matter of configuration: each works in memory of its own."""

RESERVED_MB = 64
"""Memory that is left to the rest of the machine."""
VERSION_2 = ""
"""Stands where version 1 has the name of a controller."""
_MOUNTS = {VERSION_2: ("",), "cpu": ("cpu", "cpu,cpuacct"), "memory": ("memory",)}


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


def give_back_freed_memory() -> None:
    """Return to the system what is held unused. Does nothing where the C library is not glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_mb(root: Path = Path("/")) -> float:
    """Memory that this process may still take, in MB; infinite where the system does not say.

    What the machine has available, or less where a cgroup limits the process. `root` is the
    folder that holds `proc` and `sys`.
    """
    left = min([_available_mb(root), *_cgroups_left_mb(root)])
    return max(left - RESERVED_MB, 0.0)


def _available_mb(root: Path) -> float:
    for line in read_if_there(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024 / 1e6
    return inf


def _cgroups_left_mb(root: Path) -> Iterator[float]:
    """What each limit leaves; page cache counts as used there, so what may go of it is added."""
    for controller, limit, usage, cache in (
        (VERSION_2, "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in cgroup_folders(root, controller):
            most, used = (read_if_there(folder / file).strip() for file in (limit, usage))
            if most.isdigit() and used.isdigit():
                statistics = read_if_there(folder / "memory.stat").splitlines()
                may_go = (line.split()[1] for line in statistics if line.split()[:1] == [cache])
                yield (int(most) - int(used) + sum(map(int, may_go))) / 1e6


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


def cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders that may limit this process, of its group and the groups around it.

    `controller` is `VERSION_2`, or `cpu` or `memory` of version 1; `root` is the folder that
    holds `proc` and `sys`. The folders need not exist.
    """
    group = parse_cgroup_membership(read_if_there(root / "proc/self/cgroup")).get(controller)
    if group is None:
        return
    # A container may see its own group mounted as the root although the kernel names the whole
    # path, so each level is tried, down to the mount itself. `..` leads out of the namespace.
    steps = [step for step in group.parts[1:] if step != ".."]
    for mount in _MOUNTS[controller]:
        for depth in range(len(steps), -1, -1):
            yield (root / "sys/fs/cgroup" / mount).joinpath(*steps[:depth])


def read_if_there(file: Path) -> str:
    """The text of a file of the kernel's; nothing where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
