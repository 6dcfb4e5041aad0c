"""What a broker sends: packets of MQTT."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field

from paho.mqtt.exception import MalformedPacket

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.mqtt.client_state import ClientState, Wakeup
from stt_mqtt.mqtt.connection import Connection
from stt_mqtt.mqtt.messages import ClientOptions, Inbound, Publication
from stt_mqtt.mqtt.outbox import Outbox
from stt_mqtt.mqtt.receiver import decode_publish
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target

_WAKEUP = Wakeup()
"""One for all cases, because it has file descriptors."""
_MOST_READS = 500


def _publish(data: bytes) -> None:
    """A PUBLISH packet behind its fixed header."""
    choices = Choices(data)
    v5, header = choices.flag(), 0x30 | choices.number(15)
    with suppress(MalformedPacket, IndexError):
        _, message = decode_publish(header, choices.rest(), v5)
        if message is not None:
            message.topic.encode()


class FakeSocket:
    """The end of a connection on which some bytes have arrived."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def recv(self, size: int) -> bytes:
        if not self.data:
            raise BlockingIOError
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def send(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        """Nothing more comes."""
        self.data = b""

    def fileno(self) -> int:
        return _WAKEUP.fileno()

    def setblocking(self, _blocking: bool) -> None:
        """It never blocks."""


@dataclass
class Listener:
    """Takes what the client passes on."""

    messages: list[Inbound] = field(default_factory=list)

    def connected(self, _protocol: str) -> None:
        """Nothing."""

    def disconnected(self, _reason: str) -> None:
        """Nothing."""

    def message(self, message: Inbound) -> None:
        message.topic.encode()

    def too_large(self, topic: str) -> None:
        topic.encode()


def _connection(data: bytes) -> None:
    """All packets of a connection, from its CONNACK on."""
    choices = Choices(data)
    protocol = choices.pick((Protocol.V5, Protocol.V311))
    state = ClientState("fuzz", Outbox(), _WAKEUP, filters={"stt/+/audio/#": 1})
    options = ClientOptions(MqttConfig(), "127.0.0.1", 1883, answered=lambda _answer: None)
    connection = Connection(options, protocol, Listener(), state)
    sock = FakeSocket(choices.rest())
    client = connection._client
    client._sock = sock  # type: ignore[assignment]
    for number in range(3):
        state.outbox.put(Publication("stt/a/result", b"{}", qos=number % 2))
    for _ in range(_MOST_READS):
        if not (connection._work(time.monotonic() + 60) and (sock.data or client.buffered)):
            break
        connection._read()


def _text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _publishes() -> list[bytes]:
    topic = _text(b"stt/kitchen/audio")
    properties = b"".join(
        (
            b"\x01\x01\x02\0\0\0\x07",
            b"\x03" + _text(b"opus"),
            b"\x08" + _text(b"stt/kitchen/reply/a"),
            b"\x09" + _text(b"\1\2"),
            b"\x0b\x81\x01\x23\0\1",
            b"\x26" + _text(b"seq") + _text(b"7"),
        )
    )
    v5 = topic + bytes([len(properties)]) + properties + b"payload"
    qos_1 = topic + b"\0\7" + bytes([len(properties)]) + properties + b"payload"
    return [v5 + b"\0\1", qos_1 + b"\2\1", topic + b"payload" + b"\0\0", topic + b"\0\7abc\2\0"]


def _connections() -> list[bytes]:
    publishes = [
        bytes([0x30 | seed[-2], len(seed) - 2]) + seed[:-2]
        for seed in _publishes()
        if len(seed) < 130
    ]
    connack_5 = b"\x20\x0b\0\0\x08\x21\0\x0a\x27\0\1\0\0"
    suback_5, puback_5 = b"\x90\x04\0\1\0\1", b"\x40\x04\0\2\x10\0"
    rest = b"\x40\x02\0\2" + b"\xd0\0" + b"\xe0\x02\x8e\0"
    connack_3, suback_3 = b"\x20\x02\0\0", b"\x90\x03\0\1\1"
    return [
        connack_5 + suback_5 + puback_5 + publishes[0] + publishes[1] + rest + b"\0",
        connack_3 + suback_3 + publishes[-1] * 3 + publishes[-2] + b"\xd0\0" + b"\1",
        b"\x20\x03\0\x87\0" + b"\0",
        b"\x20\x02\0\x05" + b"\1",
        connack_3 + b"\xf0\0" + b"\x50\x02\0\1" + b"\x62\x02\0\1" + b"\xb0\x02\0\1" + b"\1",
    ]


TARGETS = (
    Target("mqtt-publish", _publish, 110_000, seeds=_publishes, max_bytes=400),
    Target("mqtt-connection", _connection, 20_000, seeds=_connections, max_bytes=600),
)
