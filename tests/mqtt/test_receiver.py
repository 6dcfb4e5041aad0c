"""PUBLISH packets as bytes: what is read, what is refused, and at which cost."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.mqtt.receiver import HEAD_BYTES, RECEIVE_BYTES, Receiver, decode_publish

untyped_properties: Any = Properties

QOS_0, QOS_1, QOS_2, RETAINED = 0x30, 0x32, 0x34, 0x31


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def varint(value: int) -> bytes:
    data = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        data.append(low | (0x80 if value else 0))
        if not value:
            return bytes(data)


def with_properties(properties: bytes, payload: bytes = b"") -> bytes:
    return text(b"a") + varint(len(properties)) + properties + payload


def test_a_3_1_1_message_has_topic_payload_and_flags() -> None:
    assert decode_publish(RETAINED, text("stt/käfer".encode()) + b"xyz", False) == (
        b"",
        Inbound("stt/käfer", b"xyz", 0, True),
    )


def test_qos_1_asks_for_an_acknowledgement_with_its_number() -> None:
    packet = text(b"a") + b"\x12\x34" + b"p"
    assert decode_publish(QOS_1, packet, False) == (b"\x40\x02\x12\x34", Inbound("a", b"p", 1))


@given(
    topic=st.text(min_size=1, max_size=20),
    payload=st.binary(max_size=300),
    qos=st.integers(0, 1),
    content_type=st.none() | st.text(max_size=20),
    reply=st.none() | st.text(min_size=1, max_size=20),
    correlation=st.none() | st.binary(max_size=20),
    user=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=20),
)
def test_what_paho_packs_is_read_back(
    topic: str,
    payload: bytes,
    qos: int,
    content_type: str | None,
    reply: str | None,
    correlation: bytes | None,
    user: list[tuple[str, str]],
) -> None:
    properties = untyped_properties(PacketTypes.PUBLISH)
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 99
    properties.SubscriptionIdentifier = 300
    if content_type is not None:
        properties.ContentType = content_type
    if reply is not None:
        properties.ResponseTopic = reply
    if correlation is not None:
        properties.CorrelationData = correlation
    if user:
        properties.UserProperty = user
    number = b"\x00\x07" if qos else b""
    packed = properties.pack()
    packet = text(topic.encode()) + number + packed + payload
    acknowledgement, message = decode_publish(0x30 | qos << 1, bytearray(packet), True)
    assert acknowledgement == (b"\x40\x02\x00\x07" if qos else b"")
    assert message == Inbound(
        topic, payload, qos, False, content_type, reply, correlation, tuple(user[:16])
    )


@pytest.mark.parametrize(
    "packet",
    [
        text(b"\xff\xfe") + b"\x00p",
        text(b"") + b"\x00p",
        with_properties(b"\x03" + text(b"\xff"), b"p"),
        with_properties(b"\x26" + text(b"\xc3") + text(b"v")),
    ],
    ids=["topic", "empty-topic", "content-type", "user-property"],
)
def test_a_message_with_undecodable_text_is_none(packet: bytes) -> None:
    assert decode_publish(QOS_0, packet, True) == (b"", None)


def test_an_undecodable_message_is_acknowledged_all_the_same() -> None:
    packet = text(b"\xff") + b"\x00\x09" + b"\x00"
    assert decode_publish(QOS_1, packet, True) == (b"\x40\x02\x00\x09", None)


@pytest.mark.parametrize(
    "packet",
    [
        b"\x00\x05abc",
        with_properties(b"\x03\x00\x09abc"),
        with_properties(b"\x7f"),
        text(b"a") + b"\xff\xff\xff\xff\x7f",
        text(b"a") + b"\x05",
    ],
    ids=["topic", "property", "unknown-property", "length", "cut-properties"],
)
def test_a_packet_that_is_not_mqtt_is_refused(packet: bytes) -> None:
    with pytest.raises((MalformedPacket, IndexError)):
        decode_publish(QOS_0, packet, True)


def test_qos_2_which_nobody_subscribed_to_is_refused() -> None:
    with pytest.raises(MalformedPacket):
        decode_publish(QOS_2, text(b"a") + b"\x00\x01", False)


@given(st.integers(0x30, 0x3F), st.binary(max_size=200), st.booleans())
def test_no_bytes_make_it_fail_in_another_way(header: int, packet: bytes, v5: bool) -> None:
    try:
        _, message = decode_publish(header, packet, v5)
    except (MalformedPacket, IndexError):
        return
    assert message is None or isinstance(message, Inbound)


def test_a_hundred_thousand_user_properties_cost_next_to_nothing() -> None:
    packet = with_properties(b"\x26\x00\x01a\x00\x01b" * 100_000, b"payload")
    began = time.thread_time()
    _, message = decode_publish(QOS_0, packet, True)
    assert time.thread_time() - began < 2
    assert message is not None
    assert message.payload == b"payload"
    assert message.user == (("a", "b"),) * 16


LIMIT_BYTES = 70_000
LARGE_BYTES = 20_000_000


class Wire:
    """A receiver of MQTT 3.1.1 on a socket whose other end the test writes to."""

    def __init__(self) -> None:
        self.heard: list[Inbound | None] = []
        self.large: list[str] = []
        self.receiver = Receiver("a", False, LIMIT_BYTES, self.heard.append, self.large.append)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.receiver._sock = self.near
        self.held_bytes = 0

    def reads(self, data: bytes) -> None:
        """Let the receiver read `data` as it comes, and note what it holds of a packet."""
        for at in range(0, len(data), RECEIVE_BYTES):
            self.far.sendall(data[at : at + RECEIVE_BYTES])
            for _ in range(4):
                self.receiver.loop_read()
                self.held_bytes = max(self.held_bytes, len(self.receiver._in_packet["packet"]))


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.near.close()
    made.far.close()


def packet(header: int, body: bytes) -> bytes:
    return bytes([header]) + varint(len(body)) + body


def test_a_packet_over_the_limit_is_never_in_memory_and_the_connection_goes_on(wire: Wire) -> None:
    small = packet(QOS_0, text(b"b") + b"p")
    large = packet(QOS_1, text(b"room/audio") + b"\x12\x34" + bytes(LARGE_BYTES))
    wire.reads(small + large + small)
    assert wire.large == ["room/audio"]
    assert wire.heard == [Inbound("b", b"p")] * 2
    assert wire.held_bytes <= HEAD_BYTES
    wire.receiver.acknowledge()
    wire.receiver.loop_write()
    assert wire.far.recv(100) == b"\x40\x02\x12\x34"


def test_a_packet_over_the_limit_without_a_topic_is_undecodable(wire: Wire) -> None:
    wire.reads(packet(QOS_0, text(b"\xff") + bytes(LIMIT_BYTES)))
    assert (wire.heard, wire.large) == ([None], [])


@pytest.mark.parametrize(
    "large",
    [
        packet(0x90, bytes(LIMIT_BYTES + 1)),
        packet(QOS_2, text(b"a") + bytes(LIMIT_BYTES)),
    ],
    ids=["no-message", "qos-2"],
)
def test_a_packet_over_the_limit_that_breaks_the_protocol_ends_the_connection(
    wire: Wire, large: bytes
) -> None:
    with suppress(BrokenPipeError):
        wire.reads(large)
    assert wire.receiver.socket() is None


def test_a_connection_that_ends_within_a_packet_over_the_limit_has_ended(wire: Wire) -> None:
    wire.reads(packet(QOS_0, text(b"a") + bytes(LARGE_BYTES))[:1_000_000])
    assert wire.receiver.socket() is not None
    wire.far.close()
    wire.receiver.loop_read()
    assert wire.receiver.socket() is None
