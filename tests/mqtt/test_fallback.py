"""Brokers that do not speak MQTT 5, speak nonsense, or say nothing."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.mqtt import connection, reconnect
from stt_mqtt.mqtt.messages import Publication
from tests.mqtt.peers import client_of, connected_to
from tools.brokers import EmbeddedProcess, FakeServer, eventually

ACCEPTED = b"\x20\x02\x00\x00"
REFUSED_IN_3_1_1 = b"\x20\x02\x00\x01"
REFUSED_IN_5 = b"\x20\x03\x00\x84\x00"
BAD_PASSWORD_IN_3_1_1 = b"\x20\x02\x00\x04"

MakeEmbedded = Callable[[tuple[str, str] | None], EmbeddedProcess]
Behaviour = Callable[[socket.socket, bytes], None]


@pytest.fixture
def server() -> Iterator[Callable[[Behaviour], FakeServer]]:
    with ExitStack() as running:

        def make(behave: Behaviour) -> FakeServer:
            made = FakeServer(behave)
            running.callback(made.close)
            return made

        yield make


MakeServer = Callable[[Behaviour], FakeServer]


def is_mqtt_5(connect: bytes) -> bool:
    return connect[connect.index(b"MQTT") + 4] == 5


def stay(sock: socket.socket) -> None:
    """Read until the client goes."""
    with suppress(OSError):
        while sock.recv(65536):
            pass


def answering(to_5: bytes, to_3_1_1: bytes) -> Behaviour:
    """Answers a CONNECT by its version; only who is accepted may stay."""

    def behave(sock: socket.socket, connect: bytes) -> None:
        answer = to_5 if is_mqtt_5(connect) else to_3_1_1
        sock.sendall(answer)
        if answer == ACCEPTED:
            stay(sock)

    return behave


def test_auto_falls_back_to_3_1_1_with_a_broker_that_hangs_up_on_mqtt_5(
    embedded: MakeEmbedded,
) -> None:
    with connected_to(embedded(None), "room") as (client, heard):
        client.publish(Publication("room", b"word"))
        eventually(lambda: heard.payloads("room"))
        assert heard.protocols == ["3.1.1"]


@pytest.mark.parametrize("refusal", [REFUSED_IN_3_1_1, REFUSED_IN_5], ids=["3.1.1", "5"])
def test_auto_falls_back_at_once_when_the_version_is_refused(
    server: MakeServer, refusal: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever waited would not be there in time.
    monkeypatch.setattr(reconnect, "NETWORK_DELAYS_S", (1000.0,))
    broker = server(answering(refusal, ACCEPTED))
    with connected_to(broker) as (_, heard):
        assert heard.protocols == ["3.1.1"]
        assert broker.protocol_levels() == [5, 4]


def test_it_never_goes_on_to_mqtt_3_1(server: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    broker = server(answering(REFUSED_IN_3_1_1, REFUSED_IN_3_1_1))
    with client_of(broker, config=MqttConfig(protocol=Protocol.V311)):
        eventually(lambda: len(broker.connects) >= 2)
    assert set(broker.protocol_levels()) == {4}
    assert "does not speak MQTT 3.1.1" in caplog.text


def test_mqtt_5_alone_does_not_fall_back(server: MakeServer) -> None:
    broker = server(answering(REFUSED_IN_5, ACCEPTED))
    with client_of(broker, config=MqttConfig(protocol=Protocol.V5)) as (client, _):
        eventually(lambda: len(broker.connects) >= 2)
        assert not client.connected
    assert set(broker.protocol_levels()) == {5}


def test_refused_credentials_in_3_1_1_are_refused_credentials(
    server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    broker = server(answering(REFUSED_IN_5, BAD_PASSWORD_IN_3_1_1))
    with client_of(broker, config=MqttConfig(username="me")):
        eventually(lambda: "mqtt.password" in caplog.text)
    assert broker.protocol_levels() == [5, 4]


def test_a_broker_that_never_answers_is_left_after_a_while(
    server: MakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.1)
    broker = server(lambda sock, _: stay(sock))
    with client_of(broker, config=MqttConfig(protocol=Protocol.V311)):
        eventually(lambda: len(broker.connects) >= 2)
    assert "does not answer in MQTT 3.1.1" in caplog.text


def test_stop_is_bounded_while_a_broker_keeps_silent(
    server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 60.0)
    broker = server(lambda sock, _: stay(sock))
    with client_of(broker) as (client, _):
        eventually(lambda: broker.connects)
        began = time.monotonic()
        client.stop(0.5)
        # The broker would be waited for for a minute.
        assert time.monotonic() - began < 50


def test_stop_before_the_broker_has_answered_still_says_goodbye(server: MakeServer) -> None:
    heard = bytearray()

    def behave(sock: socket.socket, _: bytes) -> None:
        while data := sock.recv(100):
            heard.extend(data)

    broker = server(behave)
    with client_of(broker) as (client, _):
        eventually(lambda: broker.connects)
        client.stop(5)
    eventually(lambda: heard == b"\xe0\x00")


@pytest.mark.parametrize(
    "nonsense",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\xff", b"\xff" * 50],
    ids=["http", "length", "ones"],
)
def test_an_answer_that_is_not_mqtt_is_survived_and_told_once(
    server: MakeServer, nonsense: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    broker = server(answering(nonsense, nonsense))
    with client_of(broker) as (client, heard):
        eventually(lambda: len(broker.connects) >= 3)
        assert not client.connected
        assert heard.protocols == []
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == len(set(warnings)) == 1


def test_a_broker_that_says_that_the_session_was_taken_over_is_believed_at_once(
    server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    def behave(sock: socket.socket, _: bytes) -> None:
        sock.sendall(b"\x20\x03\x00\x00\x00")
        sock.sendall(b"\xe0\x02\x8e\x00")
        stay(sock)

    broker = server(behave)
    config = MqttConfig(client_id="the-same", protocol=Protocol.V5)
    with client_of(broker, config=config) as (_, heard):
        eventually(lambda: len(heard.reasons) == 2)
    (line,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "Session taken over): another client uses the identifier mqtt.client_id" in line
    assert "trying again in 1 s" in line


def test_topics_that_are_not_utf_8_are_counted_and_dropped(server: MakeServer) -> None:
    def behave(sock: socket.socket, _: bytes) -> None:
        sock.sendall(ACCEPTED)
        sock.sendall(b"\x30\x05\x00\x02\xff\xfex" + b"\x30\x05\x00\x02okx")
        stay(sock)

    broker = server(behave)
    with client_of(broker, config=MqttConfig(protocol=Protocol.V311)) as (client, heard):
        eventually(lambda: heard.messages)
        assert heard.payloads("ok") == [b"x"]
        assert client.undecodable_messages == 1
        assert heard.reasons == []


def test_a_malformed_message_ends_the_connection_and_no_more(server: MakeServer) -> None:
    def behave(sock: socket.socket, _: bytes) -> None:
        sock.sendall(ACCEPTED)
        sock.sendall(b"\x30\x03\x00\x09a")
        stay(sock)

    broker = server(behave)
    with client_of(broker, config=MqttConfig(protocol=Protocol.V311)) as (_, heard):
        eventually(lambda: len(heard.protocols) == 2)
        assert "Protocol error" in heard.reasons[0]


def test_the_acknowledgements_of_a_burst_all_arrive(server: MakeServer) -> None:
    heard = bytearray()

    def behave(sock: socket.socket, _: bytes) -> None:
        burst = b"".join(b"\x32\x05\x00\x01t" + mid.to_bytes(2, "big") for mid in range(1, 1001))
        sock.sendall(ACCEPTED + burst)
        while data := sock.recv(65536):
            heard.extend(data)

    broker = server(behave)
    with client_of(broker, config=MqttConfig(protocol=Protocol.V311)) as (_, listener):
        eventually(lambda: len(listener.messages) == 1000)
        wanted = b"".join(b"\x40\x02" + mid.to_bytes(2, "big") for mid in range(1, 1001))
        eventually(lambda: heard == wanted)


@pytest.mark.parametrize(
    ("protocol", "connack", "codes"),
    [
        (Protocol.V5, b"\x20\x03\x00\x00\x00", b"\x00\x87\x01"),
        (Protocol.V311, ACCEPTED, b"\x80\x01"),
    ],
)
def test_a_refused_subscription_is_named_and_the_connection_stays(
    server: MakeServer,
    caplog: pytest.LogCaptureFixture,
    protocol: Protocol,
    connack: bytes,
    codes: bytes,
) -> None:
    def behave(sock: socket.socket, _: bytes) -> None:
        sock.sendall(connack)
        subscribe = sock.recv(1000)
        assert subscribe[0] == 0x82
        sock.sendall(bytes([0x90, 2 + len(codes)]) + subscribe[2:4] + codes)
        stay(sock)

    config = MqttConfig(protocol=protocol)
    with client_of(server(behave), "refused/#", "welcome", config=config) as (client, _):
        eventually(lambda: "right to read" in caplog.text)
        assert client.connected
    (line,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert "refused/#" in line


def test_without_latency_a_connection_is_made_and_used_at_once(
    server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever slept instead of being woken would not be there in time.
    monkeypatch.setattr(connection, "POLL_S", 1000.0)

    def behave(sock: socket.socket, _: bytes) -> None:
        sock.sendall(ACCEPTED)
        sock.recv(1000)
        sock.sendall(b"\x40\x02\x00\x01")
        stay(sock)

    with connected_to(server(behave), protocol=Protocol.V311) as (client, _):
        client.publish(Publication("room", b""))
        assert client.flush(60)


def test_a_broker_that_falls_silent_is_left_when_it_has_not_answered_a_ping_for_a_while(
    server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PING_TIMEOUT_S", 0.2)
    monkeypatch.setattr(connection, "POLL_S", 0.05)

    def behave(sock: socket.socket, _: bytes) -> None:
        sock.sendall(ACCEPTED)
        stay(sock)

    # Shorter than a configuration may have it. paho alone would wait as long again after the ping.
    config = MqttConfig(protocol=Protocol.V311).model_copy(update={"keepalive_s": 2})
    with client_of(server(behave), config=config) as (_, heard):
        eventually(lambda: heard.reasons)
    assert "has not answered a ping" in heard.reasons[0]
