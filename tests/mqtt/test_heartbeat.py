"""Whether the network thread hangs. The clock is set forward; no test waits for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.mqtt.client_state import CONNECT_HANG_S, HANG_S, Heartbeat
from stt_mqtt.mqtt.connection import Connection
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.mqtt.reconnect import CREDENTIAL_DELAYS_S
from tests.mqtt.peers import Recorder, client_of, connected_to
from tools.brokers import Broker, FakeServer, eventually

REFUSED_LOGIN = b"\x20\x02\x00\x05"
"""A CONNACK of MQTT 3.1.1."""


class Later:
    """A clock that can be set forward."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.by_s


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    clock = Later()
    monkeypatch.setattr("stt_mqtt.mqtt.client_state.monotonic", clock)
    return clock


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Lets a thread go on that a test holds."""
    event = threading.Event()
    yield event
    event.set()


def test_a_beat_is_missing_when_it_is_late_and_not_before_the_first_one(later: Later) -> None:
    heartbeat = Heartbeat()
    later.by_s = 1e6
    assert not heartbeat.is_missing
    heartbeat.beat(10.0)
    later.by_s += 9.0
    assert not heartbeat.is_missing
    later.by_s += 2.0
    assert heartbeat.is_missing
    heartbeat.beat()
    assert not heartbeat.is_missing


def test_a_thread_that_hangs_is_told_until_it_goes_on(
    broker: Broker, later: Later, released: threading.Event
) -> None:
    class Stuck(Recorder):
        def message(self, message: Inbound) -> None:
            super().message(message)
            released.wait(60)

    stuck = Stuck()
    with client_of(broker, "room/#", recorder=stuck) as (client, _), connected_to(broker) as pair:
        eventually(lambda: client.connected)
        pair[0].publish(Publication("room/a", b""))
        eventually(lambda: stuck.messages)
        assert not client.hangs
        later.by_s = HANG_S + 1
        assert client.hangs
        assert client.is_alive
        released.set()
        eventually(lambda: not client.hangs)


def test_a_thread_that_is_connected_and_has_nothing_to_do_does_not_hang(
    broker: Broker, later: Later
) -> None:
    with connected_to(broker) as (client, _):
        later.by_s = HANG_S + 1
        eventually(lambda: not client.hangs)


def test_a_thread_that_waits_for_its_next_attempt_does_not_hang(later: Later) -> None:
    def refuse(sock: socket.socket, _connect: bytes) -> None:
        sock.sendall(REFUSED_LOGIN)

    server = FakeServer(refuse)
    try:
        with client_of(server, config=MqttConfig(protocol=Protocol.V311)) as (client, _):
            eventually(lambda: client.failure is not None)
            later.by_s = CREDENTIAL_DELAYS_S[0] / 2 + HANG_S
            eventually(lambda: not client.hangs)
    finally:
        server.close()


def test_an_attempt_to_connect_may_take_minutes(
    later: Later, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def connect(_connection: Connection) -> None:
        begun.set()
        released.wait(60)
        raise OSError

    monkeypatch.setattr(Connection, "_connect", connect)
    server = FakeServer(lambda _sock, _connect: None)
    try:
        with client_of(server) as (client, _):
            assert begun.wait(60)
            later.by_s = CONNECT_HANG_S - 1
            assert not client.hangs
            later.by_s = CONNECT_HANG_S + 1
            assert client.hangs
            released.set()
    finally:
        server.close()
