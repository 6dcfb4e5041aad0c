"""Containers through PyAV: what decodes, what is refused, and what hostile bytes do."""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.decode import decode
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tests.audio.synth import (
    chunk,
    container,
    is_tone,
    riff,
    silent_film,
    tone,
)
from tests.thorough import examples

KINDS = {
    "flac": ("flac", "flac", 16_000, 1, False),
    "flac-live-stereo": ("flac", "flac", 44_100, 2, True),
    "ogg-opus": ("ogg", "libopus", 48_000, 1, False),
    "ogg-vorbis": ("ogg", "vorbis", 44_100, 2, False),
    "ogg-flac": ("ogg", "flac", 22_050, 1, False),
    "webm-opus": ("webm", "libopus", 48_000, 2, False),
    "webm-opus-live": ("webm", "libopus", 48_000, 1, True),
    "webm-pcm-live": ("matroska", "pcm_f32le", 48_000, 1, True),
    "mp3": ("mp3", "libmp3lame", 44_100, 2, False),
    "mp3-16k": ("mp3", "libmp3lame", 16_000, 1, False),
    "wav-adpcm": ("wav", "adpcm_ima_wav", 22_050, 2, True),
}


@cache
def sound(kind: str) -> bytes:
    """One second of 440 Hz."""
    name, codec, rate, channels, live = KINDS[kind]
    return container(name, codec, tone(rate=rate), rate, channels, live)


def unknown(data: bytes) -> EncodedAudio:
    return EncodedAudio(None, data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_is_decoded_to_16_khz_mono(kind: str) -> None:
    found = decode(unknown(sound(kind)), 30.0)
    assert not found.truncated
    assert abs(len(found.samples) - 16_000) < 400
    assert is_tone(found.samples)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_beyond_the_limit_is_left_out_and_said(kind: str) -> None:
    found = decode(unknown(sound(kind)), 0.5)
    assert (len(found.samples), found.truncated) == (8_000, True)
    assert is_tone(found.samples)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_container_gives_what_decodes(kind: str) -> None:
    data = sound(kind)
    found = decode(unknown(data[: len(data) * 3 // 4]), 30.0)
    assert 4_000 < len(found.samples) < 15_900


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_that_ends_in_its_header_is_corrupt(kind: str) -> None:
    for size in (12, 20, 40):
        with pytest.raises(CorruptAudioError):
            decode(unknown(sound(kind)[:size]), 30.0)


def test_the_declared_container_is_used_where_the_bytes_say_nothing() -> None:
    tagged = sound("mp3")
    frames = tagged[10 + (tagged[8] << 7 | tagged[9]) :]
    junk_before = b"junk" + frames
    found = decode(EncodedAudio(AudioFormat(Codec.MP3), junk_before), 30.0)
    assert is_tone(found.samples)


def test_the_bytes_are_believed_before_the_declared_container() -> None:
    found = decode(EncodedAudio(AudioFormat(Codec.WEBM), sound("ogg-opus")), 30.0)
    assert is_tone(found.samples)


@pytest.mark.parametrize("data", [b"", b"text", bytes(1_000), b"\0\0\0\x20ftypheic"])
def test_bytes_of_no_known_container_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match="WAV, FLAC, Ogg, WebM, MP4 or MP3"):
        decode(unknown(data), 30.0)


@pytest.mark.parametrize("codec", [Codec.FLAC, Codec.OGG, Codec.WEBM, Codec.MP3])
def test_bytes_that_are_not_the_declared_container_are_corrupt(codec: Codec) -> None:
    with pytest.raises(CorruptAudioError):
        decode(EncodedAudio(AudioFormat(codec), bytes(1_000)), 30.0)


@pytest.mark.parametrize(
    ("rate", "channels", "complaint"), [(96_000, 1, "rate"), (48_000, 6, "channels")]
)
def test_rates_and_channels_out_of_range_are_unsupported(
    rate: int, channels: int, complaint: str
) -> None:
    data = container("flac", "flac", tone(rate=rate), rate, channels)
    with pytest.raises(UnsupportedFormatError, match=complaint):
        decode(unknown(data), 30.0)


def test_a_codec_that_is_not_taken_is_unsupported() -> None:
    with pytest.raises(UnsupportedFormatError, match="flac"):
        decode(unknown(container("matroska", "flac", tone())), 30.0)


def test_a_container_without_audio_is_corrupt() -> None:
    with pytest.raises(CorruptAudioError, match="no audio stream"):
        decode(unknown(silent_film()), 30.0)


def test_a_codec_that_nobody_knows_is_unsupported() -> None:
    with pytest.raises(UnsupportedFormatError, match="unknown"):
        decode(unknown(sound("webm-opus").replace(b"A_OPUS", b"A_QQQQ")), 30.0)


def test_a_stream_that_changes_its_rate_ends_there() -> None:
    other = container("flac", "flac", tone(rate=44_100), 44_100)
    assert len(decode(unknown(sound("flac") + other), 30.0).samples) == 16_000


def test_another_rate_within_a_stream_ends_it() -> None:
    slow = container("mp3", "libmp3lame", tone(rate=44_100), 44_100)
    fast = container("mp3", "libmp3lame", tone(rate=48_000), 48_000)
    assert len(decode(unknown(slow + fast), 30.0).samples) <= 16_000


def adpcm_wav(*parts: bytes) -> bytes:
    """A WAV file of IMA ADPCM blocks of 1024 bytes, 2041 samples each."""
    head = struct.pack("<HHIIHHHH", 0x11, 1, 16_000, 8_110, 1_024, 4, 2, 2_041)
    return riff(chunk(b"fmt ", head), chunk(b"data", b"".join(parts)))


GOOD_BLOCK = bytes(1_024)
BAD_BLOCK = b"\0\0\xff\0" + bytes(1_020)


def test_damaged_packets_are_left_out() -> None:
    data = adpcm_wav(GOOD_BLOCK, *[BAD_BLOCK] * 900, GOOD_BLOCK)
    assert len(decode(unknown(data), 30.0).samples) == 2 * 2_041


def test_a_stream_of_damaged_packets_is_given_up() -> None:
    data = adpcm_wav(GOOD_BLOCK, *[BAD_BLOCK] * 1_100, GOOD_BLOCK)
    assert len(decode(unknown(data), 30.0).samples) == 2_041


def test_a_picture_in_an_mp3_does_not_hide_its_sound() -> None:
    picture = b"\0image/png\0\x03\0" + b"\x89PNG" + bytes(40)
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    tag = b"ID3\x03\0\0\0\0\0" + bytes([len(frame)]) + frame
    tagged = sound("mp3")
    assert is_tone(decode(unknown(tag + tagged[10 + tagged[9] :]), 30.0).samples)


def test_a_bomb_of_silence_is_stopped_at_the_limit() -> None:
    minutes = container("flac", "flac", np.zeros(16_000 * 600, np.float32))
    assert len(minutes) < 200_000
    found = decode(unknown(minutes), 2.0)
    assert (len(found.samples), found.truncated) == (32_000, True)


EDITS = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(-60, 60), st.binary(min_size=1, max_size=8)),
    max_size=12,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]], keep: int) -> bytes:
    """`data` with bytes overwritten, and pieces doubled (`shift` > 0) or left out (< 0)."""
    result = bytearray(data)
    for position, shift, patch in edits:
        at = position % len(result) if position % 2 else position % 200
        result[at : at + len(patch)] = patch
        if shift > 0:
            result[at:at] = result[at : at + shift]
        else:
            del result[at : at - shift]
    return bytes(result[: max(len(result) - keep, 0)])


