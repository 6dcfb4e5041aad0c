from __future__ import annotations

import pytest

from stt_mqtt.observe.process import CpuMeter, rss_mb


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
