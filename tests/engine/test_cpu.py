from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.cpu import (
    Parallelism,
    choose_parallelism,
    parse_cfs_quota,
    parse_cpu_max,
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
