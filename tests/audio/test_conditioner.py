"""Offsets: taken out where they disturb, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.conditioner import take_out_offset
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.endpoint import SpeechMeter
from stt_mqtt.audio.gate import find_speech
from stt_mqtt.config import GateConfig
from stt_mqtt.hints import Hint
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Samples
from tests.audio.synth import container, framed, opus_packets, s16, tone
from tests.audio.voices import FLOATS, as_floats, heard, hiss, limited, voice
from tests.thorough import examples

OFFSETS = [0.01, 0.05, 0.2, -0.2]


def with_offset(offset: float) -> Samples:
    """Quiet speech beside zero."""
    return (0.25 * as_floats(voice()) + offset).astype(np.float32)


def drift(count: int, level: float) -> Samples:
    return (level * np.sin(2 * np.pi * 0.2 * np.arange(count) / 16_000 + 1)).astype(np.float32)


@pytest.mark.parametrize("number", range(9))
def test_speech_around_zero_is_left_bit_by_bit_as_it_is(number: int) -> None:
    found = heard(voice(number).tobytes())
    assert found.samples.tolist() == as_floats(voice(number)).tolist()
    assert found.hint is None


@pytest.mark.parametrize("offset", OFFSETS)
def test_an_offset_is_taken_out_and_the_speech_is_what_it_was(offset: float) -> None:
    clean = with_offset(0.0)
    found = heard(limited(with_offset(offset) * 32768).tobytes()).samples
    assert np.abs(found - clean).max() < 0.01
    assert np.sqrt(np.mean((found - clean) ** 2)) < 0.002


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_an_offset_that_drifts_is_taken_out(level: float) -> None:
    clean = with_offset(0.0)
    found = heard((clean + drift(len(clean), level)).tobytes(), FLOATS).samples
    assert np.sqrt(np.mean((found - clean) ** 2)) < 0.003


@pytest.mark.parametrize("offset", OFFSETS)
def test_the_speech_gate_finds_speech_beside_zero_where_it_finds_it_around_zero(
    offset: float,
) -> None:
    span = find_speech(with_offset(0.0), GateConfig())
    found = find_speech(heard(limited(with_offset(offset) * 32768).tobytes()).samples, GateConfig())
    assert span is not None
    assert found is not None
    assert abs(found.start - span.start) <= 960
    assert abs(found.end - span.end) <= 960


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_constant_is_silence_from_the_first_sample_to_the_last(
    offset: float, rate: int, channels: int
) -> None:
    data = s16(np.full(rate, offset, np.float32), channels)
    found = heard(data, AudioFormat(Codec.PCM_S16LE, rate, channels))
    assert len(found.samples) == 16_000
    assert np.abs(found.samples).max() < 1e-3
    assert find_speech(found.samples, GateConfig()) is None


OFFSET_TONE = tone(300, rate=48_000, level=0.2) + 0.2
KINDS: dict[str, Callable[[], EncodedAudio]] = {
    "opus": lambda: EncodedAudio(AudioFormat(Codec.OPUS), framed(opus_packets(OFFSET_TONE))),
    "flac": lambda: EncodedAudio(None, container("flac", "flac", OFFSET_TONE, 48_000)),
    "wav": lambda: EncodedAudio(None, container("wav", "pcm_s16le", OFFSET_TONE, 48_000)),
    "mp4": lambda: EncodedAudio(None, container("ipod", "alac", OFFSET_TONE, 48_000)),
    "webm": lambda: EncodedAudio(None, container("matroska", "pcm_f32le", OFFSET_TONE, 48_000)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_audio_is_brought_around_zero(kind: str) -> None:
    from stt_mqtt.audio.decode import decode

    found = decode(KINDS[kind](), 30.0).samples
    means = found[: len(found) // 1600 * 1600].reshape(-1, 1600).mean(axis=1)
    assert np.abs(means[1:-1]).max() < 0.01


def test_pcm_that_is_converted_while_it_comes_is_brought_around_zero() -> None:
    from stt_mqtt.audio.decode import decode

    buffer = AudioBuffer(AudioFormat(Codec.PCM_S16LE, 48_000, 1), AudioCap(30.0, 2**21))
    buffer.append(s16(OFFSET_TONE))
    found = decode(buffer.close(), 30.0)
    assert abs(found.samples.mean()) < 0.001
    assert found.hint is Hint.OFFSET


@pytest.mark.parametrize("offset", [0.03, -0.05, 0.2])
def test_an_offset_worth_mending_is_told(offset: float) -> None:
    assert heard(limited(with_offset(offset) * 32768).tobytes()).hint is Hint.OFFSET


def test_sounds_that_are_cut_off_on_one_side_are_no_offset() -> None:
    samples = np.minimum(4 * as_floats(voice()), 0.05)
    assert heard(samples.tobytes(), FLOATS).hint is None


def end_of_command(offset: float) -> int:
    """Where the command ends for a Hermes session, in bytes."""
    room = hiss(16_000 * 8, 0.0005)
    room[16_000 : 16_000 + len(voice())] += voice()
    pcm = limited(room + offset * 32768).tobytes()
    meter = SpeechMeter()
    for at in range(0, len(pcm), 640):
        meter.push(pcm[at : at + 640])
        if meter.spoke and meter.silence_ms >= 800:
            return at
    raise AssertionError("it does not end")


@pytest.mark.parametrize("offset", [0.01, 0.05, 0.2, -0.2])
def test_an_offset_does_not_move_the_end_of_a_command_as_a_hermes_session_hears_it(
    offset: float,
) -> None:
    """A control: the level of voices and the detector leave out what lies below them."""
    assert abs(end_of_command(offset) - end_of_command(0.0)) <= 2 * 480


@settings(max_examples=examples(30), deadline=None)
@given(
    arrays(np.float32, st.integers(0, 5_000), elements=st.floats(-1, 1, width=32)),
    st.floats(-1, 1, width=32),
)
def test_whatever_comes_stays_as_long_finite_and_within_full_scale(
    samples: Samples, offset: float
) -> None:
    samples = np.clip(samples + offset, -1, 1).astype(np.float32)
    found, _ = take_out_offset(samples)
    assert found.dtype == np.float32
    assert len(found) == len(samples)
    assert np.isfinite(found).all()
    assert not len(found) or np.abs(found).max() <= 1.0


def test_what_was_decoded_before_is_taken_as_it_is() -> None:
    beside = with_offset(0.2)
    found = decode(EncodedAudio(FLOATS, beside.tobytes(), ready=True), 30.0)
    assert found.samples.tolist() == beside.tolist()
    assert found.hint is None


def test_an_offset_is_taken_out_of_a_single_short_word() -> None:
    beside = limited(tone(300, 0.15) * 3_000 + 6_000)
    assert abs(heard(beside.tobytes()).samples[:1_600].mean()) < 0.01
    wandering = tone(300, 0.35, level=0.1) + np.linspace(-0.2, 0.2, 5_600, dtype=np.float32)
    assert np.abs(heard(wandering.tobytes(), FLOATS).samples).max() < 0.15
