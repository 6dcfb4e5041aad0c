from __future__ import annotations

import os
import subprocess
import sys
from math import inf
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.resources import (
    RESERVED_MB,
    VERSION_2,
    Parallelism,
    cgroup_folders,
    choose_parallelism,
    free_mb,
    parse_cfs_quota,
    parse_cgroup_membership,
    parse_cpu_max,
    read_if_there,
    usable_cores,
)

AFFINITY = float(len(os.sched_getaffinity(0)))


def put(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2.0),
        ("50000 100000\n", 0.5),
        ("150000 100000", 1.5),
        ("max 100000\n", None),
        ("", None),
        ("100000", None),
        ("100000 0", None),
        ("-1 100000", None),
        ("words and more", None),
    ],
)
def test_cpu_max_of_cgroup_version_2(text: str, cores: float | None) -> None:
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [
        ("400000\n", "100000\n", 4.0),
        ("25000", "50000", 0.5),
        ("-1\n", "100000\n", None),
        ("0", "100000", None),
        ("", "", None),
        ("100000", "0", None),
        ("100000", "", None),
    ],
)
def test_cfs_quota_of_cgroup_version_1(quota: str, period: str, cores: float | None) -> None:
    assert parse_cfs_quota(quota, period) == cores


@given(st.text())
def test_any_text_is_a_limit_above_zero_or_none(text: str) -> None:
    limit = parse_cpu_max(text)
    assert limit is None or limit > 0


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == AFFINITY


def test_the_tightest_limit_among_a_group_and_its_parents_counts(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/system.slice/stt.service\n")
    put(tmp_path, "sys/fs/cgroup/system.slice/cpu.max", "25000 100000\n")
    put(tmp_path, "sys/fs/cgroup/system.slice/stt.service/cpu.max", "50000 100000\n")
    assert usable_cores(tmp_path) == 0.25


def test_the_limit_of_a_sibling_group_does_not_count(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/mine\n")
    put(tmp_path, "sys/fs/cgroup/other/cpu.max", "25000 100000\n")
    assert usable_cores(tmp_path) == AFFINITY


def test_a_container_that_sees_its_group_as_the_root_is_limited_by_it(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/docker/0123abcd\n0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == 0.5


def test_a_group_path_cannot_lead_out_of_the_mount(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/../../outside\n")
    put(tmp_path, "sys/outside/cpu.max", "10000 100000\n")
    put(tmp_path, "sys/fs/cgroup/outside/cpu.max", "50000 100000\n")
    assert usable_cores(tmp_path) == 0.5


def test_a_limit_above_the_affinity_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "99900000 100000\n")
    assert usable_cores(tmp_path) == AFFINITY


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (0.5, Parallelism(1, 1)),
        (1.0, Parallelism(1, 1)),
        (1.9, Parallelism(1, 1)),
        (2.0, Parallelism(2, 1)),
        (3.9, Parallelism(3, 1)),
        (4.0, Parallelism(4, 1)),
        (16.0, Parallelism(4, 1)),
    ],
)
def test_each_of_at_most_four_workers_gets_one_thread(cores: float, expected: Parallelism) -> None:
    assert choose_parallelism(cores, None, None) == expected


def test_a_configured_number_of_workers_shares_the_cores() -> None:
    assert choose_parallelism(8.0, 2, None) == Parallelism(2, 4)


def test_a_configured_number_of_threads_decides_the_workers() -> None:
    assert choose_parallelism(8.0, None, 4) == Parallelism(2, 4)


def test_what_is_configured_is_kept_and_known_to_oversubscribe() -> None:
    chosen = choose_parallelism(2.0, 3, 2)
    assert chosen == Parallelism(3, 2)
    assert chosen.oversubscribes(2.0)


@given(st.floats(min_value=0.01, max_value=512))
def test_a_free_choice_never_oversubscribes(cores: float) -> None:
    assert not choose_parallelism(cores, None, None).oversubscribes(cores)


@given(st.floats(min_value=0.01, max_value=512), st.integers(1, 64))
def test_one_configured_number_within_the_cores_never_oversubscribes(
    cores: float, given_number: int
) -> None:
    if given_number <= max(1, int(cores)):
        assert not choose_parallelism(cores, given_number, None).oversubscribes(cores)
        assert not choose_parallelism(cores, None, given_number).oversubscribes(cores)


GIVE_BACK = """
import ctypes
from stt_mqtt.engine.resources import give_back_freed_memory
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


ONE_HEAP = """
import ctypes, threading
from stt_mqtt.engine.resources import share_one_heap
share_one_heap()
threads = [threading.Thread(target=bytearray, args=(50_000,)) for _ in range(8)]
for thread in threads:
    thread.start()
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_all_threads_share_one_heap() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_HEAP], capture_output=True, text=True, check=True, timeout=60
    )
    if "Arena" not in done.stderr:
        pytest.skip("another C library than glibc")
    assert done.stderr.count("Arena") == 1


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


