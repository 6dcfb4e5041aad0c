from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.audio.activity import Activity, VoiceActivity
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
    return [activity.hear(pcm[at : at + FRAME_BYTES]) for at in range(0, whole, FRAME_BYTES)]


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