@settings(max_examples=examples(130), deadline=None)
@given(st.sampled_from(sorted(KINDS)), EDITS, st.integers(0, 3_000))
def test_damaged_containers_give_audio_or_one_of_two_errors(
    kind: str, edits: list[tuple[int, int, bytes]], missing: int
) -> None:
    try:
        found = decode(unknown(edited(sound(kind), edits, missing)), 2.0)
    except (CorruptAudioError, UnsupportedFormatError):
        return
    assert found.samples.dtype == np.float32
    assert len(found.samples) <= 32_000
    assert np.isfinite(found.samples).all()


@settings(max_examples=examples(100), deadline=None)
@given(
    st.sampled_from([None, *(AudioFormat(codec) for codec in Codec)]),
    st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"\x1a\x45\xdf\xa3"]),
    st.binary(max_size=500),
)
def test_any_bytes_give_audio_or_one_of_two_errors(
    declared: AudioFormat | None, magic: bytes, data: bytes
) -> None:
    try:
        found = decode(EncodedAudio(declared, magic + data), 0.1)
    except (CorruptAudioError, UnsupportedFormatError):
        return
    assert len(found.samples) <= 1_600


def test_damaged_containers_write_nothing_to_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for kind in KINDS:
        data = bytearray(sound(kind))
        data[len(data) // 2 : len(data) // 2 + 200] = b"\xff" * 200
        with suppress(CorruptAudioError):
            decode(unknown(bytes(data)), 30.0)
    assert capfd.readouterr() == ("", "")
