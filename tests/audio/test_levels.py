from __future__ import annotations

from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.audio.levels import (
    FRAME_MS,
    FRAME_SAMPLES,
    LOWEST_FLOOR_DBFS,
    NoiseFloor,
    band_power_db,
)

LEVELS = st.floats(-120, 0)


def sine(hz: float, amplitude: float) -> bytes:
    samples = amplitude * np.sin(2 * pi * hz * np.arange(FRAME_SAMPLES) / 16_000)
    return np.rint(samples * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("hz", [300, 1000, 3500])
def test_a_sine_at_full_scale_has_0_db_in_the_band_of_voices(hz: float) -> None:
    assert band_power_db(sine(hz, 1.0)) == pytest.approx(0, abs=0.3)
    assert band_power_db(sine(hz, 0.01)) == pytest.approx(-40, abs=0.3)


@pytest.mark.parametrize("hz", [50, 7000])
def test_rumble_and_hiss_hardly_count(hz: float) -> None:
    assert band_power_db(sine(hz, 1.0)) < -25


def test_silence_has_a_level() -> None:
    assert band_power_db(bytes(2 * FRAME_SAMPLES)) == pytest.approx(-120)


def settle(floor: NoiseFloor, level_db: float, seconds: float) -> float:
    frames = int(seconds * 1000 / FRAME_MS)
    return [floor.push(level_db) for _ in range(frames)][-1]


def test_the_floor_goes_up_with_the_room_within_seconds() -> None:
    floor = NoiseFloor()
    settle(floor, -60, 10)
    assert settle(floor, -40, 2) == pytest.approx(-58.5, abs=0.1)
    assert settle(floor, -40, 7) == pytest.approx(-38.5, abs=0.1)


def test_the_floor_comes_down_at_once() -> None:
    floor = NoiseFloor()
    settle(floor, -40, 10)
    assert settle(floor, -60, 0.9) < -57


def test_speech_with_gaps_between_words_leaves_the_floor_where_it_is() -> None:
    floor = NoiseFloor()
    settle(floor, -60, 10)
    for _ in range(20):
        settle(floor, -25, 0.6)
        highest = settle(floor, -60, 0.5)
    assert highest == pytest.approx(-58.5, abs=3)


def test_who_speaks_for_seven_seconds_without_a_gap_leaves_it_there_too() -> None:
    floor = NoiseFloor()
    settle(floor, -60, 10)
    assert settle(floor, -25, 7) == pytest.approx(-58.5, abs=0.1)


def test_who_begins_with_speech_is_not_taken_for_the_room() -> None:
    floor = NoiseFloor()
    assert settle(floor, -20, 0.9) == -60


@given(st.lists(LEVELS, min_size=1, max_size=300))
def test_the_floor_is_never_above_the_loudest_frame_nor_below_its_bound(
    levels: list[float],
) -> None:
    floor = NoiseFloor()
    heard = [floor.push(level) for level in levels]
    assert all(at >= LOWEST_FLOOR_DBFS for at in heard)
    assert max(heard) <= max(*levels, LOWEST_FLOOR_DBFS - 1.5) + 1.5 + 1e-6
