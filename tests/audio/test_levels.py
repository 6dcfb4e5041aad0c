from __future__ import annotations

import numpy as np
import pytest

from stt_mqtt.audio.gate import SpeechSpan, find_parts
from stt_mqtt.audio.levels import FRAME, SILENCE_DBFS, measure
from stt_mqtt.config import GateConfig
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.engine.pauses import judge_pauses
from stt_mqtt.levels import Levels
from stt_mqtt.types import SAMPLE_RATE, Samples
from tests.audio.synth import tone

SECOND = SAMPLE_RATE


def noise(seconds: float, dbfs: float) -> Samples:
    samples = np.random.default_rng(1).standard_normal(round(seconds * SECOND))
    return (samples * 10 ** (dbfs / 20)).astype(np.float32)


def recording(sample: Sample) -> Samples:
    return (np.frombuffer(sample.pcm(), "<i2") / 32768).astype(np.float32)


def of_recording(samples: Samples) -> Levels:
    parts = find_parts(samples, GateConfig(), judge_pauses)
    levels = measure(samples, [span for part in parts for span in part])
    assert levels is not None
    return levels


def test_speech_and_background_have_their_levels() -> None:
    samples = noise(3, -60)
    samples[SECOND : 2 * SECOND] += tone(level=0.1)
    levels = measure(samples, [SpeechSpan(SECOND, 2 * SECOND, 1.0)])
    assert levels is not None
    assert levels.speech_dbfs == pytest.approx(-23.0, abs=0.2)
    assert levels.noise_dbfs == pytest.approx(-60.0, abs=0.7)
    assert levels.snr_db == pytest.approx(37.0, abs=0.8)
    assert levels.clipped == 0


def test_without_speech_only_the_background_has_a_level() -> None:
    levels = measure(noise(1, -50), [])
    assert levels is not None
    assert (levels.speech_dbfs, levels.snr_db) == (None, None)
    assert levels.noise_dbfs == pytest.approx(-50, abs=1)


def test_the_quiet_half_of_the_speech_does_not_count() -> None:
    samples = np.concatenate([tone(level=0.5), np.zeros(SECOND, np.float32)])
    levels = measure(samples, [SpeechSpan(0, 2 * SECOND, 2.0)])
    assert levels is not None
    assert levels.speech_dbfs == pytest.approx(-9.0, abs=0.3)


def test_digital_silence_has_the_lowest_level() -> None:
    assert measure(np.zeros(SECOND, np.float32), []) == Levels(None, SILENCE_DBFS, 0.0)


def test_a_span_that_ends_within_a_frame_has_that_frame() -> None:
    levels = measure(tone(level=0.5), [SpeechSpan(0, 1, 0.0)])
    assert levels is not None
    assert levels.speech_dbfs is not None


def test_speech_after_the_last_whole_frame_has_no_level() -> None:
    levels = measure(tone()[: FRAME + 10], [SpeechSpan(FRAME, FRAME + 10, 0.0)])
    assert levels is not None
    assert levels.speech_dbfs is None


def test_less_than_a_frame_has_no_levels() -> None:
    assert measure(np.ones(FRAME - 1, np.float32), []) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_samples_at_full_scale_are_counted(sign: int) -> None:
    samples = tone(level=0.5)
    samples[100:500] = sign
    levels = measure(samples, [])
    assert levels is not None
    assert levels.clipped == pytest.approx(400 / SECOND)


@pytest.mark.parametrize("snr_db", [5, 10, 20])
def test_real_speech_in_noise_has_the_signal_to_noise_ratio_with_which_it_was_mixed(
    snr_db: int,
) -> None:
    found = []
    for sample in SAMPLES:
        speech = recording(sample)
        speech_dbfs = of_recording(speech).speech_dbfs
        assert speech_dbfs is not None
        mixed = speech + noise(len(speech) / SECOND, speech_dbfs - snr_db)[: len(speech)]
        snr = of_recording(np.clip(mixed, -1, 1)).snr_db
        assert snr is not None
        found.append(snr)
    assert np.median(found) == pytest.approx(snr_db, abs=2.5)


def test_closely_cut_speech_without_noise_does_not_look_noisy() -> None:
    for sample in SAMPLES:
        speech = recording(sample)
        parts = find_parts(speech, GateConfig(margin_ms=0), judge_pauses)
        snr = of_recording(speech[parts[0][0].start : parts[-1][-1].end]).snr_db
        assert snr is not None
        assert snr > 20
