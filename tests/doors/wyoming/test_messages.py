"""What the service says of itself, and what it understands of a request: pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wyoming.info import Info

from stt_mqtt.doors.wyoming.messages import (
    PcmFormat,
    TranscribeOptions,
    describe,
    parse_audio_format,
    parse_transcribe,
)
from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError, UtteranceError
from stt_mqtt.rungs import Rung, RungStatus
from stt_mqtt.types import AudioFormat, Codec

LADDER = RungStatus(
    (
        Rung("best", "base", 5, "int8"),
        Rung("fast", "base", 1, "int8"),
        Rung("quick", "tiny", 1, "int8"),
    ),
    "auto",
    "best",
    "it is quiet",
)


def test_the_info_is_one_program_that_home_assistant_can_use() -> None:
    info = describe(LADDER, frozenset({"en", "de"}), "1.2.3")
    (program,) = info.asr
    assert (program.name, program.version, program.installed) == ("stt-mqtt", "1.2.3", True)
    assert program.requires_external_vad
    assert program.supports_transcript_streaming
    assert not program.prefers_auto_gain_enabled
    assert not program.prefers_noise_reduction_enabled
    others = (info.tts, info.handle, info.intent, info.wake, info.mic, info.snd)
    assert not any(others)
    assert info.satellite is None


def test_each_model_is_named_once_and_all_offer_the_languages_of_every_rung() -> None:
    (program,) = describe(LADDER, frozenset({"en", "de"}), "1").asr
    assert [(model.name, model.installed, model.languages) for model in program.models] == [
        ("base", True, ["de", "en"]),
        ("tiny", True, ["de", "en"]),
    ]


def test_the_info_survives_the_wire() -> None:
    info = describe(LADDER, frozenset({"en"}), "1")
    assert Info.from_event(info.event()) == info


def test_hotwords_are_names_before_terms_each_once_and_bounded() -> None:
    data = {
        "transcript_names": ["  Lamp ", "", " ", "x" * 65, 7, None, "\ud800", "two\nlines"],
        "transcript_terms": ["dim", "Lamp", *(f"word {number}" for number in range(100))],
    }
    hotwords = parse_transcribe(data).hotwords
    assert hotwords[:3] == ("Lamp", "dim", "word 0")
    assert len(hotwords) == 64


@pytest.mark.parametrize("data", [{}, {"language": None, "transcript_names": "Lamp"}])
def test_a_transcribe_may_say_nothing(data: dict[str, object]) -> None:
    assert parse_transcribe(data) == TranscribeOptions()


def test_a_format_that_names_nothing_is_home_assistants() -> None:
    assert parse_audio_format({}) == PcmFormat(2, 16_000, 1)
    assert parse_audio_format({}).service_format == AudioFormat()


def test_16_bits_up_to_48_khz_are_service_format_as_they_are() -> None:
    format = parse_audio_format({"rate": 48000, "width": 2, "channels": 2})
    assert format.service_format == AudioFormat(Codec.PCM_S16LE, 48_000, 2)
    assert format.converter() is None


@pytest.mark.parametrize("width", [1, 3, 4])
@pytest.mark.parametrize("rate", [16_000, 96_000, 192_000])
def test_other_widths_and_rates_are_converted(width: int, rate: int) -> None:
    format = parse_audio_format({"rate": rate, "width": width, "channels": 2})
    assert format.service_format == AudioFormat()
    assert format.converter() is not None


@pytest.mark.parametrize("rate", [16_000.0, 44_100.0])
def test_whole_numbers_may_be_written_with_a_point(rate: float) -> None:
    found = parse_audio_format({"rate": rate, "width": 2.0, "channels": 1.0})
    assert found == PcmFormat(2, int(rate), 1)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"rate": 16_000.5}, BadPayloadError),
        ({"rate": True}, BadPayloadError),
        ({"rate": float("inf")}, BadPayloadError),
        ({"rate": float("nan")}, BadPayloadError),
        ({"channels": "2"}, BadPayloadError),
        ({"rate": 7_999}, UnsupportedFormatError),
        ({"rate": 192_001}, UnsupportedFormatError),
        ({"rate": 1e300}, UnsupportedFormatError),
        ({"channels": 3}, UnsupportedFormatError),
        ({"channels": 0}, UnsupportedFormatError),
        ({"width": 0}, UnsupportedFormatError),
        ({"width": 5}, UnsupportedFormatError),
        ({"width": 2.5}, UnsupportedFormatError),
        ({"width": True}, UnsupportedFormatError),
        ({"width": [2]}, UnsupportedFormatError),
    ],
)
def test_nonsense_is_refused(data: dict[str, object], error: type[UtteranceError]) -> None:
    with pytest.raises(error) as caught:
        parse_audio_format(data)
    assert len(caught.value.detail) < 200


TEXT = st.text(st.sampled_from("eN-_7 \n\0é€\ud800\U0001f600"), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = ["language", "transcript_names", "transcript_terms", "rate", "width", "channels"]


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_requests_of_any_shape_are_understood_or_refused(data: dict[str, object]) -> None:
    refusals = []
    for parse in (parse_transcribe, parse_audio_format):
        try:
            parse(data)
        except UtteranceError as error:
            refusals.append(error)
    assert all(error.detail.encode() for error in refusals)
