from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.audio.formats import parse_content_type, parse_format, sniff
from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec
from tests.audio.synth import container, fmt, riff, s16, tone

DEFAULT = AudioFormat(Codec.ADPCM_IMA, 22_050, 2)


def test_nothing_given_is_the_default() -> None:
    assert parse_format(None, None, None, DEFAULT) == DEFAULT


def test_a_named_codec_keeps_the_default_rate_and_channels() -> None:
    assert parse_format("flac", None, None, DEFAULT) == AudioFormat(Codec.FLAC, 22_050, 2)


def test_a_codec_is_read_in_any_case() -> None:
    assert parse_format(" PCM_F32LE ", 8_000, 1, DEFAULT) == AudioFormat(Codec.PCM_F32LE, 8_000, 1)


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec is not Codec.MP3])
def test_every_chunked_codec_is_taken(codec: Codec) -> None:
    assert parse_format(codec.value, None, None, DEFAULT).codec is codec


@pytest.mark.parametrize("codec", ["mp3", "", "aac", "x" * 10_000])
def test_another_codec_is_unsupported_and_the_message_stays_short(codec: str) -> None:
    with pytest.raises(UnsupportedFormatError) as caught:
        parse_format(codec, None, None, DEFAULT)
    assert "pcm_s16le" in caught.value.detail
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_rates_and_channels_in_range_are_taken(rate: int, channels: int) -> None:
    found = parse_format(None, rate, channels, DEFAULT)
    assert (found.rate, found.channels) == (rate, channels)


@pytest.mark.parametrize("rate", [7_999, 48_001, 0, -16_000, 10**400])
def test_a_rate_out_of_range_is_unsupported(rate: int) -> None:
    with pytest.raises(UnsupportedFormatError, match="rate"):
        parse_format(None, rate, None, DEFAULT)


@pytest.mark.parametrize("channels", [0, 3, -1])
def test_a_channel_count_out_of_range_is_unsupported(channels: int) -> None:
    with pytest.raises(UnsupportedFormatError, match="channels"):
        parse_format(None, None, channels, DEFAULT)


@pytest.mark.parametrize("value", [True, 16_000.0, "16000", [], {}])
def test_a_number_of_the_wrong_type_is_a_bad_payload(value: object) -> None:
    with pytest.raises(BadPayloadError, match="rate"):
        parse_format(None, value, None, DEFAULT)
    with pytest.raises(BadPayloadError, match="channels"):
        parse_format(None, None, value, DEFAULT)


@pytest.mark.parametrize("value", [1, True, [], {"codec": "flac"}])
def test_a_codec_of_the_wrong_type_is_a_bad_payload(value: object) -> None:
    with pytest.raises(BadPayloadError, match="codec"):
        parse_format(value, None, None, DEFAULT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pcm_s16le;rate=16000;channels=1", AudioFormat(Codec.PCM_S16LE, 16_000, 1)),
        (" PCM_S16LE ; Rate = 8000 ; CHANNELS=2", AudioFormat(Codec.PCM_S16LE, 8_000, 2)),
        ("opus", AudioFormat(Codec.OPUS, 22_050, 2)),
        ("audio/webm;codecs=opus", AudioFormat(Codec.WEBM, 22_050, 2)),
        ('audio/ogg; codecs="opus"; rate="48000"', AudioFormat(Codec.OGG, 48_000, 2)),
        ("audio/x-wav", AudioFormat(Codec.WAV, 22_050, 2)),
        ("Audio/FLAC;", AudioFormat(Codec.FLAC, 22_050, 2)),
        (";rate=8000", AudioFormat(Codec.ADPCM_IMA, 8_000, 2)),
        ("", DEFAULT),
    ],
)
def test_a_content_type_names_the_format(text: str, expected: AudioFormat) -> None:
    assert parse_content_type(text, DEFAULT) == expected


@pytest.mark.parametrize("text", ["audio/mpeg", "text/plain", "pcm_s16le;rate=96000", "audio/L16"])
def test_a_content_type_that_is_not_taken_is_unsupported(text: str) -> None:
    with pytest.raises(UnsupportedFormatError):
        parse_content_type(text, DEFAULT)


@pytest.mark.parametrize("text", ["opus;rate=", "opus;rate=fast", "opus;channels=1e1", "a" * 257])
def test_a_malformed_content_type_is_a_bad_payload(text: str) -> None:
    with pytest.raises(BadPayloadError):
        parse_content_type(text, DEFAULT)


@given(st.text(max_size=300))
def test_any_content_type_gives_a_format_or_one_of_two_errors(text: str) -> None:
    try:
        found = parse_content_type(text, DEFAULT)
    except (BadPayloadError, UnsupportedFormatError):
        return
    assert 8_000 <= found.rate <= 48_000


@pytest.mark.parametrize(
    ("kind", "codec", "expected"),
    [
        ("wav", "pcm_s16le", Codec.WAV),
        ("flac", "flac", Codec.FLAC),
        ("ogg", "libopus", Codec.OGG),
        ("webm", "libopus", Codec.WEBM),
        ("mp3", "libmp3lame", Codec.MP3),
    ],
)
def test_a_container_is_known_by_its_first_bytes(kind: str, codec: str, expected: Codec) -> None:
    assert sniff(container(kind, codec, tone(seconds=0.2, rate=48_000), 48_000)) is expected


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_mp3_without_a_tag_is_known_by_two_frames(rate: int) -> None:
    tagged = container("mp3", "libmp3lame", tone(seconds=0.5, rate=rate), rate)
    size = 10 + (tagged[8] << 7 | tagged[9])
    assert tagged[:3] == b"ID3"
    assert sniff(tagged[size:]) is Codec.MP3
    assert sniff(tagged[size : size + 100]) is None


def test_one_mp3_header_in_raw_audio_is_not_mp3() -> None:
    assert sniff(b"\xff\xfb\x90\x64" + s16(tone())) is None


@pytest.mark.parametrize(
    "header",
    [
        b"\xff\xfb\xf0\x64",  # bitrate that does not exist
        b"\xff\xfb\x00\x64",  # free bitrate
        b"\xff\xfb\x9c\x64",  # rate that does not exist
        b"\xff\xeb\x90\x64",  # version that does not exist
        b"\xff\xfb\x90\x66",  # emphasis that does not exist
        b"\xff\xfd\x90\x64",  # layer II
        b"\xff",
    ],
)
def test_an_impossible_mp3_header_is_not_mp3(header: bytes) -> None:
    assert sniff((header + bytes(413)) * 3) is None


def test_a_second_mp3_frame_of_another_kind_is_not_mp3() -> None:
    assert sniff(b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x90\x64") is Codec.MP3
    assert sniff(b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x94\x64") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF\0\0\0\0AVI ",
        b"RIFX\0\0\0\0WAVE",
        b"ID3",
        b"ID3\x09\0\0\0\0\0\0",
        b"ID3\x04\0\0\xff\0\0\0",
        b"ID3\x04\0\x0f\0\0\0\0",
        b"OggT",
    ],
)
def test_what_only_resembles_a_container_is_raw(data: bytes) -> None:
    assert sniff(data) is None


@given(st.binary(max_size=64))
def test_pcm_is_never_taken_for_a_container(tail: bytes) -> None:
    assert sniff(s16(tone(seconds=0.1)) + tail) is None


def test_a_wav_header_is_found_whatever_its_size_says() -> None:
    assert sniff(riff(fmt(), size=0xFFFFFFFF)) is Codec.WAV
