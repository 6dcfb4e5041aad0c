"""Memory: giving back what the C allocator holds, and how much there is for a model."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

from stt_mqtt.engine.cgroups import VERSION_2, cgroup_folders, read_if_there

RESERVED_MB = 64
"""Memory that is left to the rest of the machine."""


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