def test_a_container_that_sees_its_group_as_the_root_has_its_memory(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("limits", "free"),
    [
        ("Max address space         2000000000           unlimited            bytes", 488),
        ("Max data size             1500000000           unlimited            bytes", 244),
        ("Max address space         unlimited            unlimited            bytes", AVAILABLE_MB),
        ("Max address space", AVAILABLE_MB),
    ],
)
def test_a_limit_of_the_process_itself_leaves_less(
    tmp_path: Path, limits: str, free: float
) -> None:
    put(tmp_path, "proc/self/status", "Name:\tstt\nVmSize:\t 500000 kB\nVmData:\t 250000 kB\n")
    put(tmp_path, "proc/self/limits", f"Limit    Soft Limit    Hard Limit    Units\n{limits}\n")
    assert free_with(tmp_path, "0::/\n", {}) == free


def test_nothing_is_free_where_more_is_used_than_the_limit(tmp_path: Path) -> None:
    assert free_with(tmp_path, "0::/\n", limited("", 100, 120)) == RESERVED_MB


def test_a_system_that_does_not_say_has_no_end_of_memory(tmp_path: Path) -> None:
    assert free_mb(tmp_path) == inf
    put(tmp_path, "proc/meminfo", "MemTotal: 4000000 kB\n")
    assert free_mb(tmp_path) == inf


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machine_says_what_is_free() -> None:
    assert 0 <= free_mb() < inf


def folders(root: Path, membership: str, controller: str) -> list[str]:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    found = cgroup_folders(root, controller)
    return [str(folder.relative_to(root / "sys/fs/cgroup")) for folder in found]


def test_membership_names_the_group_of_each_controller() -> None:
    text = "12:cpu,cpuacct:/docker/abc\n3:memory:/m\n0::/user.slice/a:b.scope\n"
    assert parse_cgroup_membership(text) == {
        "cpu": PurePosixPath("/docker/abc"),
        "cpuacct": PurePosixPath("/docker/abc"),
        "memory": PurePosixPath("/m"),
        "": PurePosixPath("/user.slice/a:b.scope"),
    }


@given(st.text())
def test_any_text_is_some_membership(text: str) -> None:
    assert all(str(path).startswith("/") for path in parse_cgroup_membership(text).values())


def test_the_groups_around_a_group_limit_it_too(tmp_path: Path) -> None:
    found = folders(tmp_path, "3:memory:/m\n0::/system.slice/stt.service\n", VERSION_2)
    assert found == ["system.slice/stt.service", "system.slice", "."]


def test_a_controller_of_version_1_has_a_mount_of_its_own(tmp_path: Path) -> None:
    assert folders(tmp_path, "3:memory:/m\n0::/other\n", "memory") == ["memory/m", "memory"]


def test_a_controller_that_knows_nothing_of_the_process_limits_nothing(tmp_path: Path) -> None:
    assert folders(tmp_path, "0::/mine\n", "memory") == []
    assert list(cgroup_folders(tmp_path / "nothing", VERSION_2)) == []


def test_a_path_cannot_lead_out_of_the_mount(tmp_path: Path) -> None:
    assert folders(tmp_path, "0::/../../outside\n", VERSION_2) == ["outside", "."]


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert read_if_there(tmp_path) == read_if_there(tmp_path / "nothing") == ""
