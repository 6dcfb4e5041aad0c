"""What goes to another machine: smaller, and the same to the ear of the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.compact import SMALL_BYTES, compact
from stt_mqtt.audio.decode import decode
from stt_mqtt.hints import Hint
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Samples
from tests.thorough import examples


def speech(seconds: float, rate: int = SAMPLE_RATE, channels: int = 1) -> Samples:
    """Something smooth with noise, as float32 of full scale ±1.0, shape (frames, channels)."""
    random = np.random.default_rng(1)
    at = np.arange(int(seconds * rate))[:, None] / rate
    tone = 0.3 * np.sin(2 * np.pi * (220 + 110 * np.arange(channels)) * at)
    return (tone + 0.01 * random.standard_normal(tone.shape)).astype(np.float32)


def s16(samples: Samples) -> bytes:
    return bytes((samples * 32767).astype("<i2").tobytes())


def heard(audio: EncodedAudio) -> Samples:
    return decode(audio, 60.0).samples


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_16_bit_pcm_is_smaller_as_flac_and_exactly_the_same(rate: int, channels: int) -> None:
    data = s16(speech(1.2 * SMALL_BYTES / (2 * rate * channels), rate, channels))
    audio = EncodedAudio(AudioFormat(Codec.PCM_S16LE, rate, channels), data)
    smaller = compact(audio)
    assert smaller.format == AudioFormat(Codec.FLAC, rate, channels)
    assert len(smaller.data) < 0.8 * len(data)
    assert np.array_equal(heard(smaller), heard(audio))


@settings(max_examples=examples(10))
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from([1, 2]))
def test_any_bytes_come_back_except_half_a_sample(seed: int, more: int, channels: int) -> None:
    data = np.random.default_rng(seed).bytes(SMALL_BYTES + more)
    audio = EncodedAudio(AudioFormat(channels=channels), data)
    assert np.array_equal(heard(compact(audio)), heard(audio))


def test_longer_audio_than_one_piece_is_whole() -> None:
    audio = EncodedAudio(AudioFormat(rate=8_000), s16(speech(31.0, 8_000)))
    assert np.array_equal(heard(compact(audio)), heard(audio))


def test_floats_are_rounded_to_16_bits() -> None:
    samples = speech(4.0)
    audio = EncodedAudio(AudioFormat(Codec.PCM_F32LE), samples.tobytes(), decoded=True)
    smaller = compact(audio)
    assert smaller.format == AudioFormat(Codec.FLAC)
    assert smaller.decoded
    assert np.abs(heard(smaller) - heard(audio)).max() <= 1 / 32768


def test_small_pcm_stays_as_it_is() -> None:
    audio = EncodedAudio(AudioFormat(), bytes(SMALL_BYTES))
    assert compact(audio) is audio


@pytest.mark.parametrize(
    "audio",
    [
        EncodedAudio(AudioFormat(Codec.OPUS), bytes(SMALL_BYTES + 1)),
        EncodedAudio(AudioFormat(Codec.FLAC), bytes(SMALL_BYTES + 1)),
        EncodedAudio(None, bytes(SMALL_BYTES + 1)),
        EncodedAudio(AudioFormat(Codec.PCM_F32LE), bytes(SMALL_BYTES + 4), ready=True),
    ],
)
def test_what_is_coded_or_ready_goes_as_it_came(audio: EncodedAudio) -> None:
    assert compact(audio) is audio


def test_pcm_with_a_wrong_layout_keeps_its_hint() -> None:
    swapped = np.frombuffer(s16(speech(7.0)), "<i2").byteswap().tobytes()
    audio = EncodedAudio(AudioFormat(), swapped)
    hint = decode(audio, 60.0).hint
    assert hint is not None
    smaller = compact(audio)
    assert smaller.hint is hint
    assert decode(smaller, 60.0).hint is hint


def test_a_hint_that_was_known_before_stays() -> None:
    data = s16(speech(7.0))
    audio = EncodedAudio(AudioFormat(), data, hint=Hint.CLIPPING, decoded=True)
    assert compact(audio).hint is Hint.CLIPPING
