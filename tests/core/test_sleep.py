"""What becomes of speech when the machine sleeps, which threads do not notice."""

from __future__ import annotations

import time

import pytest

from stt_mqtt.core.clock import SystemClock
from stt_mqtt.types import OutcomeKind, UtteranceStart
from tests.core.test_service import BEDROOM, CHUNK, KITCHEN, Bench
from tests.fakes import heard

NIGHT_S = 8 * 3600.0


def test_the_clock_counts_the_time_that_the_machine_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {time.CLOCK_BOOTTIME: 100.0 + NIGHT_S, time.CLOCK_MONOTONIC: 100.0}
    monkeypatch.setattr(time, "clock_gettime", times.__getitem__)
    assert SystemClock().now() == 100.0 + NIGHT_S


def test_speech_that_began_before_the_machine_slept_and_goes_on_afterwards_is_expired() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="a"))
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    bench.clock.advance(NIGHT_S)
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    bench.clock.advance(1.0)
    bench.service.stop(KITCHEN, None, None)
    assert bench.last.error is not None
    assert bench.last.error.code == "expired"
    assert bench.last.age_s == pytest.approx(NIGHT_S, abs=2)
    assert bench.last.ts == pytest.approx(bench.clock.epoch() - NIGHT_S, abs=2)
    assert bench.pool.submitted == []


def test_speech_whose_stop_comes_after_the_machine_slept_is_expired() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="a"))
    bench.service.chunk(KITCHEN, CHUNK * 10, None, None)
    bench.clock.advance(NIGHT_S)
    bench.service.stop(KITCHEN, None, None)
    assert bench.last.error is not None
    assert bench.last.error.code == "expired"


def test_speech_that_nobody_went_on_with_after_the_machine_slept_is_expired() -> None:
    bench = Bench()
    bench.service.chunk(KITCHEN, CHUNK * 10, None, None)
    bench.pass_time(NIGHT_S)
    assert bench.last.error is not None
    assert bench.last.error.code == "expired"
    assert bench.last.ts == pytest.approx(bench.clock.epoch() - NIGHT_S, abs=1)


def test_speech_that_waited_while_the_machine_slept_is_expired() -> None:
    bench = Bench()
    bench.speak(BEDROOM, "runs")
    bench.speak(KITCHEN, "waits")
    bench.pass_time(NIGHT_S)
    assert (bench.last.id, bench.last.error and bench.last.error.code) == ("waits", "expired")


def test_speech_that_was_being_transcribed_is_expired_and_its_thread_does_not_hang() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "a")
    bench.pass_time(NIGHT_S)
    assert bench.outlet.outcomes == []
    bench.pass_time(50.0)
    assert bench.service.scheduler.healthy
    bench.answer(heard())
    assert (bench.last.kind, bench.last.error and bench.last.error.code) == (
        OutcomeKind.ERROR,
        "expired",
    )
    bench.speak(KITCHEN, "b")
    bench.answer(heard())
    assert (bench.last.id, bench.last.kind) == ("b", OutcomeKind.TRANSCRIPT)


def test_a_verdict_that_comes_before_anybody_has_looked_at_the_clock_is_expired_too() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "a")
    bench.clock.advance(NIGHT_S)
    bench.answer(heard())
    assert bench.last.error is not None
    assert bench.last.error.code == "expired"


def test_a_thread_that_hangs_is_given_up_though_the_machine_slept() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "a")
    bench.pass_time(NIGHT_S)
    bench.pass_time(61.0)
    assert bench.last.error is not None
    assert bench.last.error.code == "inference_timeout"
    assert bench.service.scheduler.all_stuck


def test_who_sleeps_once_too_often_is_not_excused_again() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "a")
    bench.pass_time(NIGHT_S)
    bench.pass_time(NIGHT_S)
    assert bench.last.error is not None
    assert bench.last.error.code == "inference_timeout"
