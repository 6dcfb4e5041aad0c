"""What is done to the audio of a microphone, and what is never done to it."""

from __future__ import annotations

import sys
from math import log10

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.config.satellite import CleanupConfig
from stt_mqtt.errors import EXIT_CONFIG, MissingExtraError
from stt_mqtt.types import SAMPLE_RATE
from tests.thorough import examples

SAMPLES = 480
OFF = CleanupConfig(high_pass=False, auto_gain=False, noise_suppression=False)
HIGH_PASS = OFF.model_copy(update={"high_pass": True})
SUPPRESSION = OFF.model_copy(update={"noise_suppression": True})
EVERYTHING = CleanupConfig(high_pass=True, auto_gain=True, noise_suppression=True)
Signal = npt.NDArray[np.float64]

frames = st.one_of(
    st.binary(min_size=2 * SAMPLES, max_size=2 * SAMPLES),
    st.sampled_from([b"\x00\x80" * SAMPLES, b"\xff\x7f" * SAMPLES, bytes(2 * SAMPLES)]),
    st.just(b"\xff\x7f\x00\x80" * (SAMPLES // 2)),
)
configs = st.builds(
    CleanupConfig,
    high_pass=st.booleans(),
    auto_gain=st.booleans(),
    max_gain_db=st.floats(0, 40),
    noise_suppression=st.booleans(),
)


def gain(max_gain_db: float = 18.0) -> CleanupConfig:
    return OFF.model_copy(update={"auto_gain": True, "max_gain_db": max_gain_db})


def cleaned(config: CleanupConfig, signal: Signal) -> Signal:
    """What comes of a signal of full scale 32768 and whole frames."""
    cleanup = Cleanup(config)
    pcm = np.clip(np.rint(signal), -32768, 32767).astype("<i2").reshape(-1, SAMPLES)
    out = b"".join(cleanup.process(frame.tobytes()) for frame in pcm)
    return np.frombuffer(out, "<i2").astype(np.float64)


def tone(hz: float, seconds: float, amplitude: float) -> Signal:
    time = np.arange(round(seconds * SAMPLE_RATE) // SAMPLES * SAMPLES) / SAMPLE_RATE
    return np.asarray(amplitude * np.sin(2 * np.pi * hz * time))


def noise(seconds: float, dbfs: float) -> Signal:
    samples = round(seconds * SAMPLE_RATE) // SAMPLES * SAMPLES
    return np.random.default_rng(1).normal(size=samples) * 32768 * 10 ** (dbfs / 20)


def voice(seconds: float, dbfs: float) -> Signal:
    """Syllables of 240 ms and as much pause, of harmonics of 300 Hz."""
    harmonics = [tone(300 * number, seconds, 1 / number) for number in range(1, 8)]
    sung = np.sum(harmonics, axis=0)
    frames = np.arange(len(sung)) // SAMPLES
    spoken = np.where(frames % 16 < 8, sung / rms(sung), 0)
    return spoken * 32768 * 10 ** (dbfs / 20)


def rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(np.square(signal))))


def change_db(before: Signal, after: Signal) -> float:
    """How much louder the last second is."""
    return 20 * log10(rms(after[-SAMPLE_RATE:]) / rms(before[-SAMPLE_RATE:]))


def biquad(signal: Signal, hz: float) -> Signal:
    """A Butterworth high-pass of the second order as textbooks have it, sample by sample."""
    w = np.tan(np.pi * hz / SAMPLE_RATE)
    a0 = 1 + np.sqrt(2) * w + w * w
    a1, a2 = 2 * (w * w - 1) / a0, (1 - np.sqrt(2) * w + w * w) / a0
    out = np.zeros(len(signal))
    x1 = x2 = y1 = y2 = 0.0
    for index, x in enumerate(signal):
        y = (x - 2 * x1 + x2) / a0 - a1 * y1 - a2 * y2
        out[index] = y
        x1, x2, y1, y2 = x, x1, y, y1
    return out


@settings(deadline=None, max_examples=examples(20))
@given(configs, st.lists(frames, min_size=1, max_size=6))
def test_every_frame_comes_out_as_long_as_it_went_in(
    config: CleanupConfig, heard: list[bytes]
) -> None:
    cleanup = Cleanup(config)
    assert [len(cleanup.process(frame)) for frame in heard] == [2 * SAMPLES] * len(heard)


@settings(deadline=None, max_examples=examples(20))
@given(configs)
def test_silence_stays_silence(config: CleanupConfig) -> None:
    assert not cleaned(config, np.zeros(60 * SAMPLES)).any()


@settings(deadline=None, max_examples=examples(20))
@given(st.lists(frames, min_size=1, max_size=4))
def test_with_everything_off_nothing_is_changed(heard: list[bytes]) -> None:
    cleanup = Cleanup(OFF)
    assert [cleanup.process(frame) for frame in heard] == heard


@pytest.mark.parametrize(
    ("hz", "least_db", "most_db"), [(20, -90, -20), (200, -1, 0.1), (1000, -0.1, 0.1)]
)
def test_the_high_pass_takes_rumble_and_leaves_voices(
    hz: float, least_db: float, most_db: float
) -> None:
    heard = tone(hz, 3, 20_000)
    assert least_db < change_db(heard, cleaned(HIGH_PASS, heard)) < most_db


@settings(deadline=None, max_examples=examples(20))
@given(st.integers(0, 2**32 - 1))
def test_the_high_pass_filters_frame_by_frame_as_it_would_in_one_go(seed: int) -> None:
    heard = np.random.default_rng(seed).integers(-9000, 9000, 8 * SAMPLES).astype(np.float64)
    # No more apart than rounding to whole numbers makes them.
    assert np.abs(cleaned(HIGH_PASS, heard) - biquad(heard, 100)).max() < 0.5001


def test_the_high_pass_does_not_wrap_around_at_full_scale() -> None:
    heard = np.where(np.arange(40 * SAMPLES) // 2000 % 2, 32767.0, -32768.0)
    apart = np.abs(cleaned(HIGH_PASS, heard) - np.clip(biquad(heard, 100), -32768, 32767))
    assert apart.max() < 0.5001


def test_a_quiet_voice_comes_near_the_target_and_its_pauses_with_it() -> None:
    heard = voice(20, -32) + noise(20, -70)
    after = cleaned(gain(), heard)
    assert change_db(heard, after) == pytest.approx(9, abs=1.5)
    pauses = np.arange(len(heard)) // SAMPLES % 16 >= 9
    assert change_db(heard[pauses], after[pauses]) == pytest.approx(9, abs=1.5)


def test_the_gain_rises_less_than_one_db_in_a_second() -> None:
    heard = voice(6, -40) + noise(6, -70)
    assert 2 < change_db(heard, cleaned(gain(), heard)) < 6


@pytest.mark.parametrize("max_gain_db", [0.0, 6.0, 18.0])
def test_the_gain_ends_at_its_limit(max_gain_db: float) -> None:
    heard = voice(26, -55) + noise(26, -80)
    after = cleaned(gain(max_gain_db), heard)
    assert change_db(heard, after) == pytest.approx(max_gain_db, abs=0.5)
    assert np.all(np.abs(after) <= np.abs(np.rint(heard)) * 10 ** (max_gain_db / 20) + 1)


def test_a_loud_voice_passes_as_it_is() -> None:
    heard = voice(10, -12)
    assert np.array_equal(cleaned(gain(), heard), np.rint(heard))


def test_steady_noise_alone_is_not_amplified() -> None:
    heard = noise(20, -45)
    assert np.array_equal(cleaned(gain(), heard), np.rint(heard))


def test_a_fan_that_is_switched_on_is_not_amplified_for_long() -> None:
    heard = np.concatenate([noise(5, -75), noise(20, -50)])
    assert change_db(heard, cleaned(gain(), heard)) == pytest.approx(0, abs=0.1)


def test_pauses_do_not_pump_up_the_noise() -> None:
    heard = np.concatenate([voice(15, -40) + noise(15, -70), noise(10, -70)])
    after = cleaned(gain(10), heard)
    pause = slice(16 * SAMPLE_RATE, 17 * SAMPLE_RATE)
    assert change_db(heard[pause], after[pause]) == pytest.approx(change_db(heard, after), abs=0.5)


def test_a_shout_after_a_quiet_voice_is_limited_without_clipping() -> None:
    heard = np.concatenate([voice(15, -40) + noise(15, -70), tone(300, 3, 25_000)])
    after = cleaned(gain(), heard)[15 * SAMPLE_RATE :]
    assert np.abs(after).max() <= 32767 * 10 ** (-1 / 20) + 1
    assert change_db(heard, after) == pytest.approx(0, abs=1.5)


def test_a_shout_at_full_scale_is_not_made_quieter() -> None:
    heard = np.concatenate([voice(15, -40) + noise(15, -70), tone(300, 3, 32_767)])
    after = cleaned(gain(), heard)
    assert np.array_equal(after[-SAMPLE_RATE:], np.rint(heard[-SAMPLE_RATE:]))


def test_suppression_takes_steady_noise_and_leaves_the_voice() -> None:
    hiss = noise(8, -45)
    assert change_db(hiss, cleaned(SUPPRESSION, hiss)) < -9
    heard = voice(8, -20) + noise(8, -60)
    assert change_db(heard, cleaned(SUPPRESSION, heard)) == pytest.approx(0, abs=2)


def test_all_stages_work_on_the_same_audio() -> None:
    rumble, speech, hiss = tone(20, 15, 3000), voice(15, -40), noise(15, -60)
    heard = rumble + speech + hiss
    after = cleaned(EVERYTHING, heard)
    assert rms(after[-SAMPLE_RATE:]) > 2 * rms(speech[-SAMPLE_RATE:])
    before_hz, after_hz = (np.abs(np.fft.rfft(x[-SAMPLE_RATE:])) for x in (heard, after))
    assert after_hz[20] / after_hz[300] < before_hz[20] / before_hz[300] / 10


def test_suppression_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyspeex_noise", None)
    with pytest.raises(MissingExtraError, match=r"pyspeex_noise.*stt-mqtt\[satellite\]") as caught:
        Cleanup(SUPPRESSION)
    assert caught.value.exit_code == EXIT_CONFIG
    Cleanup(gain())
