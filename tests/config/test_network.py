from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import (
    BrokerConfig,
    ListenAddress,
    MqttConfig,
    Scheme,
    TlsConfig,
    WyomingConfig,
    read_config,
)
from stt_mqtt.config.network import HOST_FORM, host_problem
from tests.config.problems import NO_ENVIRONMENT, problems

HOSTS = [
    "localhost", "broker.lan", "core-mosquitto", "my_broker", "192.168.1.5", "::1", "fe80::1%eth0",
    "2001:db8::5", "müller.local", "broker.lan.", "a" * 253,
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_names_and_addresses_are_taken_as_they_are(host: str) -> None:
    assert read_config(f"mqtt: {{host: '{host}'}}", "f", NO_ENVIRONMENT).mqtt.host == host


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("mqtt://broker.lan:1883", "; write host: broker.lan and port: 1883"),
        ("mqtt://broker", "; write host: broker"),
        ("tcp://192.168.1.5:1884/", "; write host: 192.168.1.5 and port: 1884"),
        ("MQTTS://broker:8883", "; write host: broker and port: 8883 and tls: {}"),
        ("ssl://broker", "; write host: broker and tls: {}"),
        ("broker:1883", "; write host: broker and port: 1883"),
        ("[::1]:1883", "; write host: ::1 and port: 1883"),
        ("[::1]", "; write host: ::1"),
        ("mqtt://[2001:db8::5]", "; write host: 2001:db8::5"),
        ("mqtt://::1", "; write host: ::1"),
        ("http://broker/mqtt", "; write host: broker"),
        ("ws://broker:9001", "; MQTT over WebSockets is not spoken, only MQTT itself (mqtt.port)"),
        ("stt:s3cret@broker:1883", "; the login belongs under mqtt.username and mqtt.password"),
        ("mqtt://stt:s3@cret@broker", "; the login belongs under mqtt.username and mqtt.password"),
        ("broker lan", ""),
        ("broker:", ""),
        ("broker:port", ""),
        ("a,b", ""),
        ("://", ""),
        ("/", ""),
        ("[", ""),
        ("1:2:3", ""),
    ],
)
def test_the_rest_is_refused_with_what_to_write_instead(text: str, instead: str) -> None:
    assert problems(f"mqtt: {{host: '{text}'}}") == [f"f:1:14: mqtt.host: {HOST_FORM}{instead}"]


def test_a_host_of_the_environment_is_judged_alike() -> None:
    assert problems("", {"STT_MQTT__MQTT__HOST": "nas:1883"}) == [
        f"environment STT_MQTT__MQTT__HOST: {HOST_FORM}; write host: nas and port: 1883"
    ]


@given(
    st.sampled_from(["", "mqtt://", "mqtts://", "x://"]),
    st.text("a1:/@.%[]", max_size=8),
    st.sampled_from(["@broker", "@broker:1883", "@[::1]:1883", "@"]),
)
def test_no_sentence_shows_a_login(scheme: str, password: str, rest: str) -> None:
    problem = host_problem(f"{scheme}stt:{password}Ж{password}{rest}")
    assert problem is not None
    assert "Ж" not in problem
    assert "broker and" not in problem


@given(st.text(max_size=40))
def test_any_text_is_a_host_or_one_sentence(text: str) -> None:
    problem = host_problem(text)
    assert problem is None or problem.startswith(HOST_FORM)
    assert problem is None or "\n" not in problem


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


def test_the_port_follows_tls_unless_it_is_given() -> None:
    assert MqttConfig().effective_port == 1883
    assert MqttConfig(tls=TlsConfig()).effective_port == 8883
    assert MqttConfig(tls=TlsConfig(), port=5).effective_port == 5


def test_the_embedded_broker_listens_on_an_address() -> None:
    assert BrokerConfig(listen="::1").listen == "::1"
    with pytest.raises(ValueError, match="an IP address is needed"):
        BrokerConfig(listen="localhost")
