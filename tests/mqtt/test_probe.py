from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.mqtt import probe
from stt_mqtt.mqtt.messages import ClientOptions, Inbound, Publication
from stt_mqtt.mqtt.probe import ProbeSession
from stt_mqtt.mqtt.reconnect import Cause
from tests.mqtt.peers import connected_to
from tools.brokers import (
    PATIENCE_S,
    Broker,
    FakeServer,
    Mosquitto,
    MosquittoOptions,
    needs_mosquitto,
)
from tools.proxy import Proxy

MakeMosquitto = Callable[[MosquittoOptions], Mosquitto]


def options(broker: Broker | Proxy | FakeServer, **mqtt: object) -> ClientOptions:
    config = MqttConfig.model_validate(mqtt)
    return ClientOptions(config, broker.host, broker.port)


@contextmanager
def opened(
    broker: Broker | Proxy, keeps: Callable[[Inbound], bool] = lambda _: True
) -> Iterator[ProbeSession]:
    session = ProbeSession(options(broker), keeps)
    try:
        assert session.open(PATIENCE_S) is None
        yield session
    finally:
        session.close()


def test_it_hears_what_it_publishes_and_keeps_what_is_wanted(broker: Broker) -> None:
    with opened(broker, lambda message: message.topic != "a/unwanted") as session:
        assert session.protocol in {"5", "3.1.1"}
        assert session.subscribe(["a/+"], PATIENCE_S) == {"a/+": None}
        sent = [Publication("a/unwanted", b"1"), Publication("a/wanted", b"2")]
        assert session.publish(sent, PATIENCE_S) == {"a/unwanted": None, "a/wanted": None}
        assert session.wait_for(bool, PATIENCE_S)
        assert [message.topic for message in session.messages] == ["a/wanted"]
        assert not session.wait_for(lambda messages: len(messages) > 1, 0.01)


@needs_mosquitto
def test_refusals_are_answers_with_a_reason(mosquitto: MakeMosquitto) -> None:
    with opened(mosquitto(MosquittoOptions(acl="topic readwrite open/#\n"))) as session:
        answers = session.publish(
            [Publication("open/a", b""), Publication("closed", b"")], PATIENCE_S
        )
    assert answers == {"open/a": None, "closed": "Not authorized"}


def test_it_keeps_no_more_than_it_may(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAX_KEPT", 3)
    with opened(broker) as session, connected_to(broker) as (other, _):
        session.subscribe(["a", "last"], PATIENCE_S)
        for _ in range(10):
            other.publish(Publication("a", b""))
        assert other.flush(PATIENCE_S)
        assert session.wait_for(lambda messages: len(messages) == 3, PATIENCE_S)
        session.publish([Publication("last", b"")], PATIENCE_S)
        assert len(session.messages) == 3


def test_a_lost_connection_ends_the_waiting(broker: Broker) -> None:
    relay = Proxy(broker.port)
    try:
        with opened(relay) as session:
            relay.cut(refuse=True)
            assert not session.wait_for(bool, PATIENCE_S)
            assert session.publish([Publication("a", b"")], PATIENCE_S) == {}
    finally:
        relay.close()


def test_a_configured_version_is_the_only_one_that_is_tried() -> None:
    def hang_up(_sock: socket.socket, _connect: bytes) -> None:
        return

    server = FakeServer(hang_up)
    session = ProbeSession(options(server, protocol=Protocol.V5), lambda _: True)
    try:
        ending = session.open(PATIENCE_S)
    finally:
        session.close()
        server.close()
    assert ending is not None
    assert ending.kind is Cause.NO_ANSWER
    assert server.protocol_levels() == [5]
