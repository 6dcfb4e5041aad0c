from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from stt_mqtt.core.probe import Evidence
from stt_mqtt.doctor.machine import check_clock, check_cpu, check_memory
from stt_mqtt.doctor.report import Status
from stt_mqtt.doctor.subject import RunningService
from tests.doctor.subjects import SOUND, machine_with, subject_of

MEMINFO = "MemTotal: 900000 kB\nMemAvailable: {} kB\n"
RUNNING = RunningService(connected=True, rung="good", probe=lambda: Evidence(0.0))
LADDER = {
    "rungs": [{"name": "good", "model": "tiny.en"}, {"name": "better", "model": "base"}],
}


def test_a_clock_in_1970_is_a_failure_that_may_pass() -> None:
    (finding,) = check_clock(subject_of(replace(SOUND, epoch=lambda: 12.0)))
    assert finding.status is Status.FAIL
    assert finding.temporary
    assert "1970-01-01 00:00 UTC" in finding.detail
    assert "time server" in finding.what_to_do


@pytest.mark.parametrize("epoch", [-1e18, 5e9, 1e300])
def test_a_clock_far_away_is_a_failure(epoch: float) -> None:
    (finding,) = check_clock(subject_of(replace(SOUND, epoch=lambda: epoch)))
    assert finding.status is Status.FAIL


@pytest.mark.parametrize(
    ("synchronised", "status"),
    [(True, Status.OK), (None, Status.OK), (False, Status.WARN)],
)
def test_a_clock_that_no_time_server_sets_is_a_warning(
    synchronised: bool | None, status: Status
) -> None:
    (finding,) = check_clock(subject_of(replace(SOUND, is_synchronised=lambda: synchronised)))
    assert finding.status is status


@pytest.mark.parametrize(
    ("architecture", "cpuinfo", "status", "words"),
    [
        ("x86_64", "flags\t: fpu sse4_1 avx avx2", Status.OK, "avx2"),
        ("x86_64", "flags\t: fpu sse4_1 avx", Status.WARN, "1.5 to 2 times as long"),
        ("x86_64", "flags\t: fpu sse2", Status.FAIL, "lacks sse4_1"),
        ("aarch64", "Features\t: fp asimd asimddp", Status.OK, "asimddp"),
        ("aarch64", "Features\t: fp asimd", Status.WARN, "lacks asimddp"),
        ("armv7l", "Features\t: neon", Status.FAIL, "armv7l"),
        ("x86_64", "", Status.OK, "x86_64"),
    ],
)
def test_missing_instructions_are_named_with_what_they_cost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    cpuinfo: str,
    status: Status,
    words: str,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    (finding,) = check_cpu(subject_of(machine_with(tmp_path, proc_cpuinfo=cpuinfo)))
    assert finding.status is status
    assert words in finding.detail


def test_a_limit_below_one_core_and_too_many_threads_are_warnings(tmp_path: Path) -> None:
    limited = machine_with(
        tmp_path,
        proc_cpuinfo="flags: sse4_1 avx2\nFeatures: asimd asimddp\n",
        proc_self_cgroup="0::/\n",
        sys_fs_cgroup_cpu="",
    )
    (tmp_path / "sys/fs/cgroup/cpu").unlink()
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    findings = check_cpu(subject_of(limited, engine={"workers": 2, "threads": 2}))
    assert {finding.status for finding in findings} == {Status.WARN}
    assert findings[0].detail == "only 0.5 of a core may be used"
    assert "engine.workers 2 x engine.threads 2 is more than" in findings[1].detail


def test_too_little_memory_is_a_failure_that_may_pass(tmp_path: Path) -> None:
    small = machine_with(tmp_path, proc_meminfo=MEMINFO.format(100_000))
    (finding,) = check_memory(subject_of(small))
    assert finding.status is Status.FAIL
    assert finding.temporary
    assert "tiny.en needs about 1" in finding.detail
    assert "38 MB are free" in finding.detail


def test_a_limited_address_space_counts_as_memory(tmp_path: Path) -> None:
    limited = machine_with(tmp_path, proc_meminfo=MEMINFO.format(8_000_000))
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/status").write_text("Name: x\nVmSize:  400000 kB\n")
    (finding,) = check_memory(subject_of(replace(limited, address_space_mb=lambda: 450.0)))
    assert "40 MB are free" in finding.detail


def test_enough_memory_is_told_with_what_the_model_needs(tmp_path: Path) -> None:
    machine = machine_with(tmp_path, proc_meminfo=MEMINFO.format(8_000_000))
    (finding,) = check_memory(subject_of(machine))
    assert finding.status is Status.OK
    assert finding.detail.startswith("8128 MB are free; the largest model needs about 1")


def test_a_running_service_needs_memory_only_for_its_other_models(tmp_path: Path) -> None:
    small = machine_with(tmp_path, proc_meminfo=MEMINFO.format(100_000))
    (alone,) = check_memory(subject_of(small, replace(RUNNING, rung="default")))
    assert alone.status is Status.OK
    assert "the service uses" in alone.detail


def test_a_rung_that_does_not_fit_beside_the_one_in_use_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_mqtt.engine.loading.needed_mb", lambda _rung: 300.0)
    small = machine_with(tmp_path, proc_meminfo=MEMINFO.format(200_000))
    (finding,) = check_memory(subject_of(small, RUNNING, ladder=LADDER))
    assert finding.status is Status.WARN
    assert "too little to change to base" in finding.detail
