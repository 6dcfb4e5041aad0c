from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.audio.formats import parse_content_type, parse_format
from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError
from stt_mqtt.types import WHOLE_ONLY, AudioFormat, Codec

DEFAULT = AudioFormat(Codec.ADPCM_IMA, 22_050, 2)


def test_nothing_given_is_the_default() -> None:
    assert parse_format(None, None, None, DEFAULT) == DEFAULT


def test_a_named_codec_keeps_the_default_rate_and_channels() -> None:
    assert parse_format("flac", None, None, DEFAULT) == AudioFormat(Codec.FLAC, 22_050, 2)


def test_a_codec_is_read_in_any_case() -> None:
    assert parse_format(" PCM_F32LE ", 8_000, 1, DEFAULT) == AudioFormat(Codec.PCM_F32LE, 8_000, 1)


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec not in WHOLE_ONLY])
def test_every_chunked_codec_is_taken(codec: Codec) -> None:
    assert parse_format(codec.value, None, None, DEFAULT).codec is codec


@pytest.mark.parametrize("codec", ["mp3", "mp4", "", "aac", "x" * 10_000])
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
