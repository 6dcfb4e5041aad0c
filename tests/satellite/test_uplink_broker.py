"""The uplink, the transport and a real broker, which goes away in the middle of a word."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from stt_mqtt.config import MqttConfig
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Inbound
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.transmission import UplinkConfig
from stt_mqtt.satellite.uplink import Uplink
from stt_mqtt.types import Codec
from tests.mqtt.peers import Recorder, connected_to
from tools.brokers import Broker, Mosquitto, MosquittoOptions, eventually, needs_mosquitto
from tools.proxy import Proxy

KITCHEN = SatelliteTopics(Topics("stt"), "kitchen")
MakeMosquitto = Callable[[MosquittoOptions], Mosquitto]


class Station(ClientListener):
    """An uplink on a client of its own, and one loop: `turn`.

    It hears what it says: its subscription is in place before it is told of a connection, so it
    misses nothing, whenever the broker comes back.
    """

    def __init__(self, broker: Broker | Proxy, qos: int) -> None:
        self.heard: list[Inbound] = []
        self.connections: list[int] = []
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        options = ClientOptions(
            MqttConfig(),
            broker.host,
            broker.port,
            subscriptions=("stt/kitchen/audio/#",),
        )
        self.client = MqttClient(options)
        config = UplinkConfig(KITCHEN, Codec.OPUS, qos, 30.0, 1 << 20)
        self.uplink = Uplink(config, self.client.publish)

    def turn(self) -> None:
        """Take in what happened, and look at the clock."""
        try:
            while True:
                self._calls.get_nowait()()
        except Empty:
            self.uplink.tick(time.monotonic())

    def until(self, predicate: Callable[[], object]) -> None:
        """Turn until something is the case."""

        def turned() -> object:
            self.turn()
            return predicate()

        eventually(turned)

    def has_connected(self, connection: int) -> bool:
        """Whether there was a connection with this number."""
        return connection in self.connections

    # In the network thread

    def connected(self, protocol: str) -> None:
        connection = self.client.connection
        self.connections.append(connection)
        self._calls.put(lambda: self.uplink.connected(connection, time.monotonic()))

    def disconnected(self, reason: str) -> None:
        self.connections.append(0)
        self._calls.put(self.uplink.disconnected)

    def message(self, message: Inbound) -> None:
        self.heard.append(message)


@contextmanager
def station_at(broker: Broker | Proxy, qos: int) -> Iterator[Station]:
    station = Station(broker, qos)
    station.client.start(station)
    try:
        station.until(lambda: station.connections)
        yield station
    finally:
        station.client.stop(5)


def whole(heard: list[Inbound]) -> list[tuple[dict[str, Any], list[bytes]]]:
    """The start and the chunks of each utterance that came whole, in order."""
    found = []
    start: dict[str, Any] = {}
    chunks: dict[int, bytes] = {}
    for message in list(heard):
        verb = message.topic.removeprefix("stt/kitchen/audio")
        if verb == "/start":
            start, chunks = json.loads(message.payload), {}
        elif verb == "":
            chunks[int.from_bytes(message.payload[:4], "little")] = message.payload[4:]
        else:
            assert verb == "/stop"
            stop = json.loads(message.payload)
            if stop["id"] == start["id"] and sorted(chunks) == list(range(stop["chunks"])):
                found.append((start, list(chunks.values())))
    return found


@needs_mosquitto
@pytest.mark.parametrize("qos", [0, 1])
def test_an_utterance_that_the_broker_dies_in_arrives_whole_when_it_is_back(
    mosquitto: MakeMosquitto, qos: int
) -> None:
    broker = mosquitto(MosquittoOptions())
    with station_at(broker, qos) as station:
        uplink = station.uplink
        first = uplink.open()
        uplink.audio(b"turn on ")
        station.until(lambda: len(station.heard) == 2)
        broker.stop()
        station.until(lambda: station.connections[-1] == 0)
        uplink.audio(b"the light")
        uplink.close(time.monotonic())
        second = uplink.open()
        uplink.audio(b"and the ")
        uplink.close(time.monotonic())
        third = uplink.open()
        uplink.audio(b"radio")
        station.turn()
        assert uplink.waiting == 3
        broker.start()
        station.until(lambda: uplink.waiting == 1)
        uplink.audio(b", please")
        uplink.close(time.monotonic())
        station.until(lambda: uplink.waiting == 0)
        station.until(lambda: len(whole(station.heard)) == 3)
        assert station.connections == [1, 0, 2]
        assert uplink.dropped == station.client.lost_publications == 0
    came = whole(station.heard)
    assert [(start["id"], chunks) for start, chunks in came] == [
        (first, [b"turn on ", b"the light"]),
        (second, [b"and the "]),
        (third, [b"radio", b", please"]),
    ]
    assert [start.get("age_ms", -1) >= 0 for start, _ in came] == [True, True, False]
    assert {message.qos for message in station.heard} == {qos}


@needs_mosquitto
def test_connections_that_break_again_and_again_cost_no_utterance(broker: Broker) -> None:
    relay = Proxy(broker.port)
    try:
        with (
            connected_to(broker, "stt/kitchen/audio/#") as (_, witness),
            station_at(relay, qos=1) as station,
        ):
            uplink, ids = station.uplink, []
            for _ in range(40):
                ids.append(uplink.open())
                for chunk in (b"a", bytes(4000), b"c"):
                    uplink.audio(chunk)
                uplink.close(time.monotonic())
            for breaks in (1, 2, 3):
                station.until(partial(_has_heard, witness, 50 * breaks))
                relay.cut()
                station.until(partial(station.has_connected, breaks + 1))
            station.until(lambda: uplink.waiting == 0)
            eventually(lambda: whole(witness.messages)[-1][0]["id"] == ids[-1])
            assert uplink.dropped == 0
    finally:
        relay.close()
    came = [start["id"] for start, _ in whole(witness.messages)]
    assert list(dict.fromkeys(came)) == ids


def _has_heard(witness: Recorder, count: int) -> bool:
    return len(witness.messages) >= count
