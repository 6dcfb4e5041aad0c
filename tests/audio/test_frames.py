"""Frames as they are met, and their way to 16 kHz mono."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.frames import MAX_RATE_CHANGES, Converter, FrameReader
from stt_mqtt.audio.pcm import SampleType
from tests.audio.synth import chunk, fmt, is_tone, riff, s16, tone
from tests.doors.hermes.frames import BROKEN, FRAME_BYTES, FRAMINGS, at_rate, classic, with_time
from tests.thorough import examples

SOUND = s16(tone(seconds=0.016))


def samples_of(pcm: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (np.frombuffer(pcm, "<i2") / 32768).astype(np.float32)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_in_the_wild_gives_its_samples_untouched(
    framing: Callable[[bytes], bytes],
) -> None:
    assert len(SOUND) == FRAME_BYTES
    assert FrameReader(1.0).read(framing(SOUND)) == SOUND


def test_the_header_of_snips_has_60_bytes_that_of_rhasspy_44() -> None:
    assert with_time(SOUND).index(SOUND) == 60
    assert classic(SOUND).index(SOUND) == 44


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_frames_of_another_rate_follow_each_other_without_seams(rate: int, channels: int) -> None:
    sound = tone(seconds=1.0, rate=rate)
    step = rate // 50
    reader = FrameReader(1.0)
    pieces = [
        reader.read(at_rate(sound[start : start + step], rate, channels))
        for start in range(0, len(sound), step)
    ]
    heard = samples_of(b"".join(piece for piece in pieces if piece is not None))
    assert 16_000 - 160 <= len(heard) <= 16_000
    assert is_tone(heard)


def test_stereo_of_the_right_rate_is_mixed_down() -> None:
    heard = FrameReader(1.0).read(at_rate(tone(), 16_000, channels=2))
    assert heard is not None
    assert len(heard) == 32_000
    assert is_tone(samples_of(heard))


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_whole_command_in_one_frame_is_taken_up_to_the_cap(rate: int) -> None:
    sound = tone(seconds=3.0, rate=rate)
    whole = FrameReader(5.0).read(at_rate(sound, rate))
    head = FrameReader(2.0).read(at_rate(sound, rate))
    assert whole is not None
    assert head is not None
    assert len(whole) == pytest.approx(3 * 32_000, abs=400)
    assert len(head) == pytest.approx(2 * 32_000, abs=400)
    assert is_tone(samples_of(whole))


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_frame_is_said_to_be_none(data: bytes) -> None:
    assert FrameReader(1.0).read(data) is None


def test_a_broken_frame_does_not_disturb_those_around_it() -> None:
    reader = FrameReader(1.0)
    for data in BROKEN.values():
        reader.read(data)
        assert reader.read(classic(SOUND)) == SOUND


def test_a_microphone_that_changes_its_rate_all_the_time_is_not_followed() -> None:
    reader = FrameReader(1.0)
    for number in range(2 * MAX_RATE_CHANGES):
        rate = (8_000, 48_000)[number % 2]
        taken = reader.read(at_rate(tone(seconds=0.1, rate=rate), rate)) is not None
        assert taken == (number < MAX_RATE_CHANGES or rate == 48_000)
    assert reader.read(classic(SOUND)) == SOUND


@settings(max_examples=examples(70), deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(sorted(BROKEN.values())))))
def test_no_bytes_raise(payloads: list[bytes]) -> None:
    reader = FrameReader(0.1)
    for payload in payloads:
        reader.read(payload)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"fmt ", b"data", b"time", b"rpid", b"rprf"]),
            st.binary(max_size=40),
            st.none() | st.integers(0, 0xFFFFFFFF),
        ),
        max_size=5,
    ),
    st.sampled_from([1, 3, 0xFFFE]),
    st.integers(0, 3),
    st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]),
    st.sampled_from([8, 12, 16, 24, 32, 64]),
)
def test_no_chunks_raise_and_what_comes_out_is_whole_samples_within_the_cap(
    chunks: list[tuple[bytes, bytes, int | None]], tag: int, channels: int, rate: int, bits: int
) -> None:
    head = fmt(tag=tag, channels=channels, rate=rate, bits=bits)
    data = riff(head, *(chunk(name, body, size) for name, body, size in chunks))
    heard = FrameReader(0.001).read(data)
    assert heard is None or (len(heard) % 2 == 0 and len(heard) <= 2 * 17)


@pytest.mark.parametrize(
    ("sample_type", "dtype", "scale", "offset"),
    [
        (SampleType.U8, "u1", 127, 128),
        (SampleType.S16, "<i2", 2**15 - 1, 0),
        (SampleType.S32, "<i4", 2**31 - 1, 0),
    ],
)
@pytest.mark.parametrize("rate", [16_000, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_converter_makes_16_khz_of_any_pcm_cut_anywhere(
    sample_type: SampleType, dtype: str, scale: int, offset: int, rate: int, channels: int
) -> None:
    values = (tone(rate=rate).astype(np.float64) * scale + offset).astype(dtype)
    data = np.repeat(values, channels).tobytes()
    converter = Converter(sample_type, rate, channels)
    found = b"".join(converter.push(data[at : at + 4_001]) for at in range(0, len(data), 4_001))
    found += converter.finish()
    samples = samples_of(found)
    assert len(samples) == 16_000
    assert is_tone(samples)


def test_a_converter_drops_half_a_sample_at_the_end() -> None:
    converter = Converter(SampleType.S32, 16_000, 1)
    assert len(converter.push(bytes(7))) == 2
    assert converter.push(b"") == b""
    assert converter.finish() == b""
