from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.load_meter import BURST_S, STEADY_S, ArrivalRate, LoadMeter


def test_nothing_arrives_before_anything_was_noted() -> None:
    assert LoadMeter().read(1e6) == ArrivalRate(0.0, 0.0)


def test_a_steady_stream_is_read_as_its_rate() -> None:
    meter = LoadMeter()
    for tenth in range(3000):
        meter.note(tenth / 10, 2.0)
    arrivals = meter.read(300.0)
    assert arrivals.utterances_per_s == pytest.approx(10, rel=0.02)
    assert arrivals.audio_s_per_s == pytest.approx(20, rel=0.02)


def test_a_burst_shows_at_once() -> None:
    meter = LoadMeter()
    for _ in range(20):
        meter.note(5.0, 3.0)
    assert meter.read(5.0).utterances_per_s == pytest.approx(20 / BURST_S)
    assert meter.read(5.0).audio_s_per_s == pytest.approx(60 / BURST_S)


def test_a_burst_is_remembered_for_its_length_and_then_forgotten() -> None:
    meter = LoadMeter()
    for _ in range(20):
        meter.note(0.0, 3.0)
    assert meter.read(STEADY_S).utterances_per_s > 0.2
    assert meter.read(10 * STEADY_S).utterances_per_s < 0.001


def test_reading_changes_nothing_and_a_clock_that_goes_back_stands_still() -> None:
    meter = LoadMeter()
    meter.note(10.0, 1.0)
    assert meter.read(50.0) == meter.read(50.0)
    assert meter.read(3.0) == meter.read(10.0)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 600)), max_size=50),
    st.floats(0, 1e6),
)
def test_one_more_utterance_is_more_load(notes: list[tuple[float, float]], later: float) -> None:
    meter = LoadMeter()
    now = 0.0
    for pause, audio_s in notes:
        now += pause
        before = meter.read(now)
        meter.note(now, audio_s)
        after = meter.read(now)
        assert after.utterances_per_s > before.utterances_per_s >= 0
        assert after.audio_s_per_s >= before.audio_s_per_s >= 0
    assert meter.read(now + later).utterances_per_s <= meter.read(now).utterances_per_s
