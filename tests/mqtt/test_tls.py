"""TLS to the broker, and its troubles in one sentence."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_mqtt.config import MqttConfig, Protocol, TlsConfig
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.mqtt.tls import explain, is_lasting, tls_context
from tests.mqtt.peers import client_of
from tools.brokers import (
    Certificates,
    FakeServer,
    Mosquitto,
    MosquittoOptions,
    eventually,
    make_certificates,
    needs_mosquitto,
    only_old_tls,
    sign,
)

MakeMosquitto = Callable[[MosquittoOptions], Mosquitto]


def with_ca(certificates: Certificates) -> MqttConfig:
    return MqttConfig(tls=TlsConfig(ca_file=str(certificates.ca)))


def with_client_certificate(certificates: Certificates) -> MqttConfig:
    return MqttConfig(
        tls=TlsConfig(
            ca_file=str(certificates.ca),
            cert_file=str(certificates.client),
            key_file=str(certificates.client_key),
        )
    )


@needs_mosquitto
def test_a_broker_whose_authority_is_given_is_trusted(
    mosquitto: MakeMosquitto, certificates: Certificates
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates))
    with client_of(broker, "room", config=with_ca(certificates)) as (client, heard):
        eventually(lambda: client.connected)
        client.publish(Publication("room", bytes(1_000_000)))
        eventually(lambda: heard.payloads("room") == [bytes(1_000_000)])


@needs_mosquitto
def test_a_client_certificate_is_shown(
    mosquitto: MakeMosquitto, certificates: Certificates
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates, client_certificate=True))
    with client_of(broker, config=with_client_certificate(certificates)) as (client, _):
        eventually(lambda: client.connected)


@needs_mosquitto
def test_a_missing_client_certificate_is_explained_without_giving_up_mqtt_5(
    mosquitto: MakeMosquitto, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates, client_certificate=True))
    with client_of(broker, config=with_ca(certificates)) as (client, _):
        eventually(lambda: "mqtt.tls" in caplog.text)
        assert not client.connected
    assert "trying 3.1.1" not in caplog.text


@needs_mosquitto
def test_an_authority_that_nobody_knows_is_one_sentence(
    mosquitto: MakeMosquitto, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates))
    with client_of(broker, config=MqttConfig(tls=TlsConfig())) as (client, _):
        eventually(lambda: "mqtt.tls.ca_file" in caplog.text)
        assert not client.connected
    assert "Traceback" not in caplog.text
    (line,) = {one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING}
    assert "is not accepted" in line


@needs_mosquitto
def test_a_certificate_that_has_expired_is_named_and_the_next_one_is_accepted(
    tmp_path: Path, mosquitto: MakeMosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = make_certificates(tmp_path)
    sign(tmp_path, "server", days=-1)
    options = MosquittoOptions(certificates=certificates)
    broker = mosquitto(options)
    with client_of(broker, config=with_ca(certificates)) as (client, _):
        eventually(lambda: "certificate has expired" in caplog.text)
        sign(tmp_path, "server")
        broker.reload(options)
        eventually(lambda: client.connected)


@needs_mosquitto
def test_tls_with_a_broker_that_has_none_is_explained(
    mosquitto: MakeMosquitto, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto(MosquittoOptions())
    with client_of(broker, config=with_ca(certificates)):
        eventually(lambda: "check the port and mqtt.tls" in caplog.text)


@needs_mosquitto
def test_no_tls_with_a_broker_that_wants_it_is_explained(
    mosquitto: MakeMosquitto, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates))
    with client_of(broker, config=MqttConfig(protocol=Protocol.V311)):
        eventually(lambda: "one that expects TLS" in caplog.text)


def answer_in_older_tls(sock: socket.socket, _greeting: bytes) -> None:
    """A server that answers with its own version, 1.1, whatever the client offers."""
    hello = b"\x03\x02" + bytes(32) + b"\x00\x00\x2f\x00"
    sock.sendall(b"\x16\x03\x02\x00\x2a" + b"\x02\x00\x00\x26" + hello)
    sock.recv(1)


@pytest.mark.parametrize("answers", [True, False])
def test_versions_of_tls_before_1_2_are_refused_in_words(
    certificates: Certificates, caplog: pytest.LogCaptureFixture, answers: bool
) -> None:
    server = FakeServer(answer_in_older_tls if answers else only_old_tls(certificates))
    try:
        with client_of(server, config=with_ca(certificates)) as (client, _):
            eventually(lambda: "speaks only versions of TLS before 1.2" in caplog.text)
            assert not client.connected
    finally:
        server.close()
    assert "trying 3.1.1" not in caplog.text


def test_the_name_in_the_certificate_is_checked(certificates: Certificates) -> None:
    context = tls_context(TlsConfig(ca_file=str(certificates.ca)))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_a_file_that_is_missing_is_named(
    key: str, tmp_path: Path, certificates: Certificates
) -> None:
    files = {"cert_file": str(certificates.client), key: str(tmp_path / "missing.pem")}
    with pytest.raises(BrokerError, match=rf"^mqtt\.tls\.{key}: .*missing\.pem cannot be read"):
        tls_context(TlsConfig.model_validate(files))


def test_a_ca_file_without_certificates_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(BrokerError, match=r"mqtt\.tls\.ca_file: .*junk\.pem is not a PEM file"):
        tls_context(TlsConfig(ca_file=str(junk)))


def test_a_key_of_another_certificate_is_said(certificates: Certificates) -> None:
    config = TlsConfig(cert_file=str(certificates.client), key_file=str(certificates.server_key))
    with pytest.raises(BrokerError, match=r"mqtt\.tls\.cert_file: .*belong together"):
        tls_context(config)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "h:1 cannot be reached: Connection "),
        (socket.gaierror(-2, "Name or service not known"), "h:1 cannot be reached: Name or "),
        (TimeoutError("timed out"), "h:1 cannot be reached: timed out"),
        (OSError(), "h:1 cannot be reached: OSError"),
        (BrokerError("as it is"), "as it is"),
    ],
)
def test_every_failure_is_a_sentence(error: Exception, sentence: str) -> None:
    assert explain(error, "h:1").startswith(sentence)


def refused_certificate(verify_code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = verify_code, "why"
    return error


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (refused_certificate(9), False),
        (refused_certificate(10), False),
        (refused_certificate(20), True),
        (refused_certificate(62), True),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), True),
        (ssl.SSLEOFError(8, "UNEXPECTED_EOF_WHILE_READING"), False),
        (ConnectionResetError(104, "Connection reset by peer"), False),
    ],
)
def test_only_time_mends_a_clock_and_a_broker_that_starts(error: Exception, lasting: bool) -> None:
    assert is_lasting(error) is lasting


@pytest.mark.parametrize("verify_code", [9, 10])
def test_a_certificate_that_is_not_valid_now_points_to_the_clock(verify_code: int) -> None:
    sentence = explain(refused_certificate(verify_code), "h:1")
    assert sentence.endswith("; check the clock of this machine, or renew the certificate")
