"""The cores and memory that the process may use, with respect to control groups."""

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
"""Most workers by default. Each needs its own working memory."""

RESERVED_MB = 64
"""Memory that is reserved for the rest of the machine."""
ADDRESS_SPACE_MB = 1000
"""Address space that a model reserves beside its memory, for threads and allocators (measured: 750
on two cores). If it ends there, libraries end the process."""
VERSION_2 = ""
"""The controller name of cgroups version 2, which has only one hierarchy."""
_M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` for the most heaps."""
_MOUNTS = {VERSION_2: ("",), "cpu": ("cpu", "cpu,cpuacct"), "memory": ("memory",)}


@dataclass(frozen=True, slots=True)
class Parallelism:
    """`workers` batches are transcribed at once, each on `threads` threads."""

    workers: int
    threads: int

    def oversubscribes(self, cores: float) -> bool:
        """Whether more threads may run than there are `cores`."""
        return self.workers * self.threads > max(1, floor(cores))


def choose_parallelism(cores: float, workers: int | None, threads: int | None) -> Parallelism:
    """Share `cores` among workers and threads. None: not configured.

    Configured numbers are kept, even if they oversubscribe the cores.
    """
    budget = max(1, floor(cores))
    if threads is None:
        threads = 1 if workers is None else max(1, budget // workers)
    if workers is None:
        workers = min(max(1, budget // threads), MAX_WORKERS)
    return Parallelism(workers, threads)


def usable_cores(root: Path = Path("/")) -> float:
    """Cores that this process may use: its CPU affinity, or the limit of a cgroup.

    `root` is the folder with `proc` and `sys`.
    """
    limits = [limit for limit in _cgroup_limits(root) if limit is not None]
    return min([float(_affinity()), *limits])


def parse_cpu_max(text: str) -> float | None:
    """Cores of a cgroups version 2 `cpu.max` (`quota period` in µs); None: no limit."""
    quota, _, period = text.strip().partition(" ")
    return parse_cfs_quota(quota, period)


def parse_cfs_quota(quota: str, period: str) -> float | None:
    """Cores of a version 1 `cpu.cfs_quota_us` and `cpu.cfs_period_us`; None: no limit."""
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


def share_one_heap() -> None:
    """Let all threads allocate from one heap, if it is called before they start.

    With a heap for each thread, what one has freed is of no use to the others. Does nothing without
    glibc.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back_freed_memory() -> None:
    """Return freed memory of the allocator to the system. Does nothing without glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_mb(root: Path = Path("/")) -> float:
    """Memory that this process may still allocate, in MB; infinite if it is unknown.

    It is the available memory of the machine, or what the limit of a cgroup or of the process
    leaves. `root` is the folder with `proc` and `sys`.
    """
    left = min([_available_mb(root), *_cgroups_left_mb(root), *_own_limits_left_mb(root)])
    return max(left - RESERVED_MB, 0.0)


def _available_mb(root: Path) -> float:
    for line in read_if_there(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024 / 1e6
    return inf


def _cgroups_left_mb(root: Path) -> Iterator[float]:
    """What each cgroup limit leaves. Reclaimable page cache counts as free."""
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


def _own_limits_left_mb(root: Path) -> Iterator[float]:
    """What each limit of the process leaves for models (`ulimit -v` and `-d`)."""
    limits = read_if_there(root / "proc/self/limits").splitlines()
    status = read_if_there(root / "proc/self/status").splitlines()
    used = dict(line.split(":", 1) for line in status if ":" in line)
    for limit, key in (("Max address space", "VmSize"), ("Max data size", "VmData")):
        most = next((line[len(limit) :].split() for line in limits if line.startswith(limit)), [])
        kib = used.get(key, "").split()
        if most and most[0].isdigit() and kib and kib[0].isdigit():
            yield (int(most[0]) - int(kib[0]) * 1024) / 1e6 - ADDRESS_SPACE_MB


def parse_cgroup_membership(text: str) -> dict[str, PurePosixPath]:
    """The cgroup of the process by controller, from `/proc/self/cgroup`. Version 2: `""`."""
    membership: dict[str, PurePosixPath] = {}
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if hierarchy.isdigit() and colon and path.startswith("/"):
            for controller in controllers.split(","):
                membership[controller] = PurePosixPath(path)
    return membership


def cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the cgroup of this process and of its parents.

    `controller` is `VERSION_2`, or `cpu` or `memory` of version 1. `root` is the folder with `proc`
    and `sys`. The folders need not exist.
    """
    group = parse_cgroup_membership(read_if_there(root / "proc/self/cgroup")).get(controller)
    if group is None:
        return
    # In a container its own group may be mounted as the root although the kernel names the whole
    # path. So each level is tried, down to the mount itself. `..` leads out of the namespace.
    steps = [step for step in group.parts[1:] if step != ".."]
    for mount in _MOUNTS[controller]:
        for depth in range(len(steps), -1, -1):
            yield (root / "sys/fs/cgroup" / mount).joinpath(*steps[:depth])


def read_if_there(file: Path) -> str:
    """The text of a file of the kernel; empty if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
