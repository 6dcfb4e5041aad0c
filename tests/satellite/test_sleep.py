from __future__ import annotations

import time

import pytest

from stt_mqtt.satellite.sleep import SleepDetector

CLOCKS = {time.CLOCK_BOOTTIME: 100.0, time.CLOCK_MONOTONIC: 100.0}


def test_a_machine_that_slept_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = dict(CLOCKS)
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    sleep = SleepDetector()
    clocks[time.CLOCK_BOOTTIME] += 60
    clocks[time.CLOCK_MONOTONIC] += 60
    assert not sleep.passed()
    clocks[time.CLOCK_BOOTTIME] += 3600
    assert sleep.passed()
    assert not sleep.passed()


def test_where_nobody_counts_sleep_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert not SleepDetector().passed()
