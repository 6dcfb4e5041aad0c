from __future__ import annotations

import pytest

from stt_mqtt.config import DeviceConfig, is_glob
from stt_mqtt.config.devices import is_language
from stt_mqtt.types import AudioFormat, Codec
from tests.config.problems import problems


def test_the_format_of_a_device_is_its_codec_rate_and_channels() -> None:
    device = DeviceConfig(codec=Codec.FLAC, rate=48_000, channels=2)
    assert device.format == AudioFormat(Codec.FLAC, 48_000, 2)


def test_no_device_has_the_name_of_the_service_itself() -> None:
    (line,) = problems("devices: {bridge: }")
    assert line.endswith("bridge is the name of the service itself")


def test_a_glob_is_a_name_with_a_wildcard() -> None:
    assert [name for name in ("a*", "a?", "[ab]", "a.b-c_1") if is_glob(name)] == [
        "a*",
        "a?",
        "[ab]",
    ]


@pytest.mark.parametrize(
    ("codec", "problem"),
    [
        ("[]", "must be text"),
        ("{}", "must be text"),
        ("mp3", "mp3 is for whole messages only; use one of pcm_s16le, pcm_f32le"),
        ("banana", "'banana' is not known; known are pcm_s16le, pcm_f32le"),
    ],
)
def test_a_codec_that_is_none_for_chunks_is_named_with_its_place(codec: str, problem: str) -> None:
    (found,) = problems(f"devices:\n  hall: {{codec: {codec}}}\n")
    assert found.startswith(f"f:2:17: devices.hall.codec: {problem}")


def test_a_language_tag_has_two_or_three_letters_and_perhaps_a_region() -> None:
    values = ("en", "yue", "pt_BR", "zh-Hant-TW", "english", "", None, 5)
    assert [is_language(value) for value in values] == [True] * 4 + [False] * 4
