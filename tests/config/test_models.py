from __future__ import annotations

import pytest

from stt_mqtt.config import (
    BrokerConfig,
    Config,
    DeviceConfig,
    LimitsConfig,
    MqttConfig,
    TlsConfig,
    is_glob,
)
from stt_mqtt.types import AudioFormat, Codec
from tests.config.problems import problems


def test_the_format_of_a_device_is_its_codec_rate_and_channels() -> None:
    device = DeviceConfig(codec=Codec.FLAC, rate=48_000, channels=2)
    assert device.format == AudioFormat(Codec.FLAC, 48_000, 2)


def test_the_port_follows_tls_unless_it_is_given() -> None:
    assert MqttConfig().effective_port == 1883
    assert MqttConfig(tls=TlsConfig()).effective_port == 8883
    assert MqttConfig(tls=TlsConfig(), port=5).effective_port == 5


def test_the_embedded_broker_listens_on_an_address() -> None:
    assert BrokerConfig(listen="::1").listen == "::1"
    with pytest.raises(ValueError, match="an IP address is needed"):
        BrokerConfig(listen="localhost")


def test_what_is_decoded_of_an_utterance_keeps_both_of_its_caps() -> None:
    assert LimitsConfig(max_utterance_s=30, max_utterance_kib=2048).max_decoded_s == 30
    assert LimitsConfig(max_utterance_s=600, max_utterance_kib=625).max_decoded_s == 10


def test_no_device_has_the_name_of_the_service_itself() -> None:
    with pytest.raises(ValueError, match="bridge is the name of the service itself"):
        Config.model_validate({"devices": {"bridge": {}}})


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
