from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from stt_mqtt.app.sources import ConfigSource, resolve_authorities, resolve_password, resolve_token
from stt_mqtt.config import Config, MqttConfig, NamesFromHomeAssistantConfig
from stt_mqtt.errors import ConfigError
from tools.brokers import Certificates


def test_without_a_file_everything_has_its_default() -> None:
    assert ConfigSource(None, {}).load() == Config()


def test_the_environment_counts_without_a_file_too() -> None:
    source = ConfigSource(None, {"STT_MQTT__MQTT__HOST": "broker.lan"})
    assert source.load().mqtt.host == "broker.lan"


def test_a_file_is_read_again_at_every_load(tmp_path: Path) -> None:
    file = tmp_path / "stt.yaml"
    file.write_text("mqtt: {port: 1}")
    source = ConfigSource(file, {})
    assert source.load().mqtt.port == 1
    file.write_text("\ufeffmqtt: {port: 2}", encoding="utf-8")
    assert source.load().mqtt.port == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), (b"\xff\xfe\xff", "not UTF-8"), (b"#" * 1_048_577, "larger than")],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "stt.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as caught:
        ConfigSource(file, {}).load()
    assert str(file) in str(caught.value)


def test_the_password_comes_from_the_file_or_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from file \nsecond line")
    assert resolve_password(MqttConfig()) is None
    assert resolve_password(MqttConfig(password=SecretStr("inline"))) == "inline"
    assert resolve_password(MqttConfig(password_file=str(file))) == "from file "


def test_a_password_file_without_a_password_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("\nsecret in the second line")
    with pytest.raises(ConfigError, match="first line is empty") as caught:
        resolve_password(MqttConfig(password_file=str(file)))
    assert "secret" not in str(caught.value)


def test_the_token_comes_from_the_file_or_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from file \n")
    from_file = NamesFromHomeAssistantConfig(token_file=str(file))
    assert resolve_token(from_file) == "from file"
    assert resolve_token(NamesFromHomeAssistantConfig(token=SecretStr("inline"))) == "inline"
    file.unlink()
    with pytest.raises(ConfigError, match=r"phrases\.home_assistant\.token_file cannot be read"):
        resolve_token(from_file)


def with_ca_file(file: Path) -> NamesFromHomeAssistantConfig:
    return NamesFromHomeAssistantConfig(url="https://home", token=SecretStr("t"), ca_file=str(file))


def test_without_a_file_the_authorities_of_the_system_are_used() -> None:
    assert resolve_authorities(NamesFromHomeAssistantConfig(token=SecretStr("t"))) is None


def test_the_certificate_of_home_assistant_and_the_name_in_it_are_checked(
    certificates: Certificates,
) -> None:
    context = resolve_authorities(with_ca_file(certificates.ca))
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    (authority,) = context.get_ca_certs()
    assert authority["subject"] == ((("commonName", "stt-mqtt-test-ca"),),)


def test_a_file_of_authorities_that_is_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ConfigError) as caught:
        resolve_authorities(with_ca_file(file))
    assert caught.value.problems == [
        f"{file}: phrases.home_assistant.ca_file cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "junk",
        "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "Zertifikat für zu Hause",
    ],
)
def test_a_file_without_certificates_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        resolve_authorities(with_ca_file(file))
    assert caught.value.problems == [
        f"{file}: phrases.home_assistant.ca_file is not a PEM file with certificates"
    ]
