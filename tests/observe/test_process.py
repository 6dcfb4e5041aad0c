from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stt_mqtt.observe.process import MAX_PROCESSES, CpuMeter, cpu_s, rss_mb

BUSY_S = 0.3
TWO_PROCESSES = f"""
import os, sys, time
if os.fork():
    os.wait()
else:
    memory = b"x" * 50_000_000
    while time.process_time() < {BUSY_S}:
        pass
    print("done", flush=True)
    sys.stdin.read()
"""
"""A process that starts another one, which works, takes memory, and then waits."""


def test_the_process_knows_its_memory_and_its_work() -> None:
    assert 10 < rss_mb() < 100_000
    assert CpuMeter().read() is None


class Clocks:
    """Wall and CPU clocks that go on as told."""

    def __init__(self) -> None:
        self.wall_s = 1000.0
        self.cpu_s = 50.0

    def go_on(self, wall_s: float, cpu_s: float) -> None:
        self.wall_s += wall_s
        self.cpu_s += cpu_s

    def meter(self) -> CpuMeter:
        return CpuMeter(lambda: self.wall_s, lambda: self.cpu_s)


def test_cpu_use_is_unknown_until_there_is_something_to_compare_with() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    # What loading the model took is nobody's load.
    clocks.go_on(5.0, 5.0)
    assert meter.read() is None
    clocks.go_on(0.5, 0.5)
    assert meter.read() is None
    clocks.go_on(29.5, 2.5)
    assert meter.read() == pytest.approx(0.1)
    clocks.go_on(30.0, 60.0)
    assert meter.read() == pytest.approx(2.0)


def test_asking_twice_at_once_does_not_make_a_moment_the_load() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    meter.read()
    clocks.go_on(30.0, 3.0)
    assert meter.read() == pytest.approx(0.1)
    clocks.go_on(0.2, 0.2)
    assert meter.read() == pytest.approx(0.1)


def test_what_other_processes_do_for_it_counts() -> None:
    work_s, memory_mb = cpu_s(), rss_mb()
    command = [sys.executable, "-c", TWO_PROCESSES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"done\n"
        assert cpu_s() - work_s >= 0.9 * BUSY_S
        assert rss_mb() - memory_mb >= 50
        started.communicate()
    assert cpu_s() - work_s >= 0.9 * BUSY_S
    assert rss_mb() - memory_mb < 50


def test_a_bounded_number_of_processes_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each process has itself as its child.
    monkeypatch.setattr("stt_mqtt.observe.process._children", lambda _pid: [str(os.getpid())])
    own_mb = rss_mb() / (MAX_PROCESSES + 1)
    assert 10 < own_mb < 10_000


def test_a_process_that_ends_while_it_is_read_makes_no_negative_load() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    meter.read()
    clocks.go_on(5.0, -1.0)
    assert meter.read() == 0.0
