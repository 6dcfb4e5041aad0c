from __future__ import annotations

from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.audio.activity import (
    FRAME_MS,
    FRAME_SAMPLES,
    LOWEST_FLOOR_DBFS,
    Activity,
    NoiseFloor,
    VoiceActivity,
    band_power_db,
)
from stt_mqtt.config import VadConfig
from stt_mqtt.demo.samples import SAMPLES

FRAME_BYTES = 960


def room(seconds: float, dbfs: float) -> bytes:
    noise = np.random.default_rng(1).normal(size=int(seconds * 16_000)) * 10 ** (dbfs / 20)
    return np.rint(np.clip(noise, -1, 1) * 32767).astype("<i2").tobytes()


def mixed(pcm: bytes, background: bytes) -> bytes:
    samples = np.frombuffer(background, "<i2").copy()
    samples[-len(pcm) // 2 :] += np.frombuffer(pcm, "<i2")
    return samples.tobytes()


def hear(pcm: bytes, config: VadConfig) -> list[Activity]:
    activity = VoiceActivity(config)
    whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
    return [activity.process(pcm[at : at + FRAME_BYTES]) for at in range(0, whole, FRAME_BYTES)]


def test_a_quiet_room_holds_no_speech() -> None:
    heard = hear(room(10, -60), VadConfig())
    assert not any(frame.begins for frame in heard)


def test_a_command_is_speech_and_the_room_before_it_is_not() -> None:
    for sample in SAMPLES:
        pcm = sample.pcm()
        heard = hear(mixed(pcm, room(4 + len(pcm) / 32_000, -55)), VadConfig())
        before, spoken = heard[:130], heard[130:]
        assert not any(frame.begins for frame in before)
        assert sum(frame.begins for frame in spoken) * 0.03 > 0.5


def test_steady_noise_becomes_the_room() -> None:
    heard = hear(room(5, -60) + room(14, -30), VadConfig())
    assert not any(frame.begins or frame.sounds for frame in heard[-150:])


@given(st.binary(min_size=FRAME_BYTES, max_size=20 * FRAME_BYTES))
def test_what_begins_goes_on_and_what_goes_on_sounds(pcm: bytes) -> None:
    for frame in hear(pcm, VadConfig()):
        assert frame.voiced or not frame.goes_on
        assert frame.goes_on or not frame.begins
        assert frame.sounds or not frame.goes_on


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
