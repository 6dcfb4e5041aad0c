"""Signs of a wrong format: noticed where it is wrong, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decode import Decoding, decode
from stt_mqtt.audio.layout import Layout
from stt_mqtt.audio.pcm import SampleType
from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.hints import Hint
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tests.audio.synth import tone
from tests.audio.voices import (
    FLOATS,
    STEREO,
    Int16,
    as_floats,
    delayed,
    heard,
    hiss,
    limited,
    pair,
    voice,
)
from tests.thorough import examples

Sent = tuple[AudioFormat, bytes]
MONO = AudioFormat()


def loud(samples: Int16, times: float) -> Int16:
    """Speech with its peak so many times full scale."""
    return limited(samples * (times * 32768 / np.abs(samples.astype(int)).max()))


WRONG: dict[str, tuple[Hint, Callable[[Int16], Sent]]] = {
    "big-endian": (Hint.BYTE_ORDER, lambda x: (MONO, x.byteswap().tobytes())),
    "big-endian stereo": (
        Hint.BYTE_ORDER,
        lambda x: (STEREO, np.frombuffer(pair(x, delayed(x, 3)), "<i2").byteswap().tobytes()),
    ),
    "behind half a sample": (Hint.SHIFTED, lambda x: (MONO, x.tobytes()[1:])),
    "with a byte before": (Hint.SHIFTED, lambda x: (MONO, b"\0" + x.tobytes())),
    "two channels alike": (Hint.STEREO_AS_MONO, lambda x: (MONO, pair(x, x))),
    "two channels, one silent": (Hint.STEREO_AS_MONO, lambda x: (MONO, pair(x, 0 * x))),
    "two channels, one later": (
        Hint.STEREO_AS_MONO,
        lambda x: (MONO, pair(x, limited(delayed(x, 8) * 0.5))),
    ),
    "two channels, inverted": (
        Hint.STEREO_AS_MONO,
        lambda x: (MONO, pair(x, limited(-x.astype(float)))),
    ),
    "one channel as two": (Hint.MONO_AS_STEREO, lambda x: (STEREO, x.tobytes())),
    "unsigned bytes": (
        Hint.BYTES_AS_S16,
        lambda x: (MONO, ((x >> 8) + 128).astype(np.uint8).tobytes()),
    ),
    "signed bytes": (Hint.BYTES_AS_S16, lambda x: (MONO, (x >> 8).astype(np.int8).tobytes())),
    "floats": (Hint.FLOAT_AS_S16, lambda x: (MONO, as_floats(x).tobytes())),
    "integers as floats": (Hint.S16_AS_FLOAT, lambda x: (FLOATS, x.tobytes())),
    "floats that were integers": (
        Hint.FLOAT_RANGE,
        lambda x: (FLOATS, x.astype("<f4").tobytes()),
    ),
    "float stereo as mono": (
        Hint.STEREO_AS_MONO,
        lambda x: (FLOATS, as_floats(np.frombuffer(pair(x, x), "<i2")).tobytes()),
    ),
    "too loud": (Hint.CLIPPING, lambda x: (MONO, loud(x, 4).tobytes())),
    "much too loud": (Hint.CLIPPING, lambda x: (MONO, loud(x, 10).tobytes())),
    "beside zero": (Hint.OFFSET, lambda x: (MONO, limited(x + 3_000.0).tobytes())),
}
RIGHT: dict[str, Callable[[Int16], Sent]] = {
    "mono": lambda x: (MONO, x.tobytes()),
    "quiet": lambda x: (MONO, limited(x / 100).tobytes()),
    "nearly nothing": lambda x: (MONO, limited(x / 5_000).tobytes()),
    "at full scale": lambda x: (MONO, loud(x, 1).tobytes()),
    "floats": lambda x: (FLOATS, as_floats(x).tobytes()),
    "stereo": lambda x: (STEREO, pair(x, x)),
    "noisy stereo": lambda x: (
        STEREO,
        pair(limited(x + hiss(len(x), 0.003)), limited(x + hiss(len(x), 0.003, 2))),
    ),
    "8 bits in 16": lambda x: (MONO, (x >> 8 << 8).tobytes()),
    "hiss": lambda x: (MONO, limited(hiss(len(x), 0.1)).tobytes()),
    "quiet hiss": lambda x: (MONO, limited(hiss(len(x), 0.0003)).tobytes()),
    "silence": lambda x: (MONO, bytes(2 * len(x))),
    "float silence": lambda x: (FLOATS, bytes(4 * len(x))),
    "bytes that were widened to 16 bits": lambda x: (
        MONO,
        ((x >> 8).astype(np.int8).astype(np.int16) * 257).astype("<i2").tobytes(),
    ),
    "floats that fade away": lambda x: (
        FLOATS,
        np.concatenate([as_floats(x), 1e-3 * np.exp(-np.arange(len(x)) / 400, dtype=np.float32)])
        .astype("<f4")
        .tobytes(),
    ),
    "beep": lambda x: (MONO, limited(tone(4_000, 1.0) * 32767).tobytes()),
    "a slice too short to tell": lambda x: (MONO, x[8_000:8_400].byteswap().tobytes()),
    "next to no bytes": lambda x: (MONO, x[:1].tobytes()),
}


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_noticed(wrong: str, number: int) -> None:
    hint, send = WRONG[wrong]
    audio_format, data = send(voice(number))
    assert heard(data, audio_format).hint is hint


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_raises_no_alarm(right: str, number: int) -> None:
    audio_format, data = RIGHT[right](voice(number))
    assert heard(data, audio_format).hint is None


@pytest.mark.parametrize("offset", [0.45, 0.47, -0.55])
def test_an_offset_whose_samples_would_make_floats_is_an_offset(offset: float) -> None:
    noise = np.random.default_rng(1).standard_normal(32_000)
    data = limited(32767 * (offset + 0.005 * noise)).tobytes()
    assert heard(data, MONO).hint is Hint.OFFSET


@pytest.mark.parametrize("wrong", ["big-endian", "two channels alike", "floats", "too loud"])
def test_it_is_noticed_in_a_wav_file(wrong: str) -> None:
    hint, send = WRONG[wrong]
    found = decode(EncodedAudio(None, wav_bytes(send(voice())[1], 16_000)), 30.0)
    assert found.hint is hint


@pytest.mark.parametrize("wrong", ["big-endian", "floats", "unsigned bytes", "too loud"])
def test_it_is_noticed_in_pcm_that_is_converted_while_it_comes(wrong: str) -> None:
    hint, send = WRONG[wrong]
    at = np.arange(3 * len(voice())) / 3
    audio_format, data = send(limited(np.interp(at, np.arange(len(voice())), voice())))
    buffer = AudioBuffer(AudioFormat(audio_format.codec, 48_000, 1), AudioCap(30.0, 2**21))
    for start in range(0, len(data), 1_001):
        buffer.append(data[start : start + 1_001])
    assert decode(buffer.close(), 30.0).hint is hint


def test_the_hint_of_a_recording_is_known_when_it_has_been_read() -> None:
    decoding = Decoding(EncodedAudio(MONO, voice().byteswap().tobytes()))
    assert decoding.hint is None
    assert len(list(decoding)) == 1
    assert decoding.hint is Hint.BYTE_ORDER


def test_of_long_audio_the_beginning_is_inspected() -> None:
    layout = Layout(SampleType.S16, 16_000, 1)
    layout.push(memoryview(np.resize(voice(), 16_000 * 40).tobytes()))
    for _ in range(10):
        layout.push(memoryview(voice().byteswap().tobytes()))
    assert layout.hint is None


@settings(max_examples=examples(70), deadline=None)
@given(
    st.sampled_from([SampleType.S16, SampleType.F32, SampleType.U8, SampleType.S24]),
    st.sampled_from([1, 2]),
    st.lists(st.binary(max_size=9_000), max_size=4),
)
def test_no_bytes_raise(sample_type: SampleType, channels: int, pieces: list[bytes]) -> None:
    layout = Layout(sample_type, 8_000, channels)
    for piece in pieces:
        layout.push(memoryview(piece))
    assert layout.hint is None or layout.hint in Hint


@settings(max_examples=examples(30), deadline=None)
@given(
    st.sampled_from([Codec.PCM_S16LE, Codec.PCM_F32LE]),
    st.sampled_from([8_000, 16_000, 44_100]),
    st.sampled_from([1, 2]),
    st.binary(max_size=4_000).map(lambda data: data * 4),
)
def test_any_pcm_gives_as_much_audio_as_it_has(
    codec: Codec, rate: int, channels: int, data: bytes
) -> None:
    width = (2 if codec is Codec.PCM_S16LE else 4) * channels
    found = decode(EncodedAudio(AudioFormat(codec, rate, channels), data), 30.0).samples
    assert len(found) == -(-(len(data) // width) * 16_000 // rate)
    assert np.isfinite(found).all()
    assert np.abs(found).max(initial=0.0) <= 1.0
