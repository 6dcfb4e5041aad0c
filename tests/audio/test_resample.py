from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.resample import Resampler
from stt_mqtt.types import Samples
from tests.audio.synth import level_at, tone
from tests.thorough import examples


def resample(samples: Samples, rate: int, step: int = 1_000) -> Samples:
    resampler = Resampler(rate)
    planar = samples[np.newaxis]
    pieces = [resampler.push(planar[:, i : i + step]) for i in range(0, len(samples), step)]
    joined: Samples = np.concatenate([*pieces, resampler.flush()], axis=1)[0]
    return joined


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_a_tone_of_1_khz_keeps_its_level_and_place(rate: int) -> None:
    heard = resample(tone(1_000, rate=rate), rate)
    assert np.abs(heard - tone(1_000))[500:-500].max() < 1e-3


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_tone_of_10_khz_vanishes_and_does_not_come_back_as_another(rate: int) -> None:
    heard = resample(tone(10_000, rate=rate), rate)
    assert np.abs(heard[500:-500]).max() < 1e-4
    assert level_at(heard, 6_000) < 1e-4


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_pieces_do_not_matter(rate: int) -> None:
    samples = tone(seconds=0.5, rate=rate)
    assert np.abs(resample(samples, rate, 37) - resample(samples, rate, 10**6)).max() < 1e-5


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(8_000, 48_000), st.integers(0, 5_000), st.integers(20, 2_000))
def test_the_result_lasts_as_long_as_the_input(rate: int, count: int, step: int) -> None:
    samples = np.ones(count, np.float32)
    assert len(resample(samples, rate, step)) == -(-count * 16_000 // rate)


def test_it_never_goes_beyond_full_scale() -> None:
    square = np.sign(tone(300, rate=48_000, level=1.0))
    assert np.abs(resample(square, 48_000)).max() == 1.0
