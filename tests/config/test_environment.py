from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import BrokerMode, Config, Protocol, read_config
from tests.config.problems import attempt, problems


def test_the_environment_beats_the_file() -> None:
    config = read_config(
        "mqtt:\n  host: a\n  port: 1\nlog: {level: info}\n",
        "f",
        {
            "STT_MQTT__MQTT__HOST": "broker.lan",
            "stt_mqtt__Log__level": "debug",
            "STT_MQTT__ENGINE__WORKERS": " 2 ",
            "STT_MQTT__GATE__ENABLED": "false",
            "STT_MQTT__DEVICE_DEFAULTS__LANGUAGE": "no",
            "STT_MQTT__MQTT__TLS__CA_FILE": "/ca.pem",
        },
    )
    assert (config.mqtt.host, config.mqtt.port) == ("broker.lan", 1)
    assert config.log.level == "debug"
    assert config.engine.workers == 2
    assert config.gate.enabled is False
    assert config.device_defaults.language == "no"
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca_file == "/ca.pem"


def test_a_value_of_the_environment_replaces_a_wrong_one_of_the_file() -> None:
    config = read_config("mqtt:\n  port: x\n", "f", {"STT_MQTT__MQTT__PORT": "1884"})
    assert config.mqtt.port == 1884


def test_texts_are_taken_as_they_are_and_other_values_as_yaml_reads_them() -> None:
    config = read_config(
        "mqtt: {port: 1}",
        "f",
        {
            "STT_MQTT__MQTT__USERNAME": "stt",
            "STT_MQTT__MQTT__PASSWORD": " null # @&*",
            "STT_MQTT__MQTT__PROTOCOL": "5",
            "STT_MQTT__MQTT__PORT": "null",
        },
    )
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == " null # @&*"
    assert config.mqtt.protocol is Protocol.V5
    assert config.mqtt.port is None


def test_the_short_form_of_broker_works_and_keeps_what_the_file_says_below_it() -> None:
    environ = {"STT_MQTT__BROKER": "embedded"}
    config = read_config("broker: {port: 1884}", "f", environ)
    assert (config.broker.mode, config.broker.port) == (BrokerMode.EMBEDDED, 1884)
    config = read_config("broker: embedded", "f", {"STT_MQTT__BROKER__PORT": "1885"})
    assert (config.broker.mode, config.broker.port) == (BrokerMode.EMBEDDED, 1885)


def test_empty_and_foreign_variables_are_ignored() -> None:
    environ = {"STT_MQTT__MQTT__PORT": "", "STT_MQTT_SPEECH": "/speech", "PATH": "/bin"}
    assert read_config("", "f", environ) == Config()


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("STT_MQTT__MQTT__HOTS", "a", "unknown key 'hots', did you mean 'host'?"),
        ("STT_MQTT__HOST", "a", "unknown key 'host', it belongs under 'mqtt' or 'web'"),
        ("STT_MQTT__MQTT__PORT", "99999", "99999 is too large, at most 65535"),
        ("STT_MQTT__MQTT__PORT", "x", "must be a whole number"),
        ("STT_MQTT__GATE__MARGIN_MS", "~", "is empty, must be a whole number"),
        ("STT_MQTT__BROKER", "embeded", "'embeded' is not known, did you mean 'embedded'?"),
        ("STT_MQTT__BROKER__MODE", "x", "'x' is not known; known are external, embedded"),
        ("STT_MQTT__LOG", "a", "is a section, append __ and one of level, format"),
        ("STT_MQTT__MQTT__PORT__X", "1", "there are no keys below mqtt.port"),
        (
            "STT_MQTT__DEVICES__KITCHEN__RATE",
            "8000",
            "devices are set in the file; STT_MQTT__DEVICE_DEFAULTS__… is for all of them",
        ),
        ("STT_MQTT__MQTT__TLS__KEY_FILE", "a", "key_file needs cert_file beside it"),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_wrong(
    variable: str, text: str, message: str
) -> None:
    assert problems("", {variable: text}) == [f"environment {variable}: {message}"]


def test_two_spellings_of_one_variable_are_a_mistake() -> None:
    environ = {"STT_MQTT__MQTT__HOST": "a", "stt_mqtt__mqtt__host": "b"}
    assert problems("", environ) == [
        "environment stt_mqtt__mqtt__host: sets the same key as STT_MQTT__MQTT__HOST"
    ]


def test_mistakes_of_the_file_come_first_and_hide_none_of_the_environment() -> None:
    environ = {"STT_MQTT__MQTT__HOTS": "a", "STT_MQTT__MQTT__PORT": "x"}
    of_environment = [
        "environment STT_MQTT__MQTT__HOTS: unknown key 'hots', did you mean 'host'?",
        "environment STT_MQTT__MQTT__PORT: must be a whole number",
    ]
    for text, of_file in (
        ("\nlog: 1", "f:2:6: log: must be a section with keys below it"),
        ("mqtt: [", "f:1:8: a value is missing, or a [ or { is not closed"),
    ):
        assert problems(text, environ) == [of_file, *of_environment]


def test_a_rule_is_not_judged_by_the_environment_alone_when_the_file_is_unreadable() -> None:
    assert len(problems("mqtt: [", {"STT_MQTT__MQTT__TLS__KEY_FILE": "a"})) == 1


def test_a_section_that_is_no_section_in_the_file_is_still_reported() -> None:
    assert problems("mqtt: 5", {"STT_MQTT__MQTT__HOST": "a"}) == [
        "f:1:7: mqtt: must be a section with keys below it"
    ]


NAMES = st.lists(
    st.one_of(st.sampled_from([*Config.model_fields, "port", "tls", "host"]), st.text(max_size=5)),
    max_size=4,
).map("__".join)


@given(st.dictionaries(NAMES.map("STT_MQTT__{}".format), st.text(st.characters(codec=None))))
def test_any_environment_is_a_configuration_or_a_configuration_error(
    environ: dict[str, str],
) -> None:
    found = attempt("", environ)
    if isinstance(found, list):
        assert found
        assert all(line.isprintable() for line in found)
        assert all(line.startswith("environment ") for line in found)


def test_a_variable_that_lacks_an_underscore_is_not_ignored_silently() -> None:
    assert problems("", {"STT_MQTT_MQTT__HOST": "nas"}) == [
        "environment STT_MQTT_MQTT__HOST: is not read; did you mean STT_MQTT__MQTT__HOST?"
    ]


@pytest.mark.parametrize(
    "variable",
    # Programs of ours, and what Kubernetes and Docker set for a service called stt-mqtt.
    ["STT_MQTT_MODELS", "STT_MQTT_PORT", "STT_MQTT_SERVICE_HOST", "STT_MQTT_PORT_1883_TCP__ADDR"],
)
def test_variables_of_others_are_left_alone(variable: str) -> None:
    assert read_config("", "f", {variable: "x"}) == Config()
