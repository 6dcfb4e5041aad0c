"""Clients for the transport's tests, and a listener that remembers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Inbound, Will
from tools.brokers import Broker, FakeServer, eventually
from tools.proxy import Proxy

WILL = Will("will", b"gone")


class Recorder(ClientListener):
    """Remembers everything that it hears."""

    def __init__(self) -> None:
        self.protocols: list[str] = []
        self.reasons: list[str] = []
        self.messages: list[Inbound] = []
        self.large: list[str] = []
        """Topics of messages over the limit."""

    def connected(self, protocol: str) -> None:
        self.protocols.append(protocol)

    def disconnected(self, reason: str) -> None:
        self.reasons.append(reason)

    def message(self, message: Inbound) -> None:
        self.messages.append(message)

    def too_large(self, topic: str) -> None:
        self.large.append(topic)

    def payloads(self, topic: str) -> list[bytes]:
        """Payloads that came in on `topic`, in order."""
        return [message.payload for message in self.messages if message.topic == topic]


@contextmanager
def client_of(
    broker: Broker | Proxy | FakeServer,
    *subscriptions: str,
    config: MqttConfig | None = None,
    recorder: Recorder | None = None,
    password: str | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[MqttClient, Recorder]]:
    """A started client of `broker` with a recorder; stopped at the end."""
    recorder = recorder or Recorder()
    options = ClientOptions(
        config=config or MqttConfig(),
        host=broker.host,
        port=broker.port,
        will=WILL,
        password=password,
        subscriptions=subscriptions,
        now=now,
    )
    client = MqttClient(options)
    client.start(recorder)
    try:
        yield client, recorder
    finally:
        client.stop(5)


@contextmanager
def connected_to(
    broker: Broker | Proxy | FakeServer, *subscriptions: str, protocol: Protocol = Protocol.AUTO
) -> Iterator[tuple[MqttClient, Recorder]]:
    """The same, connected."""
    with client_of(broker, *subscriptions, config=MqttConfig(protocol=protocol)) as pair:
        eventually(lambda: pair[0].connected)
        yield pair
