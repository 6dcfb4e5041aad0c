from __future__ import annotations

import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

from stt_mqtt.engine.memory import RESERVED_MB, free_mb
from tests.engine.test_cpu import put

GIVE_BACK = """
import ctypes
from stt_mqtt.engine.memory import give_back_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
blocks = [libc.malloc(100_000) for _ in range(640)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:
    libc.free(block)
held = resident_mb()
give_back_freed_memory()
print(held - resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_memory_that_the_allocator_holds_is_given_back() -> None:
    # In a process of its own, whose memory nothing else uses. The last block keeps the others
    # from going back by themselves.
    done = subprocess.run(
        [sys.executable, "-c", GIVE_BACK], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) > 50


AVAILABLE_MB = 1024.0
MEMINFO = "MemTotal: 4000000 kB\nMemFree: 100000 kB\nMemAvailable: 1000000 kB\nBuffers: 1 kB\n"
MINE = "0::/system.slice/stt.service\n"
MB = 1_000_000


def free_with(root: Path, membership: str, limits: dict[str, str]) -> float:
    """What is free, the reserve included, under these files of the control groups."""
    put(root, "proc/meminfo", MEMINFO)
    put(root, "proc/self/cgroup", membership)
    for name, text in limits.items():
        put(root, f"sys/fs/cgroup/{name}", text)
    return free_mb(root) + RESERVED_MB


def limited(folder: str, most_mb: int, used_mb: int) -> dict[str, str]:
    """The files of a group of version 2."""
    return {
        f"{folder}memory.max": f"{most_mb * MB}\n",
        f"{folder}memory.current": f"{used_mb * MB}\n",
    }


def test_without_control_groups_what_the_machine_has_available_is_free(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", MEMINFO)
    assert free_mb(tmp_path) == AVAILABLE_MB - RESERVED_MB


def test_the_limit_of_a_container_leaves_less(tmp_path: Path) -> None:
    assert free_with(tmp_path, "0::/\n", limited("", 500, 200)) == 300


def test_a_limit_above_what_is_available_changes_nothing(tmp_path: Path) -> None:
    assert free_with(tmp_path, "0::/\n", limited("", 5000, 200)) == AVAILABLE_MB


def test_page_cache_that_may_go_counts_as_free(tmp_path: Path) -> None:
    statistics = f"anon {50 * MB}\nfile {150 * MB}\ninactive_file {100 * MB}\nactive_file 7\n"
    files = {**limited("", 500, 200), "memory.stat": statistics}
    assert free_with(tmp_path, "0::/\n", files) == 400


def test_max_is_no_limit(tmp_path: Path) -> None:
    files = {"memory.max": "max\n", "memory.current": "1000000000\n"}
    assert free_with(tmp_path, "0::/\n", files) == AVAILABLE_MB


@pytest.mark.parametrize(("group_mb", "slice_mb", "free"), [(500, 400, 300), (350, 400, 250)])
def test_the_group_that_leaves_least_counts(
    tmp_path: Path, group_mb: int, slice_mb: int, free: int
) -> None:
    files = {
        **limited("system.slice/stt.service/", group_mb, 100),
        **limited("system.slice/", slice_mb, 100),
        **limited("system.slice/other.service/", 10, 9),
    }
    assert free_with(tmp_path, MINE, files) == free


def test_a_container_that_sees_its_group_as_the_root_is_limited_by_it(tmp_path: Path) -> None:
    assert free_with(tmp_path, "0::/docker/0123abcd\n", limited("", 500, 200)) == 300


def test_a_limit_of_version_1_counts_with_the_page_cache_of_the_groups_within(
    tmp_path: Path,
) -> None:
    files = {
        "memory/docker/abc/memory.limit_in_bytes": f"{500 * MB}\n",
        "memory/docker/abc/memory.usage_in_bytes": f"{200 * MB}\n",
        "memory/docker/abc/memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MB}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": f"{900 * MB}\n",
    }
    assert free_with(tmp_path, "7:memory:/docker/abc\n0::/\n", files) == 350


def test_nothing_is_free_where_more_is_used_than_the_limit(tmp_path: Path) -> None:
    assert free_with(tmp_path, "0::/\n", limited("", 100, 120)) == RESERVED_MB


def test_a_system_that_does_not_say_has_no_end_of_memory(tmp_path: Path) -> None:
    assert free_mb(tmp_path) == inf
    put(tmp_path, "proc/meminfo", "MemTotal: 4000000 kB\n")
    assert free_mb(tmp_path) == inf


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machine_says_what_is_free() -> None:
    assert 0 <= free_mb() < inf
