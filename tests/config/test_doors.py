from __future__ import annotations

import pytest

from stt_mqtt.config import ListenAddress, Scheme, WyomingConfig, read_config
from tests.config.problems import problems


def test_addresses_are_taken_apart() -> None:
    text = "wyoming: {listen: ['tcp://[::1]:10300', 'unix:///run/a.sock', 'stdio://']}"
    assert read_config(text, "f", {}).wyoming.addresses == (
        ListenAddress(Scheme.TCP, "::1", 10300),
        ListenAddress(Scheme.UNIX, path="/run/a.sock"),
        ListenAddress(Scheme.STDIO),
    )


@pytest.mark.parametrize(
    "uri", ["tcp://0.0.0.0:10300", "tcp://[::1]:1", "unix:///run/stt.sock", "stdio://"]
)
def test_addresses_are_shown_as_they_are_written(uri: str) -> None:
    assert WyomingConfig(listen=(uri,)).addresses[0].uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "10300",
        "tcp://host",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://host:1/path",
        "tcp://user@host:1",
        "unix://run/a.sock",
        "unix:///",
        "unix:///" + "a" * 101,
        "stdio://x",
        "http://host:1",
    ],
)
def test_what_is_no_address_is_said_to_be_none(uri: str) -> None:
    (problem,) = problems(f"wyoming: {{listen: ['{uri}']}}")
    assert problem.endswith("must be tcp://HOST:PORT, unix:///path/to/socket or stdio://")


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ("hermes", "hermes"),
        ("rhasspy", "rhasspy"),
        ("hermes/asr", "hermes"),
        ("homeassistant", "homeassistant"),
        ("homeassistant/voice", "homeassistant"),
    ],
)
def test_a_base_topic_within_the_topics_of_another_door_is_refused(base: str, other: str) -> None:
    (problem,) = problems(f"mqtt: {{base_topic: {base}}}")
    assert f"both use {other}" in problem


def test_a_base_topic_above_the_discovery_prefix_is_refused() -> None:
    text = "mqtt: {base_topic: home}\nhomeassistant: {discovery_prefix: home/assistant}"
    (problem,) = problems(text)
    assert "both use home/assistant" in problem


@pytest.mark.parametrize("door", ["hermes", "homeassistant"])
def test_the_topics_of_a_door_that_is_switched_off_are_free(door: str) -> None:
    text = f"mqtt: {{base_topic: {door}}}\n{door}: {{enabled: false}}"
    assert read_config(text, "f", {}).mqtt.base_topic == door
