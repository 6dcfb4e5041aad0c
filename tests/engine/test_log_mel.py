from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.calibration import FULL_WINDOW, Floats, Window
from stt_mqtt.engine.loaded import padded
from stt_mqtt.engine.log_mel import HOP, LogMel
from stt_mqtt.types import SAMPLE_RATE, Samples
from tests.thorough import examples

MELS = 80
HEAR = LogMel(MELS)
WINDOW = Window(lead_s=0.5, pad_s=2.5, min_s=6.0, tail_states=500)
FRAME = 400


def noise(count: int, level: float = 0.1, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(count) * level).astype(np.float32)


def speech(index: int) -> Samples:
    pcm = np.frombuffer(SAMPLES[index].pcm(), "<i2")
    return np.asarray(pcm / 32768, np.float32)


def placed(sound: Samples, before: int, behind: int) -> Samples:
    return np.pad(sound, (before, behind))


def as_defined(samples: Samples) -> Floats:
    """Every frame by the discrete Fourier transform's own sum, in double precision.

    The mel filters are those under test; they are compared with faster-whisper's.
    """
    mirrored = np.pad(samples.astype(np.float64), FRAME // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    angles = np.outer(np.arange(FRAME), np.arange(FRAME // 2 + 1)) * (2 * np.pi / FRAME)
    frames = np.array(
        [
            mirrored[frame * HOP : frame * HOP + FRAME] * window
            for frame in range(len(samples) // HOP)
        ]
    )
    power = (frames @ np.cos(angles)) ** 2 + (frames @ np.sin(angles)) ** 2
    level = np.log10(np.maximum(HEAR.filters.astype(np.float64) @ power.T, 1e-10))
    return np.asarray((np.maximum(level, level.max() - 8.0) + 4.0) / 4.0, np.float32)


@pytest.mark.parametrize("mels", [80, 128])
def test_the_numbers_are_those_of_faster_whisper(mels: int) -> None:
    theirs = pytest.importorskip("faster_whisper.feature_extractor").FeatureExtractor(mels)
    ours = LogMel(mels)
    assert np.array_equal(ours.filters, theirs.mel_filters)
    for samples in (
        *(padded(speech(index), WINDOW) for index in range(len(SAMPLES))),
        padded(speech(0), FULL_WINDOW),
        noise(2 * SAMPLE_RATE),
        np.zeros(SAMPLE_RATE, np.float32),
    ):
        np.testing.assert_allclose(ours(samples), theirs(samples, padding=0), rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=examples(20))
@given(
    before=st.integers(0, 900),
    count=st.integers(1, 900),
    behind=st.integers(0, 900),
    level=st.sampled_from([1e-4, 0.1, 1.0]),
)
def test_silence_around_a_sound_is_known_without_computing_it(
    before: int, count: int, behind: int, level: float
) -> None:
    samples = placed(noise(count, level, seed=count), before, behind + FRAME)
    np.testing.assert_allclose(HEAR(samples), as_defined(samples), rtol=0, atol=1e-4)


@pytest.mark.parametrize("place", [0, 1, 159, 160, 199, 200, 201, 359, 360, 1000, 3039, 3199])
def test_a_single_sample_is_heard_in_every_frame_that_holds_it(place: int) -> None:
    samples = np.zeros(3200, np.float32)
    samples[place] = 1.0
    np.testing.assert_allclose(HEAR(samples), as_defined(samples), rtol=0, atol=1e-4)


def test_silence_has_the_level_that_whisper_gives_it() -> None:
    frames = HEAR(np.zeros(SAMPLE_RATE, np.float32))
    assert frames.shape == (MELS, 100)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, -1.5, rtol=1e-6)


def test_what_is_far_below_the_loudest_is_all_as_quiet() -> None:
    frames = HEAR(padded(speech(0), WINDOW))
    assert float(frames.max() - frames.min()) == pytest.approx(2.0)
    np.testing.assert_array_equal(frames[:, -100:], frames.min())


@pytest.mark.parametrize("count", [FRAME // 2 + 1, 1600, 1759, 30 * SAMPLE_RATE])
def test_there_is_a_frame_for_each_10_ms(count: int) -> None:
    assert HEAR(noise(count)).shape == (MELS, count // HOP)


def test_the_samples_are_left_as_they_are() -> None:
    samples = padded(speech(0), WINDOW)
    before = samples.copy()
    samples.flags.writeable = False
    HEAR(samples)
    assert np.array_equal(samples, before)


def test_threads_share_it() -> None:
    inputs = [padded(speech(index), WINDOW) for index in range(4)]
    alone = [HEAR(samples) for samples in inputs]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(HEAR, inputs))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)
